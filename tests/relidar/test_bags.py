"""Bags of every storage give the same clouds; a bag without the topic, cut or corrupt is a BagError that says so."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rosbags import rosbag1, rosbag2
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin
from rosbags.typesys import Stores, get_typestore

from relidar.bags import CloudBag
from relidar.errors import BagError
from relidar.pointcloud2 import decode

SCANS = 5
POINTS = 400


def xyz_of(scan: int) -> np.ndarray:
    return np.random.default_rng(scan).normal(size=(POINTS, 3)).astype(np.float32)


def write_bag(path: Path, storage: str, topics: tuple[str, ...] = ("/points",), clouds: bool = True) -> Path:
    """Writes a bag and returns what to open."""
    ros1 = storage == "bag"
    store = get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.ROS2_JAZZY)
    types = store.types
    if ros1:
        path = path.with_suffix(".bag")
        writer: rosbag1.Writer | rosbag2.Writer = rosbag1.Writer(path)
    else:
        plugin = StoragePlugin.SQLITE3 if "db3" in storage else StoragePlugin.MCAP
        writer = rosbag2.Writer(path, version=9, storage_plugin=plugin)
        if storage.endswith("zstd-file"):
            writer.set_compression(CompressionMode.FILE, CompressionFormat.ZSTD)
        elif storage.endswith("zstd-message"):
            writer.set_compression(CompressionMode.MESSAGE, CompressionFormat.ZSTD)
    with writer:
        kind = "sensor_msgs/msg/PointCloud2" if clouds else "std_msgs/msg/String"
        connections = [writer.add_connection(topic, kind, typestore=store) for topic in topics]
        for scan in range(SCANS):
            time_ns = 10**18 + scan * 10**8
            stamp = types["builtin_interfaces/msg/Time"](sec=time_ns // 10**9, nanosec=time_ns % 10**9)
            extra = {"seq": scan} if ros1 else {}
            header = types["std_msgs/msg/Header"](stamp=stamp, frame_id="lidar", **extra)
            fields = [
                types["sensor_msgs/msg/PointField"](name=name, offset=4 * index, datatype=7, count=1)
                for index, name in enumerate("xyz")
            ]
            data = xyz_of(scan).view(np.uint8).reshape(-1)
            if clouds:
                message = types[kind](header, 1, POINTS, fields, False, 12, 12 * POINTS, data, True)
            else:
                message = types[kind](data="hello")
            raw = store.serialize_ros1(message, kind) if ros1 else store.serialize_cdr(message, kind)
            for connection in connections:
                writer.write(connection, time_ns + 5, raw)
    return path


def contents(path: Path) -> Path:
    """The one data file inside a rosbag2 folder."""
    return next(file for file in path.iterdir() if file.name != "metadata.yaml") if path.is_dir() else path


STORAGES = ["mcap", "db3", "bag", "mcap-zstd-file", "mcap-zstd-message", "db3-zstd-file", "db3-zstd-message"]


@pytest.mark.parametrize("storage", STORAGES)
def test_every_storage_gives_the_clouds_that_were_written(tmp_path: Path, storage: str) -> None:
    with CloudBag(write_bag(tmp_path / "drive", storage)) as bag:
        assert (bag.topic, len(bag)) == ("/points", SCANS)
        scans = list(bag)
    assert [scan.stamp_ns for scan in scans] == [10**18 + scan * 10**8 for scan in range(SCANS)]
    assert scans[1].bag_time_ns == scans[1].stamp_ns + 5
    assert scans[0].frame_id == "lidar"
    for index, scan in enumerate(scans):
        np.testing.assert_array_equal(decode(scan.layout, scan.data).xyz_m, xyz_of(index))


@pytest.mark.parametrize("storage", ["mcap", "db3"])
def test_a_single_file_is_a_bag_too(tmp_path: Path, storage: str) -> None:
    with CloudBag(contents(write_bag(tmp_path / "drive", storage))) as bag:
        assert len(list(bag)) == SCANS


def test_of_several_topics_one_must_be_named(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "drive", "mcap", ("/front", "/rear"))
    with pytest.raises(BagError, match="/front, /rear; name one with --topic"):
        CloudBag(path)
    with CloudBag(path, "/rear") as bag:
        assert {scan.topic for scan in bag} == {"/rear"}
    with pytest.raises(BagError, match="topic /roof is not in the bag; PointCloud2 topics: /front, /rear"):
        CloudBag(path, "/roof")


def test_a_bag_without_clouds_lists_what_it_has(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "drive", "mcap", ("/chatter",), clouds=False)
    with pytest.raises(BagError, match="no PointCloud2 topic; topics: /chatter \\(std_msgs/msg/String\\)"):
        CloudBag(path)
    with pytest.raises(BagError, match="topic /chatter is of type std_msgs/msg/String"):
        CloudBag(path, "/chatter")


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
    tmp_path: Path, storage: str, damage: Callable[[bytes, np.random.Generator], bytes]
) -> None:
    path = write_bag(tmp_path / "drive", storage)
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
        assert "drive" in message if message else scans == SCANS
    assert errors > (12 if damage is cut else 0)
