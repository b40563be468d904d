from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from relidar.bundle import open_bundle
from relidar.errors import CloudError
from relidar.onnx_executor import PairsExecutor
from relidar.prompts import UNLABELLED, ClassPrompts
from relidar.rulebook import Rulebook
from relidar.segmenter import ClassScorer, Segmenter
from relidar.text_bank import TextBank
from relidar.voxels import CartesianGrid, Preprocessing
from relidar.words import VoxelScores, Words


@pytest.fixture(scope="module")
def segmenter(tiny_bundle: Path) -> Segmenter:
    bundle = open_bundle(tiny_bundle)
    return Segmenter.of_bundle(bundle, PairsExecutor(bundle))


def test_every_point_is_answered_in_input_order(segmenter: Segmenter, random_cloud: Callable[..., Any]) -> None:
    cloud = random_cloud(3000)
    answer = segmenter(cloud.xyz_m, cloud.intensity)
    assert answer.label.shape == answer.score.shape == answer.margin.shape == (3000,)
    assert (answer.label.dtype, answer.score.dtype, answer.margin.dtype) == (np.uint8, np.float32, np.float32)
    assert set(answer.timings_ms) == {"voxelise", "rulebook", "infer", "scores"}
    inside = np.hypot(cloud.xyz_m[:, 0], cloud.xyz_m[:, 1]) >= 1.0
    assert np.array_equal(answer.label != UNLABELLED, inside)
    # The network does not see the order of the points, so neither do the labels.
    order = np.random.default_rng(1).permutation(3000)
    shuffled = segmenter(cloud.xyz_m[order], cloud.intensity[order])
    assert (shuffled.label == answer.label[order]).mean() > 0.999
    np.testing.assert_allclose(shuffled.score, answer.score[order], atol=1e-4)


def test_points_that_cannot_be_answered_are_unlabelled(segmenter: Segmenter, random_cloud: Callable[..., Any]) -> None:
    cloud = random_cloud(500)
    bad = np.array([[np.nan, 1, 1], [np.inf, 0, 0], [300, 0, 0], [0.1, 0, 0], [5, 5, 100], [5, 5, np.nan]], np.float32)
    mixed = np.vstack([bad, cloud.xyz_m])
    intensity = np.concatenate([np.zeros(len(bad), np.float32), cloud.intensity])
    answer, alone = segmenter(mixed, intensity), segmenter(cloud.xyz_m, cloud.intensity)
    assert (answer.label[: len(bad)] == UNLABELLED).all()
    assert not answer.score[: len(bad)].any()
    assert np.array_equal(answer.label[len(bad) :], alone.label)


@pytest.mark.parametrize("points", [0, 3])
def test_a_cloud_without_a_usable_point_gives_an_empty_answer(segmenter: Segmenter, points: int) -> None:
    answer = segmenter(np.full((points, 3), np.nan, np.float32), None)
    assert answer.label.tolist() == [UNLABELLED] * points
    assert answer.score.tolist() == answer.margin.tolist() == [0] * points


@pytest.mark.parametrize(("xyz", "intensity"), [((3, 4), None), ((3,), None), ((3, 3), (2,)), ((3, 3), (3, 1))])
def test_shapes_that_do_not_fit_are_refused(
    segmenter: Segmenter, xyz: tuple[int, ...], intensity: tuple[int, ...] | None
) -> None:
    with pytest.raises(CloudError, match=r"expected \(N, 3\) and \(N,\)"):
        segmenter(np.zeros(xyz, np.float32), None if intensity is None else np.zeros(intensity, np.float32))


def scorer(threshold: float = -1.0, classes: int = 3) -> tuple[ClassScorer, np.ndarray]:
    prompts = tuple(f"p{i}" for i in range(6))
    rows = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    records = (("p0", "p1"), ("p2",), ("p3", "p4", "p5"))[:classes]
    of_class = tuple(ClassPrompts(id=10 * i + 3, name=str(i), prompts=p, rgb=(0, 0, 0)) for i, p in enumerate(records))
    return ClassScorer(of_class, TextBank("random", prompts, rows), threshold), rows


def test_a_class_scores_as_its_best_prompt() -> None:
    score_of, rows = scorer()
    features = np.random.default_rng(1).normal(size=(50, 8)).astype(np.float32)
    answer = score_of.words.scores(features)
    label, score, margin = score_of.labels(answer), answer.score, answer.margin
    for row, feature in enumerate(features):
        cosine = rows @ feature
        by_class = {3: cosine[:2].max(), 13: cosine[2], 23: cosine[3:].max()}
        first, second = sorted(by_class.values(), reverse=True)[:2]
        assert label[row] == max(by_class, key=lambda c: by_class[c])
        assert score[row] == pytest.approx(first, abs=1e-5)
        # A cosine is at least -1; these rows are no unit rows, so the floor shows.
        assert margin[row] == pytest.approx(first - max(second, -1), abs=1e-5)


def test_a_prompt_is_its_own_best_match_and_the_threshold_cuts() -> None:
    score_of, rows = scorer(threshold=0.95)
    answer = score_of.words.scores(rows)
    assert score_of.labels(answer).tolist() == [3, 3, 13, 23, 23, 23]
    np.testing.assert_allclose(answer.score, 1, atol=1e-5)
    answer = score_of.words.scores((rows[:1] + rows[2:3]) / 2)
    assert score_of.labels(answer).tolist() == [UNLABELLED]
    assert answer.score[0] < 0.95


def test_a_single_class_has_a_finite_margin() -> None:
    score_of, rows = scorer(classes=1)
    answer = score_of.words.scores(rows)
    np.testing.assert_allclose(answer.margin, answer.score + 1, atol=1e-6)


def test_points_of_a_voxel_share_its_answer() -> None:
    class Indexing:
        name = "index"

        def scores(self, features: np.ndarray, rulebook: Rulebook, words: Words) -> VoxelScores:
            return words.scores(np.eye(8, dtype=np.float32)[np.arange(len(features)) % 8])

    bank = TextBank("unit", tuple("abcdefgh"), np.eye(8, dtype=np.float32))
    classes = tuple(ClassPrompts(id=i, name=p, prompts=(p,), rgb=(0, 0, 0)) for i, p in enumerate(bank.prompts))
    spec = Preprocessing(grid=CartesianGrid(voxel_size_m=1.0))
    segment = Segmenter(Indexing(), spec, 2, ClassScorer(classes, bank, -1.0))
    xyz_m = np.array([[5.1, 0, 0], [9, 0, 0], [5.9, 0.9, 0.1], [0, 0, 0], [9.2, 0, 0]], np.float32)
    assert segment(xyz_m, None).label.tolist() == [0, 1, 0, UNLABELLED, 1]


def test_another_scorer_answers_one_scan_and_queries_give_their_cosines(
    segmenter: Segmenter, tiny_bundle: Path, random_cloud: Callable[..., Any]
) -> None:
    cloud = random_cloud(500)
    bundle = open_bundle(tiny_bundle)
    before = segmenter(cloud.xyz_m, cloud.intensity)
    assert before.similarity.shape == (500, 0)
    classes = tuple(c.model_copy(update={"id": 200 + c.id}) for c in bundle.manifest.classes[3:5])
    other = ClassScorer(classes, bundle.text, -1.0, queries=[classes[1].name, "bus", classes[0].name])
    answer = segmenter(cloud.xyz_m, cloud.intensity, other)
    answered = before.label != UNLABELLED
    assert set(answer.label.tolist()) <= {203, 204, UNLABELLED}
    assert answer.similarity.dtype == np.float32
    np.testing.assert_allclose(answer.similarity[:, [2, 0]].max(axis=1)[answered], answer.score[answered], atol=1e-6)
    assert not answer.similarity[~answered].any()
    np.testing.assert_array_equal(segmenter(cloud.xyz_m, cloud.intensity).label, before.label)
