"""The report's pictures are images that show the classes in their colours."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from distill import pictures
from distill.datasets import read_cloud, read_keyframes
from distill.nuscenes_frames import NuScenesConfig
from relidar.labelled_cloud import UNLABELLED_RGB
from relidar.prompts import load_prompt_set

CLASSES = load_prompt_set(Path(__file__).parents[2] / "configs/prompts/nuscenes16.yaml").classes


def pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def shows(image: np.ndarray, rgb: tuple[int, int, int]) -> bool:
    return bool((np.abs(image - np.array(rgb)).max(axis=2) <= 2).any())


def scan_of_one_class(street: Path, class_id: int) -> tuple[pictures.Labelled, object]:
    frame = read_keyframes(NuScenesConfig(root=str(street), splits="file"), "val")[0]
    xyz_m, _ = read_cloud(frame.cloud)
    label = np.full(len(xyz_m), class_id, np.uint8)
    return pictures.Labelled(xyz_m, np.full_like(label, 255), label, np.linspace(0, 1, len(xyz_m), dtype=np.float32)), frame


def test_the_view_from_above_shows_truth_and_answer(street: Path) -> None:
    car = next(c for c in CLASSES if c.name == "car")
    scan, _ = scan_of_one_class(street, car.id)
    image = pixels(pictures.seen_from_above(scan, CLASSES))
    third = image.shape[1] // 3
    first = third - 50  # the second picture begins a little before
    assert shows(image[:400, third : 2 * third], car.rgb)
    assert not shows(image[:400, :first], car.rgb)
    assert shows(image[:400, :first], UNLABELLED_RGB)


def test_the_camera_pictures_differ_by_what_is_answered(street: Path) -> None:
    car, tree = (next(c for c in CLASSES if c.name == name) for name in ("car", "vegetation"))
    drawn = []
    for c in (car, tree):
        scan, frame = scan_of_one_class(street, c.id)
        drawn.append(pixels(pictures.in_cameras(frame, scan, CLASSES)))  # type: ignore[arg-type]
    assert drawn[0].shape == drawn[1].shape
    assert 0.001 < (drawn[0] != drawn[1]).any(axis=2).mean() < 0.5


def test_bars_have_the_length_of_the_figure() -> None:
    tall, short = (pixels(pictures.iou_bars({"car": iou, "bus": None}, CLASSES)) for iou in (80.0, 40.0))
    car = np.array(next(c for c in CLASSES if c.name == "car").rgb)

    def length(image: np.ndarray) -> int:
        return int((np.abs(image - car).max(axis=2) <= 2).sum(axis=1).max())

    assert abs(length(tall) / length(short) - 2) < 0.05
    assert pictures.latency_bars({"node": {"p50": 1.0, "p95": None, "p99": 3.0}})[:4] == b"\x89PNG"
