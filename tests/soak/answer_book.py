"""Holds every answer of the node against the cloud that was sent and against labels worked out anew."""

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from relidar.cloud_outputs import filtered_cloud, segmentation_cloud
from relidar.labelled_cloud import segment_cloud
from relidar.loaded_model import LoadedModel, load_model
from relidar.pointcloud2 import CloudLayout, MalformedCloudError, decode
from relidar.vocabulary import Vocabulary, build_vocabulary
from tests.soak.clouds import SoakCloud, make_cloud
from tests.soak.journal import Journal
from tests.soak.model_history import ModelHistory, ModelState

TOLERANCE = 1e-5
"""Of score, margin and similarity; a label may differ only where less than that decides between two."""
EXAMPLES = 20


@dataclass(frozen=True)
class Answer:
    """A cloud that the node published, without ROS."""

    frame_id: str
    stamp_ns: int
    layout: CloudLayout
    data: bytes
    arrival_s: float
    """On the monotonic clock."""


CHECKED_BY = "onnxruntime-cpu"
"""The backend that works the labels out anew: not the one that `auto` takes, so that a fault of that one shows."""


@lru_cache(2)
def _model(bundle: Path) -> LoadedModel:
    return load_model(bundle, CHECKED_BY, 1)


@lru_cache(16)
def _vocabulary(state: ModelState) -> tuple[LoadedModel, Vocabulary]:
    model = _model(state.bundle)
    return model, build_vocabulary(model.words, 1, state.prompts, "", state.queries)


class AnswerBook:
    """The books of one run; to be used from one thread."""

    def __init__(self, seed: int, journal: Journal, history: ModelHistory) -> None:
        self._seed = seed
        self._journal = journal
        self._history = history
        self._answered: set[int] = set()
        self._filtered: set[int] = set()
        self._newest = {"segmentation": -1, "filtered": -1}
        self.wrong: Counter[str] = Counter()
        """Answers by what is wrong with them."""
        self.examples: list[str] = []
        """The first few wrong answers, in words."""
        self.answered_kinds: Counter[str] = Counter()
        self.checked_filtered = 0
        self.several_states = 0
        """Answers that a change raced, so that either vocabulary was right."""

    @property
    def answered(self) -> int:
        """Clouds answered, each counted once."""
        return len(self._answered)

    def segmentation(self, answer: Answer) -> None:
        """Checks one cloud of ~/output/segmentation."""
        cloud = self._cloud_of(answer, "segmentation", self._answered)
        if cloud is None:
            return
        self.answered_kinds[cloud.kind] += 1
        sent, found = cloud.layout, answer.layout
        if (sent.height, sent.width, sent.is_bigendian) != (found.height, found.width, found.is_bigendian):
            self._note("wrong_size", f"cloud {cloud.number}: {sent} answered as {found}")
            return
        try:
            decode(found, answer.data)
        except MalformedCloudError as error:
            self._note("malformed_answer", f"cloud {cloud.number}: {error}")
            return
        if not _keeps_bytes(cloud, answer):
            self._note("input_changed", f"cloud {cloud.number}: bytes of the input's points differ")
            return
        states = self._states(answer, cloud)
        differences = []
        for state in states:
            difference = _difference(cloud, answer, state)
            if not difference:
                return
            differences.append(f"{state}: {difference}")
        self._note("wrong_label", f"cloud {cloud.number} ({cloud.kind}): " + "; ".join(differences))

    def filtered(self, answer: Answer) -> None:
        """Checks one cloud of ~/output/filtered."""
        cloud = self._cloud_of(answer, "filtered", self._filtered)
        if cloud is None:
            return
        self.checked_filtered += 1
        for state in self._states(answer, cloud):
            model, vocabulary = _vocabulary(state)
            decoded, segmentation = segment_cloud(model.segmenter, cloud.layout, cloud.data, vocabulary.scorer)
            expected = filtered_cloud(decoded, segmentation.label, vocabulary.ids_of("filtered_classes", state.filtered))
            if (expected.layout, expected.data) == (answer.layout, answer.data):
                return
        self._note("wrong_filtered", f"cloud {cloud.number} ({cloud.kind}): {answer.layout}")

    def _cloud_of(self, answer: Answer, output: str, answered: set[int]) -> SoakCloud | None:
        """The cloud that the answer belongs to, None (and noted) where header or order are wrong."""
        name, _, digits = answer.frame_id.partition("_")
        sent = self._journal.find(int(digits)) if name == "soak" and digits.isdigit() else None
        if sent is None or sent.stamp_ns != answer.stamp_ns:
            self._note("wrong_header", f"{answer.frame_id!r} with stamp {answer.stamp_ns} was never sent")
            return None
        number = sent.number
        if number in answered:
            self._note("repeated", f"cloud {number} was answered twice on {output}")
            return None
        answered.add(number)
        if number < self._newest[output]:
            self._note("out_of_order", f"cloud {number} was answered after {self._newest[output]} on {output}")
        self._newest[output] = max(self._newest[output], number)
        cloud = make_cloud(self._seed, number)
        if cloud.kind == "malformed":
            self._note("malformed_was_answered", f"cloud {number}: {cloud.cause}")
            return None
        return cloud

    def _states(self, answer: Answer, cloud: SoakCloud) -> list[ModelState]:
        sent = self._journal.find(cloud.number)
        assert sent is not None
        states = self._history.between(sent.sent_s, answer.arrival_s)
        self.several_states += len(states) > 1
        return states

    def _note(self, what: str, words: str) -> None:
        self.wrong[what] += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(f"{what}: {words[:2000]}")


def _keeps_bytes(cloud: SoakCloud, answer: Answer) -> bool:
    """Whether each point begins with the bytes that it was sent with."""
    if cloud.layout.points == 0:
        return answer.data == b""
    width = cloud.layout.point_step

    def points(layout: CloudLayout, data: bytes) -> NDArray[np.uint8]:
        return np.ndarray((layout.height, layout.width, width), np.uint8, data, 0, (layout.row_step, layout.point_step, 1))

    return bool((points(cloud.layout, cloud.data) == points(answer.layout, answer.data)).all())


def _difference(cloud: SoakCloud, answer: Answer, state: ModelState) -> str:
    """What differs from the answer that this state of the node gives; empty if nothing."""
    model, vocabulary = _vocabulary(state)
    decoded, segmentation = segment_cloud(model.segmenter, cloud.layout, cloud.data, vocabulary.scorer)
    expected = segmentation_cloud(decoded, segmentation, vocabulary.fields)
    if expected.layout != answer.layout:
        return f"fields {[f.name for f in answer.layout.fields]}, expected {[f.name for f in expected.layout.fields]}"
    if cloud.layout.points == 0:
        return ""
    found = decode(answer.layout, answer.data)
    right = decode(expected.layout, expected.data)
    for name in ("score", "margin", *vocabulary.fields):
        # NaN where it should not be is a difference too.
        if not (np.abs(found.values(name) - right.values(name)) <= TOLERANCE).all():
            return f"{name} differs"
    decided = (right.values("margin") > TOLERANCE) & (np.abs(right.values("score") - vocabulary.threshold) > TOLERANCE)
    unlike = (found.values("label") != right.values("label")) & (decided | (right.values("score") == 0))
    return f"{int(unlike.sum())} of {len(unlike)} labels differ" if unlike.any() else ""
