"""What the node answers: every point, in every wanted cloud, header unchanged; and what it counts."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from relidar.bundle import open_bundle
from relidar.labelled_cloud import colours_of
from relidar.onnx_executor import PairsExecutor
from relidar.pointcloud2 import CloudField, CloudLayout, decode, layout_of
from relidar.segmenter import Segmentation, Segmenter

# Of the message generator that rclpy imports.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_.*' is deprecated:DeprecationWarning")
Scan = tuple[CloudLayout, bytes]


def expected(bundle_path: Path, layout: CloudLayout, data: bytes) -> Segmentation:
    bundle = open_bundle(bundle_path)
    cloud = decode(layout, data)
    return Segmenter.of_bundle(bundle, PairsExecutor(bundle, threads=1))(cloud.xyz_m, cloud.intensity)


def test_all_outputs_of_an_odd_layout(peer: Any, tiny_bundle: Path) -> None:
    # Organised, big-endian, x and y float64, z float32, padding between fields, points and rows, NaN.
    fields = (CloudField("y", 1, 8), CloudField("z", 10, 7), CloudField("x", 15, 8), CloudField("ring", 24, 3))
    layout = CloudLayout(4, 300, fields, 30, 300 * 30 + 7, is_bigendian=True)
    random = np.random.default_rng(5)
    data = bytearray(random.integers(0, 256, 4 * layout.row_step, dtype=np.uint8).tobytes())
    for axis in "xyz":
        field = layout.field(axis)
        assert field is not None
        kind = ">f8" if field.datatype == 8 else ">f4"
        view = np.ndarray((4, 300), kind, data, field.offset, (layout.row_step, layout.point_step))
        view[...] = random.uniform(-15, 15, (4, 300)) if axis != "z" else random.uniform(-1.8, 2, (4, 300))
        view[1, ::5] = np.nan
    sent_bytes = bytes(data)
    segmentation = expected(tiny_bundle, layout, sent_bytes)
    given = decode(layout, sent_bytes)
    present = sorted(set(segmentation.label.tolist()) - {255})
    names = {c.id: c.name for c in open_bundle(tiny_bundle).manifest.classes}
    removed = [present[0], 255]
    assert peer.set(filtered_classes=[names[present[0]], "unlabelled"]) == ""

    peer.listen("segmentation", "visualization", "filtered")
    sent = peer.send(layout, sent_bytes, "roof", 7.25)
    peer.wait(lambda: all(len(clouds) == 1 for clouds in peer.received.values()))
    answers = {name: clouds[0] for name, clouds in peer.received.items()}
    assert peer.set(filtered_classes=[]) == ""

    assert all(answer.header == sent.header for answer in answers.values())
    assert [answers["segmentation"].height, answers["segmentation"].width] == [4, 300]
    found = decode(layout_of(answers["segmentation"]), answers["segmentation"].data)
    for name in ("ring", "x", "y", "z"):
        np.testing.assert_array_equal(found.values(name), given.values(name))
    np.testing.assert_array_equal(found.values("label"), segmentation.label)
    np.testing.assert_allclose(found.values("score"), segmentation.score, atol=1e-5)
    np.testing.assert_allclose(found.values("margin"), segmentation.margin, atol=1e-5)
    assert set(found.values("label").reshape(4, 300)[1, ::5]) == {255}

    seen = decode(layout_of(answers["visualization"]), answers["visualization"].data)
    assert [field.name for field in seen.layout.fields] == ["x", "y", "z", "rgb"]
    assert (seen.layout.height, seen.layout.width, seen.layout.point_step) == (4, 300, 16)
    np.testing.assert_array_equal(seen.xyz_m, given.xyz_m)
    colours = colours_of(open_bundle(tiny_bundle).manifest.classes)
    np.testing.assert_array_equal(seen.values("rgb").view(np.uint32), colours[segmentation.label].view(np.uint32))

    kept = layout_of(answers["filtered"])
    keep = ~np.isin(segmentation.label, removed)
    assert 0 < keep.sum() < len(keep)
    assert (kept.height, kept.width, kept.fields, kept.is_bigendian) == (1, keep.sum(), layout.fields, True)
    rows = np.ndarray((4, 300, 30), np.uint8, sent_bytes, 0, (layout.row_step, 30, 1)).reshape(1200, 30)
    assert bytes(answers["filtered"].data) == rows[keep].tobytes()


def test_nothing_is_worked_out_that_nobody_wants(peer: Any, scan: Scan) -> None:
    peer.settle()
    before = peer.counters
    for _ in range(3):
        peer.send(*scan)
        peer.spin(0.2)
    peer.wait(
        lambda: peer.counters.get("skipped", 0) + peer.counters.get("dropped", 0) == before["skipped"] + before["dropped"] + 3
    )
    assert peer.counters["answered"] == before["answered"]
    peer.listen("filtered")
    peer.ask(*scan)
    assert [len(peer.received[name]) for name in ("segmentation", "filtered")] == [0, 1]


def test_malformed_clouds_are_counted_by_cause_empty_ones_answered_and_the_node_lives_on(peer: Any, scan: Scan) -> None:
    peer.listen("segmentation")
    before = peer.counters
    layout, data = scan
    malformed = [
        (layout, data[:-3], "data_length"),
        (replace(layout, fields=layout.fields[1:]), data, "missing_field"),
        (replace(layout, fields=(replace(layout.fields[0], datatype=77), *layout.fields[1:])), data, "datatype"),
    ]
    for number, (bad_layout, bad_data, cause) in enumerate(malformed, start=1):
        peer.send(bad_layout, bad_data)
        peer.wait(lambda cause=cause: peer.counters.get(f"malformed.{cause}") == 1)
        assert peer.counters["malformed"] == before["malformed"] + number
        assert (peer.level, peer.message) == (b"\x01", "1 scans not usable")
    empty = peer.ask(CloudLayout(0, 0, (), 0, 0), b"", stamp_s=5)["segmentation"]
    full = peer.ask(layout, data, stamp_s=6)["segmentation"]
    assert (empty.header.stamp.sec, empty.width * empty.height, len(empty.data)) == (5, 0, 0)
    assert (full.header.stamp.sec, full.width) == (6, 800)

    peer.wait(lambda: peer.counters.get("received") == before["received"] + 5 and peer.counters["pending"] == 0)
    assert peer.adds_up
    assert peer.counters["answered"] == before["answered"] + 2
    assert peer.counters["empty"] == before["empty"] + 1
    peer.wait(lambda: (peer.level, peer.message) == (b"\x00", "labelling"))


def test_a_request_that_rclpy_cannot_read_leaves_the_node_running(peer: Any) -> None:
    from rcl_interfaces.msg import Parameter, ParameterValue
    from rcl_interfaces.srv import SetParameters

    client = peer.node.create_client(SetParameters, f"/{peer.target}/set_parameters")
    assert client.wait_for_service(20)
    no_type, good = ParameterValue(type=77), ParameterValue(type=3, double_value=0.0)
    requests = [SetParameters.Request(parameters=[Parameter(name="latency_warn_ms", value=value)]) for value in (no_type, good)]
    unread, read = [client.call_async(request) for request in requests]
    peer.wait(read.done)
    assert read.result().results[0].successful
    assert not unread.done()


def test_diagnostics_name_what_runs_and_timings_are_published(peer: Any, scan: Scan, tiny_bundle: Path) -> None:
    from std_msgs.msg import Float64

    stages = ("decode", "voxelise", "rulebook", "infer", "scores", "encode", "total")
    timings = {name: peer.subscribe(Float64, f"debug/{name}_ms") for name in stages}
    peer.listen("segmentation")

    def complete() -> bool:
        peer.ask(*scan)
        peer.spin(0.1)
        return all(timings.values())

    peer.wait(complete)
    stage_ms = {name: values[-1].data for name, values in timings.items()}
    assert 0 < sum(value for name, value in stage_ms.items() if name != "total") <= stage_ms["total"]
    values = peer.values
    assert values["state"] == "active"
    assert values["backend"] == "onnxruntime-cpu"
    assert values["bundle"] == str(tiny_bundle)
    assert len(values["bundle_sha256"]) == 64
    assert "student-pairs.onnx" in values["engine"]
    assert float(values["golden_difference"]) < 1e-4
    assert float(values["processing_ms.p50"]) > 0
    assert values["over_capacity"] == "0"


def test_latency_limits_are_told_by_the_diagnostics(peer: Any, scan: Scan) -> None:
    peer.listen("segmentation")
    peer.ask(*scan)
    assert "latency_warn_ms is -1.0, expected at least 0" in peer.set(latency_warn_ms=-1.0)
    for name, level in (("latency_warn_ms", b"\x01"), ("latency_error_ms", b"\x02")):
        assert peer.set(**{name: 0.001}) == ""
        peer.wait(lambda level=level, name=name: peer.level == level and name in peer.message)
    assert peer.set(latency_warn_ms=0.0, latency_error_ms=0.0, input_timeout_s=0.5) == ""
    peer.wait(lambda: peer.level == b"\x03" and peer.message.startswith("no cloud for"))
    assert peer.set(input_timeout_s=5.0) == ""


def test_a_player_in_another_process_gets_every_answer(
    node: Any, play: Callable, bag: Callable[[int], Path], tmp_path: Path
) -> None:
    done, report = play(bag(1000), tmp_path / "live.json", "--rate", 2, "--count", 6)
    assert done.returncode == 0, done.stderr
    wrong = [report[kind] for kind in ("repeated", "out_of_order", "wrong_size", "wrong_header")]
    assert wrong == [0, 0, 0, 0]
    counted = report["node_counted"]
    assert counted["received"] == sum(counted[way] for way in ("answered", "dropped", "skipped"))
    assert counted["answered"] == report["answered"] >= 4
    assert 0 < report["latency_ms"]["p50"] <= report["latency_ms"]["p99"] < 5000


def test_at_20_hz_every_scan_is_answered_once_and_in_order_or_counted_as_dropped(
    node: Any, play: Callable, bag: Callable[[int], Path], tmp_path: Path
) -> None:
    # Large enough that the node cannot keep up: a message of 720 kB, which must get through the middleware all the same.
    done, report = play(bag(30000), tmp_path / "live.json", "--rate", 20, "--count", 60)
    assert done.returncode == 0, done.stderr
    counted = report["node_counted"]
    assert [report[kind] for kind in ("repeated", "out_of_order", "wrong_size", "wrong_header")] == [0, 0, 0, 0]
    assert counted["received"] == sum(counted[way] for way in ("answered", "dropped", "skipped"))
    assert counted["answered"] == report["answered"] > 0
    assert counted["dropped"] > 0
    assert report["lost_in_transport"] < report["sent"] / 2
