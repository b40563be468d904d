"""The books notice every wrong answer, by its kind, and no right one."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from relidar.cloud_outputs import filtered_cloud, segmentation_cloud
from relidar.labelled_cloud import segment_cloud
from relidar.loaded_model import LoadedModel, load_model
from relidar.pointcloud2 import DATATYPES
from relidar.vocabulary import Vocabulary, build_vocabulary
from tests.soak.answer_book import Answer, AnswerBook
from tests.soak.clouds import FIRST, KINDS, SoakCloud, make_cloud
from tests.soak.journal import Journal, JournalWriter
from tests.soak.model_history import ModelHistory, ModelState

SEED = 3
OTHER_WORDS = ("truck", "anything: car, bus")


@pytest.fixture(scope="module")
def model(tiny_bundle: Path) -> LoadedModel:
    return load_model(tiny_bundle, "onnxruntime-cpu", 1)


@pytest.fixture(scope="module")
def clouds() -> dict[int, SoakCloud]:
    """By number: a few of each kind, one of the huge."""
    kept: dict[str, list[SoakCloud]] = {kind: [] for kind in KINDS}
    for number in range(FIRST, FIRST + 200):
        cloud = make_cloud(SEED, number)
        if len(kept[cloud.kind]) < (1 if cloud.kind == "huge" else 4):
            kept[cloud.kind].append(cloud)
    return {cloud.number: cloud for clouds in kept.values() for cloud in clouds}


class Desk:
    """Books, a journal with all clouds but the late one, and answers as a right node would give them."""

    def __init__(self, folder: Path, model: LoadedModel, clouds: dict[int, SoakCloud]) -> None:
        self.model = model
        self.clouds = clouds
        self._writer = JournalWriter(folder / "journal.txt")
        self.usable = [cloud.number for cloud in clouds.values() if cloud.kind == "valid"]
        self.late = self.usable.pop()
        for number in sorted(clouds):
            if number != self.late:
                self.send(number)
        self.journal = Journal(folder / "journal.txt")
        self.history = ModelHistory(ModelState(model.bundle.path))
        self.book = AnswerBook(SEED, self.journal, self.history)

    def send(self, number: int) -> None:
        self._writer.write(number, 1000 + number, self.clouds[number].kind, self.clouds[number].cause)

    def vocabulary(self, state: ModelState) -> Vocabulary:
        return build_vocabulary(self.model.words, 1, state.prompts, "", state.queries)

    def answer(self, number: int, state: ModelState | None = None) -> Answer:
        cloud = self.clouds[number]
        vocabulary = self.vocabulary(state or self.history.now)
        decoded, segmentation = segment_cloud(self.model.segmenter, cloud.layout, cloud.data, vocabulary.scorer)
        answer = segmentation_cloud(decoded, segmentation, vocabulary.fields)
        return Answer(f"soak_{number}", 1000 + number, answer.layout, answer.data, time.monotonic())

    def filtered(self, number: int, state: ModelState | None = None) -> Answer:
        cloud, state = self.clouds[number], state or self.history.now
        vocabulary = self.vocabulary(state)
        decoded, segmentation = segment_cloud(self.model.segmenter, cloud.layout, cloud.data, vocabulary.scorer)
        answer = filtered_cloud(decoded, segmentation.label, vocabulary.ids_of("test", state.filtered))
        return Answer(f"soak_{number}", 1000 + number, answer.layout, answer.data, time.monotonic())

    def close(self) -> None:
        self._writer.close()
        self.journal.close()


@pytest.fixture
def desk(tmp_path: Path, model: LoadedModel, clouds: dict[int, SoakCloud]) -> Iterator[Desk]:
    desk = Desk(tmp_path, model, clouds)
    yield desk
    desk.close()


def with_field(answer: Answer, name: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Answer:
    """The same answer with other values in one field."""
    layout, data = answer.layout, bytearray(answer.data)
    field = layout.field(name)
    assert field is not None
    dtype = DATATYPES[field.datatype].newbyteorder(">" if layout.is_bigendian else "<")
    strides = (layout.row_step, layout.point_step)
    view: NDArray[Any] = np.ndarray((layout.height, layout.width), dtype, data, field.offset, strides)
    view[...] = change(view.reshape(-1)).reshape(view.shape)
    return replace(answer, data=bytes(data))


def test_right_answers_of_all_kinds_are_right(desk: Desk) -> None:
    good = [number for number in sorted(desk.clouds) if desk.clouds[number].kind != "malformed" and number != desk.late]
    for number in good:
        desk.book.segmentation(desk.answer(number))
        desk.book.filtered(desk.filtered(number))
    assert desk.book.wrong == {}
    assert desk.book.answered == desk.book.checked_filtered == len(good)
    assert desk.book.several_states == 0


def changed_byte(answer: Answer) -> Answer:
    return replace(answer, data=bytes([answer.data[0] ^ 1]) + answer.data[1:])


WRONG: dict[str, Callable[[Answer], Answer]] = {
    "wrong_label": lambda answer: with_field(answer, "label", lambda label: np.where(np.arange(len(label)) == 0, 77, label)),
    "wrong_label score": lambda answer: with_field(answer, "score", lambda score: score + 1e-4),
    "wrong_label score that is no number": lambda answer: with_field(answer, "score", lambda score: score * np.nan),
    "wrong_label margin": lambda answer: with_field(answer, "margin", lambda margin: margin + 1e-4),
    "wrong_label field": lambda answer: replace(answer, layout=replace(answer.layout, fields=answer.layout.fields[:-1])),
    "wrong_size": lambda answer: replace(answer, layout=replace(answer.layout, width=answer.layout.width - 1)),
    "malformed_answer": lambda answer: replace(answer, data=answer.data[:-1]),
    "input_changed": changed_byte,
    "wrong_header stamp": lambda answer: replace(answer, stamp_ns=answer.stamp_ns + 1),
    "wrong_header frame": lambda answer: replace(answer, frame_id="lidar"),
    "wrong_header number": lambda answer: replace(answer, frame_id="soak_4711"),
}


@pytest.mark.parametrize("what", list(WRONG))
def test_each_wrong_answer_is_noted_by_its_kind(desk: Desk, what: str) -> None:
    desk.book.segmentation(WRONG[what](desk.answer(desk.usable[0])))
    assert desk.book.wrong == {what.split()[0]: 1}
    assert len(desk.book.examples) == 1


def test_repeated_and_late_answers_and_answers_to_malformed_clouds_are_noted(desk: Desk) -> None:
    first, second, *_ = desk.usable
    desk.book.segmentation(desk.answer(second))
    desk.book.segmentation(desk.answer(first))
    assert desk.book.wrong == {"out_of_order": 1}
    desk.book.segmentation(desk.answer(second))
    assert desk.book.wrong == {"out_of_order": 1, "repeated": 1}
    malformed = next(cloud.number for cloud in desk.clouds.values() if cloud.kind == "malformed")
    desk.book.segmentation(replace(desk.answer(first), frame_id=f"soak_{malformed}", stamp_ns=1000 + malformed))
    assert desk.book.wrong["malformed_was_answered"] == 1


def test_a_filtered_cloud_that_lacks_a_point_or_was_filtered_otherwise_is_noted(desk: Desk) -> None:
    first, second, *_ = desk.usable
    answer = desk.filtered(first)
    width = answer.layout.width - 1
    layout = replace(answer.layout, width=width, row_step=width * answer.layout.point_step)
    desk.book.filtered(replace(answer, layout=layout, data=answer.data[: layout.row_step]))
    assert desk.book.wrong == {"wrong_filtered": 1}
    classes = tuple(c.name for c in desk.model.bundle.manifest.classes)
    desk.book.filtered(desk.filtered(second, replace(desk.history.now, filtered=classes)))
    assert desk.book.wrong == {"wrong_filtered": 2}


def test_while_a_change_is_under_way_both_vocabularies_are_right_and_afterwards_only_the_new_one(desk: Desk) -> None:
    old = desk.history.now
    new = ModelState(old.bundle, OTHER_WORDS)
    first, second, *_ = desk.usable
    desk.history.ask(new, time.monotonic())
    desk.book.segmentation(desk.answer(first, old))
    desk.book.segmentation(desk.answer(second, new))
    assert desk.book.wrong == {}
    assert desk.book.several_states == 2
    desk.history.confirm(time.monotonic())
    desk.send(desk.late)
    desk.book.segmentation(desk.answer(desk.late, old))
    assert desk.book.wrong == {"wrong_label": 1}


def test_a_vocabulary_not_asked_for_is_wrong(desk: Desk) -> None:
    other = ModelState(desk.history.now.bundle, OTHER_WORDS)
    desk.book.segmentation(desk.answer(desk.usable[0], other))
    assert desk.book.wrong == {"wrong_label": 1}
