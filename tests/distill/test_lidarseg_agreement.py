"""Our figures are those of nuscenes-devkit's own lidarseg evaluator, run on the same predictions."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from nuscenes import NuScenes
from nuscenes.eval.lidarseg.evaluate import LidarSegEval
from nuscenes.utils.splits import create_splits_scenes

from distill.labelled_clouds import KeyframeClouds
from distill.nuscenes_frames import NuScenesConfig
from distill.scoring import score
from relidar.label_map import load_label_map

LABEL_MAP = Path(__file__).parents[2] / "configs/label_maps/nuscenes32.yaml"


@pytest.fixture
def official(street: Path, tmp_path: Path) -> Path:
    """The street, its scenes renamed to those of the devkit's smallest split."""
    root = tmp_path / "nuscenes"
    shutil.copytree(street, root)
    for folder in (root, root / "lidarseg"):
        shutil.copytree(folder / "v1.0-trainval", folder / "v1.0-mini")
    path = root / "v1.0-mini/scene.json"
    scenes = json.loads(path.read_text())
    names = create_splits_scenes()["mini_val"]
    for scene, name in zip(scenes, names, strict=False):
        scene["name"] = name
    path.write_text(json.dumps(scenes))
    return root


def test_figures_are_those_of_the_devkits_evaluator(official: Path, tmp_path: Path) -> None:
    label_map = load_label_map(LABEL_MAP)
    config = NuScenesConfig(root=str(official), version="v1.0-mini", val_split="mini_val")
    clouds = KeyframeClouds.of_split(config, "mini_val", 255.0)
    assert len(clouds) == 2
    random = np.random.default_rng(0)
    truth_of = label_map.truth_lookup()
    bins = tmp_path / "results/lidarseg/mini_val"
    bins.mkdir(parents=True)
    predictions = []
    for number, frame in enumerate(clouds.frames):
        truth = truth_of[clouds[number][2]]
        # Right three times in four where there is a class, anything elsewhere; never "no answer", which the devkit cannot take.
        anything = random.integers(0, 16, len(truth)).astype(np.uint8)
        prediction = np.where((random.random(len(truth)) < 0.75) & (truth != 255), truth, anything)
        predictions.append(prediction)
        (prediction + 1).astype(np.uint8).tofile(bins / f"{frame.token}_lidarseg.bin")
    answers = iter(predictions)
    ours = score(lambda xyz_m, intensity: next(answers), (clouds[n] for n in range(2)), label_map)
    dataset = NuScenes("v1.0-mini", str(official), verbose=False)
    theirs = LidarSegEval(dataset, str(tmp_path / "results"), "mini_val").evaluate()
    present = [name for name, iou in ours["class_iou"].items() if iou is not None]
    assert len(present) > 8
    for name in present:
        assert ours["class_iou"][name] == pytest.approx(100 * theirs["iou_per_class"][name], abs=1e-4)
    assert ours["miou"] == pytest.approx(100 * np.mean([theirs["iou_per_class"][name] for name in present]), abs=1e-4)
    # The one difference: a class without a true point that was predicted counts as 0 there and is left out here. On the whole
    # validation set every class has points.
    absent = [name for name, iou in ours["class_iou"].items() if iou is None]
    assert all(theirs["iou_per_class"][name] == 0 for name in absent)
    assert ours["miou"] * len(present) / 16 == pytest.approx(100 * theirs["miou"], abs=1e-4)
