"""Training scans: a keyframe's cloud, changed at random, with its pairs of voxels and superpixels.

Scan number i of a run is determined by the seed and i alone. So a run that was resumed sees what a straight run sees, and several
processes share the numbers without talking to each other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from distill.config import AugmentConfig, TrainConfig
from distill.nuscenes_frames import Keyframe, read_cloud
from distill.sparse_conv import PairTables, pair_tables
from distill.student import LEVELS
from distill.teacher_cache import TeacherCache
from relidar.rulebook import build_rulebook
from relidar.voxels import Voxels, voxelise


@dataclass(frozen=True)
class Scan:
    """One changed scan."""

    voxels: Voxels
    voxel: NDArray[np.int32]
    """(P,) voxel of each pair."""
    superpixel: NDArray[np.int32]
    """(P,) superpixel of each pair."""
    teacher: NDArray[np.float16]
    """(S, D) unit features of the superpixels."""


@dataclass(frozen=True)
class ScanBatch:
    """B scans, their voxels and superpixels numbered through."""

    features: Tensor
    """(V, C_in)"""
    tables: PairTables
    voxel: Tensor
    """(P,) int64"""
    superpixel: Tensor
    """(P,) int64"""
    teacher: Tensor
    """(S, D) unit rows, float32"""

    def to(self, device: torch.device) -> "ScanBatch":
        """The same batch on another device."""
        tables = {name: table.to(device) for name, table in self.tables.items()}
        moved = (tensor.to(device) for tensor in (self.voxel, self.superpixel, self.teacher))
        return ScanBatch(self.features.to(device), tables, *moved)


class TrainingScans(Dataset[Scan]):
    """Scan i for any i >= 0: an endless shuffle of the keyframes."""

    def __init__(self, frames: Sequence[Keyframe], cache: TeacherCache, config: TrainConfig) -> None:
        self._frames = frames
        self._cache = cache
        self._config = config

    def __getitem__(self, index: int) -> Scan:
        """Reads and changes scan `index`; raises DatasetError for a damaged file or a missing teacher view."""
        epoch, position = divmod(index, len(self._frames))
        order = np.random.default_rng([self._config.seed, 0, epoch]).permutation(len(self._frames))
        generator = np.random.default_rng([self._config.seed, 1, index])
        frame = self._frames[order[position]]
        xyz_m, intensity = read_cloud(frame.cloud)
        view = self._cache.read(frame)
        xyz_m = augment(xyz_m, self._config.augment, generator)
        voxels = voxelise(xyz_m, intensity, self._config.preprocessing)
        voxel = voxels.voxel_of_point[view.point]
        limit = max(2, self._config.schedule.rows // self._config.schedule.batch_scans)
        chosen = np.full(len(view.features), -1, np.int32)
        seen = np.unique(view.superpixel[voxel >= 0])
        weight = 1.0 / view.crowd[seen] if self._config.schedule.even_rows else np.ones(len(seen))
        drawn = np.sort(generator.choice(seen, min(limit, len(seen)), replace=False, p=weight / weight.sum()))
        chosen[drawn] = np.arange(len(drawn))
        superpixel = chosen[view.superpixel]
        kept = (voxel >= 0) & (superpixel >= 0)
        return Scan(voxels, voxel[kept], superpixel[kept], view.features[drawn])


class StepSampler(Sampler[list[int]]):
    """The scan numbers of each step from `first_step` on; processes take neighbouring numbers."""

    def __init__(self, first_step: int, steps: int, batch_scans: int, rank: int, world_size: int) -> None:
        self._first_step, self._total = first_step, steps
        self._batch, self._rank, self._world_size = batch_scans, rank, world_size

    def __len__(self) -> int:
        # All steps of the run, also when it is resumed: Lightning counts those that were done before as fetched.
        return self._total

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self._first_step, self._total):
            first = (step * self._world_size + self._rank) * self._batch
            yield list(range(first, first + self._batch))


def collate(scans: Sequence[Scan]) -> ScanBatch:
    """Numbers the voxels and superpixels of several scans through and builds their rulebook."""
    voxel_counts = [len(scan.voxels.coordinates) for scan in scans]
    first_voxel = np.cumsum([0, *voxel_counts])
    first_superpixel = np.cumsum([0] + [len(scan.teacher) for scan in scans])
    scan_of_voxel = np.repeat(np.arange(len(scans), dtype=np.int32), voxel_counts)
    rulebook = build_rulebook(np.concatenate([scan.voxels.coordinates for scan in scans]), LEVELS, scan_of_voxel)
    voxel = np.concatenate([scan.voxel + first for scan, first in zip(scans, first_voxel, strict=False)])
    superpixel = np.concatenate([scan.superpixel + first for scan, first in zip(scans, first_superpixel, strict=False)])
    teacher = torch.from_numpy(np.concatenate([scan.teacher for scan in scans])).float()
    return ScanBatch(
        torch.from_numpy(np.concatenate([scan.voxels.features for scan in scans])),
        pair_tables(rulebook),
        torch.from_numpy(voxel),
        torch.from_numpy(superpixel),
        torch.nn.functional.normalize(teacher, dim=1),
    )


def augment(xyz_m: NDArray[np.float32], config: AugmentConfig, generator: np.random.Generator) -> NDArray[np.float32]:
    """(N, 3) points, turned, mirrored, scaled and moved at random; dropped points become NaN, so that numbering is kept."""
    angle = generator.uniform(-np.pi, np.pi) if config.rotate else 0.0
    mirror = generator.choice([-1.0, 1.0], 2) if config.flip else np.ones(2)
    scale = generator.uniform(1 - config.scale, 1 + config.scale)
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    matrix = (scale * np.diag([mirror[0], mirror[1], 1.0]) @ turn).astype(np.float32)
    changed = xyz_m @ matrix.T
    changed[:, 2] += np.float32(generator.uniform(-config.shift_height_m, config.shift_height_m))
    dropped = generator.random(len(xyz_m)) < generator.uniform(0.0, config.drop_points)
    changed[dropped] = np.nan
    return changed
