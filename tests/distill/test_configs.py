"""Every YAML file of configs/ is valid."""

from pathlib import Path

import pytest

from distill.compare.config import CompareConfig
from distill.config import TrainConfig
from distill.scan_folder import ScanSet
from distill.street.rig import Rig
from relidar.config_file import Model, load
from relidar.label_map import LabelMap
from relidar.prompts import PromptSet, load_prompt_set

CONFIGS = Path(__file__).parents[2] / "configs"
MODELS: dict[str, type[Model]] = {
    "prompts": PromptSet, "label_maps": LabelMap, "scan_sets": ScanSet, "rigs": Rig, "configs": TrainConfig
}  # fmt: skip
FILES = sorted(CONFIGS.glob("**/*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_config_is_valid(path: Path) -> None:
    load(path, CompareConfig if path.name == "compare.yaml" else MODELS[path.parent.name])


def test_maps_name_classes_that_the_prompt_set_has() -> None:
    for path in FILES:
        if path.parent.name in ("label_maps", "scan_sets"):
            words = path if path.name == "semantickitti19.yaml" else CONFIGS / "prompts/nuscenes16.yaml"
            classes = load_prompt_set(CONFIGS / "prompts" / words.name).classes
            load(path, MODELS[path.parent.name]).prediction_lookup(classes)  # type: ignore[attr-defined]
