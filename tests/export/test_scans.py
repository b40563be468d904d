"""Where the scans of an export may come from."""

from pathlib import Path

import numpy as np
import pytest

from export.scans import SCANS, scans_of_source
from relidar.cloud_writer import cloud_of, record
from relidar.errors import BagError, DatasetError


def bag_of(path: Path, scans: int, topics: tuple[str, ...] = ("/points",), fields: str = "x y z intensity") -> Path:
    """A bag whose scan number n has two points at x = n."""
    with record(path) as recorder:
        for index in range(scans):
            columns = {name: np.full(2, index, np.float32) for name in fields.split()}
            for topic in topics:
                recorder.cloud(topic, index, "lidar", *cloud_of(columns))
    return path


def test_a_bag_gives_its_clouds_evenly(tmp_path: Path) -> None:
    bag = bag_of(tmp_path / "drive", 9)
    scans = list(scans_of_source(bag, 255, 3))
    assert [scan.xyz_m[0, 0] for scan in scans] == [0, 4, 8]
    assert [scan.intensity.tolist() for scan in scans] == [[0, 0], [4, 4], [8, 8]]
    (file,) = bag.glob("*.mcap")
    assert len(list(scans_of_source(file, 255))) == 9


def test_of_several_topics_those_that_are_named(tmp_path: Path) -> None:
    bag = bag_of(tmp_path / "two", 2, ("/front", "/rear"))
    with pytest.raises(BagError, match=r"2 PointCloud2 topics: /front, /rear; name one with --topic"):
        next(scans_of_source(bag, 255))
    assert len(list(scans_of_source(bag, 255, topics=["/rear"]))) == 2
    assert len(list(scans_of_source(bag, 255, topics=["all"]))) == 4


def test_many_scans_of_a_folder_are_taken_evenly(tmp_path: Path) -> None:
    for index in range(2 * SCANS + 2):
        np.full((2, 5), index, np.float32).tofile(tmp_path / f"{index:03}.pcd.bin")
    scans = list(scans_of_source(tmp_path, 255))
    assert len(scans) == SCANS
    assert (scans[0].xyz_m[0, 0], scans[-1].xyz_m[0, 0]) == (0, 2 * SCANS + 1)


def test_a_scan_is_read_when_it_is_asked_for(tmp_path: Path) -> None:
    np.zeros((2, 5), np.float32).tofile(tmp_path / "0.pcd.bin")
    (tmp_path / "1.pcd.bin").write_bytes(b"cut")
    scans = scans_of_source(tmp_path, 255)
    assert len(next(scans).xyz_m) == 2
    with pytest.raises(DatasetError, match=r"1\.pcd\.bin"):
        next(scans)


def test_clouds_without_intensity_are_scans_too(tmp_path: Path) -> None:
    (scan,) = scans_of_source(bag_of(tmp_path / "drive", 1, fields="x y z"), 255)
    assert scan.intensity.tolist() == [0, 0]
    assert scan.intensity.dtype == np.float32


def test_folders_and_datasets_of_every_format(tmp_path: Path) -> None:
    points = np.arange(8, dtype=np.float32).reshape(2, 4)
    for folder in ("nuscenes/samples/LIDAR_TOP", "kitti/sequences/00/velodyne", "kitti/sequences/00/labels", "own"):
        (tmp_path / folder).mkdir(parents=True)
    np.hstack([points, points[:, :1]]).tofile(tmp_path / "nuscenes/samples/LIDAR_TOP/a.pcd.bin")
    np.zeros(2, np.uint8).tofile(tmp_path / "nuscenes/a_lidarseg.bin")
    points.tofile(tmp_path / "kitti/sequences/00/velodyne/000000.bin")
    np.savez(tmp_path / "own/a.npz", points=points, label=np.zeros(2, np.uint8))
    for source in ("nuscenes", "kitti", "kitti/sequences/00/velodyne", "own"):
        unit = 1 if "kitti" in source else 255
        (scan,) = scans_of_source(tmp_path / source, unit)
        np.testing.assert_array_equal(scan.xyz_m, points[:, :3])
        np.testing.assert_array_equal(scan.intensity, points[:, 3])
        (other,) = scans_of_source(tmp_path / source, 100, full_return=50)
        np.testing.assert_array_equal(other.intensity, 2 * points[:, 3])


@pytest.mark.parametrize(("source", "unit"), [("a.pcd.bin", 255), ("velodyne/a.bin", 1)])
def test_intensities_come_in_the_students_unit(tmp_path: Path, source: str, unit: float) -> None:
    (tmp_path / source).parent.mkdir(exist_ok=True)
    points = np.full((2, 5 if source == "a.pcd.bin" else 4), unit, np.float32)
    points.tofile(tmp_path / source)
    (scan,) = scans_of_source(tmp_path, 7)
    assert scan.intensity.tolist() == [7, 7]
    (bagged,) = scans_of_source(bag_of(tmp_path / "drive", 2), 255, 1, full_return=51)
    assert bagged.intensity.tolist() == [0, 0]
    *_, last = scans_of_source(tmp_path / "drive", 255, full_return=51)
    assert last.intensity.tolist() == [5, 5]


def test_a_source_without_scans_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no \.pcd\.bin or \.npz scans there, nor a folder velodyne"):
        next(scans_of_source(tmp_path, 255))
    with pytest.raises(BagError, match="no such bag"):
        next(scans_of_source(tmp_path / "missing.mcap", 255))
