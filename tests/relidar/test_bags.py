"""Bags of every storage give the same clouds; a bag without the topic, cut or corrupt is a BagError that says so."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rosbags import rosbag2
from rosbags.typesys import Stores, get_typestore

from relidar.bags import CloudBag
from relidar.errors import BagError
from relidar.pointcloud2 import decode

POINTS = 400
XYZ_M = np.random.default_rng(0).normal(size=(5, POINTS, 3)).astype(np.float32)


@pytest.fixture
def drive(tmp_path: Path, record: Callable[..., Path], scan_of: Callable) -> Callable[..., Path]:
    """Records five scans."""
    scans = [scan_of(xyz_m, np.zeros(POINTS)) for xyz_m in XYZ_M]
    return lambda storage, *topics: record(tmp_path / "drive", scans, storage, topics or ("/points",))


def contents(path: Path) -> Path:
    """The one data file inside a rosbag2 folder."""
    return next(file for file in path.iterdir() if file.name != "metadata.yaml") if path.is_dir() else path


@pytest.mark.parametrize(
    "storage", ["mcap", "db3", "bag", "mcap-zstd-file", "mcap-zstd-message", "db3-zstd-file", "db3-zstd-message"]
)
def test_every_storage_gives_the_clouds_that_were_written(drive: Callable[..., Path], storage: str) -> None:
    with CloudBag(drive(storage)) as bag:
        assert (bag.topic, len(bag)) == ("/points", len(XYZ_M))
        scans = list(bag)
    assert [scan.stamp_ns for scan in scans] == [10**18 + index * 10**8 for index in range(len(XYZ_M))]
    assert scans[1].bag_time_ns == scans[1].stamp_ns + 5
    assert scans[0].frame_id == "lidar"
    for scan, xyz_m in zip(scans, XYZ_M, strict=True):
        np.testing.assert_array_equal(decode(scan.layout, scan.data).xyz_m, xyz_m)


@pytest.mark.parametrize("storage", ["mcap", "db3"])
def test_a_single_file_is_a_bag_too(drive: Callable[..., Path], storage: str) -> None:
    with CloudBag(contents(drive(storage))) as bag:
        assert len(list(bag)) == len(XYZ_M)


def test_a_bag_can_be_read_twice(drive: Callable[..., Path]) -> None:
    with CloudBag(drive("mcap")) as bag:
        assert [scan.stamp_ns for scan in bag] == [scan.stamp_ns for scan in bag]


def test_of_several_topics_one_must_be_named(drive: Callable[..., Path]) -> None:
    path = drive("mcap", "/front", "/rear")
    with pytest.raises(BagError, match="/front, /rear; name one with --topic"):
        CloudBag(path)
    with CloudBag(path, "/rear") as bag:
        assert {scan.topic for scan in bag} == {"/rear"}
    with pytest.raises(BagError, match="topic /roof is not in the bag; PointCloud2 topics: /front, /rear"):
        CloudBag(path, "/roof")


def test_a_bag_without_clouds_lists_what_it_has(tmp_path: Path) -> None:
    with rosbag2.Writer(tmp_path / "talk", version=9) as writer:
        writer.add_connection("/chatter", "std_msgs/msg/String", typestore=get_typestore(Stores.ROS2_JAZZY))
    with pytest.raises(BagError, match=r"no PointCloud2 topic; topics: /chatter \(std_msgs/msg/String\)"):
        CloudBag(tmp_path / "talk")
    with pytest.raises(BagError, match="topic /chatter is of type std_msgs/msg/String"):
        CloudBag(tmp_path / "talk", "/chatter")


def test_paths_that_are_no_bag(tmp_path: Path) -> None:
    with pytest.raises(BagError, match="no such bag"):
        CloudBag(tmp_path / "missing")
    with pytest.raises(BagError, match=r"without metadata\.yaml"):
        CloudBag(tmp_path)
    (tmp_path / "cloud.pcd").touch()
    with pytest.raises(BagError, match=r"unknown kind of bag '\.pcd'"):
        CloudBag(tmp_path / "cloud.pcd")


def cut(data: bytes, random: np.random.Generator) -> bytes:
    return data[: random.integers(0, len(data))]


def flip(data: bytes, random: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for position in random.integers(0, len(data), 40):
        changed[position] ^= int(random.integers(1, 256))
    return bytes(changed)


@pytest.mark.parametrize("damage", [cut, flip])
@pytest.mark.parametrize("storage", ["mcap", "db3", "bag", "mcap-zstd-file", "db3-zstd-message"])
def test_damage_gives_whole_clouds_and_then_an_error_naming_the_file(
    drive: Callable[..., Path], storage: str, damage: Callable[[bytes, np.random.Generator], bytes]
) -> None:
    path = drive(storage)
    intact = contents(path).read_bytes()
    random = np.random.default_rng(0)
    errors = 0
    for _ in range(15):
        contents(path).write_bytes(damage(intact, random))
        scans, message = 0, ""
        try:
            with CloudBag(path) as bag:
                for _scan in bag:
                    scans += 1
        except BagError as error:
            message = str(error)
        errors += bool(message)
        assert "drive" in message if message else scans == len(XYZ_M)
    assert errors > (12 if damage is cut else 0)
