"""What a trained student is when nothing of the trainer is at hand: weights, preprocessing, classes, text and provenance.

Training keeps Lightning checkpoints to resume from; this file, `student.pt`, is what evaluation and export read. It holds
tensors, numbers and strings only and is loaded with weights_only=True.
"""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distill.student import Student, StudentConfig
from relidar.atomic import atomic_file
from relidar.bundle import TrainingFacts
from relidar.config_file import Model, validate
from relidar.errors import CheckpointError, ConfigError
from relidar.prompts import PromptSet
from relidar.text_bank import TextBank
from relidar.voxels import Preprocessing

FORMAT_VERSION = 1


class StudentDescription(Model):
    """Everything about a student but its tensors."""

    format_version: int
    student: StudentConfig
    in_channels: int
    feature_width: int
    preprocessing: Preprocessing
    prompt_set: PromptSet
    text_encoder: str
    text_prompts: tuple[str, ...]
    training: TrainingFacts


@dataclass(frozen=True)
class StudentCheckpoint:
    """A student ready to run, and what it needs to be exported."""

    student: Student
    """In evaluation mode, on the CPU."""
    preprocessing: Preprocessing
    prompt_set: PromptSet
    text: TextBank
    training: TrainingFacts


def save_student(checkpoint: StudentCheckpoint, path: Path) -> None:
    """Writes a student checkpoint atomically."""
    description = StudentDescription(
        format_version=FORMAT_VERSION,
        student=checkpoint.student.config,
        in_channels=checkpoint.student.in_channels,
        feature_width=checkpoint.student.feature_width,
        preprocessing=checkpoint.preprocessing,
        prompt_set=checkpoint.prompt_set,
        text_encoder=checkpoint.text.encoder,
        text_prompts=checkpoint.text.prompts,
        training=checkpoint.training,
    )
    content = {
        "description": description.model_dump(mode="json"),
        "student": {name: tensor.cpu() for name, tensor in checkpoint.student.state_dict().items()},
        "text": torch.from_numpy(checkpoint.text.embeddings),
    }
    with atomic_file(path) as temporary:
        torch.save(content, temporary)


def load_student(path: Path) -> StudentCheckpoint:
    """Reads a student checkpoint; raises CheckpointError if it is missing, cut short or of another architecture."""
    content = read_tensors(path)
    description = content.get("description")
    found = description.get("format_version") if isinstance(description, dict) else None
    if found != FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: not a student of this version (format_version is {found!r}, expected {FORMAT_VERSION}); train again or use "
            "the relidar that wrote it."
        )
    try:
        description = validate(content["description"], StudentDescription, str(path))
        student = Student(description.student, description.in_channels, description.feature_width)
        student.load_state_dict(content["student"])
        embeddings = np.asarray(content["text"].numpy(), dtype=np.float32)
    except (ConfigError, RuntimeError, KeyError, AttributeError, TypeError) as error:
        reason = str(error).split("\n\t")[0]
        raise CheckpointError(
            f"{path}: not a student of this version ({reason}); expected the student.pt that `python -m distill.train` wrote. "
            "Train again or use the relidar that wrote it."
        ) from error
    if description.in_channels != len(description.preprocessing.features):
        raise CheckpointError(f"{path}: {description.in_channels} input channels do not fit its preprocessing; train again.")
    if embeddings.shape != (len(description.text_prompts), description.feature_width):
        raise CheckpointError(f"{path}: text embeddings {embeddings.shape} do not fit the student; train again.")
    text = TextBank(description.text_encoder, description.text_prompts, embeddings)
    return StudentCheckpoint(student.eval(), description.preprocessing, description.prompt_set, text, description.training)


def read_tensors(path: Path) -> dict[str, Any]:
    """The mapping of tensors, numbers and strings in a file of torch.save; raises CheckpointError."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; `python -m distill.train` writes student.pt into its run folder.") from None
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"{path}: not readable as a checkpoint, perhaps cut short ({error}); remove it, train again."
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, expected a student checkpoint.")
    return content
