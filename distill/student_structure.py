"""The structural gaps between a trained student and its teacher on keyframes of a dataset: part of every evaluation."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from distill.checkpoint import StudentCheckpoint
from distill.config import TrainConfig
from distill.datasets import full_return, read_cloud, read_labels
from distill.keyframe import Keyframe
from distill.pooling import pool
from distill.structure import structure_gaps
from distill.student import LEVELS
from distill.teacher_cache import TeacherView, view_keyframe
from distill.teachers import make_teacher
from distill.torch_executor import TorchExecutor
from relidar.errors import ConfigError
from relidar.label_map import LabelMap
from relidar.prompts import UNLABELLED
from relidar.rulebook import build_rulebook
from relidar.voxels import voxelise

FRAMES = 4
"""Keyframes that the gaps are averaged over, at most, spread over the split; each costs a run of the teacher."""


def measure_structure(
    checkpoint: StudentCheckpoint,
    config: TrainConfig,
    frames: Sequence[Keyframe],
    label_map: LabelMap | None = None,
    limit: int = FRAMES,
    view_of: Callable[[Keyframe], TeacherView] | None = None,
) -> dict[str, float]:
    """The gaps of `structure_gaps`, averaged over keyframes.

    Args:
        checkpoint: the student, and how it sees clouds.
        config: says which dataset and teacher, and which superpixels.
        frames: one at least.
        label_map: what the labels of the keyframes mean; with it the tolerance of both sides is there too.
        limit: keyframes at most.
        view_of: reads what the teacher says of a keyframe, from a cache say, whose rows are then compared; without it the teacher
            is run over superpixels, even if the student learned from pixels.

    Raises:
        DatasetError: a missing or damaged file, or no labels though `label_map` is given.
        ConfigError: the teacher that is run is not as wide as the student.
    """
    executor = TorchExecutor(checkpoint.student)
    view_of = view_of or _run_teacher(config, checkpoint.student.feature_width)
    gain = np.float32(checkpoint.preprocessing.intensity_max / full_return(config.data))
    gaps: list[dict[str, float]] = []
    for frame in tqdm(frames[:: -(-len(frames) // limit)], desc="structure", unit="keyframe"):
        view = view_of(frame)
        xyz_m, intensity = read_cloud(frame.cloud)
        voxels = voxelise(xyz_m, intensity * gain, checkpoint.preprocessing)
        features = executor(voxels.features, build_rulebook(voxels.coordinates, LEVELS))
        voxel = voxels.voxel_of_point[view.point]
        kept = voxel >= 0
        seen, row = np.unique(view.superpixel[kept], return_inverse=True)
        if len(seen) < 2:
            continue
        k = pool(torch.from_numpy(features), torch.from_numpy(voxel[kept]), torch.from_numpy(row), len(seen))
        q = torch.nn.functional.normalize(torch.from_numpy(view.features[seen]).float(), dim=1)
        q = torch.nn.functional.pad(q, (0, config.text.spare_dimensions))
        label = None
        if label_map is not None:
            truth = label_map.truth_lookup()[read_labels(frame, len(xyz_m))]
            label = torch.from_numpy(_majority(truth[view.point[kept]], row, len(seen)))
        gaps.append(structure_gaps(k, q, label))
    # A keyframe without two rows of one class has no tolerance.
    known = {name: [gap[name] for gap in gaps if np.isfinite(gap[name])] for name in (gaps[0] if gaps else {})}
    return {name: float(np.mean(values)) for name, values in known.items() if values}


def _run_teacher(config: TrainConfig, student_width: int) -> Callable[[Keyframe], TeacherView]:
    """What the teacher of a configuration says of a keyframe; raises ConfigError if it is not the student's."""
    teacher = make_teacher(config.teacher)
    if teacher.feature_width + config.text.spare_dimensions != student_width:
        raise ConfigError(
            f"teacher {config.teacher.kind} is {teacher.feature_width} wide, the student {student_width}; "
            "give the configuration that the student was trained with."
        )
    return lambda frame: view_keyframe(frame, teacher, config.superpixels, config.occlusion)


def _majority(label: NDArray[np.integer], row: NDArray[np.integer], rows: int) -> NDArray[np.int64]:
    """(S,) the label that most of each row's points have, of which -1 stands for none."""
    count = np.zeros((rows, UNLABELLED + 1), np.int64)
    np.add.at(count, (row, label), 1)
    most = count.argmax(axis=1)
    return np.where(most == UNLABELLED, -1, most)
