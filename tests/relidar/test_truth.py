"""The three places of the truth give the same classes; what does not fit is told."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from relidar.bags import CloudBag, RecordedCloud
from relidar.errors import BagError, DatasetError
from relidar.label_map import LabelMap, MappedClass
from relidar.pointcloud2 import CloudField, CloudLayout, decode
from relidar.prompts import ClassPrompts
from relidar.truth import WAITING_SCANS, Truth, TruthSource

MAP = LabelMap(
    name="two",
    classes=(
        MappedClass(name="low", truth=(1, 2), predicted=("car",)),
        MappedClass(name="high", truth=(7,), predicted=("tree",)),
    ),
)
CLASSES = tuple(
    ClassPrompts(id=k, name=name, prompts=(name,), rgb=(k, k, k)) for k, name in ((3, "car"), (5, "tree"), (6, "sign"))
)
RAW = np.array([0, 1, 2, 7, 9, 255], np.uint8)
EXPECTED = [255, 0, 0, 1, 255, 255]


@pytest.fixture
def scan(tmp_path: Path, record: Callable, scan_of: Callable) -> RecordedCloud:
    with CloudBag(record(tmp_path / "bag", [scan_of(np.ones((6, 3)), np.zeros(6), RAW)])) as bag:
        return next(iter(bag))


def classes_of(
    source: TruthSource, scan: RecordedCloud, beside: RecordedCloud | None = None, topics: tuple = ("/points",)
) -> list:
    truth = Truth(source, MAP, CLASSES, topics).of(scan, decode(scan.layout, scan.data), beside)
    return [] if truth is None else truth.tolist()


def test_a_field_of_the_cloud(scan: RecordedCloud) -> None:
    assert classes_of(TruthSource("category"), scan) == EXPECTED
    with pytest.raises(BagError, match=r"no field .label..*category; correct --truth-field"):
        classes_of(TruthSource(), scan)


def test_a_field_of_floats_with_numbers_out_of_range(scan: RecordedCloud) -> None:
    layout = CloudLayout(1, 4, tuple(CloudField(n, 4 * k, 7) for k, n in enumerate(("x", "y", "z", "label"))), 16, 64)
    values = np.array([[0, 0, 0, np.nan], [0, 0, 0, -1], [0, 0, 0, 1e9], [0, 0, 0, 7]], np.float32)
    assert classes_of(TruthSource(), replace(scan, layout=layout, data=values.view(np.uint8).ravel())) == [255, 255, 255, 1]


def test_a_second_topic_that_needs_no_coordinates(scan: RecordedCloud) -> None:
    layout = CloudLayout(1, 6, (CloudField("label", 0, 2),), 1, 6)
    beside = replace(scan, topic="/truth", layout=layout, data=RAW)
    assert classes_of(TruthSource(topic="/truth"), scan, beside) == EXPECTED
    assert classes_of(TruthSource(topic="/truth"), scan, None) == []
    with pytest.raises(DatasetError, match="5 labels for 6 points"):
        classes_of(TruthSource(topic="/truth"), scan, replace(beside, layout=replace(layout, width=5, row_step=5), data=RAW[:5]))
    with pytest.raises(BagError, match="name its one with --topic"):
        classes_of(TruthSource(topic="/truth"), scan, None, ("/points", "/other"))


@pytest.mark.parametrize("early", [-1, 0, 1])
def test_topics_meet_by_stamp_whichever_comes_first(scan: RecordedCloud, early: int) -> None:
    truth = Truth(TruthSource(topic="/truth"), MAP, CLASSES, ("/points",))
    scans = [replace(scan, stamp_ns=stamp) for stamp in range(80)]
    truths = [replace(scan, topic="/truth", stamp_ns=stamp) for stamp in range(80) if stamp != 40]
    order = sorted([*scans, *truths], key=lambda s: s.stamp_ns + (early * 3.5 if s.topic == "/truth" else 0))
    pairs = list(truth.beside(order))
    assert [s.stamp_ns for s, _ in pairs] == list(range(80))
    assert [t.stamp_ns if t else None for _, t in pairs] == [stamp if stamp != 40 else None for stamp in range(80)]


def test_scans_do_not_wait_for_ever(scan: RecordedCloud) -> None:
    truth = Truth(TruthSource(topic="/truth"), MAP, CLASSES, ("/points",))
    taken = []

    def stream():
        for stamp in range(100):
            taken.append(stamp)
            yield replace(scan, stamp_ns=stamp)

    pairs = truth.beside(stream())
    assert next(pairs)[1] is None
    assert len(taken) == WAITING_SCANS + 1
    assert len(list(pairs)) == 99


def test_files_named_by_stamp(scan: RecordedCloud, tmp_path: Path) -> None:
    folder = tmp_path / "truth"
    source = TruthSource(folder=folder)
    with pytest.raises(DatasetError, match="no such folder"):
        classes_of(source, scan)
    folder.mkdir()
    assert classes_of(source, scan) == []
    (RAW.astype(np.uint32) | 0xABCD0000).tofile(folder / f"{scan.stamp_ns}.label")
    assert classes_of(source, scan) == EXPECTED
    np.save(folder / f"{scan.stamp_ns}.npy", RAW.astype(np.int32))
    assert classes_of(source, scan) == EXPECTED
    (folder / "points").mkdir()
    np.save(folder / "points" / f"{scan.stamp_ns}.npy", RAW[::-1].copy())
    assert classes_of(source, scan, None, ("/points", "/other")) == EXPECTED[::-1]


def test_files_that_are_no_truth(scan: RecordedCloud, tmp_path: Path) -> None:
    file = tmp_path / f"{scan.stamp_ns}.npy"
    for values, message in ((RAW[:3], "3 labels for 6 points"), (RAW.astype(np.float32), "expected integers")):
        np.save(file, values)
        with pytest.raises(DatasetError, match=message):
            classes_of(TruthSource(folder=tmp_path), scan)
    np.save(file, np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(DatasetError, match="not an array"):
        classes_of(TruthSource(folder=tmp_path), scan)
    file.write_bytes(b"\x93NUMPY")
    with pytest.raises(DatasetError, match="not an array"):
        classes_of(TruthSource(folder=tmp_path), scan)


def test_predictions_are_mapped_too() -> None:
    truth = Truth(TruthSource(), MAP, CLASSES, ("/points",))
    assert truth.prediction(np.array([3, 5, 6, 255], np.uint8)).tolist() == [0, 1, 255, 255]
