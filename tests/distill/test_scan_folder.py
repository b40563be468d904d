"""Which sets of real scans are found."""

from pathlib import Path

import pytest

from distill.scan_folder import described_sets
from relidar.errors import ConfigError

ROOT = Path(__file__).parents[2]


def test_sets_are_the_described_folders_under_the_one_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for name in ("vlp32-mit", "not-described"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("RELIDAR_DATA", str(tmp_path))
    assert described_sets() == [tmp_path / "vlp32-mit"]
    monkeypatch.delenv("RELIDAR_DATA")
    assert described_sets() == []


def test_a_name_of_no_folder_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELIDAR_DATA", str(tmp_path / "misspelt"))
    with pytest.raises(ConfigError, match=r"RELIDAR_DATA is .*misspelt: no such folder"):
        described_sets()
