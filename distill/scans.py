"""Training scans: a keyframe's cloud, changed at random, with its pairs of voxels and superpixels.

Scan number i of a run is determined by the seed and i alone. So a run that was resumed sees what a straight run sees, and several
processes share the numbers without talking to each other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from distill.augmentation import augment, crop_box, in_box
from distill.config import TrainConfig
from distill.datasets import full_return, read_cloud
from distill.images import image_size
from distill.keyframe import Keyframe, image_pairs
from distill.rows import draw_rows
from distill.sparse_conv import PairTables, pair_tables
from distill.student import LEVELS
from distill.teacher_cache import TeacherCache, TeacherView
from relidar.errors import DatasetError
from relidar.rulebook import build_rulebook
from relidar.voxels import Voxels, voxelise


@dataclass(frozen=True)
class Scan:
    """One changed scan."""

    voxels: Voxels
    voxel: NDArray[np.int32]
    """(P,) voxel of each pair."""
    superpixel: NDArray[np.int32]
    """(P,) row of the loss that each pair belongs to: a superpixel, or the pair itself."""
    teacher: NDArray[np.float16]
    """(S, D) unit features of the rows."""


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
        self._gain = np.float32(config.preprocessing.intensity_max / full_return(config.data))

    def __getitem__(self, index: int) -> Scan:
        """Reads and changes scan `index`; raises DatasetError for a damaged file or a missing teacher view."""
        epoch, position = divmod(index, len(self._frames))
        order = np.random.default_rng([self._config.seed, 0, epoch]).permutation(len(self._frames))
        generator = np.random.default_rng([self._config.seed, 1, index])
        frame = self._frames[order[position]]
        xyz_m, intensity = read_cloud(frame.cloud)
        view = self._cache.read(frame)
        if view.mirrored is not None and generator.random() < 0.5:
            view = replace(view, features=view.mirrored)
        changed_m = augment(xyz_m, self._config.augment, generator)
        voxels = voxelise(changed_m, intensity * self._gain, self._config.preprocessing)
        schedule = self._config.schedule
        limit = max(2, schedule.rows // schedule.batch_scans)
        voxel = voxels.voxel_of_point[view.point]
        if self._config.augment.image_crop < 1:
            voxel = np.where(in_crops(frame, xyz_m, view, self._config, generator), voxel, -1)
        if not (voxel >= 0).any():
            raise DatasetError(f"{frame.cloud}: no pair of a point and an image is left; crop and drop less (augment).")
        rows = draw_rows(view, voxel, self._config.pairing, limit, schedule.even_rows, generator)
        return Scan(voxels, rows.voxel, rows.row, rows.teacher)


def in_crops(
    frame: Keyframe, xyz_m: NDArray[np.float32], view: TeacherView, config: TrainConfig, generator: np.random.Generator
) -> NDArray[np.bool_]:
    """(P,) which pairs of a teacher's view lie inside a random crop of their image, one crop an image.

    Raises:
        DatasetError: the keyframe's pairs are other ones than those of the view.
    """
    points, inside = [], []
    for camera in frame.views:
        height, width = image_size(camera.image)
        point, pixel = image_pairs(xyz_m, camera, height, width, config.occlusion)
        points.append(point)
        inside.append(in_box(pixel, height, width, crop_box(config.augment.image_crop, generator)))
    if not np.array_equal(np.concatenate(points), view.point):
        raise DatasetError(f"{frame.cloud}: its pairs are not those of the cache; run `python -m distill.cache` again.")
    return np.concatenate(inside)


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
    first_voxel = np.cumsum([0] + [len(scan.voxels.coordinates) for scan in scans])
    first_superpixel = np.cumsum([0] + [len(scan.teacher) for scan in scans])
    voxel = np.concatenate([scan.voxel + first for scan, first in zip(scans, first_voxel, strict=False)])
    superpixel = np.concatenate([scan.superpixel + first for scan, first in zip(scans, first_superpixel, strict=False)])
    teacher = torch.from_numpy(np.concatenate([scan.teacher for scan in scans])).float()
    return ScanBatch(
        *batch_voxels([scan.voxels for scan in scans]),
        torch.from_numpy(voxel),
        torch.from_numpy(superpixel),
        torch.nn.functional.normalize(teacher, dim=1),
    )


def batch_voxels(scans: Sequence[Voxels]) -> tuple[Tensor, PairTables]:
    """The features (V, C_in) and the tables of several scans side by side, their voxels numbered through."""
    scan_of_voxel = np.repeat(np.arange(len(scans), dtype=np.int32), [len(scan.coordinates) for scan in scans])
    rulebook = build_rulebook(np.concatenate([scan.coordinates for scan in scans]), LEVELS, scan_of_voxel)
    return torch.from_numpy(np.concatenate([scan.features for scan in scans])), pair_tables(rulebook)
