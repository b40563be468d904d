"""A tiny street, a tiny teacher and a configuration over both, for the tests of training."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file

from distill.cache_filling import fill_cache
from distill.config import TrainConfig
from distill.teachers.street_network import StreetNetwork
from relidar.config_file import validate

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two training scenes and one validation scene of one keyframe, with small images."""
    folder = tmp_path_factory.mktemp("street")
    rig = yaml.safe_load((ROOT / "configs/rigs/nuscenes_like.yaml").read_text())
    rig |= {"image_width": 160, "image_height": 96}
    (folder / "rig.yaml").write_text(yaml.safe_dump(rig))
    words = ["--rig", str(folder / "rig.yaml"), "--scenes", "2", "--val-scenes", "1", "--keyframes", "1", "--bag-scans", "2"]
    command = [sys.executable, "-m", "distill.street", str(folder / "street"), *words, "--processes", "1"]
    subprocess.run(command, check=True, cwd=ROOT)
    return folder / "street"


@pytest.fixture(scope="session")
def teacher_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher with random weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    save_file({name: value.contiguous() for name, value in StreetNetwork().state_dict().items()}, path)
    return path


@pytest.fixture(scope="session")
def config_values(street: Path, teacher_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """A whole configuration as YAML would give it, with a filled cache."""
    work = tmp_path_factory.mktemp("train")
    values = {
        "run": str(work / "run"),
        "cache": str(work / "cache"),
        "data": {"root": str(street), "splits": "file"},
        "superpixels": {"segments": 60, "sigma_px": 0.5},
        "teacher": {"kind": "pixel_text", "weights": str(teacher_weights)},
        "text": {"prompts": str(ROOT / "configs/prompts/nuscenes16.yaml")},
        "preprocessing": {"grid": {"coordinates": "cartesian", "voxel_size_m": 0.6}},
        "student": {"architecture": "minkunet14", "width": 0.25},
        "schedule": {"steps": 6, "batch_scans": 1, "rows": 256, "checkpoint_every": 2, "workers": 0},
    }
    fill_cache(validate(values, TrainConfig, "test"), workers=0)
    return values


@pytest.fixture
def config(config_values: dict) -> TrainConfig:
    return validate(config_values, TrainConfig, "test")
