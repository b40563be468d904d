"""Labelled clouds by number: the keyframes of a dataset, or a folder of .npz scans. All protocols of evaluation read these.

Intensities come in the unit that the student was trained with, labels as the numbers of the dataset.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distill.datasets import full_return, read_cloud, read_keyframes, read_labels
from distill.keyframe import Keyframe
from distill.kitti_frames import SemanticKittiConfig
from distill.nuscenes_frames import NuScenesConfig
from distill.scan_folder import ScanSet, list_scans, read_scan
from distill.splits import Percent

Cloud = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.integer]]
"""xyz_m (N, 3), intensity (N,), true label (N,)."""


@dataclass(frozen=True)
class KeyframeClouds:
    """Clouds of keyframes."""

    frames: Sequence[Keyframe]
    gain: np.float32

    @classmethod
    def of_split(
        cls, config: NuScenesConfig | SemanticKittiConfig, split: str, intensity_max: float, percent: Percent = 100
    ) -> "KeyframeClouds":
        """A split or a share of it (see `read_keyframes`); `intensity_max` is the student's full return."""
        return cls(read_keyframes(config, split, percent), np.float32(intensity_max / full_return(config)))

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, number: int) -> Cloud:
        """Reads one; raises DatasetError if a file is damaged or the dataset has no labels."""
        frame = self.frames[number]
        xyz_m, intensity = read_cloud(frame.cloud)
        return xyz_m, intensity * self.gain, read_labels(frame, len(xyz_m))

    def only(self, numbers: Sequence[int]) -> "KeyframeClouds":
        """Some of them."""
        return KeyframeClouds([self.frames[number] for number in numbers], self.gain)


@dataclass(frozen=True)
class FolderClouds:
    """Scans of a folder."""

    paths: Sequence[Path]
    gain: np.float32

    @classmethod
    def of_folder(cls, folder: Path, scan_set: ScanSet, intensity_max: float) -> "FolderClouds":
        """All of them, in the order of their names; `intensity_max` is the student's full return."""
        return cls(list_scans(folder), np.float32(intensity_max / scan_set.intensity_max))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> Cloud:
        """Reads one; raises DatasetError if it is damaged."""
        scan = read_scan(self.paths[number])
        return scan.xyz_m, scan.intensity * self.gain, scan.label

    def only(self, numbers: Sequence[int]) -> "FolderClouds":
        """Some of them."""
        return FolderClouds([self.paths[number] for number in numbers], self.gain)


LabelledClouds = KeyframeClouds | FolderClouds


def spread(clouds: LabelledClouds, limit: int | None) -> LabelledClouds:
    """At most `limit` of them, evenly spread; all without a limit."""
    if limit is None or limit >= len(clouds):
        return clouds
    return clouds.only(np.linspace(0, len(clouds) - 1, limit).round().astype(int).tolist())
