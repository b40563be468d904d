"""The compiled executor of a bundle."""

import shutil
from pathlib import Path

import pytest
import yaml

from relidar.backends import open_executor
from relidar.bundle import CPU_PROGRAM, MANIFEST, Bundle, open_bundle, sha256_file
from relidar.compiled.executor import CompiledExecutor
from relidar.errors import BackendError, BundleError
from relidar.executor import self_test


def changed(tiny_bundle: Path, path: Path, content: bytes | None) -> Bundle:
    """A copy of the bundle whose program is `content`, or is missing; the manifest fits."""
    shutil.copytree(tiny_bundle, path)
    manifest = yaml.safe_load((path / MANIFEST).read_text())
    if content is None:
        del manifest["sha256"][CPU_PROGRAM]
    else:
        (path / CPU_PROGRAM).write_bytes(content)
        manifest["sha256"][CPU_PROGRAM] = sha256_file(path / CPU_PROGRAM)
    (path / MANIFEST).write_text(yaml.safe_dump(manifest))
    return open_bundle(path)


@pytest.mark.parametrize("threads", [0, 1, 2, 3])
def test_it_reproduces_the_golden_scan(tiny_bundle: Path, threads: int) -> None:
    bundle = open_bundle(tiny_bundle)
    executor = CompiledExecutor(bundle, threads)
    assert self_test(executor, bundle) < 1e-5
    assert executor.name == "compiled-cpu"
    assert bundle.manifest.sha256[CPU_PROGRAM][:32] in executor.identity


def test_an_older_bundle_runs_on_onnx_runtime_and_says_why(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = changed(tiny_bundle, tmp_path / "b", None)
    chosen = open_executor(bundle)
    assert "no student-cpu.safetensors; export it again from its checkpoint" in chosen.rejected["compiled-cpu"]
    with pytest.raises(BackendError, match=r"no student-cpu\.safetensors"):
        open_executor(bundle, "compiled-cpu")


def test_a_file_that_is_no_program_is_the_bundles_fault(tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"student-cpu\.safetensors: not a program"):
        CompiledExecutor(changed(tiny_bundle, tmp_path / "b", b"something else"))
