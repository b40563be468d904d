"""Label maps: lookups by name, the published nuScenes map, and errors for maps that contradict themselves or the bundle."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from relidar.errors import ConfigError
from relidar.label_map import LabelMap, load_label_map
from relidar.prompts import ClassPrompts, load_prompt_set

ROOT = Path(__file__).parents[2]
CLASSES = [
    ClassPrompts(id=number, name=name, prompts=(name,), rgb=(0, 0, 0))
    for number, name in ((4, "car"), (10, "truck"), (11, "road"), (30, "sky"))
]


def write(folder: Path, text: str) -> Path:
    path = folder / "map.yaml"
    path.write_text(text)
    return path


@pytest.fixture
def two(tmp_path: Path) -> LabelMap:
    return load_label_map(
        write(
            tmp_path,
            """
            name: two
            classes:
              - {name: vehicle, truth: [7, 9], predicted: [car, truck]}
              - {name: road, truth: [1], predicted: [road]}
            """,
        )
    )


def test_true_numbers_and_predicted_names_meet_in_the_map(two: LabelMap) -> None:
    truth = two.truth_lookup()
    assert truth[[7, 9, 1, 0, 65535]].tolist() == [0, 0, 1, 255, 255]
    prediction = two.prediction_lookup(CLASSES)
    assert prediction[[4, 10, 11, 30, 255]].tolist() == [0, 0, 1, 255, 255]
    assert two.names == ("vehicle", "road")


def test_a_bundle_without_a_named_class_is_refused(two: LabelMap) -> None:
    with pytest.raises(ConfigError, match="'vehicle' counts predictions of 'truck', but the bundle's classes are car, road"):
        two.prediction_lookup([CLASSES[0], CLASSES[2]])


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ("[{name: a, truth: [1], predicted: []}, {name: b, truth: [1], predicted: []}]", "truth 1 is listed twice"),
        ("[{name: a, truth: [1], predicted: [x]}, {name: b, truth: [2], predicted: [x]}]", "predicted class x is listed"),
        ("[{name: a, truth: [1], predicted: []}, {name: a, truth: [2], predicted: []}]", "class name a is listed twice"),
        ("[{name: a, truth: [-1], predicted: []}]", r"classes\.0\.truth\.0 is -1"),
        ("[{name: a, truth: [1], predict: []}]", "did you mean 'predicted'"),
        ("[]", "classes is"),
    ],
)
def test_a_map_that_contradicts_itself_is_refused(tmp_path: Path, entries: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_label_map(write(tmp_path, f"name: m\nclasses: {entries}\n"))


def test_the_nuscenes_map_is_the_devkits() -> None:
    categories = pytest.importorskip("nuscenes.eval.lidarseg.utils")
    # The mapper's constructor wants a whole dataset, its table only the name of the ignored class.
    official = categories.LidarsegClassMapper.get_fine2coarse(SimpleNamespace(ignore_class={"name": "ignore"}))
    coarse = {name for name in official.values() if name != "ignore"}
    chosen = load_label_map(ROOT / "configs/label_maps/nuscenes32.yaml")
    assert sorted(chosen.names) == sorted(coarse)
    # The official index of a category is its place in nuScenes-lidarseg's category.json.
    assert {raw: c.name for c in chosen.classes for raw in c.truth} == {
        index: official[name] for index, name in enumerate(NUSCENES_32) if official[name] != "ignore"
    }


NUSCENES_32 = [
    "noise", "animal", "human.pedestrian.adult", "human.pedestrian.child", "human.pedestrian.construction_worker",
    "human.pedestrian.personal_mobility", "human.pedestrian.police_officer", "human.pedestrian.stroller",
    "human.pedestrian.wheelchair", "movable_object.barrier", "movable_object.debris", "movable_object.pushable_pullable",
    "movable_object.trafficcone", "static_object.bicycle_rack", "vehicle.bicycle", "vehicle.bus.bendy", "vehicle.bus.rigid",
    "vehicle.car", "vehicle.construction", "vehicle.emergency.ambulance", "vehicle.emergency.police", "vehicle.motorcycle",
    "vehicle.trailer", "vehicle.truck", "flat.driveable_surface", "flat.other", "flat.sidewalk", "flat.terrain",
    "static.manmade", "static.other", "static.vegetation", "vehicle.ego",
]  # fmt: skip


def test_the_nuscenes_map_fits_the_nuscenes_prompts() -> None:
    classes = load_prompt_set(ROOT / "configs/prompts/nuscenes16.yaml").classes
    chosen = load_label_map(ROOT / "configs/label_maps/nuscenes32.yaml")
    lookup = chosen.prediction_lookup(classes)
    assert {chosen.names[lookup[c.id]] for c in classes} == {c.name for c in classes}
