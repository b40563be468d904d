"""Prompts become embeddings: templates are averaged, and the prompt sets of the benchmarks are the benchmarks'."""

from pathlib import Path

import numpy as np
import pytest

from distill.text_encoders import embed_prompts, make_text_encoder
from relidar.errors import TextError
from relidar.prompts import ClassPrompts, PromptSet, load_prompt_set

PROMPTS = Path(__file__).parents[2] / "configs/prompts"
IDS = {"nuscenes16": range(1, 17), "semantickitti19": range(1, 20), "cityscapes19": range(19)}


def test_a_prompt_is_the_unit_mean_over_the_templates() -> None:
    encoder = make_text_encoder("sentence")
    templates = ("{}", "a photo of a {}", "a {} in the street")
    classes = (
        ClassPrompts(id=3, name="person", prompts=("person", "cyclist"), rgb=(0, 0, 0)),
        ClassPrompts(id=1, name="rider", prompts=("cyclist", "rider"), rgb=(0, 0, 0)),
    )
    bank = embed_prompts(encoder, PromptSet(name="test", templates=templates, classes=classes))
    assert bank.prompts == ("person", "cyclist", "rider")
    assert bank.encoder == "sentence"
    for row, prompt in zip(bank.embeddings, bank.prompts, strict=True):
        mean = sum(encoder.encode([template.replace("{}", prompt)])[0] for template in templates)
        np.testing.assert_allclose(row, mean / np.linalg.norm(mean), atol=1e-5)


@pytest.mark.parametrize("name", ["sentense", "", "clip", "open_clip", "open_clip:ViT-B-32", "open_clip:ViT-B-99:openai"])
def test_an_unknown_encoder_is_refused_with_what_there_is(name: str) -> None:
    with pytest.raises(TextError, match="open_clip:MODEL:PRETRAINED"):
        make_text_encoder(name)


@pytest.mark.parametrize("name", IDS)
def test_prompt_sets_number_the_classes_as_the_benchmarks_do(name: str) -> None:
    prompt_set = load_prompt_set(PROMPTS / f"{name}.yaml")
    assert prompt_set.name == name
    assert [c.id for c in prompt_set.classes] == list(IDS[name])
    assert len({c.rgb for c in prompt_set.classes}) == len(prompt_set.classes)
    assert sum(len(c.prompts) for c in prompt_set.classes) == len(prompt_set.prompts), "a word names two classes"
