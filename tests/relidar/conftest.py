"""Fixtures of the runtime's tests: recordings made on the spot, and the replay of them."""

import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from rosbags import rosbag1, rosbag2
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin
from rosbags.typesys import Stores, get_typestore

from relidar import replay, replay_jobs
from relidar.loaded_model import load_model
from relidar.pointcloud2 import CloudField, CloudLayout

POINT_CLOUD = "sensor_msgs/msg/PointCloud2"
Scan = tuple[CloudLayout, bytes]
Recorder = Callable[..., Path]
MAP = """
name: two
classes:
  - {name: low, truth: [1, 2], predicted: [car, truck, bus, sidewalk]}
  - {name: high, truth: [7], predicted: [vegetation, manmade, terrain]}
"""
load_once = functools.cache(load_model)


@pytest.fixture(scope="session")
def record() -> Recorder:
    """record(path, scans, storage="mcap", topics=("/points",)) writes a bag at 10 Hz and returns what to open."""
    return _record


@pytest.fixture(scope="session")
def scan_of() -> Callable[..., Scan]:
    """scan_of(xyz_m, intensity, category=None): a cloud as a driver publishes it, with a ring and padding behind each point."""
    return _scan_of


@pytest.fixture
def truth_map(tmp_path: Path) -> Path:
    """The map of two classes."""
    path = tmp_path / "map.yaml"
    path.write_text(MAP)
    return path


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """replayed(*words): runs the command in this process; its exit code. Most of a run is loading the model: done once."""

    def run(*words: object) -> int:
        monkeypatch.setattr(replay_jobs, "load_model", load_once)
        monkeypatch.setattr(sys, "argv", ["replay", *map(str, words)])
        try:
            replay.main()
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    return run


def _scan_of(xyz_m: np.ndarray, intensity: np.ndarray, category: np.ndarray | None = None) -> Scan:
    names, formats, offsets = ["x", "y", "z", "intensity", "ring", "category"], ["<f4"] * 4 + ["<u2", "u1"], [0, 4, 8, 12, 16, 18]
    points = np.zeros(len(xyz_m), np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": 24}))
    for axis, name in enumerate("xyz"):
        points[name] = xyz_m[:, axis]
    points["intensity"] = intensity
    if category is not None:
        points["category"] = category
    datatypes = [7, 7, 7, 7, 4, 2]
    fields = [CloudField(n, o, d) for n, o, d in zip(names, offsets, datatypes, strict=True)]
    return CloudLayout(1, len(points), tuple(fields), 24, 24 * len(points)), points.tobytes()


def _record(path: Path, scans: Sequence[Scan], storage: str = "mcap", topics: Sequence[str] = ("/points",)) -> Path:
    ros1 = storage == "bag"
    store = get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.ROS2_JAZZY)
    types = store.types
    path = path.with_suffix(".bag") if ros1 else path
    with _writer(path, storage) as writer:
        connections = [writer.add_connection(topic, POINT_CLOUD, typestore=store) for topic in topics]
        for index, (layout, data) in enumerate(scans):
            stamp_ns = 10**18 + index * 10**8
            stamp = types["builtin_interfaces/msg/Time"](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
            header = types["std_msgs/msg/Header"](stamp=stamp, frame_id="lidar", **({"seq": index} if ros1 else {}))
            fields = [types["sensor_msgs/msg/PointField"](f.name, f.offset, f.datatype, f.count) for f in layout.fields]
            message = types[POINT_CLOUD](
                header,
                layout.height,
                layout.width,
                fields,
                layout.is_bigendian,
                layout.point_step,
                layout.row_step,
                np.frombuffer(data, np.uint8),
                True,
            )
            raw = store.serialize_ros1(message, POINT_CLOUD) if ros1 else store.serialize_cdr(message, POINT_CLOUD)
            for connection in connections:
                writer.write(connection, stamp_ns + 5, raw)
    return path


def _writer(path: Path, storage: str) -> rosbag1.Writer | rosbag2.Writer:
    if storage == "bag":
        return rosbag1.Writer(path)
    plugin = StoragePlugin.SQLITE3 if storage.startswith("db3") else StoragePlugin.MCAP
    writer = rosbag2.Writer(path, version=9, storage_plugin=plugin)
    if storage.endswith("zstd-file"):
        writer.set_compression(CompressionMode.FILE, CompressionFormat.ZSTD)
    elif storage.endswith("zstd-message"):
        writer.set_compression(CompressionMode.MESSAGE, CompressionFormat.ZSTD)
    return writer
