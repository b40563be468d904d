"""The structure of a student's features on labelled clouds without images: what of `structure` needs no teacher."""

import numpy as np
import torch

from distill.checkpoint import StudentCheckpoint
from distill.labelled_clouds import LabelledClouds, spread
from distill.structure import tolerance, uniformity
from distill.student import LEVELS
from distill.torch_executor import TorchExecutor
from distill.tuning_scans import IGNORED, voxel_truth
from relidar.label_map import LabelMap
from relidar.rulebook import build_rulebook
from relidar.voxels import voxelise

SCANS = 4
ROWS = 1024
"""Labelled voxels of a scan, drawn at random."""


def measure_cloud_structure(
    checkpoint: StudentCheckpoint, clouds: LabelledClouds, label_map: LabelMap, limit: int = SCANS
) -> dict[str, float]:
    """Uniformity and tolerance of the student over labelled voxels, averaged over at most `limit` scans spread over the set."""
    executor = TorchExecutor(checkpoint.student)
    truth_of = label_map.truth_lookup()
    gaps: dict[str, list[float]] = {"uniformity_student": [], "tolerance_student": []}
    chosen = spread(clouds, limit)
    for number in range(len(chosen)):
        xyz_m, intensity, label = chosen[number]
        voxels = voxelise(xyz_m, intensity, checkpoint.preprocessing)
        truth = voxel_truth(voxels, truth_of[label], len(label_map.classes))
        labelled = np.flatnonzero(truth != IGNORED)
        if len(labelled) < 2:
            continue
        rows = np.random.default_rng(number).permutation(labelled)[:ROWS]
        features = torch.from_numpy(executor(voxels.features, build_rulebook(voxels.coordinates, LEVELS))[rows])
        gaps["uniformity_student"].append(float(uniformity(features)))
        gaps["tolerance_student"].append(float(tolerance(features, torch.from_numpy(truth[rows]))))
    # A scan without two voxels of one class has no tolerance.
    finite = {name: [value for value in values if np.isfinite(value)] for name, values in gaps.items()}
    return {name: float(np.mean(values)) for name, values in finite.items() if values}
