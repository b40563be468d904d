"""Mistakes in the arguments of `distill.evaluate` are told in words, and before anything slow is imported."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROBE = """
import atexit, json, runpy, sys
slow = ("torch", "lightning", "nuscenes", "sklearn")
atexit.register(lambda: print(json.dumps([name for name in slow if name in sys.modules])))
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""

SCANS = ["k-shot", "--checkpoint", "GIVEN", "--scans", "GIVEN", "--scan-set", "GIVEN"]


def run(*words: object, module: str = "distill.evaluate") -> tuple[int, str, list[str]]:
    """Exit code, what was said, and which slow libraries were imported for it."""
    command = [sys.executable, "-c", PROBE, module, *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    *said, imported = done.stdout.splitlines()
    return done.returncode, "\n".join(said) + done.stderr, json.loads(imported)


@pytest.fixture
def given(tmp_path: Path) -> Path:
    path = tmp_path / "given"
    path.write_text("run: r\ncache: c\ndata: {root: d}\n")
    return path


def test_help_needs_nothing_slow() -> None:
    code, said, imported = run("k-shot", "--help")
    assert (code, imported) == (0, [])
    assert "--trunk-lr" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["zero-shot", "--checkpoint", "GIVEN"], "zero-shot needs --config or --scans"),
        (["fine-tune", "--checkpoint", "GIVEN"], "fine-tune needs --config"),
        (["k-shot", "--checkpoint", "GIVEN", "--scans", "GIVEN"], "--scans needs --scan-set"),
        (
            ["k-shot", "--checkpoint", "GIVEN", "--scans", "GIVEN", "--scan-set", "GIVEN", "--data.root", "z"],
            "unrecognized arguments: --data.root z",
        ),
        (
            ["k-shot", "--checkpoint", "GIVEN", "--config", "GIVEN", "--k", "0"],
            "argument --k: '0', expected a whole number of at least 1",
        ),
        ([*SCANS, "--seeds", "0", "-1"], "argument --seeds: '-1', expected a whole number of at least 0"),
        ([*SCANS, "--test-scans", "x"], "argument --test-scans: 'x', expected a whole number of at least 1"),
        ([*SCANS, "--label-map", "GIVEN"], "--label-map has no meaning with --scans"),
        ([*SCANS, "--split", "train"], "--split has no meaning with --scans"),
        (
            ["zero-shot", "--checkpoint", "GIVEN", "--config", "GIVEN", "--scan-set", "GIVEN"],
            "--scan-set has no meaning with --config",
        ),
        (["fine-tune", "--checkpoint", "GIVEN", "--config", "GIVEN", "--percent", "3"], "argument --percent: invalid choice: 3"),
        (["zero-shot", "--checkpoint", "no.pt", "--config", "GIVEN"], "argument --checkpoint: no.pt: no such file or folder"),
        (["scans", "absent", "--bundle", "GIVEN", "--scan-set", "GIVEN"], "argument folder: absent: no such file or folder"),
    ],
)
def test_arguments_that_do_not_fit_end_with_exit_code_2_at_once(given: Path, words: list[str], message: str) -> None:
    code, said, imported = run(*(given if word == "GIVEN" else word for word in words))
    assert (code, imported) == (2, [])
    assert message in said


@pytest.mark.parametrize(
    ("module", "words", "message"),
    [
        ("distill.cache", ["--workers", "-1"], "argument --workers: '-1', expected a whole number of at least 0"),
        ("distill.compare", ["--out", "o.json", "--jobs", "x"], "argument --jobs: 'x', expected a whole number of at least 0"),
        ("distill.street", ["--scenes", "0", "OUT"], "argument --scenes: '0', expected a whole number of at least 1"),
    ],
)
def test_numbers_that_mean_nothing_are_told_at_once(given: Path, module: str, words: list[str], message: str) -> None:
    config = [] if module == "distill.street" else ["--config", given]
    code, said, imported = run(*config, *words, module=module)
    assert (code, "torch" in imported) == (2, False)
    assert message in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["zero-shot", "--config", "GIVEN", "--corrupt", "hail"], "hail"),
        (["fine-tune", "--config", "GIVEN", "--epochs", "0"], "epochs is 0"),
        ([*SCANS, "--trunk-lr", "-1"], "trunk_lr is -1"),
    ],
)
def test_impossible_settings_are_told_before_the_checkpoint_is_read(given: Path, words: list[str], message: str) -> None:
    if "--checkpoint" not in words:
        words = [*words, "--checkpoint", "GIVEN"]
    code, said, _ = run(*(given if word == "GIVEN" else word for word in words))
    assert code == 1
    assert message in said
    assert "checkpoint" not in said  # which is none


def test_a_misspelt_value_of_the_configuration_is_told_before_the_dataset_is_read(given: Path) -> None:
    code, said, imported = run("zero-shot", "--checkpoint", given, "--config", given, "--optim.lrr", "1")
    assert (code, said) == (1, "error: command line: unknown key '--optim.lrr'; did you mean '--optim.lr'?\n")
    assert not {"lightning", "nuscenes", "sklearn"} & set(imported)
