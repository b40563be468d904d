"""One scan from bytes to the clouds that are wanted, without ROS."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from relidar.errors import BundleError, ConfigError
from relidar.loaded_model import LoadedModel, load_model
from relidar.node_parameters import NodeParameters
from relidar.pointcloud2 import CloudLayout, decode
from relidar.scan_answer import OUTPUTS, answer_scan, settings_of, with_filter


@pytest.fixture(scope="module")
def model(tiny_bundle: Path) -> LoadedModel:
    return load_model(tiny_bundle, "onnxruntime-cpu", threads=1)


def test_a_model_tells_what_it_is(model: LoadedModel, tiny_bundle: Path) -> None:
    identity = model.identity()
    assert identity["backend"] == "onnxruntime-cpu"
    assert model.bundle.manifest.sha256["student-pairs.onnx"][:32] in identity["engine"]
    assert identity["bundle"] == str(tiny_bundle)
    assert len(identity["bundle_sha256"]) == 64
    with pytest.raises(BundleError, match="no manifest"):
        load_model(tiny_bundle / "engines", "onnxruntime-cpu")


@pytest.mark.parametrize("wanted", [(), ("filtered",), ("segmentation", "visualization"), OUTPUTS])
def test_only_what_is_wanted_is_made(
    model: LoadedModel, scan_of: Callable, random_cloud: Callable, wanted: tuple[str, ...]
) -> None:
    parameters = NodeParameters(similarity_prompts=("car",), filtered_classes=("unlabelled",))
    settings = settings_of(model, parameters, version=4)
    assert settings.vocabulary.version == 4
    cloud = random_cloud(600)
    xyz_m = cloud.xyz_m.copy()
    xyz_m[::5] = np.nan
    answer = answer_scan(model.segmenter, settings, *scan_of(xyz_m, cloud.intensity), wanted)
    assert (set(answer.clouds), answer.points) == (set(wanted), 600)
    assert set(answer.timings_ms) == {"decode", "voxelise", "rulebook", "infer", "scores", "encode"}
    if "segmentation" in wanted:
        output = answer.clouds["segmentation"]
        assert [field.name for field in output.layout.fields][-4:] == ["label", "score", "margin", "similarity_car"]
        assert decode(output.layout, output.data).values("similarity_car").any()
    if "filtered" in wanted:
        inside = np.hypot(xyz_m[:, 0], xyz_m[:, 1]) >= 1.0  # not so for NaN
        assert answer.clouds["filtered"].layout.points == inside.sum() <= 480


def test_an_empty_scan_has_empty_clouds(model: LoadedModel) -> None:
    settings = settings_of(model, NodeParameters(), version=1)
    answer = answer_scan(model.segmenter, settings, CloudLayout(0, 0, (), 0, 0), b"", OUTPUTS)
    assert {cloud.data for cloud in answer.clouds.values()} == {b""}
    assert {cloud.layout.points for cloud in answer.clouds.values()} == {0}


def test_a_filter_of_a_class_that_the_prompts_lack_is_refused(model: LoadedModel) -> None:
    settings = settings_of(model, NodeParameters(prompts=("car",), filtered_classes=("car",)), version=1)
    assert settings.removed == {3}
    with pytest.raises(ConfigError, match="filtered_classes: no class 'bus'"):
        with_filter(settings.vocabulary, NodeParameters(filtered_classes=("bus",)))
