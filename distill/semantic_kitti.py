"""One sequence of SemanticKITTI or KITTI odometry: clouds, and where they are there labels, times, poses, calibration, images.

Layout: sequences/08/{velodyne/000000.bin, labels/000000.label, times.txt, calib.txt, poses.txt, image_2/000000.png}.
The LiDAR frame is KITTI's: x forward, y left, z up. Sources: semantic-kitti.org and the KITTI odometry development kit.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from relidar.errors import DatasetError

CLASS_MASK = 0xFFFF
"""A label holds the class in the lower 16 bits and the instance in the upper."""
INTENSITY_MAX = 1.0
SWEEP_S = 0.1
"""Between clouds, where times.txt is missing."""


@dataclass(frozen=True)
class Sequence:
    """An opened sequence; scan `i` is number i of `clouds`."""

    folder: Path
    clouds: tuple[Path, ...]

    @classmethod
    def open(cls, folder: Path) -> "Sequence":
        """Lists the clouds of a sequence folder; raises DatasetError if there are none."""
        clouds = tuple(sorted((folder / "velodyne").glob("*.bin")))
        if not clouds:
            raise DatasetError(f"{folder}: no velodyne/*.bin there; give the folder of one sequence, such as sequences/08.")
        return cls(folder, clouds)

    def read_cloud(self, scan: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """xyz_m (N, 3) in the LiDAR frame and intensity (N,) in 0..1; raises DatasetError if the file is cut short."""
        return read_cloud(self.clouds[scan])

    def read_labels(self, scan: int, points: int) -> NDArray[np.uint16]:
        """(N,) raw class numbers 0 to 259, without instances; raises DatasetError unless there is one a point."""
        return read_labels(self.folder / "labels" / f"{self.clouds[scan].stem}.label", points)

    @cached_property
    def times_s(self) -> NDArray[np.float64]:
        """Seconds of each cloud since the first line of times.txt; SWEEP_S apart without that file."""
        if not (self.folder / "times.txt").exists():
            return np.arange(len(self.clouds)) * SWEEP_S
        return self._rows("times.txt", 1)[:, 0]

    @cached_property
    def calibration(self) -> dict[str, NDArray[np.float64]]:
        """calib.txt: P0 to P3, the projections (3, 4) of the rectified cameras, and Tr, camera_from_lidar (3, 4) of camera 0."""
        path = self.folder / "calib.txt"
        try:
            rows = [line.split() for line in path.read_text(encoding="ascii").splitlines() if line.strip()]
            found = {row[0].rstrip(":"): np.array(row[1:], np.float64).reshape(3, 4) for row in rows}
        except (OSError, ValueError) as error:
            raise DatasetError(f"{path}: cannot be read ({error}); expected lines such as `Tr:` and 12 numbers.") from error
        if "Tr" not in found:
            raise DatasetError(f"{path}: no line `Tr:` with camera_from_lidar; found {', '.join(found) or 'nothing'}.")
        return found

    @cached_property
    def has_poses(self) -> bool:
        """Whether both files that `world_from_lidar` needs are there."""
        return all((self.folder / name).exists() for name in ("poses.txt", "calib.txt"))

    @cached_property
    def world_from_lidar(self) -> NDArray[np.float64]:
        """(scans, 4, 4); the world is the LiDAR's frame at the first pose of poses.txt, which holds world_from_camera."""
        camera_from_lidar = _square(self.calibration["Tr"][None])
        world_from_camera = _square(self._rows("poses.txt", 12).reshape(-1, 3, 4))
        return np.linalg.inv(camera_from_lidar) @ world_from_camera @ camera_from_lidar

    def image(self, scan: int, camera: int = 2) -> Path:
        """The image taken with a cloud; raises DatasetError if it is not there."""
        path = self.folder / f"image_{camera}" / f"{self.clouds[scan].stem}.png"
        if not path.is_file():
            raise DatasetError(f"{path}: no such image; copy image_{camera} of KITTI odometry (color) into the sequence.")
        return path

    def _rows(self, name: str, columns: int) -> NDArray[np.float64]:
        path = self.folder / name
        try:
            lines = path.read_text(encoding="ascii").splitlines()
            rows = np.array([line.split() for line in lines if line.strip()], np.float64)
        except (OSError, ValueError) as error:
            raise DatasetError(f"{path}: cannot be read ({error}); expected {columns} numbers a line.") from error
        last = int(self.clouds[-1].stem) if self.clouds[-1].stem.isdigit() else len(self.clouds) - 1
        if rows.ndim != 2 or rows.shape[1] != columns or len(rows) <= last or not np.isfinite(rows).all():
            raise DatasetError(
                f"{path}: {' x '.join(map(str, rows.shape))} numbers, expected {columns} finite ones a line and a line for each "
                f"cloud up to {self.clouds[-1].name}."
            )
        # An excerpt of a sequence keeps the numbers of its clouds, which are lines of this file.
        return rows[[int(path.stem) if path.stem.isdigit() else row for row, path in enumerate(self.clouds)]]


def read_cloud(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A velodyne/*.bin -> xyz_m (N, 3) in the LiDAR frame and intensity (N,) in 0..1; raises DatasetError if cut short."""
    cloud = _read(path, np.dtype("<f4"), 4).reshape(-1, 4)
    return np.ascontiguousarray(cloud[:, :3]), np.ascontiguousarray(cloud[:, 3])


def read_labels(path: Path, points: int) -> NDArray[np.uint16]:
    """A labels/*.label -> (N,) raw class numbers, without instances; raises DatasetError unless there is one a point."""
    labels = _read(path, np.dtype("<u4"), 1)
    if len(labels) != points:
        raise DatasetError(f"{path}: {len(labels)} labels for {points} points; the label or the cloud file is cut short.")
    return (labels & CLASS_MASK).astype(np.uint16)


def _square(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 3, 4) -> (n, 4, 4)"""
    square = np.tile(np.eye(4), (len(matrices), 1, 1))
    square[:, :3] = matrices
    return square


def _read(path: Path, dtype: np.dtype, columns: int) -> NDArray:
    try:
        size = path.stat().st_size
        values = np.fromfile(path, dtype)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror}); restore the file.") from None
    step = dtype.itemsize * columns
    if not size or size % step:
        raise DatasetError(f"{path}: {size} bytes, expected a multiple of {step}; the file is empty or cut short: copy it again.")
    return values
