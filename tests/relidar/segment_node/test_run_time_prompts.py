"""Prompts changed while the node runs: applied between scans, or refused with a reason and the old ones kept."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from relidar.bundle import Bundle, open_bundle
from relidar.pointcloud2 import Cloud, CloudLayout, decode, layout_of
from relidar.vocabulary import colour_of

# Of the message generator that rclpy imports.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_.*' is deprecated:DeprecationWarning")
Scan = tuple[CloudLayout, bytes]


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    return open_bundle(tiny_bundle)


@pytest.fixture
def prompted(peer: Any) -> Iterator[Any]:
    """A peer that listens; the bundle's own classes are back at the end."""
    peer.listen("segmentation")
    yield peer
    assert peer.set(prompts=[], similarity_prompts=[], filtered_classes=[], prompts_file="") == ""


def latched() -> Any:
    from rclpy.qos import DurabilityPolicy, QoSProfile

    return QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def segmented(peer: Any, scan: Scan) -> Cloud:
    answer = peer.ask(*scan)["segmentation"]
    return decode(layout_of(answer), answer.data)


def test_prompts_change_at_once_with_label_info_and_stable_ids(prompted: Any, scan: Scan, bundle: Bundle) -> None:
    from std_msgs.msg import String

    infos = prompted.subscribe(String, "label_info", latched())
    prompted.wait(lambda: len(infos) == 1)
    first = json.loads(infos[0].data)
    manifest = bundle.manifest
    assert [(c["class_id"], c["class_name"], tuple(c["rgb"])) for c in first["class_map"]] == [
        (c.id, c.name, c.rgb) for c in manifest.classes
    ]
    assert (first["threshold"], first["unlabelled"]) == (manifest.unknown_threshold, 255)

    assert prompted.set(prompts=["truck", "person: pedestrian, car"]) == ""
    prompted.wait(lambda: len(infos) == 2)
    info = json.loads(infos[1].data)
    truck = next(c for c in manifest.classes if c.name == "truck")
    assert info["class_map"] == [
        {"class_id": truck.id, "class_name": "truck", "prompts": ["truck"], "rgb": list(truck.rgb)},
        {"class_id": 16, "class_name": "person", "prompts": ["pedestrian", "car"], "rgb": list(colour_of("person"))},
    ]
    assert info["version"] == first["version"] + 1
    assert set(segmented(prompted, scan).values("label").tolist()) <= {truck.id, 16, 255}
    prompted.settle()
    assert prompted.values["prompts_version"] == str(info["version"])


def test_refused_prompts_leave_the_old_ones(prompted: Any, scan: Scan) -> None:
    assert prompted.set(prompts=["car", "bus"], filtered_classes=["bus"]) == ""
    prompted.settle()
    version = prompted.values["prompts_version"]
    refused = {
        "'zeppelin'": {"prompts": ["car", "zeppelin"]},
        "'car' occurs twice": {"prompts": ["car", "car: bus"]},
        "'car:' is no class": {"prompts": ["car:"]},
        "filtered_classes: no class 'bus'": {"prompts": ["car"]},
        "filtered_classes: no class 'tree'": {"filtered_classes": ["tree"]},
        "'airship'": {"similarity_prompts": ["airship"]},
        "prompts is": {"prompts": "car"},
    }
    for reason, values in refused.items():
        assert reason in prompted.set(**values)
    assert set(segmented(prompted, scan).values("label").tolist()) <= {2, 3, 255}
    prompted.settle()
    assert prompted.values["prompts_version"] == version
    # Both at once are fine.
    assert prompted.set(prompts=["car"], filtered_classes=["car"]) == ""


def test_a_prompts_file_is_read_when_the_service_is_called(prompted: Any, scan: Scan, tmp_path: Path) -> None:
    path = tmp_path / "prompts.yaml"
    content = {"name": "two", "classes": [{"id": 40, "name": "vehicle", "prompts": ["car", "bus"], "rgb": [1, 2, 3]}]}
    path.write_text(yaml.safe_dump(content))
    assert prompted.set(prompts_file=str(path)) == ""
    assert max(set(segmented(prompted, scan).values("label").tolist()) - {255}) < 16
    success, message = prompted.set_prompts()
    assert success, message
    assert set(segmented(prompted, scan).values("label").tolist()) <= {40, 255}
    content["classes"][0]["prompts"] = ["zeppelin"]  # type: ignore[index]
    path.write_text(yaml.safe_dump(content))
    success, message = prompted.set_prompts()
    assert not success
    assert "zeppelin" in message
    path.unlink()
    success, message = prompted.set_prompts()
    assert (success, "no such file" in message) == (False, True)
    assert set(segmented(prompted, scan).values("label").tolist()) <= {40, 255}


def test_similarity_fields_hold_the_cosine_of_each_query(prompted: Any, scan: Scan) -> None:
    assert prompted.set(similarity_prompts=["traffic cone", "car"], prompts=["car", "traffic cone"]) == ""
    cloud = segmented(prompted, scan)
    similarity = np.stack([cloud.values("similarity_car"), cloud.values("similarity_traffic_cone")], axis=1)
    label, score = cloud.values("label"), cloud.values("score")
    answered = label != 255
    assert answered.any()
    np.testing.assert_allclose(similarity.max(axis=1)[answered], score[answered], atol=1e-5)
    np.testing.assert_array_equal(similarity.argmax(axis=1)[answered], np.where(label == 7, 1, 0)[answered])
    assert prompted.set(similarity_prompts=[]) == ""
    assert not [field.name for field in segmented(prompted, scan).layout.fields if field.name.startswith("similarity")]
