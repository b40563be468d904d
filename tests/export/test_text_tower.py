"""The towers without torch against the encoders with it, and the tokenizer against open_clip's own."""

import html
import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ftfy
import numpy as np
import open_clip
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from distill.checkpoint import StudentCheckpoint, save_student
from distill.sentence_encoder import SentenceEncoder
from distill.student import Student, StudentConfig
from distill.text_encoders import OpenClipEncoder, embed_prompts
from export import text_tower as module
from export.assemble import RawScan, write_bundle
from export.text_tokenizer import clip_tokenizer
from export.text_tower import TOLERANCE, text_tower, write_text_encoder
from export.trt import main, write_bundle_of
from relidar.bundle import TEXT_ONNX, TEXT_TOKENIZER, open_bundle
from relidar.errors import TextError
from relidar.text_bank import TextBank
from relidar.text_encoder import TextEncoder, TextEncoderConfig

SENTENCES = (
    "car",
    "excavator",
    "a photo of a very long red fire-truck, parked beside the road near the old station",
    "the driver's 3.5t lorry (2nd hand)",
    "Straßenbahn",
    "crème brûlée",
    "車",
    "ﬁre engine",
    "“no entry” sign",
)
TOWERS = {
    "causal": {},
    "quick": {"quick_gelu": True},
    "all see all": {"no_causal_mask": True},
    "short, linear head": {"context_length": 40, "proj_bias": True},
}


@pytest.fixture(scope="module")
def sentence() -> SentenceEncoder:
    return SentenceEncoder()


@pytest.fixture(scope="module")
def clip_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., OpenClipEncoder]:
    """clip_of(**text_cfg): a small open_clip model with random weights, saved and opened as a checkpoint from disk."""
    folder, count = tmp_path_factory.mktemp("clip"), itertools.count()

    def make(quick_gelu: bool = False, **options: Any) -> OpenClipEncoder:
        name = f"tiny{next(count)}"
        text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2, **options}
        vision = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
        content = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text, "quick_gelu": quick_gelu}
        if options:
            content["custom_text"] = True
        (folder / f"{name}.json").write_text(json.dumps(content))
        open_clip.add_model_config(folder / f"{name}.json")
        torch.manual_seed(0)
        model = open_clip.create_model(name)
        for parameter in model.parameters():  # the biases begin as zeros, which would test nothing
            torch.nn.init.normal_(parameter, std=0.3)
        torch.save(model.state_dict(), folder / f"{name}.pt")
        return OpenClipEncoder(f"open_clip:{name}:{folder / name}.pt")

    return make


def vehicle(encoder: SentenceEncoder | OpenClipEncoder, compact: bool = True) -> TextEncoder:
    tower = text_tower(encoder, compact)
    tokenizer = Tokenizer.from_str(tower.tokenizer.to_str())  # as it comes out of the file
    config = TextEncoderConfig(encoder=encoder.name, context_length=tower.context_length, templates=("{}",))
    return TextEncoder(config, tokenizer, tower.session())


@pytest.mark.parametrize(("compact", "largest"), [(True, TOLERANCE), (False, 2e-6)])
def test_sentence_tower_equals_torch(sentence: SentenceEncoder, compact: bool, largest: float) -> None:
    expected = sentence.encode(SENTENCES)
    encoder = vehicle(sentence, compact)
    assert np.abs(encoder.encode(SENTENCES) - expected).max() <= largest
    # A row must not depend on the longer rows beside it.
    assert np.abs(encoder.encode(SENTENCES[:1]) - expected[:1]).max() <= largest


@pytest.mark.parametrize("kind", TOWERS)
def test_clip_tower_equals_torch(clip_of: Callable[..., OpenClipEncoder], kind: str) -> None:
    reference = clip_of(**TOWERS[kind])
    expected = reference.encode(SENTENCES)
    nearest = min(np.abs(one - other).max() for one, other in itertools.combinations(expected, 2))
    assert nearest > 20 * TOLERANCE  # else equality would show nothing
    assert np.abs(vehicle(reference, compact=False).encode(SENTENCES) - expected).max() <= 5e-6
    assert np.abs(vehicle(reference).encode(SENTENCES) - expected).max() <= TOLERANCE


def test_a_causal_tower_reads_no_padding(clip_of: Callable[..., OpenClipEncoder]) -> None:
    causal, all_see_all = text_tower(clip_of()).tokenizer, text_tower(clip_of(no_causal_mask=True)).tokenizer
    assert (len(causal.encode("car").ids), len(all_see_all.encode("car").ids)) == (3, 77)


@pytest.mark.slow
def test_a_prompt_as_long_as_the_context_fits_and_one_longer_is_refused(clip_of: Callable[..., OpenClipEncoder]) -> None:
    reference = clip_of(context_length=10, proj_bias=True)
    encoder, prompt = vehicle(reference), " ".join(["car"] * 8)
    assert np.abs(encoder.encode([prompt]) - reference.encode([prompt])).max() <= TOLERANCE
    with pytest.raises(TextError, match=r"11 tokens.*reads 10.*shorter"):
        encoder.encode([prompt + " car"])


def test_a_tower_that_computes_something_else_is_refused(clip_of: Callable[..., OpenClipEncoder]) -> None:
    for options in ({"embed_cls": True}, {"pool_type": "last"}, {"ls_init_value": 0.1}, {"qk_norm": True}):
        reference = clip_of(**options)
        with pytest.raises(TextError, match=r"cannot export.*without --text-encoder"):
            text_tower(reference)


class Stranger:
    name = "stranger"

    def encode(self, sentences: object) -> Any:
        raise NotImplementedError


def test_an_encoder_of_another_kind_is_refused() -> None:
    with pytest.raises(TextError, match=r"'stranger'.*expected 'sentence' or an open_clip"):
        text_tower(Stranger())  # type: ignore[arg-type]
    with pytest.raises(TextError, match="tokenizer Stranger"):
        clip_tokenizer(Stranger(), pads_to_context=False)


# ---- the tokenizer


@pytest.fixture(scope="module")
def tokenizers() -> tuple[Tokenizer, Any]:
    """Ours, as read from its JSON, and open_clip's."""
    reference = open_clip.get_tokenizer("ViT-B-16")
    return Tokenizer.from_str(clip_tokenizer(reference, pads_to_context=True).to_str()), reference


TYPED = """
    a photo of the traffic-cone don't IT'S O'Neill's 3D 2.5t lorry St. café cafe\u0301 naïve Straße ΟΔΟΣ ＣＡＲ １２ ﬁre-truck
    ‘quoted’ “double” <end> 'S 'LL 'ſ дорога 車道 自動車 한글 ไทย 😀🚗 ½ Ⅷ ٣ … – __ #1 R&D (old) {}
"""
WORDS = st.sampled_from([*TYPED.split(), "\ufeff", "\u200b", "\u3000", "\u00a0"])
LETTERS = st.text(st.characters(max_codepoint=0x24F, exclude_categories=("Cc", "Cs", "Cn")), max_size=12)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.one_of(st.lists(WORDS, max_size=6).map(" ".join), st.lists(st.one_of(WORDS, LETTERS), max_size=4).map("".join)))
def test_ids_equal_those_of_open_clip(tokenizers: tuple[Tokenizer, Any], text: str) -> None:
    # The repairs that are left to ftfy.
    assume(html.unescape(text) == text and "&" not in text.replace("R&D", ""))
    assume(ftfy.fix_text(text) == ftfy.fix_text(text, ftfy.TextFixerConfig(fix_encoding=False)))
    ours, reference = tokenizers
    ids = ours.encode(text).ids
    assume(len(ids) <= 77)
    assert ids == reference([text])[0].tolist()


# ---- into the bundle


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: StudentCheckpoint, sentence: SentenceEncoder) -> StudentCheckpoint:
    """A student in the space of the sentence encoder, with two templates."""
    student = Student(StudentConfig(architecture="minkunet14", width=0.25), in_channels=1, feature_width=384).eval()
    prompts = tiny_checkpoint.prompt_set.model_copy(update={"templates": ("{}", "a photo of a {}")})
    return replace(tiny_checkpoint, student=student, prompt_set=prompts, text=embed_prompts(sentence, prompts))


NEW_WORDS = """
import sys
from pathlib import Path
for name in ("torch", "open_clip", "ftfy", "distill", "export"):
    sys.modules[name] = None  # importing it now raises ImportError
import numpy as np
from relidar.bundle import open_bundle
from relidar.text_encoder import TextEncoder
np.save(sys.argv[2], TextEncoder.open(open_bundle(Path(sys.argv[1]))).encode(["zeppelin", "baby stroller"]))
"""


def test_bundle_embeds_new_words_without_torch(
    checkpoint: StudentCheckpoint, sentence: SentenceEncoder, random_cloud: Callable[..., RawScan], tmp_path: Path
) -> None:
    write_bundle(checkpoint, [random_cloud(300)], tmp_path / "b", text_encoder=sentence)
    command = [sys.executable, "-c", NEW_WORDS, str(tmp_path / "b"), str(tmp_path / "new.npy")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    classes = tuple(
        checkpoint.prompt_set.classes[0].model_copy(update={"id": i, "name": word, "prompts": (word,)})
        for i, word in enumerate(("zeppelin", "baby stroller"))
    )
    expected = embed_prompts(sentence, checkpoint.prompt_set.model_copy(update={"classes": classes})).embeddings
    assert np.abs(np.load(tmp_path / "new.npy") - expected).max() <= TOLERANCE
    assert (tmp_path / "b" / TEXT_ONNX).stat().st_size < 46e6


def test_without_the_option_the_bundle_has_none(tiny_bundle: Path) -> None:
    assert not open_bundle(tiny_bundle).has_text_encoder
    assert not (tiny_bundle / TEXT_ONNX).exists()


def test_an_encoder_that_did_not_make_the_bank_is_refused(clip_of: Callable[..., OpenClipEncoder], tmp_path: Path) -> None:
    encoder = clip_of()
    bank = TextBank(encoder.name, SENTENCES, encoder.encode(SENTENCES))
    wide = np.eye(len(SENTENCES), 32, dtype=np.float32)
    for wrong, templates, message in (
        (replace(bank, encoder="open_clip:a:b"), ("{}",), "made by 'open_clip:a:b'"),
        (replace(bank, embeddings=bank.embeddings[::-1]), ("{}",), r"differ .*by \d.*other weights or templates"),
        (bank, ("a photo of a {}",), r"differ .*by \d.*other weights or templates"),
        (replace(bank, embeddings=wide), ("{}",), "24 wide, the text bank 32"),
    ):
        with pytest.raises(TextError, match=message):
            write_text_encoder(encoder, wrong, templates, tmp_path)
    assert not list(tmp_path.iterdir())


def test_matrices_that_16_bits_would_move_too_far_are_kept_in_32(
    clip_of: Callable[..., OpenClipEncoder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = clip_of()
    bank = TextBank(encoder.name, SENTENCES, encoder.encode(SENTENCES))
    compact_difference = write_text_encoder(encoder, bank, ("{}",), tmp_path / "compact")
    monkeypatch.setattr(module, "TOLERANCE", compact_difference / 2)
    assert write_text_encoder(encoder, bank, ("{}",), tmp_path / "full") < compact_difference / 2
    compact, full = ((tmp_path / name / TEXT_ONNX).stat().st_size for name in ("compact", "full"))
    assert 1.8 < full / compact < 2.1
    assert (tmp_path / "compact" / TEXT_TOKENIZER).read_bytes() == (tmp_path / "full" / TEXT_TOKENIZER).read_bytes()


def test_the_option_asks_for_the_encoder_of_the_bank(tiny_checkpoint: StudentCheckpoint, tmp_path: Path) -> None:
    save_student(tiny_checkpoint, tmp_path / "student.pt")
    with pytest.raises(TextError, match=r"'random'.*expected 'sentence'"):
        write_bundle_of(tmp_path / "student.pt", tmp_path / "b", with_text_encoder=True)


def test_the_option_is_for_checkpoints(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["trt", str(tiny_bundle), "--text-encoder"])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "--text-encoder are for a checkpoint" in capsys.readouterr().err
