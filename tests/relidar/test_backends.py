import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from relidar import backends
from relidar.backends import BACKENDS, open_executor
from relidar.bundle import GOLDEN, MANIFEST, Bundle, open_bundle, sha256_file
from relidar.errors import BackendError, BundleError
from relidar.executor import self_test
from relidar.onnx_executor import PairsExecutor
from relidar.rulebook import Rulebook


def with_golden(tiny_bundle: Path, path: Path, change: float, rows: slice = slice(None)) -> Bundle:
    """A copy of the bundle whose reference says something else, with a manifest that fits."""
    shutil.copytree(tiny_bundle, path)
    golden = open_bundle(path).golden()
    np.savez(path / GOLDEN, xyz_m=golden.xyz_m, intensity=golden.intensity, features=(golden.features + change)[rows])
    content = yaml.safe_load((path / MANIFEST).read_text())
    content["sha256"][GOLDEN] = sha256_file(path / GOLDEN)
    (path / MANIFEST).write_text(yaml.safe_dump(content))
    return open_bundle(path)


def test_auto_takes_the_first_that_runs_and_says_why_not_the_others(tiny_bundle: Path) -> None:
    chosen = open_executor(open_bundle(tiny_bundle))
    order = BACKENDS[1:]
    assert chosen.name in order
    assert list(chosen.rejected) == list(order[: order.index(chosen.name)])
    assert all(reason for reason in chosen.rejected.values())
    assert chosen.golden_difference < 1e-4


def test_a_named_backend_is_taken_or_refused_never_replaced(tiny_bundle: Path) -> None:
    bundle = open_bundle(tiny_bundle)
    works = [open_executor(bundle, "onnxruntime-cpu", threads=1).name]
    assert works == ["onnxruntime-cpu"]
    for name in open_executor(bundle).rejected:
        with pytest.raises(BackendError):
            open_executor(bundle, name)


@pytest.mark.parametrize("name", ["cpu", "", "CUDA"])
def test_an_unknown_backend_is_told_the_known_ones(tiny_bundle: Path, name: str) -> None:
    with pytest.raises(BackendError, match="auto, tensorrt, tensorrt-rtx, onnxruntime-cuda, compiled-cpu, onnxruntime-cpu"):
        open_executor(open_bundle(tiny_bundle), name)


def test_a_backend_with_wrong_answers_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = with_golden(tiny_bundle, tmp_path / "b", 1e-2)
    with pytest.raises(BackendError, match=r"differs from the golden features by .*, tolerance 1e-04"):
        open_executor(bundle, "onnxruntime-cpu")
    with pytest.raises(BackendError, match=r"no backend runs here:\n  tensorrt: .*(\n.*)*onnxruntime-cpu: .*differs"):
        open_executor(bundle)


def test_an_answer_that_is_not_a_number_is_refused(tiny_bundle: Path) -> None:
    bundle = open_bundle(tiny_bundle)

    class Broken(PairsExecutor):
        def __call__(self, features: np.ndarray, rulebook: Rulebook) -> np.ndarray:
            return super().__call__(features, rulebook) * np.float32(np.nan)

    with pytest.raises(BackendError, match="differs from the golden features by nan"):
        self_test(Broken(bundle), bundle)


def test_a_backend_that_fails_in_an_unforeseen_way_does_not_take_the_others_with_it(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_bundle: Bundle, _threads: int) -> PairsExecutor:
        raise ZeroDivisionError("in the driver")

    monkeypatch.setitem(backends._MAKERS, "tensorrt", broken)
    bundle = open_bundle(tiny_bundle)
    assert open_executor(bundle).rejected["tensorrt"].startswith("tensorrt: ZeroDivisionError: in the driver; use another")
    with pytest.raises(BackendError, match="ZeroDivisionError: in the driver"):
        open_executor(bundle, "tensorrt")


@pytest.mark.parametrize("backend", ["auto", "onnxruntime-cpu"])
def test_a_golden_scan_out_of_range_is_the_bundles_fault(tiny_bundle: Path, tmp_path: Path, backend: str) -> None:
    bundle = with_golden(tiny_bundle, tmp_path / "b", 0.0)
    golden = bundle.golden()
    np.savez(bundle.path / GOLDEN, xyz_m=golden.xyz_m + 1000, intensity=golden.intensity, features=golden.features)
    with pytest.raises(BundleError, match="no point in the bundle's range"):
        open_executor(bundle, backend)


def test_a_small_rounding_difference_passes(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = with_golden(tiny_bundle, tmp_path / "b", 1e-5)
    assert 9e-6 < self_test(PairsExecutor(bundle), bundle) < 1e-4


def test_a_reference_of_another_voxeliser_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = with_golden(tiny_bundle, tmp_path / "b", 0.0, slice(0, -1))
    with pytest.raises(BackendError, match="another version of relidar"):
        self_test(PairsExecutor(bundle), bundle)
