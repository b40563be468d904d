"""Recorded commands can be typed on another machine."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distill.provenance import command

RESULTS = sorted((Path(__file__).parents[2] / "results").glob("*.json"))
WORDS = ["scans", "/data of ours/kitti", "--out=/data of ours/runs/a b.json", "--scan-set", "/data of ours 2/x", "/data of ours"]


def typed(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> str:
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *words])
    return command("distill.evaluate")


def test_the_folder_of_real_scans_goes_by_the_name_that_every_machine_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELIDAR_DATA", "/data of ours")
    recorded = typed(monkeypatch, WORDS)
    assert recorded == (
        "python -m distill.evaluate scans $RELIDAR_DATA/kitti --out=$RELIDAR_DATA/'runs/a b.json' "
        "--scan-set '/data of ours 2/x' $RELIDAR_DATA"
    )


def test_a_folder_that_is_named_from_where_one_stands_leaves_words_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    # It would be another folder for who types the command elsewhere, and "." holds every relative path.
    for data in (".", "data"):
        monkeypatch.setenv("RELIDAR_DATA", data)
        assert (
            typed(monkeypatch, ["scans", "data/kitti", "--seed", "1"]) == "python -m distill.evaluate scans data/kitti --seed 1"
        )


def test_a_recorded_command_is_what_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RELIDAR_DATA", raising=False)
    assert shlex.split(typed(monkeypatch, WORDS))[3:] == WORDS
    # A shell makes the same words of it again where the variable is set.
    monkeypatch.setenv("RELIDAR_DATA", "/data")
    words = ["/data/kitti", "--out=/data/it's.json", "--seed", "1"]
    script = f"set -- {typed(monkeypatch, words)}; shift 3; printf '%s\\n' \"$@\""
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == words


def recorded_commands(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from recorded_commands(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in ("command", "commands"):
                yield from [value] if isinstance(value, str) else value
            else:
                yield from recorded_commands(value)


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.name)
def test_no_result_names_a_folder_of_one_machine(path: Path) -> None:
    for text in recorded_commands(json.loads(path.read_text())):
        assert not re.search(r"(?:^|[\s='\"])(?:/|~)\w", text), text
