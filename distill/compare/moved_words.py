"""Words moved out of the image features by a known length: the text-image gap of a teacher as a variable.

A teacher trained on images and captions leaves a gap between the two. Here the gap is made: each class's words get a component
in a dimension of their own in which no image feature has anything. How well a student then names points tells what its loss made
it put where the teacher says nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from distill.checkpoint import StudentCheckpoint
from distill.labelled_clouds import LabelledClouds
from distill.structure import text_outside_image
from distill.student import LEVELS
from distill.torch_executor import TorchExecutor
from relidar.errors import ConfigError
from relidar.label_map import LabelMap
from relidar.metrics import Confusion
from relidar.prompts import UNLABELLED, ClassPrompts
from relidar.rulebook import build_rulebook
from relidar.text_bank import TextBank
from relidar.voxels import voxelise
from relidar.words import Words


def require_room(spare_dimensions: int, classes: int) -> None:
    """Raises ConfigError if there are fewer spare dimensions than classes, whose words would move into one each."""
    if spare_dimensions < classes:
        raise ConfigError(
            f"text_shifts: {classes} classes need as many dimensions of their own, found spare_dimensions: {spare_dimensions}; "
            f"set it to {classes}."
        )


def move_words(words: Words, shift: float, spare_dimensions: int) -> Words:
    """Adds `shift` to the words of class i in the i-th of the spare dimensions, the last of the space, and makes them unit again.

    Raises:
        ConfigError: there are fewer spare dimensions than classes.
    """
    if shift == 0:
        return words
    require_room(spare_dimensions, len(words.first))
    text = words.text.copy()
    text[np.arange(len(text)), text.shape[1] - spare_dimensions + words.class_of_prompt] += np.float32(shift)
    return Words(text / np.linalg.norm(text, axis=1, keepdims=True), words.first, words.queries)


def text_gap(words: Words, image_energy: torch.Tensor) -> float:
    """`text_outside_image` of these words; the (D, D) energy of the image features may lack the spare dimensions."""
    spare = words.text.shape[1] - len(image_energy)
    energy = torch.nn.functional.pad(image_energy, (0, spare, 0, spare))
    return float(text_outside_image(torch.from_numpy(words.text), energy))


def zero_shots(
    checkpoint: StudentCheckpoint, sets_of_words: Mapping[float, Words], clouds: LabelledClouds, label_map: LabelMap, name: str
) -> dict[float, dict[str, Any]]:
    """{miou, class_iou} of one student under several sets of words for its classes, from one pass over the clouds."""
    classes: Sequence[ClassPrompts] = checkpoint.prompt_set.classes
    ids = np.array([c.id for c in classes], np.uint8)
    truth_of, prediction_of = label_map.truth_lookup(), label_map.prediction_lookup(tuple(classes))
    executor = TorchExecutor(checkpoint.student)
    confusions = {shift: Confusion(label_map.names) for shift in sets_of_words}
    for number in tqdm(range(len(clouds)), desc=name, unit="scan"):
        xyz_m, intensity, label = clouds[number]
        voxels = voxelise(xyz_m, intensity, checkpoint.preprocessing)
        features = executor(voxels.features, build_rulebook(voxels.coordinates, LEVELS))
        for shift, words in sets_of_words.items():
            # One more voxel at the end answers for the points without one, whose index is -1.
            answer = np.append(ids[words.scores(features).best], np.uint8(UNLABELLED))
            confusions[shift].update(truth_of[label], prediction_of[answer[voxels.voxel_of_point]])
    return {shift: {"miou": c.miou_percent(), "class_iou": c.iou_percent()} for shift, c in confusions.items()}


def words_of(checkpoint: StudentCheckpoint) -> Words:
    """The words of a student's classes."""
    bank: TextBank = checkpoint.text
    return Words.of_classes(checkpoint.prompt_set.classes, bank)
