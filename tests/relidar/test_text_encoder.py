"""The vehicle's text encoder on one small enough to compute by hand: an embedding is the mean over its words' rows."""

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace

from relidar.bundle import MANIFEST, TEXT_BANK, TEXT_CONFIG, TEXT_ENCODER, TEXT_ONNX, TEXT_TOKENIZER, open_bundle, sha256_file
from relidar.errors import BundleError, TextError
from relidar.text_bank import TextBank, save_text_bank
from relidar.text_encoder import BATCH, TextEncoder, embeddings_of

WORDS = (
    "[pad]", "a", "photo", "of", "red", "zeppelin", "stroller", "car", "truck", "wheel", "barrier", "traffic", "cone", "[unk]",
)  # fmt: skip
TEMPLATES = ("{}", "a photo of a {}")
CONTEXT_LENGTH = 8


def table(width: int = 32) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(len(WORDS), width)).astype(np.float32)


def oracle(prompts: Sequence[str], templates: Sequence[str] = TEMPLATES) -> np.ndarray:
    rows = []
    for prompt in prompts:
        units = []
        for template in templates:
            ids = [
                WORDS.index(word) if word in WORDS else WORDS.index("[unk]") for word in template.format(prompt).lower().split()
            ]
            total = table()[ids].mean(axis=0)
            units.append(total / np.linalg.norm(total))
        mean = np.mean(units, axis=0)
        rows.append(mean / np.linalg.norm(mean))
    return np.array(rows, np.float32)


def graph(width: int = 32, ids: str = "ids") -> onnx.ModelProto:
    nodes = [
        helper.make_node("Gather", ["table", ids], ["rows"]),
        helper.make_node("Cast", ["mask"], ["weight"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["weight", "last"], ["weights"]),
        helper.make_node("Mul", ["rows", "weights"], ["seen"]),
        helper.make_node("ReduceSum", ["seen", "middle"], ["total"], keepdims=0),
        helper.make_node("ReduceL2", ["total"], ["length"], axes=[1]),
        helper.make_node("Div", ["total", "length"], ["embeddings"]),
    ]
    constants = {"table": table(width), "last": np.array([2]), "middle": np.array([1])}
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["C", "T"]) for name in (ids, "mask")]
    output = helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["C", width])
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    model = helper.make_graph(nodes, "words", inputs, [output], initializers)
    return helper.make_model(model, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def tokenizer(words: Sequence[str] = WORDS) -> Tokenizer:
    made = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}, unk_token="[unk]"))  # noqa: S106, no password
    made.normalizer, made.pre_tokenizer = Lowercase(), Whitespace()
    return made


def rehash(bundle: Path, *names: str) -> None:
    content = yaml.safe_load((bundle / MANIFEST).read_text())
    content["sha256"].update({name: sha256_file(bundle / name) for name in names})
    (bundle / MANIFEST).write_text(yaml.safe_dump(content, sort_keys=False))


@pytest.fixture
def with_encoder(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A bundle whose bank the small encoder made, and the encoder."""
    path = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, path)
    prompts = open_bundle(path).text.prompts
    save_text_bank(TextBank("words", prompts, oracle(prompts)), path / TEXT_BANK)
    (path / "text_encoder").mkdir()
    onnx.save(graph(), path / TEXT_ONNX)
    tokenizer().save(str(path / TEXT_TOKENIZER))
    config = {"encoder": "words", "context_length": CONTEXT_LENGTH, "templates": list(TEMPLATES)}
    (path / TEXT_CONFIG).write_text(yaml.safe_dump(config))
    rehash(path, TEXT_BANK, *TEXT_ENCODER)
    return path


def opened(path: Path) -> TextEncoder:
    encoder = TextEncoder.open(open_bundle(path))
    assert encoder is not None
    return encoder


def test_embeddings_are_the_renormalised_mean_over_the_templates(with_encoder: Path) -> None:
    prompts = ["zeppelin", "red stroller", "Zeppelin of a truck", "wheel"]
    found = opened(with_encoder).encode(prompts)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, oracle(prompts), atol=1e-6)


def test_any_number_of_prompts_and_each_alone_give_the_same(with_encoder: Path) -> None:
    encoder = opened(with_encoder)
    prompts = [f"{one} {other}" for one in WORDS[1:-1] for other in WORDS[1:-1]][: BATCH + 9]  # several batches by the templates
    together = encoder.encode(prompts)
    assert together.shape == (BATCH + 9, 32)
    np.testing.assert_allclose(together, np.concatenate([encoder.encode([prompt]) for prompt in prompts]), atol=1e-6)


def test_known_words_come_from_the_bank_and_only_new_ones_from_the_encoder(with_encoder: Path) -> None:
    bundle = open_bundle(with_encoder)
    encoder = TextEncoder.open(bundle)
    found = embeddings_of(bundle, ["zeppelin", "car", "stroller", "zeppelin", "truck"], encoder)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[[1, 4]], bundle.text.lookup(["car", "truck"]))
    np.testing.assert_allclose(found[[0, 2, 3]], oracle(["zeppelin", "stroller", "zeppelin"]), atol=1e-6)


def test_a_bundle_without_encoder_serves_its_bank_and_names_what_it_lacks(tiny_bundle: Path) -> None:
    bundle = open_bundle(tiny_bundle)
    assert TextEncoder.open(bundle) is None
    np.testing.assert_array_equal(embeddings_of(bundle, ["truck", "car"], None), bundle.text.lookup(["truck", "car"]))
    with pytest.raises(TextError, match=r"no 'zeppelin', 'stroller', and this bundle.*--text-encoder"):
        embeddings_of(bundle, ["car", "zeppelin", "stroller", "zeppelin"], None)
    with pytest.raises(TextError, match="'4' and 3 more"):
        embeddings_of(bundle, list("01234567"), None)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([], "none|no prompts"),
        ([""], "empty"),
        (["stroller", " \u3000"], "empty"),
        (["red\nstroller"], r"U\+000A"),
        (["red\x1b[0m"], r"U\+001B"),
        (["\ud800"], r"U\+D800"),
        (["red&nbsp;stroller"], "HTML entity; write 'red"),
        (["red " * 5], "9 tokens.*reads 8.*shorter"),
    ],
)
def test_prompts_that_are_no_text(with_encoder: Path, prompts: list[str], message: str) -> None:
    encoder = opened(with_encoder)
    with pytest.raises(TextError, match=message):
        encoder.encode(prompts)
    with pytest.raises(TextError, match=message):
        embeddings_of(open_bundle(with_encoder), prompts, encoder)
    assert encoder.encode(["R&D"]).shape == (1, 32)


def test_ampersands_and_other_signs_are_text(with_encoder: Path) -> None:
    assert np.isfinite(opened(with_encoder).encode(["R&D", "{}", "{0}", "50 %", "車"])).all()


def cut(path: Path) -> None:
    (path / TEXT_ONNX).write_bytes((path / TEXT_ONNX).read_bytes()[:-40])


def edit(**changes: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        content = yaml.safe_load((path / TEXT_CONFIG).read_text())
        (path / TEXT_CONFIG).write_text(yaml.safe_dump(content | changes))

    return change


def other_weights(path: Path) -> None:
    model = graph()
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(table()[::-1].copy(), "table"))
    onnx.save(model, path / TEXT_ONNX)


def not_finite(path: Path) -> None:
    model = graph()
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full_like(table(), np.nan), "table"))
    onnx.save(model, path / TEXT_ONNX)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, r"encoder\.onnx: ONNX Runtime cannot load it"),
        (lambda path: (path / TEXT_ONNX).write_bytes(b""), r"encoder\.onnx"),
        (lambda path: onnx.save(graph(20), path / TEXT_ONNX), r"encoder\.onnx.*20 wide.*32"),
        (lambda path: onnx.save(graph(ids="features"), path / TEXT_ONNX), r"encoder\.onnx: cannot embed"),
        (other_weights, r"differs from the bank's by \d.*do not belong together"),
        (not_finite, "differs from the bank's by nan"),
        (lambda path: tokenizer(WORDS[::-1]).save(str(path / TEXT_TOKENIZER)), "do not belong together"),
        (lambda path: tokenizer([*map(str, range(50)), *WORDS]).save(str(path / TEXT_TOKENIZER)), r"cannot embed the bank's"),
        (lambda path: (path / TEXT_TOKENIZER).write_text("{}"), r"tokenizer\.json: not a tokenizer"),
        (lambda path: (path / TEXT_TOKENIZER).write_bytes(b"\xff\x00"), r"tokenizer\.json: not a tokenizer"),
        (edit(templates=["a photo of a red {}"]), "do not belong together"),
        (edit(templates=["{} {}"]), "exactly one"),
        (edit(templates=["{0.__class__} {}"]), "exactly one"),
        (edit(templates=[]), "templates"),
        (edit(encoder="sentence"), "'sentence'.*made by 'words'"),
        (edit(context_length=0), "context_length"),
        (edit(context_length=1), "cannot embed.*tokens"),
        (edit(length=3), "unknown key 'length'"),
        (lambda path: (path / TEXT_CONFIG).write_text("- 1"), r"config\.yaml"),
    ],
)
def test_an_encoder_that_does_not_fit_is_refused(with_encoder: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(with_encoder)
    with pytest.raises(BundleError, match=r"sha256 is .* the manifest says"):
        open_bundle(with_encoder)
    rehash(with_encoder, *TEXT_ENCODER)  # as if it had been made so
    with pytest.raises(BundleError, match=message) as caught:
        TextEncoder.open(open_bundle(with_encoder))
    assert "xport the bundle again" in str(caught.value)


@pytest.mark.parametrize("name", TEXT_ENCODER)
def test_half_an_encoder_is_refused(with_encoder: Path, name: str) -> None:
    content = yaml.safe_load((with_encoder / MANIFEST).read_text())
    del content["sha256"][name]
    (with_encoder / MANIFEST).write_text(yaml.safe_dump(content))
    with pytest.raises(BundleError, match=f"no sha256 of {name}"):
        open_bundle(with_encoder)
    rehash(with_encoder, name)
    (with_encoder / name).unlink()
    with pytest.raises(BundleError, match=f"{name}: missing"):
        open_bundle(with_encoder)


def test_a_missing_package_is_named_with_its_cure(with_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(TextError, match=r"tokenizers.*not installed.*extra `text`"):
        TextEncoder.open(open_bundle(with_encoder))
