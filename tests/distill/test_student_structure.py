"""The structural gaps of a student on keyframes: what is measured is what the teacher's view and the labels say."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from distill.checkpoint import StudentCheckpoint
from distill.config import TrainConfig
from distill.datasets import read_cloud, read_keyframes, read_labels
from distill.student import Student
from distill.student_structure import measure_structure
from distill.teacher_cache import view_keyframe
from distill.teachers import make_teacher
from relidar.label_map import LabelMap, MappedClass
from relidar.voxels import voxelise

LABELS = LabelMap(
    name="test",
    classes=(
        MappedClass(name="ground", truth=(24, 25, 26, 27), predicted=()),
        MappedClass(name="upright", truth=(28, 30), predicted=()),
    ),
)


@pytest.fixture
def student(tiny_checkpoint: StudentCheckpoint) -> StudentCheckpoint:
    """As wide as the teacher of the tests."""
    torch.manual_seed(0)
    return replace(tiny_checkpoint, student=Student(tiny_checkpoint.student.config, 1, 384).eval())


def test_the_teachers_tolerance_is_that_of_its_view_by_majority_of_the_points(
    config: TrainConfig, student: StudentCheckpoint
) -> None:
    (frame,) = read_keyframes(config.data, "val")
    found = measure_structure(student, config, [frame], LABELS)
    view = view_keyframe(frame, make_teacher(config.teacher), config.superpixels, config.occlusion)
    xyz_m, intensity = read_cloud(frame.cloud)
    in_a_voxel = voxelise(xyz_m, intensity, student.preprocessing).voxel_of_point >= 0
    truth = LABELS.truth_lookup()[read_labels(frame, len(xyz_m))]
    labels: dict[int, Counter] = {}
    for point, row in zip(view.point.tolist(), view.superpixel.tolist(), strict=True):
        if in_a_voxel[point]:
            labels.setdefault(row, Counter())[int(truth[point])] += 1
    unit = view.features.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    of_class: dict[int, list[int]] = {0: [], 1: []}
    for row, counter in labels.items():
        # Of equally many the first wins.
        most = min(label for label, count in counter.items() if count == max(counter.values()))
        if most in of_class:
            of_class[most].append(row)
    products = [unit[i] @ unit[j] for rows in of_class.values() for i in rows for j in rows if i != j]
    assert min(map(len, of_class.values())) > 5
    assert found["tolerance_teacher"] == pytest.approx(np.mean(products), abs=1e-5)
    assert -1 <= found["tolerance_student"] <= 1
    assert found["relation_gap"] > 0


def test_a_student_of_another_unit_of_intensity_sees_the_same(config: TrainConfig, student: StudentCheckpoint) -> None:
    frames = read_keyframes(config.data, "val")
    of_one = replace(student, preprocessing=student.preprocessing.model_copy(update={"intensity_max": 1.0}))
    assert student.preprocessing.intensity_max == 255
    assert measure_structure(of_one, config, frames) == pytest.approx(measure_structure(student, config, frames), rel=1e-3)


def test_without_labels_there_is_no_tolerance_and_frames_are_spread(config: TrainConfig, student: StudentCheckpoint) -> None:
    frames = read_keyframes(config.data, "train")
    first = measure_structure(student, config, frames, limit=1)
    assert first == measure_structure(student, config, frames[:1])
    assert not [name for name in first if name.startswith("tolerance")]
    both = measure_structure(student, config, frames)
    second = measure_structure(student, config, frames[1:])
    assert both == pytest.approx({name: (first[name] + second[name]) / 2 for name in first})
