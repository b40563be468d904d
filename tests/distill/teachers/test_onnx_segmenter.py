"""A segmentation network as a teacher: ONNX files made on the spot, run on ONNX Runtime."""

from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

from distill.teachers import make_teacher
from distill.teachers.onnx_segmenter import IMAGENET_MEAN, IMAGENET_STD, OnnxConfig
from distill.text_encoders import make_text_encoder
from relidar.errors import CheckpointError, ConfigError, TextError

IMAGE = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)
WEIGHT = np.random.default_rng(1).normal(0, 2, (3, 3)).astype(np.float32)
CLASSES: list[dict[str, Any]] = [
    {"id": 2, "name": "tree", "prompts": ["tree", "bush"], "rgb": [0, 1, 0]},
    {"id": 0, "name": "road", "prompts": ["road"], "rgb": [0, 0, 0]},
    {"id": 1, "name": "car", "prompts": ["car"], "rgb": [1, 0, 0]},
]
Make = Callable[..., OnnxConfig]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """make(...): a network of one 1 x 1 convolution that halves the resolution, and three class names."""

    def make(
        size: tuple[Any, Any] = ("height", "width"), end: str = "", element: int = TensorProto.FLOAT, **options: Any
    ) -> OnnxConfig:
        dtype = np.float16 if element == TensorProto.FLOAT16 else np.float32
        nodes = [helper.make_node("Conv", ["image", "weight"], ["logits"], kernel_shape=[1, 1], strides=[2, 2])]
        last = "logits"
        if end:
            attributes = {"axis": 1, "keepdims": 1} if end == "ArgMax" else {"axis": 1}
            nodes.append(helper.make_node(end, ["logits"], ["ended"], **attributes))
            last = "ended"
        kind = TensorProto.INT64 if end == "ArgMax" else element
        graph = helper.make_graph(
            nodes,
            "segmenter",
            [helper.make_tensor_value_info("image", element, [1, 3, *size])],
            [helper.make_tensor_value_info(last, kind, None)],
            [numpy_helper.from_array(WEIGHT[:, :, None, None].astype(dtype), "weight")],
        )
        opset = [helper.make_opsetid("", 18)]
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), tmp_path / "net.onnx")
        classes = options.pop("classes", CLASSES)
        (tmp_path / "classes.yaml").write_text(yaml.safe_dump({"name": "test", "classes": classes}))
        return OnnxConfig(weights=str(tmp_path / "net.onnx"), prompts=str(tmp_path / "classes.yaml"), **options)

    return make


def naive(image: np.ndarray) -> np.ndarray:
    """The feature of each cell, one at a time."""
    word = dict(
        zip(("road", "car", "tree", "bush"), make_text_encoder("sentence").encode(["road", "car", "tree", "bush"]), strict=True)
    )
    plant = (word["tree"] + word["bush"]) / 2
    text = np.stack([word["road"], word["car"], plant / np.linalg.norm(plant)])
    out = np.zeros((384, image.shape[0] // 2, image.shape[1] // 2))
    for row in range(out.shape[1]):
        for column in range(out.shape[2]):
            pixel = (image[2 * row, 2 * column] / 255.0 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
            odds = np.exp(WEIGHT @ pixel)
            feature = (odds / odds.sum()) @ text
            out[:, row, column] = feature / np.linalg.norm(feature)
    return out


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"end": "Softmax", "output": "probabilities"},
        {"size": (12, 20)},
        {"input_px": (12, 20)},
        {"element": TensorProto.FLOAT16},
    ],
    ids=["logits", "probabilities", "fixed size", "given size", "float16"],
)
def test_features_are_the_probability_weighted_words(make: Make, options: dict[str, Any]) -> None:
    teacher = make_teacher(make(**options))
    tolerance = 2e-2 if options.get("element") else 1e-5
    np.testing.assert_allclose(teacher(IMAGE).numpy(), naive(IMAGE), atol=tolerance)
    assert (teacher.feature_width, teacher.text_encoder) == (384, "sentence")
    sent_to_a_worker = ForkingPickler.loads(ForkingPickler.dumps(teacher))
    np.testing.assert_array_equal(sent_to_a_worker(IMAGE), teacher(IMAGE))


def test_images_are_scaled_to_the_size_that_the_file_or_the_configuration_wants(make: Make) -> None:
    assert make_teacher(make(size=(8, 16)))(IMAGE).shape == (384, 4, 8)
    assert make_teacher(make(input_px=(24, 40)))(IMAGE).shape == (384, 12, 20)
    with pytest.raises(ConfigError, match=r"input_px is \(24, 40\).*takes images of \(8, 16\) only"):
        make_teacher(make(size=(8, 16), input_px=(24, 40)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"end": "Softmax"}, r"probabilities, not logits; set `output: probabilities`"),
        ({"output": "probabilities"}, r"no probabilities.*set `output: logits`"),
        (
            {"end": "ArgMax"},
            r"first output 'ended' is tensor\(int64\).*; expected float \(1, C, h, w\): export the network without",
        ),
        (
            {"classes": CLASSES[:2]},
            r"3 channels, but .*classes.yaml names 2 classes with ids 0 to 2; expected one class for each",
        ),
        ({"classes": [{**c, "id": c["id"] + 1} for c in CLASSES]}, r"3 channels, but .* ids 1 to 3"),
        ({"encoder": "sentense"}, r"'sentense': expected 'sentence'"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_cure(make: Make, options: dict[str, Any], message: str) -> None:
    with pytest.raises((CheckpointError, ConfigError, TextError), match=message):
        make_teacher(make(**options))(IMAGE)


def test_a_file_that_is_no_network_is_refused(make: Make, tmp_path: Path) -> None:
    config = make()
    for content in (b"not a network", Path(config.weights).read_bytes()[:40]):
        (tmp_path / "net.onnx").write_bytes(content)
        with pytest.raises(CheckpointError, match="not a network that ONNX Runtime can load"):
            make_teacher(config)
    (tmp_path / "net.onnx").unlink()
    with pytest.raises(CheckpointError, match="not a network that ONNX Runtime can load"):
        make_teacher(config)


def test_the_fingerprint_follows_the_network_the_words_and_the_settings_but_not_their_place(make: Make, tmp_path: Path) -> None:
    first = make_teacher(make()).fingerprint
    assert make_teacher(make()).fingerprint == first
    assert make_teacher(make(mean=(0.0, 0.0, 0.0))).fingerprint != first
    other = [{**c, "prompts": ["shrub"]} if c["name"] == "tree" else c for c in CLASSES]
    assert make_teacher(make(classes=other)).fingerprint != first
    assert make_teacher(make(size=(12, 20))).fingerprint != first
