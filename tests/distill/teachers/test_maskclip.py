"""The dense image tower against open_clip's own modules, with random weights saved to disk."""

import json
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from torch.nn.functional import normalize

from distill.cache_filling import fill_cache
from distill.checkpoint import load_student
from distill.config import TrainConfig
from distill.open_clip_model import load_open_clip
from distill.teachers import make_teacher
from distill.teachers.image_input import network_input
from distill.teachers.maskclip import MaskClipConfig, dense_resnet, dense_vit, vit_tokens
from distill.text_encoders import make_text_encoder
from distill.trainer import train
from relidar.config_file import validate
from relidar.errors import CheckpointError, ConfigError, TextError

TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
VISION = {
    "vit": {"image_size": 64, "layers": 3, "width": 32, "head_width": 16, "patch_size": 16},
    "vit_layer_scale": {"image_size": 64, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16, "ls_init_value": 0.3},
    "resnet": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 16},
    "pooler": {"image_size": 64, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16, "attentional_pool": True},
}
NAMES = [name for name in VISION if name != "pooler"]
IMAGE = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """weights(name): a checkpoint with random weights of a small model that open_clip knows by that name."""
    folder = tmp_path_factory.mktemp("clip")
    for seed, (name, vision) in enumerate(VISION.items()):
        text = TEXT | ({"pool_type": "argmax"} if name == "pooler" else {})
        (folder / f"mask_{name}.json").write_text(json.dumps({"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}))
        open_clip.add_model_config(folder / f"mask_{name}.json")
        torch.manual_seed(seed)
        model = open_clip.create_model(f"mask_{name}")
        for key, tensor in model.state_dict().items():  # some begin as zeros or ones, which would test nothing
            if key.endswith("running_var"):
                torch.nn.init.uniform_(tensor, 0.5, 1.5)
            elif tensor.is_floating_point():
                torch.nn.init.normal_(tensor, std=0.2)
        torch.save(model.state_dict(), folder / f"mask_{name}.pt")
    return lambda name: folder / f"mask_{name}.pt"


@pytest.fixture(scope="module")
def tower(weights: Callable[[str], Path]) -> Callable[[str], Any]:
    """tower(name): the image tower that open_clip itself builds from the checkpoint."""
    return lambda name: load_open_clip(f"mask_{name}", str(weights(name))).visual


def config(name: str, path: Path, **others: Any) -> MaskClipConfig:
    return MaskClipConfig(model=f"mask_{name}", pretrained=str(path), **others)


@pytest.mark.parametrize("name", NAMES)
def test_features_are_unit_one_a_patch_and_as_wide_as_the_text(weights: Callable[[str], Path], name: str) -> None:
    teacher = make_teacher(config(name, weights(name)))
    features = teacher(IMAGE)
    stride = 32 if name == "resnet" else 16
    assert features.shape == (24, 64 // stride, 96 // stride)
    torch.testing.assert_close(features.norm(dim=0), torch.ones(features.shape[1:]))
    text = make_text_encoder(teacher.text_encoder or "").encode(["car"])
    assert text.shape == (1, teacher.feature_width)
    sent_to_a_worker = ForkingPickler.loads(ForkingPickler.dumps(teacher))
    torch.testing.assert_close(sent_to_a_worker(IMAGE), features, atol=0, rtol=0)
    finer = make_teacher(config(name, weights(name), short_side_px=128))
    assert finer(IMAGE).shape == (24, 128 // stride, 192 // stride)
    assert len({finer.fingerprint, teacher.fingerprint}) == 2


def test_images_are_normalised_as_clip_was_trained(weights: Callable[[str], Path], tower: Callable[[str], Any]) -> None:
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    expected = normalize(dense_vit(tower("vit"), network_input(IMAGE, None, 16, mean, std)), dim=1)[0]
    torch.testing.assert_close(make_teacher(config("vit", weights("vit")))(IMAGE), expected)


@torch.inference_mode()
@pytest.mark.parametrize("name", ["vit", "vit_layer_scale"])
def test_each_patch_is_what_the_last_block_makes_of_a_sequence_of_that_one_token(tower: Callable[[str], Any], name: str) -> None:
    # Attention over one token is that token's value, so open_clip's own block says what the dense path has to give.
    visual, pixels = tower(name), torch.randn(1, 3, 64, 64)
    *before, last = visual.transformer.resblocks
    tokens, (rows, columns) = vit_tokens(visual, pixels)
    for block in before:
        tokens = block(tokens)
    for index, dense in enumerate(dense_vit(visual, pixels)[0].flatten(1).T, start=1):
        alone = last(tokens[:, index : index + 1])
        torch.testing.assert_close((visual.ln_post(alone) @ visual.proj)[0, 0], dense, atol=1e-4, rtol=1e-4)
    assert (rows, columns) == (4, 4)


@torch.inference_mode()
def test_the_class_token_through_the_same_modules_is_the_tower_s_pooled_output(tower: Callable[[str], Any]) -> None:
    visual, pixels = tower("vit"), torch.randn(2, 3, 64, 64)
    tokens, _ = vit_tokens(visual, pixels)
    for block in visual.transformer.resblocks:
        tokens = block(tokens)
    torch.testing.assert_close(visual.ln_post(tokens)[:, 0] @ visual.proj, visual(pixels), atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_another_size_equals_the_tower_that_open_clip_builds_for_it(
    weights: Callable[[str], Path], tower: Callable[[str], Any]
) -> None:
    visual, pixels = tower("vit"), torch.randn(1, 3, 48, 112)
    # open_clip resizes the position embeddings while it loads the checkpoint into a model of that size.
    other = open_clip.create_model("mask_vit", pretrained=str(weights("vit")), force_image_size=(48, 112)).eval().visual
    torch.testing.assert_close(vit_tokens(visual, pixels)[0], vit_tokens(other, pixels)[0])
    torch.testing.assert_close(dense_vit(visual, pixels), dense_vit(other, pixels))
    tokens, _ = vit_tokens(visual, pixels)
    for block in visual.transformer.resblocks:
        tokens = block(tokens)
    torch.testing.assert_close(visual.ln_post(tokens)[:, 0] @ visual.proj, other(pixels), atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_resnet_pooling_with_even_attention_and_no_positions_is_the_mean_of_the_dense_features(
    tower: Callable[[str], Any],
) -> None:
    # With queries of zero, attention is even over the cells and their mean, and the values are affine in the cells.
    visual, pixels = tower("resnet"), torch.randn(2, 3, 64, 64)
    visual.attnpool.positional_embedding.zero_()
    visual.attnpool.q_proj.weight.zero_()
    visual.attnpool.q_proj.bias.zero_()
    torch.testing.assert_close(dense_resnet(visual, pixels).mean(dim=(2, 3)), visual(pixels), atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_resnet_pooling_of_one_cell_is_its_dense_feature(tower: Callable[[str], Any]) -> None:
    visual = tower("resnet")
    visual.attnpool.positional_embedding = torch.nn.Parameter(torch.zeros(2, visual.attnpool.positional_embedding.shape[1]))
    pixels = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(dense_resnet(visual, pixels)[:, :, 0, 0], visual(pixels), atol=1e-4, rtol=1e-4)


def test_unknown_models_and_other_weights_are_refused(weights: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"'ViT-Q-99'.*no such model.*list_models"):
        make_teacher(MaskClipConfig(model="ViT-Q-99", pretrained="openai"))
    with pytest.raises(CheckpointError, match=r"mask_vit.*Expected the path of a checkpoint"):
        make_teacher(config("vit", tmp_path / "missing.pt"))
    with pytest.raises(CheckpointError, match=r"mask_vit.*Error.*loading state_dict"):
        make_teacher(config("vit", weights("resnet")))
    state = torch.load(weights("vit"), weights_only=True)
    torch.save(state | {"positional_embedding": torch.zeros(16, 48)}, tmp_path / "wider.pt")
    with pytest.raises(CheckpointError, match=r"wider.*Expected the path of a checkpoint"):
        make_teacher(config("vit", tmp_path / "wider.pt"))
    (tmp_path / "cut.pt").write_bytes(weights("vit").read_bytes()[:3000])
    with pytest.raises(CheckpointError, match="Expected the path of a checkpoint"):
        make_teacher(config("vit", tmp_path / "cut.pt"))
    with pytest.raises(ConfigError, match="without a dense value path"):
        make_teacher(config("pooler", weights("pooler")))
    with pytest.raises(TextError, match="no weights named"):
        make_text_encoder("open_clip:mask_vit:")


def test_a_student_is_distilled_from_it_into_the_space_of_its_own_text(
    config_values: dict, weights: Callable[[str], Path], tmp_path: Path
) -> None:
    model = {"model": "mask_vit", "pretrained": str(weights("vit"))}
    values = config_values | {
        "run": str(tmp_path / "run"),
        "cache": str(tmp_path / "cache"),
        "teacher": {"kind": "maskclip", **model},
        "text": config_values["text"] | {"encoder": f"open_clip:{model['model']}:{model['pretrained']}"},
        "schedule": config_values["schedule"] | {"steps": 1},
    }
    config = validate(values, TrainConfig, "test")
    assert fill_cache(config, workers=0) > 0
    student = load_student(train(config))
    assert student.student.feature_width == student.text.embeddings.shape[1] == 24
    assert student.text.encoder == config.text.encoder
