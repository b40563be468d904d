"""Counts survive being written down, and those of two recordings add up to those of one that holds both."""

import json

import numpy as np

from relidar.replay_figures import Figures
from relidar.segmenter import Segmentation

NAMES = {0: "car", 1: "tree", 2: "sign"}


def count(figures: Figures, seed: int) -> None:
    """One scan of random answers; label 2 belongs to no evaluated class."""
    random = np.random.default_rng(seed)
    label = random.choice([0, 1, 2, 255], 200).astype(np.uint8)
    score, margin = (random.uniform(0, 1, 200).astype(np.float32) for _ in range(2))
    answer = Segmentation(label, score, margin, {"infer": 5.0 + seed}, over_capacity=seed % 4 == 0)
    figures.scan(seed * 10**8, 10.0 + seed, answer)
    truth = random.choice([0, 1, 255], 200).astype(np.uint8)
    prediction = np.where(label == 2, np.uint8(255), label)
    figures.compare(random.uniform(-50, 50, (200, 3)).astype(np.float32), truth, prediction, answer)
    cloud = random.uniform(-50, 50, (200, 3)).astype(np.float32), None
    figures.robustness.scan(seed, cloud, 255.0, truth, prediction, lambda xyz_m, intensity: prediction)


def made(*seeds: int) -> Figures:
    figures = Figures(("car", "tree"), ("rain:2",))
    for seed in seeds:
        count(figures, seed)
    return figures


def test_counts_survive_being_written_down() -> None:
    figures = made(1, 2, 3)
    figures.malformed["datatype"] += 2
    again = Figures.of_raw(json.loads(json.dumps(figures.raw())))
    assert again.report(NAMES) == figures.report(NAMES)
    assert again.drops() == figures.drops()
    assert again.raw() == figures.raw()


def test_recordings_add_up() -> None:
    both = made(2, 4)
    both.add(made(6, 8))
    whole = made(2, 4, 6, 8).report(NAMES)
    assert both.report(NAMES) == whole
    assert whole["scans"] == 4
    assert whole["points"] == 800
    assert whole["over_capacity"] == 2


def test_figures_are_what_a_loop_over_points_counts() -> None:
    figures = made(7)
    report = figures.report(NAMES)
    random = np.random.default_rng(7)
    label = random.choice([0, 1, 2, 255], 200)
    score, _ = (random.uniform(0, 1, 200).astype(np.float32) for _ in range(2))
    truth = random.choice([0, 1, 255], 200)
    claims = [(t, p, s) for t, p, s in zip(truth, label, score, strict=True) if t != 255 and p != 255]
    calibration = report["truth"]["calibration"]
    assert calibration["score"]["points"] == len(claims)
    assert calibration["score"]["right_percent"] == round(100 * sum(t == p for t, p, _ in claims) / len(claims), 3)
    cars = [(t, s) for t, p, s in claims if p == 0]
    by_car = calibration["by_predicted_class"][0]
    assert (by_car["class"], by_car["points"]) == ("car", len(cars))
    assert by_car["right_percent"] == round(100 * sum(t == 0 for t, _ in cars) / len(cars), 3)
    assert by_car["mean_score"] == round(float(np.mean([s for _, s in cars])), 4)
    assert report["unlabelled_points"] == (label == 255).sum()
    assert report["label_points"]["sign"] == (label == 2).sum()
    zero, two = report["robustness"]["rows"]
    assert (zero["severity"], two["severity"]) == (0, 2)
    assert zero["miou_percent"] == report["truth"]["miou_percent"] >= two["miou_percent"]


def test_without_a_truth_there_is_none() -> None:
    figures = Figures(None, ())
    answer = Segmentation(np.zeros(3, np.uint8), np.zeros(3, np.float32), np.zeros(3, np.float32), {})
    figures.scan(0, 1.0, answer)
    report = Figures.of_raw(json.loads(json.dumps(figures.raw()))).report(NAMES)
    assert (report["truth"], report["robustness"], report["scans"]) == (None, None, 1)
