"""The teacher's view of each keyframe, pooled per superpixel and kept on disk, so that training never runs the teacher.

One safetensors file a keyframe, in a folder named after teacher and superpixels. A file carries a hash of its tensors, so damage
is noticed, and hashes of the cloud, images and masks it was made from, so that a keyframe that was made anew is viewed anew.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor

from distill.datasets import read_cloud
from distill.images import MaskConfig, SuperpixelConfig, mask_path, read_image, superpixels
from distill.keyframe import Keyframe, image_pairs
from distill.kitti_frames import SemanticKittiConfig
from distill.nuscenes_frames import NuScenesConfig
from distill.occlusion import OcclusionConfig
from distill.teachers import Teacher
from relidar.atomic import atomic_file
from relidar.errors import DatasetError

FORMAT = "2"
ALIKE_COSINE = 0.8
"""Superpixels whose features are nearer than this are of one kind to the teacher."""


@dataclass(frozen=True)
class TeacherView:
    """What the teacher says about one keyframe."""

    features: NDArray[np.float16]
    """(S, D) unit rows, one a superpixel that holds a LiDAR point; S counts over all cameras."""
    point: NDArray[np.int32]
    """(P,) LiDAR points that an image shows; a point in two images occurs twice."""
    superpixel: NDArray[np.int32]
    """(P,) row of `features` that each falls into."""
    crowd: NDArray[np.float32]
    """(S,) how many of the keyframe's superpixels the teacher finds alike, itself included: large for road, small for a cone."""
    mirrored: NDArray[np.float16] | None = None
    """(S, D) what the features of the same superpixels are in the mirrored images, where these were asked for."""


Pairing = Literal["superpixels", "pixels"]
TENSORS = ("features", "point", "superpixel", "crowd")


class TeacherCache:
    """Reads and writes teacher views."""

    def __init__(
        self,
        folder: Path,
        teacher_fingerprint: str,
        config: SuperpixelConfig,
        data: NuScenesConfig | SemanticKittiConfig,
        occlusion: OcclusionConfig | None = None,
        pairing: Pairing = "superpixels",
        mirrored: bool = False,
    ) -> None:
        hidden = "" if occlusion is None else occlusion.model_dump_json()
        segments = config.model_dump_json() if pairing == "superpixels" else pairing
        key = "|".join((FORMAT, teacher_fingerprint, segments, ",".join(data.cameras), hidden, *["mirrored"] * mirrored))
        self._tensors = (*TENSORS, *["mirrored"] * mirrored)
        self._masks = config if isinstance(config, MaskConfig) and pairing == "superpixels" else None
        self.folder = folder / hashlib.sha256(key.encode()).hexdigest()[:16]

    def path(self, frame: Keyframe) -> Path:
        """Where a keyframe's view is kept."""
        return self.folder / f"{frame.token}.safetensors"

    def write(self, frame: Keyframe, view: TeacherView) -> None:
        """Keeps a view."""
        tensors: dict[str, NDArray[Any]] = {name: getattr(view, name) for name in self._tensors}
        metadata = {"sha256": _digest(tensors), "geometry": _geometry(frame), "images": _images(frame, self._masks)}
        with atomic_file(self.path(frame)) as temporary:
            save_file(tensors, temporary, metadata)

    def read(self, frame: Keyframe) -> TeacherView:
        """A keyframe's view; raises DatasetError if there is none or it is damaged."""
        return self._read(frame)[0]

    def has(self, frame: Keyframe) -> bool:
        """Whether a whole view of this very keyframe is kept."""
        if not self.path(frame).exists():
            return False
        try:
            _, metadata = self._read(frame)
        except DatasetError:
            return False
        return metadata.get("images") == _images(frame, self._masks)

    def _read(self, frame: Keyframe) -> tuple[TeacherView, dict[str, str]]:
        path = self.path(frame)
        try:
            with safe_open(path, framework="np") as file:
                tensors = {name: file.get_tensor(name) for name in self._tensors}
                metadata = file.metadata() or {}
        except (OSError, SafetensorError) as error:
            raise DatasetError(
                f"{path}: no teacher features of this keyframe ({error}); run `python -m distill.cache` with the same config."
            ) from error
        if _digest(tensors) != metadata.get("sha256"):
            raise DatasetError(f"{path}: content does not fit its hash; run `python -m distill.cache` again, which mends it.")
        # The pairs number the cloud's points, so they fit no other cloud.
        if _geometry(frame) != metadata.get("geometry"):
            raise DatasetError(
                f"{path}: made from another cloud or calibration than {frame.cloud} has now; run `python -m distill.cache` again."
            )
        return TeacherView(**tensors), metadata


def view_keyframe(
    frame: Keyframe,
    teacher: Teacher,
    config: SuperpixelConfig,
    occlusion: OcclusionConfig | None = None,
    pairing: Pairing = "superpixels",
    mirrored: bool = False,
) -> TeacherView:
    """Runs the teacher on a keyframe's images, and on these `mirrored` as well if that is asked for.

    Raises DatasetError for a missing or damaged file.

    Where pixels are paired, each cell of the teacher's output takes the place of a superpixel: all its pixels have one feature.
    """
    xyz_m, _ = read_cloud(frame.cloud)
    features, of_mirrored, points, rows = [], [], [], []
    count = 0
    for view in frame.views:
        image = read_image(view.image)
        height, width = image.shape[:2]
        seen_by_teacher = teacher(image)
        cells = _cells(height, width, *seen_by_teacher.shape[1:])
        segments = cells if pairing == "pixels" else superpixels(image, config, view.image)
        point, pixel = image_pairs(xyz_m, view, height, width, occlusion)
        occupied, row = np.unique(segments.ravel()[pixel], return_inverse=True)
        features.append(_unit_rows(seen_by_teacher, segments, occupied, pairing))
        if mirrored:
            seen = teacher(np.ascontiguousarray(image[:, ::-1])).flip(2)
            of_mirrored.append(_unit_rows(seen, segments, occupied, pairing))
        points.append(point.astype(np.int32))
        rows.append((row + count).astype(np.int32))
        count += len(occupied)
    rows_of_all = np.concatenate(features)
    crowd = _crowd(rows_of_all.astype(np.float32))
    both = np.concatenate(of_mirrored) if mirrored else None
    return TeacherView(rows_of_all, np.concatenate(points), np.concatenate(rows), crowd, both)


def _unit_rows(
    features: Tensor, segments: NDArray[np.int64], occupied: NDArray[np.int64], pairing: Pairing
) -> NDArray[np.float16]:
    # A cell is its own mean; to pool cells would take a count of each pair of two.
    pooled = features.flatten(1).T if pairing == "pixels" else _pool(features, segments)
    unit = torch.nn.functional.normalize(pooled[torch.from_numpy(occupied)], dim=1)
    return unit.numpy().astype(np.float16)


def _crowd(unit: NDArray[np.float32]) -> NDArray[np.float32]:
    """(S,) how many rows each of (S, D) unit rows is like; in blocks, since cells are so many."""
    alike = [(unit[start : start + 1024] @ unit.T > ALIKE_COSINE).sum(axis=1) for start in range(0, len(unit), 1024)]
    return np.concatenate([np.zeros(0, np.int64), *alike]).clip(1).astype(np.float32)


def _cells(height: int, width: int, h: int, w: int) -> NDArray[np.int64]:
    """(H, W) number of the cell of an (h, w) grid that each pixel lies in."""
    return (np.arange(height) * h // height)[:, None] * w + np.arange(width) * w // width


def _pool(features: Tensor, segments: NDArray[np.int64]) -> Tensor:
    """(D, h, w) features, (H, W) superpixel of each pixel -> (S, D) mean over each superpixel's pixels.

    Each pixel takes the feature of the cell it lies in, so a superpixel weighs cells by its share of them.
    """
    width, h, w = features.shape
    cell = _cells(segments.shape[0], segments.shape[1], h, w).ravel()
    count = int(segments.max()) + 1
    overlap = np.bincount(segments.ravel() * (h * w) + cell, minlength=count * h * w)
    occupied = np.flatnonzero(overlap)
    weight = overlap[occupied] / np.maximum(np.bincount(segments.ravel(), minlength=count), 1)[occupied // (h * w)]
    index = torch.from_numpy(np.stack([occupied // (h * w), occupied % (h * w)]))
    mixing = torch.sparse_coo_tensor(index, torch.from_numpy(weight.astype(np.float32)), (count, h * w), check_invariants=False)
    return torch.sparse.mm(mixing, features.reshape(width, h * w).T.contiguous())


def _geometry(frame: Keyframe) -> str:
    """Hash of the cloud and the cameras' places."""
    digest = hashlib.sha256(_bytes(frame.cloud))
    for view in frame.views:
        digest.update(view.camera_from_lidar.tobytes() + view.intrinsics.tobytes())
    return digest.hexdigest()


def _images(frame: Keyframe, masks: MaskConfig | None) -> str:
    """Hash of the images, and of their masks if superpixels are made of these."""
    digest = hashlib.sha256()
    for view in frame.views:
        digest.update(_bytes(view.image))
        if masks is not None:
            digest.update(_bytes(mask_path(view.image, masks)))
    return digest.hexdigest()


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror}); restore the file.") from None


def _digest(tensors: dict[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + np.ascontiguousarray(tensors[name]).tobytes())
    return digest.hexdigest()
