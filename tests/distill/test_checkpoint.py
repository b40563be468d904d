"""A student survives the file exactly; other files are refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from distill.checkpoint import StudentCheckpoint, load_student, save_student
from relidar.errors import CheckpointError


def test_a_student_survives_the_file(tiny_checkpoint: StudentCheckpoint, tmp_path: Path) -> None:
    save_student(tiny_checkpoint, tmp_path / "student.pt")
    loaded = load_student(tmp_path / "student.pt")
    for name, tensor in tiny_checkpoint.student.state_dict().items():
        assert torch.equal(tensor, loaded.student.state_dict()[name])
    assert loaded.preprocessing == tiny_checkpoint.preprocessing
    assert loaded.prompt_set == tiny_checkpoint.prompt_set
    assert loaded.text.prompts == tiny_checkpoint.text.prompts
    np.testing.assert_array_equal(loaded.text.embeddings, tiny_checkpoint.text.embeddings)
    assert loaded.training == tiny_checkpoint.training
    assert not loaded.student.training


def test_another_architecture_is_refused(tiny_checkpoint: StudentCheckpoint, tmp_path: Path) -> None:
    path = tmp_path / "student.pt"
    save_student(tiny_checkpoint, path)
    content = torch.load(path, weights_only=True)
    content["description"]["student"]["architecture"] = "minkunet34"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="not a student of this version"):
        load_student(path)
    content["description"]["student"]["architecture"] = "minkunet15"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="minkunet15"):
        load_student(path)


class Evil:
    def __reduce__(self) -> tuple:
        return print, ("executed",)


def test_what_is_not_a_checkpoint_is_refused(tiny_checkpoint: StudentCheckpoint, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "student.pt"
    with pytest.raises(CheckpointError, match="no such file"):
        load_student(path)
    save_student(tiny_checkpoint, path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="perhaps cut short"):
        load_student(path)
    torch.save({"description": Evil()}, path)
    with pytest.raises(CheckpointError):
        load_student(path)
    assert "executed" not in capsys.readouterr().out
    torch.save({"weights": torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match="not a student"):
        load_student(path)
