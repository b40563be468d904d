from pathlib import Path

import pytest

from relidar.errors import ConfigError
from relidar.prompts import PromptSet, load_prompt_set

CAR = {"id": 0, "name": "car", "prompts": ["car", "van"], "rgb": [255, 0, 0]}
TREE = {"id": 1, "name": "tree", "prompts": ["tree", "van"], "rgb": [0, 255, 0]}


def write(path: Path, classes: list[dict[str, object]], **others: object) -> Path:
    import yaml

    path.write_text(yaml.safe_dump({"name": "test", "classes": classes, **others}))
    return path


def test_prompts_are_listed_once_in_order(tmp_path: Path) -> None:
    prompt_set = load_prompt_set(write(tmp_path / "p.yaml", [CAR, TREE]))
    assert isinstance(prompt_set, PromptSet)
    assert prompt_set.prompts == ("car", "van", "tree")
    assert prompt_set.templates == ("{}",)


@pytest.mark.parametrize("path", sorted(Path("configs/prompts").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_prompt_set_of_the_project_loads(path: Path) -> None:
    assert load_prompt_set(path).classes


@pytest.mark.parametrize(
    ("classes", "others", "message"),
    [
        ([CAR, {**TREE, "id": 0}], {}, "class id 0 occurs twice"),
        ([CAR, {**TREE, "name": "car"}], {}, "class name car occurs twice"),
        ([{**CAR, "id": 255}], {}, "less than 255"),
        ([{**CAR, "id": -1}], {}, "expected at least 0"),
        ([{**CAR, "prompts": []}], {}, "at least 1"),
        ([{**CAR, "rgb": [256, 0, 0]}], {}, "expected at most 255"),
        ([{**CAR, "rgb": [0, 0]}], {}, "rgb"),
        ([{**CAR, "prompt": ["car"]}], {}, "did you mean 'prompts'"),
        ([], {}, "at least 1"),
        ([CAR], {"templates": ["a photo"]}, "exactly one {}"),
        ([CAR], {"templates": ["{} and {}"]}, "exactly one {}"),
    ],
)
def test_faults_are_named(tmp_path: Path, classes: list[dict[str, object]], others: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("{", r"\{")) as caught:
        load_prompt_set(write(tmp_path / "p.yaml", classes, **others))
    assert "p.yaml" in str(caught.value)
