"""Labelled clouds as training scans: changed at random, each voxel with the class of most of its points."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from distill.augmentation import AugmentConfig, augment
from distill.labelled_clouds import LabelledClouds
from distill.scans import batch_voxels
from distill.sparse_conv import PairTables
from relidar.label_map import LabelMap
from relidar.prompts import UNLABELLED
from relidar.voxels import Preprocessing, Voxels, voxelise

IGNORED = -1
"""The class of a voxel without a labelled point."""


@dataclass(frozen=True)
class TuningBatch:
    """B scans, their voxels numbered through."""

    features: Tensor
    """(V, C_in)"""
    tables: PairTables
    truth: Tensor
    """(V,) int64 classes, IGNORED = none."""


class TuningScans(Dataset[tuple[Voxels, NDArray[np.int64]]]):
    """Scan i for any i >= 0: an endless shuffle of labelled clouds, each changed at random; seed and i alone determine it."""

    def __init__(
        self, clouds: LabelledClouds, label_map: LabelMap, preprocessing: Preprocessing, seed: int, changes: AugmentConfig
    ) -> None:
        self._clouds, self._truth_of, self._classes = clouds, label_map.truth_lookup(), len(label_map.classes)
        self._preprocessing, self._seed, self._changes = preprocessing, seed, changes

    def __getitem__(self, index: int) -> tuple[Voxels, NDArray[np.int64]]:
        """The voxels of scan `index` and the class of each."""
        epoch, position = divmod(index, len(self._clouds))
        order = np.random.default_rng([self._seed, 0, epoch]).permutation(len(self._clouds))
        generator = np.random.default_rng([self._seed, 1, index])
        xyz_m, intensity, label = self._clouds[int(order[position])]
        voxels = voxelise(augment(xyz_m, self._changes, generator), intensity, self._preprocessing)
        return voxels, voxel_truth(voxels, self._truth_of[label], self._classes)


def voxel_truth(voxels: Voxels, truth: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """(V,) the class that most of each voxel's labelled points have, IGNORED where it has none; `truth` (N,), 255 = none."""
    counted = (voxels.voxel_of_point >= 0) & (truth != UNLABELLED)
    cells = voxels.voxel_of_point[counted].astype(np.int64) * classes + truth[counted]
    votes = np.bincount(cells, minlength=len(voxels.coordinates) * classes).reshape(-1, classes)
    return np.where(votes.any(axis=1), votes.argmax(axis=1), IGNORED)


def collate(scans: Sequence[tuple[Voxels, NDArray[np.int64]]]) -> TuningBatch:
    """Numbers the voxels of several scans through."""
    features, tables = batch_voxels([voxels for voxels, _ in scans])
    return TuningBatch(features, tables, torch.from_numpy(np.concatenate([truth for _, truth in scans])))
