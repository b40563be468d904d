"""Datasets become bags that hold the same points, truth and poses, and that replay scores as `distill.evaluate` does."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from nuscenes import NuScenes
from pyquaternion import Quaternion
from rosbags.highlevel import AnyReader

from distill.nuscenes_frames import read_cloud, read_lidarseg
from distill.scan_folder import ScanSet
from distill.to_bag import TOPIC, TRUTH_FIELD, main
from distill.zero_shot import scan_folder
from relidar import command_line, replay
from relidar.bags import CloudBag
from relidar.config_file import load, validate
from relidar.label_map import LabelMap
from relidar.pointcloud2 import Cloud, decode

ROOT = Path(__file__).parents[2]
NAMES = ["barrier", "bicycle", "bus", "car", "vegetation", "manmade", "terrain", "sidewalk"]
SCAN_SET = {
    "name": "made-up",
    "intensity_max": 1.0,
    "classes": [{"name": "a", "truth": [3], "predicted": NAMES[:4]}, {"name": "b", "truth": [400], "predicted": NAMES[4:]}],
}


def convert(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["to_bag", *map(str, words)])
    try:
        command_line.run(main)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def clouds(bag_path: Path) -> list[tuple[int, Cloud]]:
    with CloudBag(bag_path) as bag:
        assert bag.topic == TOPIC
        scans = list(bag)
    assert {scan.frame_id for scan in scans} == {"lidar"}
    assert [scan.bag_time_ns for scan in scans] == [scan.stamp_ns for scan in scans]
    return [(scan.stamp_ns, decode(scan.layout, scan.data)) for scan in scans]


def transforms(bag_path: Path, topic: str) -> list:
    with AnyReader([bag_path]) as reader:
        connections = [c for c in reader.connections if c.topic == topic]
        return [t for c, _, raw in reader.messages(connections) for t in reader.deserialize(raw, c.msgtype).transforms]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    (tmp_path / "scans").mkdir()
    for number in range(3):
        points = random.uniform([-20, -20, -2, 0], [20, 20, 3, 1], (700, 4)).astype(np.float32)
        label = random.choice(np.array([0, 3, 400], np.uint16), 700)
        np.savez(tmp_path / "scans" / f"{number}.npz", points=points, label=label, ring=np.arange(700, dtype=np.uint16) % 64)
    (tmp_path / "set.yaml").write_text(yaml.safe_dump(SCAN_SET))
    return tmp_path / "scans"


def replayed(monkeypatch: pytest.MonkeyPatch, bag: Path, bundle: Path, out: Path, *more: str) -> dict:
    """The report of a replay against the bag's own truth."""
    words = [bag, "--bundle", bundle, "--out", out, "--backend", "onnxruntime-cpu"]
    words += ["--truth-field", TRUTH_FIELD, "--truth-map", bag / "label_map.yaml", *more]
    monkeypatch.setattr(sys, "argv", ["replay", *map(str, words)])
    replay.main()
    return json.loads((out / "report.json").read_text())


def test_replay_of_a_scan_folder_scores_as_evaluate_does(
    folder: Path, tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag = tmp_path / "bag"
    assert convert(monkeypatch, "scans", folder, "--scan-set", tmp_path / "set.yaml", "--rate-hz", 2, "--out", bag) == 0
    scans = clouds(bag)
    assert np.diff([stamp_ns for stamp_ns, _ in scans]).tolist() == [500_000_000] * 2
    for (_, cloud), path in zip(scans, sorted(folder.glob("*.npz")), strict=True):
        with np.load(path) as arrays:
            np.testing.assert_array_equal(cloud.xyz_m, arrays["points"][:, :3])
            np.testing.assert_array_equal(cloud.intensity, arrays["points"][:, 3] * np.float32(255))
            np.testing.assert_array_equal(cloud.values(TRUTH_FIELD), arrays["label"])
            np.testing.assert_array_equal(cloud.values("ring"), arrays["ring"])
    scan_set = validate(SCAN_SET, ScanSet, "test")
    assert load(bag / "label_map.yaml", LabelMap).model_dump() == scan_set.model_dump(exclude={"intensity_max"})
    corruptions = ("rain:5", "beam-drop:3")
    result = scan_folder(folder, tiny_bundle, scan_set, "onnxruntime-cpu", corruptions)
    assert result["miou"] > 0
    report = replayed(monkeypatch, bag, tiny_bundle, tmp_path / "replay", "--corrupt", ",".join(corruptions))
    assert report["truth"]["miou_percent"] == pytest.approx(result["miou"], abs=1e-3)
    assert report["robustness"] == result["robustness"]


def test_real_scans_replay_as_evaluate_scores_them(
    relidar_data: Path, tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan_set = load(ROOT / "configs/scan_sets/semantickitti-range.yaml", ScanSet)
    renamed = {"car": "car", "driveable_surface": "drivable surface", "sidewalk": "sidewalk", "manmade": "manmade"}
    classes = [
        {"name": c.name, "truth": list(c.truth), "predicted": [renamed[name] for name in c.predicted if name in renamed]}
        for c in scan_set.classes
    ]
    values = {"name": "real", "intensity_max": 1.0, "classes": classes}
    (tmp_path / "set.yaml").write_text(yaml.safe_dump(values))
    (tmp_path / "few").mkdir()
    for name in ("000.npz", "001.npz"):
        (tmp_path / "few" / name).write_bytes((relidar_data / "semantickitti-range" / name).read_bytes())
    bag = tmp_path / "bag"
    assert convert(monkeypatch, "scans", tmp_path / "few", "--scan-set", tmp_path / "set.yaml", "--out", bag) == 0
    result = scan_folder(tmp_path / "few", tiny_bundle, validate(values, ScanSet, "test"), "onnxruntime-cpu", ())
    report = replayed(monkeypatch, bag, tiny_bundle, tmp_path / "replay")
    assert report["truth"]["miou_percent"] == pytest.approx(result["miou"], abs=1e-3)


def test_nuscenes_keyframes_keep_points_truth_stamps_and_poses(
    street: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert convert(monkeypatch, "nuscenes", street, "--out", tmp_path / "all") == 0
    dataset = NuScenes("v1.0-trainval", str(street), verbose=False)
    records = sorted(
        (dataset.get("sample_data", sample["data"]["LIDAR_TOP"]) for sample in dataset.sample), key=lambda r: r["timestamp"]
    )
    scans = clouds(tmp_path / "all")
    assert [stamp_ns for stamp_ns, _ in scans] == [1000 * record["timestamp"] for record in records]
    for (_, cloud), record in zip(scans, records, strict=True):
        xyz_m, intensity = read_cloud(street / record["filename"])
        np.testing.assert_array_equal(cloud.xyz_m, xyz_m)
        np.testing.assert_array_equal(cloud.intensity, intensity)
        lidarseg = street / dataset.get("lidarseg", record["token"])["filename"]
        np.testing.assert_array_equal(cloud.values(TRUTH_FIELD), read_lidarseg(lidarseg, len(xyz_m)))
        assert cloud.values("ring").max() == 31
    (mount,) = transforms(tmp_path / "all", "/tf_static")
    assert (mount.header.frame_id, mount.child_frame_id) == ("base_link", "lidar")
    for pose, record in zip(transforms(tmp_path / "all", "/tf"), records, strict=True):
        ego, place = dataset.get("ego_pose", record["ego_pose_token"]), pose.transform.translation
        assert [place.x, place.y, place.z] == pytest.approx(ego["translation"])
        turn = pose.transform.rotation
        assert Quaternion.absolute_distance(Quaternion(turn.w, turn.x, turn.y, turn.z), Quaternion(ego["rotation"])) < 1e-9


def test_one_scene_of_nuscenes(
    street: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert(monkeypatch, "nuscenes", street, "--scene", "street-0001", "--out", tmp_path / "one") == 0
    assert len(clouds(tmp_path / "one")) == 1
    assert convert(monkeypatch, "nuscenes", street, "--scene", "scene-9999", "--out", tmp_path / "none") == 1
    assert "scene-9999; there are street-0000, street-0001" in capsys.readouterr().err
    assert convert(monkeypatch, "nuscenes", street, "--version", "v1.0-mini", "--out", tmp_path / "none") == 1
    assert "v1.0-mini" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_kitti_sequence_keeps_raw_labels_and_poses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sequence = _made_up_sequence(tmp_path / "04")
    assert convert(monkeypatch, "semantic-kitti", sequence, "--out", tmp_path / "bag") == 0
    scans = clouds(tmp_path / "bag")
    assert np.diff([stamp_ns for stamp_ns, _ in scans]).tolist() == [100_000_000] * 2
    for number, (_, cloud) in enumerate(scans):
        points = np.fromfile(sequence / f"velodyne/{number:06d}.bin", "<f4").reshape(-1, 4)
        np.testing.assert_array_equal(cloud.xyz_m, points[:, :3])
        np.testing.assert_array_equal(cloud.intensity, points[:, 3] * np.float32(255))
        labels = np.fromfile(sequence / f"labels/{number:06d}.label", "<u4") & 0xFFFF
        np.testing.assert_array_equal(cloud.values(TRUTH_FIELD), labels)
        assert cloud.layout.field("ring") is None
    assert [pose.transform.translation.x for pose in transforms(tmp_path / "bag", "/tf")] == pytest.approx([0, 1, 2])
    # A label file that is cut short fails the whole, and the bag written before stays.
    (sequence / "labels/000002.label").write_bytes(b"1234")
    assert convert(monkeypatch, "semantic-kitti", sequence, "--out", tmp_path / "bag") == 1
    assert "000002.label" in capsys.readouterr().err
    assert len(clouds(tmp_path / "bag")) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["04", "bag"]


def test_a_unit_of_intensity_may_be_chosen(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["scans", folder, "--scan-set", tmp_path / "set.yaml", "--out", tmp_path / "bag"]
    assert convert(monkeypatch, *words, "--intensity-max", 1) == 0
    with np.load(folder / "0.npz") as arrays:
        np.testing.assert_array_equal(clouds(tmp_path / "bag")[0][1].intensity, arrays["points"][:, 3])
    for value in ("0", "-1", "nan", "many"):
        assert convert(monkeypatch, *words, "--intensity-max", value) == 2


def _made_up_sequence(folder: Path) -> Path:
    path = Path(__file__).with_name("test_semantic_kitti.py")
    spec = importlib.util.spec_from_file_location("kitti_sequence", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.write_sequence(folder)
