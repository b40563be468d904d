"""The recorded answers: readable, and byte for byte what the segmenter answers."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from rosbags import rosbag2
from rosbags.typesys import Stores, get_typestore

from relidar.bag_replay import replay_bag
from relidar.bags import CloudBag
from relidar.loaded_model import LoadedModel, load_model
from relidar.pointcloud2 import decode
from relidar.replay_options import ReplayOptions
from relidar.scan_answer import OUTPUTS, Settings, answer_scan
from relidar.truth import TruthSource
from relidar.vocabulary import build_vocabulary


@pytest.fixture(scope="module")
def model(tiny_bundle: Path) -> LoadedModel:
    return load_model(tiny_bundle, "onnxruntime-cpu")


@pytest.fixture
def drive(tmp_path: Path, record: Callable, scan_of: Callable, random_cloud: Callable) -> Path:
    """Two topics of three scans, the last of them empty."""
    clouds = [random_cloud(500, seed) for seed in range(2)]
    clouds[0].xyz_m[:9] = np.nan
    scans = [scan_of(cloud.xyz_m, cloud.intensity) for cloud in clouds] + [scan_of(np.empty((0, 3)), np.empty(0))]
    return record(tmp_path / "drive", scans, topics=("/front", "/rear"))


def test_a_labelled_bag_holds_the_node_s_answers(drive: Path, model: LoadedModel, tmp_path: Path) -> None:
    replay_bag(drive, tmp_path / "result", model, ReplayOptions(model.bundle.path, topics=("all",), write=True))
    labelled = tmp_path / "result/labelled"
    settings = Settings(build_vocabulary(model.words), frozenset())
    for topic in ("/front", "/rear"):
        with CloudBag(drive, topic) as asked, CloudBag(labelled, f"{topic}/segmentation") as answers:
            pairs = list(zip(asked, answers, strict=True))
        assert len(pairs) == 3
        for scan, answer in pairs:
            expected = answer_scan(model.segmenter, settings, scan.layout, scan.data, OUTPUTS).clouds["segmentation"]
            assert answer.layout == expected.layout
            assert answer.data.tobytes() == expected.data
            assert (answer.stamp_ns, answer.bag_time_ns, answer.frame_id, answer.is_dense) == (
                scan.stamp_ns,
                scan.bag_time_ns,
                scan.frame_id,
                scan.is_dense,
            )
        with CloudBag(labelled, f"{topic}/visualization") as coloured:
            assert [field.name for field in next(iter(coloured)).layout.fields] == ["x", "y", "z", "rgb"]


def test_what_the_labels_mean_comes_first_and_stays(drive: Path, model: LoadedModel, tmp_path: Path) -> None:
    replay_bag(drive, tmp_path / "result", model, ReplayOptions(model.bundle.path, topics=("/front",), write=True))
    labelled = tmp_path / "result/labelled"
    store = get_typestore(Stores.ROS2_JAZZY)
    with rosbag2.Reader(labelled) as reader:
        connection, _, raw = next(reader.messages())
        assert connection.topic == "/front/label_info"
        info = json.loads(store.deserialize_cdr(raw, connection.msgtype).data)  # type: ignore[attr-defined]
    assert [entry["class_name"] for entry in info["class_map"]] == [c.name for c in model.bundle.manifest.classes]
    metadata = yaml.safe_load((labelled / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert metadata["storage_identifier"] == "mcap"
    quality = {
        entry["topic_metadata"]["name"]: entry["topic_metadata"]["offered_qos_profiles"][0]
        for entry in metadata["topics_with_message_count"]
    }
    assert quality["/front/label_info"]["durability"] == "transient_local"
    assert {profile["reliability"] for profile in quality.values()} == {"reliable"}


def test_labels_of_a_labelled_bag_are_a_truth(drive: Path, model: LoadedModel, tmp_path: Path) -> None:
    """Replayed against its own answers, as a second topic of one bag, every point is right."""
    classes = model.bundle.manifest.classes
    entries = "\n".join(f"  - {{name: {c.name}, truth: [{c.id}], predicted: [{c.name}]}}" for c in classes)
    (tmp_path / "map.yaml").write_text(f"name: own\nclasses:\n{entries}\n")
    replay_bag(drive, tmp_path / "first", model, ReplayOptions(model.bundle.path, topics=("/front",), write=True))
    options = ReplayOptions(
        model.bundle.path, topics=("/front/segmentation",), truth=TruthSource("label"), truth_map=tmp_path / "map.yaml"
    )
    replay_bag(tmp_path / "first/labelled", tmp_path / "second", model, options)
    result = json.loads((tmp_path / "second/result.json").read_text())
    confusion = np.array(result["topics"]["/front/segmentation"]["confusions"][0])
    assert confusion.sum() == np.trace(confusion[:, :-1]) > 900
    with CloudBag(tmp_path / "first/labelled", "/front/segmentation") as bag:
        labels = [decode(scan.layout, scan.data).values("label") for scan in bag]
    assert [len(values) for values in labels] == [500, 500, 0]
