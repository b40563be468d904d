"""Bags written here read back as they were, and a broken recording leaves nothing behind."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from rosbags.highlevel import AnyReader

from relidar.bags import CloudBag
from relidar.cloud_writer import FIXED_TRANSFORMS, TRANSFORMS, Pose, cloud_of, record
from relidar.pointcloud2 import decode


def columns(points: int, seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    xyz = {name: random.normal(size=points).astype(np.float32) for name in "xyz"}
    ring, category = random.integers(0, 64, points).astype(np.uint16), random.integers(0, 256, points).astype(np.uint8)
    return xyz | {"intensity": random.uniform(0, 255, points).astype(np.float32), "category": category, "ring": ring}


def test_clouds_and_transforms_read_back(tmp_path: Path) -> None:
    written = [columns(points, seed) for seed, points in enumerate((50, 0, 7))]
    written[0]["x"][3] = np.nan
    turn = (0.5, -0.5, 0.5, -0.5)
    with record(tmp_path / "drive.mcap") as writer:
        writer.transforms(FIXED_TRANSFORMS, 5, [Pose("base_link", "lidar", (0.0, 0.0, 1.8), (1.0, 0.0, 0.0, 0.0))])
        for number, fields in enumerate(written):
            stamp_ns = 10**18 + number
            writer.transforms(TRANSFORMS, stamp_ns, [Pose("map", "base_link", np.array([number, 2.0, 3.0]), turn)])
            writer.cloud("/points", stamp_ns, "lidar", *cloud_of(fields))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drive.mcap"]
    assert sorted(path.name for path in (tmp_path / "drive.mcap").iterdir()) == ["drive.mcap.mcap", "metadata.yaml"]
    with CloudBag(tmp_path / "drive.mcap") as bag:
        for number, (scan, fields) in enumerate(zip(bag, written, strict=True)):
            assert (scan.topic, scan.stamp_ns, scan.frame_id) == ("/points", 10**18 + number, "lidar")
            assert [f.name for f in scan.layout.fields] == list(fields)
            cloud = decode(scan.layout, scan.data)
            for name, values in fields.items():
                np.testing.assert_array_equal(cloud.values(name), values)
                assert cloud.values(name).dtype == values.dtype
    topics = yaml.safe_load((tmp_path / "drive.mcap/metadata.yaml").read_text())["rosbag2_bagfile_information"]
    offered = {t["topic_metadata"]["name"]: t["topic_metadata"] for t in topics["topics_with_message_count"]}
    quality = {name: entry["offered_qos_profiles"][0] for name, entry in offered.items()}
    # RViz asks for reliable clouds, and a transform that is sent once must reach who comes late.
    assert {profile["reliability"] for profile in quality.values()} == {"reliable"}
    assert [name for name, profile in quality.items() if profile["durability"] == "transient_local"] == [FIXED_TRANSFORMS]
    with AnyReader([tmp_path / "drive.mcap"]) as reader:
        moving = [c for c in reader.connections if c.topic == TRANSFORMS]
        poses = [reader.deserialize(raw, c.msgtype).transforms[0] for c, _, raw in reader.messages(moving)]
        assert [pose.transform.translation.x for pose in poses] == [0.0, 1.0, 2.0]
        rotation = poses[0].transform.rotation
        assert (rotation.w, rotation.x, rotation.y, rotation.z) == turn
        assert (poses[0].header.frame_id, poses[0].child_frame_id) == ("map", "base_link")


def test_a_recording_that_fails_leaves_the_old_bag(tmp_path: Path) -> None:
    with record(tmp_path / "bag") as writer:
        writer.cloud("/points", 1, "lidar", *cloud_of(columns(3, 0)))
    before = (tmp_path / "bag" / "bag.mcap").read_bytes()

    def broken() -> None:
        with record(tmp_path / "bag") as writer:
            writer.cloud("/points", 1, "lidar", *cloud_of(columns(9, 1)))
            raise RuntimeError("the dataset ends here")

    with pytest.raises(RuntimeError, match="the dataset ends here"):
        broken()
    assert (tmp_path / "bag" / "bag.mcap").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["bag"]
