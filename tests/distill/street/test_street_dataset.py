"""A tiny street, made by the real command in another process, read back with the nuScenes devkit and rosbags."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from nuscenes.nuscenes import NuScenes
from PIL import Image
from pyquaternion import Quaternion
from rosbags.highlevel import AnyReader

from distill.street import __main__ as command
from distill.street import camera, categories, lidar, seeds
from distill.street.bag import SCAN_S
from distill.street.dataset import DatasetPlan, write_dataset
from distill.street.keyframes import KEYFRAME_S
from distill.street.layout import random_city
from distill.street.rig import Rig, read_rig
from relidar import command_line
from relidar.pointcloud2 import decode, layout_of

SEED, KEYFRAMES, SCANS = 3, 2, 2
RIG = """
image_width: 240
image_height: 135
lidar: {translation_m: [0.94, 0.0, 1.84], azimuth_steps: 700}
cameras:
  - {name: CAM_FRONT, translation_m: [1.70, 0.02, 1.51], yaw_deg: 0.0, fov_deg: 65.0, delay_ms: -35.5}
  - {name: CAM_BACK_LEFT, translation_m: [1.04, 0.48, 1.59], yaw_deg: 110.0, fov_deg: 65.0, delay_ms: -0.5}
"""


@pytest.fixture(scope="module")
def rig_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rig") / "rig.yaml"
    path.write_text(RIG, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def rig(rig_file: Path) -> Rig:
    return read_rig(rig_file)


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory, rig_file: Path) -> Path:
    out = tmp_path_factory.mktemp("street") / "data"
    options = f"--seed {SEED} --scenes 1 --val-scenes 0 --keyframes {KEYFRAMES} --bag-scans {SCANS} --processes 2".split()
    words = [sys.executable, "-m", "distill.street", str(out), "--rig", str(rig_file), *options]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def devkit(street: Path) -> NuScenes:
    return NuScenes("v1.0-trainval", str(street), verbose=False)


def lidar_frames(devkit: NuScenes) -> Iterator[tuple[dict[str, object], np.ndarray, np.ndarray]]:
    for sample in devkit.sample:
        data = devkit.get("sample_data", sample["data"]["LIDAR_TOP"])
        points = np.fromfile(Path(devkit.dataroot) / data["filename"], np.float32).reshape(-1, 5)
        labels = np.fromfile(Path(devkit.dataroot) / devkit.get("lidarseg", data["token"])["filename"], np.uint8)
        yield sample, points, labels


def test_tables_hold_what_was_asked_for(devkit: NuScenes, rig: Rig, street: Path) -> None:
    assert json.loads((street / "splits.json").read_text()) == {"train": ["street-0000"], "val": []}
    assert [scene["name"] for scene in devkit.scene] == ["street-0000"]
    assert len(devkit.sample) == KEYFRAMES
    assert len(devkit.sample_data) == KEYFRAMES * (1 + len(rig.cameras))
    assert {c["index"]: c["name"] for c in devkit.category} == dict(enumerate(categories.NAMES))
    first, second = devkit.sample
    assert first["next"] == second["token"]
    assert second["prev"] == first["token"]
    assert second["timestamp"] - first["timestamp"] == 500_000
    for data in devkit.sample_data:
        if data["fileformat"] == "jpg":
            with Image.open(street / data["filename"]) as image:
                assert image.size == (rig.image_width, rig.image_height)


def test_every_point_has_a_label_and_a_sound_measurement(devkit: NuScenes) -> None:
    for _, points, labels in lidar_frames(devkit):
        assert len(points) == len(labels) > 10_000
        assert np.isfinite(points).all()
        assert labels.max() < 32
        assert points[:, 3].min() >= 0
        assert points[:, 3].max() <= 255
        assert set(np.unique(points[:, 4])) <= set(range(32))
        road = points[(labels == categories.ROAD) & (np.hypot(points[:, 0], points[:, 1]) < 8)]
        assert abs(np.median(road[:, 2]) + 1.84) < 0.1


def test_boxes_hold_the_points_they_count(devkit: NuScenes) -> None:
    counted = agree = 0
    for sample, points, labels in lidar_frames(devkit):
        data = devkit.get("sample_data", sample["data"]["LIDAR_TOP"])
        _, boxes, _ = devkit.get_sample_data(data["token"])
        for box in boxes:
            annotation = devkit.get("sample_annotation", box.token)
            local = (points[:, :3] - box.center) @ box.rotation_matrix
            length_width_height = np.array([box.wlh[1], box.wlh[0], box.wlh[2]])
            inside = (np.abs(local) <= length_width_height / 2).all(axis=1)
            # Points on a face may fall to either side by rounding.
            assert abs(int(inside.sum()) - annotation["num_lidar_pts"]) <= 1
            category = devkit.get("category", devkit.get("instance", annotation["instance_token"])["category_token"])["index"]
            counted, agree = counted + int(inside.sum()), agree + int((labels[inside] == category).sum())
    assert counted > 200
    assert agree > 0.8 * counted  # a box also holds some ground and whoever stands very near


def test_projected_points_land_on_pixels_of_their_category(devkit: NuScenes, rig: Rig) -> None:
    city = random_city(seeds.generator(SEED, seeds.TRAIN, 0), KEYFRAME_S * KEYFRAMES)
    hits = total = 0
    for k, (sample, points, labels) in enumerate(lidar_frames(devkit)):
        caster = city.caster(k * KEYFRAME_S)
        for mounted in rig.cameras:
            world = points[:, :3].astype(np.float64)
            for channel, inverse in (("LIDAR_TOP", False), (mounted.name, True)):
                data = devkit.get("sample_data", sample["data"][channel])
                sensor = devkit.get("calibrated_sensor", data["calibrated_sensor_token"])
                steps = [sensor, devkit.get("ego_pose", data["ego_pose_token"])]
                for step in reversed(steps) if inverse else steps:
                    turn, place = Quaternion(step["rotation"]).rotation_matrix, np.array(step["translation"])
                    world = (world - place) @ turn if inverse else world @ turn.T + place
            image = world @ np.array(sensor["camera_intrinsic"]).T
            ahead = image[:, 2] > 0.5
            column, row = (np.floor(image[ahead, i] / image[ahead, 2]).astype(int) for i in (0, 1))
            seen = (column >= 0) & (column < rig.image_width) & (row >= 0) & (row < rig.image_height)
            delay_s = mounted.delay_ms / 1e3
            size = (rig.image_width, rig.image_height)
            pose = city.world_from_ego(k * KEYFRAME_S + delay_s) @ mounted.ego_from_camera()
            _, truth = camera.photograph(caster, city.look, mounted.intrinsic(*size), size, pose, 0)
            same = truth[row[seen], column[seen]] == labels[ahead][seen]
            hits, total = hits + int(same.sum()), total + len(same)
    assert total > 2000
    assert hits > 0.85 * total


def test_same_seed_gives_the_same_bytes_in_one_process(street: Path, tmp_path: Path, rig: Rig) -> None:
    for _ in write_dataset(tmp_path, rig, DatasetPlan(SEED, 1, 0, KEYFRAMES, SCANS, 1)):
        pass
    files = sorted(p.relative_to(street) for p in street.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file())
    assert [f for f in files if (street / f).read_bytes() != (tmp_path / f).read_bytes()] == []


def test_bag_reads_back_exactly(street: Path, rig: Rig) -> None:
    city = random_city(seeds.generator(SEED, seeds.BAG, 0), SCAN_S * SCANS)
    with AnyReader([street / "street.mcap"]) as reader:
        counts = {connection.topic: connection.msgcount for connection in reader.connections}
        assert counts["/lidar_points"] == counts["/tf"] == SCANS
        assert counts["/tf_static"] == counts["/camera/cam_front/camera_info"] == 1
        assert counts["/camera/cam_back_left/image/compressed"] == 1
        clouds = [c for c in reader.connections if c.topic == "/lidar_points"]
        for scan, (connection, _, raw) in enumerate(reader.messages(clouds)):
            message = reader.deserialize(raw, connection.msgtype)
            assert message.header.frame_id == "lidar"
            assert [field.name for field in message.fields] == ["x", "y", "z", "intensity", "ring", "category"]
            cloud = decode(layout_of(message), message.data)
            world_from_lidar = city.world_from_ego(scan * SCAN_S) @ rig.lidar.ego_from_lidar()
            rng = seeds.generator(SEED, seeds.BAG, 0, 1 + scan)
            points, category, _ = lidar.scan(city.caster(scan * SCAN_S), city.look, rig.lidar, world_from_lidar, rng)
            assert message.width == len(points)
            for column, name in enumerate(("x", "y", "z", "intensity", "ring")):
                np.testing.assert_array_equal(cloud.values(name), points[:, column])
            np.testing.assert_array_equal(cloud.values("category"), category)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--scenes", "0"], 2, "at least 1"),
        (["--seed", "one"], 2, "--seed"),
        (["--bag-seconds", "3", "--bag-scans", "4"], 2, "not allowed with"),
        (["--bag-seconds", "0.01"], 2, "shorter than one scan"),
        (["--bag-seconds", "nan"], 2, "greater than 0"),
        (["--rig", "no_such_rig.yaml"], 1, "no such file"),
    ],
)
def test_bad_arguments_leave_nothing_behind(
    options: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["street", str(tmp_path / "out"), *options])
    with pytest.raises(SystemExit) as stop:
        command_line.run(command.main)
    assert stop.value.code == code
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_street_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    monkeypatch.setattr(sys, "argv", ["street", str(tmp_path)])
    with pytest.raises(SystemExit) as stop:
        command_line.run(command.main)
    assert stop.value.code == 1
    assert "not a street dataset" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_rig_with_an_unknown_key_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rig = tmp_path / "rig.yaml"
    rig.write_text(RIG.replace("azimuth_steps", "azimut_steps"))
    monkeypatch.setattr(sys, "argv", ["street", str(tmp_path / "out"), "--rig", str(rig)])
    with pytest.raises(SystemExit) as stop:
        command_line.run(command.main)
    assert stop.value.code == 1
    assert "'azimuth_steps'" in capsys.readouterr().err
