"""Folders of labelled .npz scans, and the file that says what their numbers mean."""

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from relidar.errors import ConfigError, DatasetError
from relidar.label_map import LabelMap

MAX_LABEL = 65535
SCAN_SETS = Path("configs/scan_sets")


class ScanSet(LabelMap):
    """A label map, and the unit of the intensities."""

    intensity_max: Annotated[float, Field(gt=0)]
    """Value of a full return in these scans: 255 for nuScenes, 1 for KITTI."""


@dataclass(frozen=True)
class LabelledScan:
    """One scan."""

    xyz_m: NDArray[np.float32]
    """(N, 3) in the sensor frame."""
    intensity: NDArray[np.float32]
    """(N,) in the set's unit."""
    label: NDArray[np.integer]
    """(N,) numbers of the dataset."""
    ring: NDArray[np.integer] | None = None
    """(N,) beam of each point, if the file says."""


def described_sets() -> list[Path]:
    """The folders under the one that RELIDAR_DATA names whose labels a file of configs/scan_sets describes; none if it is unset.

    Raises:
        ConfigError: it names no folder.
    """
    if not (data := os.environ.get("RELIDAR_DATA")):
        return []
    if not Path(data).is_dir():
        raise ConfigError(f"RELIDAR_DATA is {data}: no such folder; give that of the labelled scans, or unset it.")
    described = (Path(data) / path.stem for path in sorted(SCAN_SETS.glob("*.yaml")))
    return [folder for folder in described if folder.is_dir()]


def list_scans(folder: Path) -> list[Path]:
    """The .npz files of a folder in the order of their names; raises DatasetError if there is none."""
    paths = sorted(folder.glob("*.npz"))
    if not paths:
        raise DatasetError(f"{folder}: no .npz scans there; give a folder of labelled scans.")
    return paths


def read_scan(path: Path) -> LabelledScan:
    """Reads arrays `points` (N, 4), `label` (N,) and perhaps `ring` (N,).

    Raises:
        DatasetError: they are missing, cut short or do not fit.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            points, label = arrays["points"], arrays["label"]
            ring = arrays.get("ring")
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{path}: not a labelled scan ({error}); expected an .npz with `points` and `label`.") from error
    shapes_fit = points.ndim == 2 and points.shape[1] == 4 and label.shape == points.shape[:1]
    if not shapes_fit or points.dtype.kind not in "fiu" or label.dtype.kind not in "ui":
        raise DatasetError(
            f"{path}: points {points.dtype} {points.shape} and label {label.dtype} {label.shape}, expected (N, 4) [x, y, z, "
            "intensity] and N integers."
        )
    if len(label) and (label.min() < 0 or label.max() > MAX_LABEL):
        raise DatasetError(
            f"{path}: labels from {label.min()} to {label.max()}, expected 0 to {MAX_LABEL}; keep only the class number "
            "(SemanticKITTI's raw labels have the instance in the upper 16 bits)."
        )
    if ring is not None and (ring.shape != label.shape or ring.dtype.kind not in "ui"):
        raise DatasetError(f"{path}: ring {ring.dtype} {ring.shape}, expected {len(label)} integers; correct or leave it out.")
    values = points.astype(np.float32)
    return LabelledScan(values[:, :3], values[:, 3], label, ring)
