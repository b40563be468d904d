"""The file of a program: read as it was written, refused where anything does not fit."""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from relidar.errors import BundleError
from relidar.program import Program
from relidar.program_file import FORMAT, load_program, save_program
from tests.relidar.compiled.small_programs import random_program


@pytest.fixture(scope="module")
def program() -> Program:
    return random_program(np.random.default_rng(0), 2, (3, 5, 7, 4), 6)


def test_it_is_read_as_it_was_written(program: Program, tmp_path: Path) -> None:
    save_program(program, tmp_path / "p")
    again = load_program(tmp_path / "p")
    assert (again.in_channels, again.feature_width, again.levels) == (2, 6, 2)
    for step, expected in zip(again.steps, program.steps, strict=True):
        assert type(step) is type(expected)
        for field in fields(step):
            np.testing.assert_array_equal(getattr(step, field.name), getattr(expected, field.name))


def changed(program: Program, path: Path, index: int, **changes: Any) -> Path:
    """The file of the program with one step changed in its metadata or tensors."""
    save_program(program, path)
    tensors = load_file(path)
    content = {"in_channels": 2, "feature_width": 6, "levels": 2}
    steps = [
        {"kind": type(s).__name__, **{f.name: getattr(s, f.name) for f in fields(s) if f.name not in ("weight", "bias")}}
        for s in program.steps
    ]
    for name, value in changes.items():
        if name in ("weight", "bias"):
            tensors[f"{index}.{name}"] = value
        elif name in content:
            content[name] = value
        else:
            steps[index][name] = value
    save_file(tensors, path, {"format": FORMAT, "program": json.dumps({**content, "steps": steps})})
    return path


@pytest.mark.parametrize(
    ("index", "changes", "message"),
    [
        (2, {"table": "down_1"}, "step 2, Convolution, uses the table 'down_1', which a pyramid of 2 levels has not"),
        (2, {"table": "down_-1"}, "uses the table"),
        (2, {"table": "sideways_0"}, "uses the table 'sideways_0'"),
        (2, {"table": "up_0"}, "step 2, Convolution, reads 'a' of level 0 through 'up_0'"),
        (2, {"input": "z"}, "reads 'z', which no earlier step writes"),
        (2, {"output": "a"}, "writes 'a' a second time"),
        (2, {"weight": np.zeros((8, 3, 4), np.float32)}, r"weights \(8, 3, 4\) and bias \(3,\), expected"),
        (2, {"weight": np.zeros((7, 3, 3), np.float32)}, r"weights \(7, 3, 3\)"),
        (2, {"bias": np.zeros((3, 1), np.float32)}, r"bias \(3, 1\)"),
        (2, {"weight": np.zeros((8, 3, 3), np.float64)}, "type float64"),
        (2, {"bias": np.array([0, np.nan, 0], np.float32)}, "not finite"),
        (8, {"right": "b"}, r"step 8, Add, joins \(1, 5\) and \(1, 3\)"),
        (17, {"right": "b"}, r"step 17, Concat, joins \(0, 7\) and \(1, 3\)"),
        (23, {"output": "other"}, "does not end with unit_features of 6 channels"),
        (0, {"feature_width": 7}, "does not end with unit_features of 7 channels"),
        (0, {"levels": 0}, "0 levels"),
        (0, {"levels": "many"}, "not a program"),
        (0, {"kind": "Program"}, "not a program .KeyError: 'Program'"),
        (0, {"in_channels": 10**9}, "1000000000 channels"),
    ],
)
def test_what_does_not_fit_is_told(program: Program, tmp_path: Path, index: int, changes: dict[str, Any], message: str) -> None:
    path = changed(program, tmp_path / "p", index, **changes)
    with pytest.raises(BundleError, match=message):
        load_program(path)


@pytest.mark.parametrize("metadata", [None, {"format": "another 9"}, {"format": FORMAT}, {"format": FORMAT, "program": "["}])
def test_another_file_is_refused(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    save_file({"a": np.zeros(1, np.float32)}, tmp_path / "p", metadata)
    with pytest.raises(BundleError, match=r"p: (format .* reads|not a program).*export the bundle again"):
        load_program(tmp_path / "p")


@pytest.mark.parametrize("content", [b"", b"no safetensors", b'\x08\x00\x00\x00\x00\x00\x00\x00{"a":1}x'])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p").write_bytes(content)
    with pytest.raises(BundleError, match="not a program"):
        load_program(tmp_path / "p")


def test_a_cut_file_is_refused(program: Program, tmp_path: Path) -> None:
    save_program(program, tmp_path / "p")
    content = (tmp_path / "p").read_bytes()
    (tmp_path / "p").write_bytes(content[: len(content) // 2])
    with pytest.raises(BundleError, match="not a program"):
        load_program(tmp_path / "p")


def test_a_program_that_could_not_be_read_is_not_written(program: Program, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="does not end"):
        save_program(replace(program, steps=program.steps[:-1]), tmp_path / "p")
    assert not (tmp_path / "p").exists()
