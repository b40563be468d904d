import os
import shutil
from pathlib import Path

import pytest

from relidar.atomic import atomic_file, atomic_folder, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole_in_a_new_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    with atomic_file(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        assert temporary.suffix == ".txt"
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    assert names(path.parent) == ["a.txt"]


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "half \ud800")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_others_may_read_the_file_as_usual(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    write_text(tmp_path / "ours", "x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_folder_replaces_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "b"
    for content in ("one", "two"):
        with atomic_folder(path) as folder:
            (folder / content).write_text(content)
    assert names(path) == ["two"]
    assert names(tmp_path) == ["b"]
    usual = tmp_path / "usual"
    usual.mkdir()
    assert path.stat().st_mode & 0o055 == usual.stat().st_mode & 0o055


def test_a_failure_leaves_the_old_folder(tmp_path: Path) -> None:
    path = tmp_path / "b"
    with atomic_folder(path) as folder:
        (folder / "old").touch()
    with pytest.raises(FileNotFoundError), atomic_folder(path) as folder:
        shutil.copytree(tmp_path / "nowhere", folder / "half")
    assert names(path) == ["old"]
    assert names(tmp_path) == ["b"]


def test_a_folder_that_cannot_be_put_in_place_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "b"
    path.mkdir()
    (path / "old").touch()
    rename = Path.rename

    # Nothing real makes the second of two renames in one folder fail on demand.
    def full(self: Path, target: Path) -> Path:
        if target == path and not self.name.endswith(".old"):
            raise OSError("no space")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(OSError, match="no space"), atomic_folder(path) as folder:
        (folder / "new").touch()
    assert names(path) == ["old"]
    assert names(tmp_path) == ["b"]


def test_text_is_utf8_whatever_the_locale(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "Straße")
    assert (tmp_path / "a").read_bytes() == "Straße".encode()
    assert os.listdir(tmp_path) == ["a"]  # noqa: PTH208
