"""Dense features of timm's backbones, with random weights saved to disk."""

from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import normalize

from distill.teachers import make_teacher
from distill.teachers.image_input import network_input
from distill.teachers.timm_backbone import TimmConfig
from relidar.errors import CheckpointError

IMAGE = np.random.default_rng(0).integers(0, 256, (70, 112, 3), dtype=np.uint8)


def saved(name: str, path: Path) -> torch.nn.Module:
    """A model with random weights, saved as timm saves it."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=0).eval()
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, path)
    return model


@torch.inference_mode()
def test_dinov2_at_another_size_equals_timm_s_own_model_of_that_size(tmp_path: Path) -> None:
    name = "vit_small_patch14_dinov2"
    saved(name, tmp_path / "dino.safetensors")
    teacher = make_teacher(TimmConfig(model=name, weights=str(tmp_path / "dino.safetensors")))
    features = teacher(IMAGE)
    assert features.shape == (384, 5, 8)
    # timm resizes the position embeddings while it loads the checkpoint into a model of that size.
    other = timm.create_model(
        name,
        num_classes=0,
        img_size=(70, 112),
        pretrained=True,
        pretrained_cfg_overlay={"file": str(tmp_path / "dino.safetensors")},
    ).eval()
    cfg = other.pretrained_cfg
    tokens = other.forward_features(network_input(IMAGE, None, 14, cfg["mean"], cfg["std"]))[0, 1:]
    torch.testing.assert_close(features, normalize(tokens, dim=1).T.reshape(384, 5, 8), atol=1e-4, rtol=1e-4)
    assert teacher.text_encoder is None


@torch.inference_mode()
@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "test_convnext"])
def test_any_backbone_gives_unit_features_of_the_whole_image(tmp_path: Path, name: str) -> None:
    model = saved(name, tmp_path / "w.safetensors")
    teacher = make_teacher(TimmConfig(model=name, weights=str(tmp_path / "w.safetensors"), short_side_px=160))
    features = teacher(IMAGE)
    stride = 16 if "vit" in name else 32
    assert features.shape == (teacher.feature_width, round(160 / stride), round(256 / stride))
    torch.testing.assert_close(features.norm(dim=0), torch.ones(features.shape[1:]))
    sent_to_a_worker = ForkingPickler.loads(ForkingPickler.dumps(teacher))
    torch.testing.assert_close(sent_to_a_worker(IMAGE), features, atol=0, rtol=0)
    square = np.ascontiguousarray(np.resize(IMAGE, (160, 160, 3)))
    cfg = model.pretrained_cfg
    expected = model.forward_features(network_input(square, None, stride, cfg["mean"], cfg["std"]))
    if expected.ndim == 3:
        expected = expected[:, model.num_prefix_tokens :].transpose(1, 2).reshape(1, -1, 10, 10)
    torch.testing.assert_close(teacher(square), normalize(expected, dim=1)[0], atol=1e-5, rtol=1e-5)


def test_a_classifier_in_the_file_is_left_out_and_the_fingerprint_follows_the_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    with_head = timm.create_model("test_vit")
    save_file(with_head.state_dict(), tmp_path / "a.safetensors")
    first = make_teacher(TimmConfig(model="test_vit", weights=str(tmp_path / "a.safetensors")))
    (tmp_path / "b.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes())
    assert make_teacher(TimmConfig(model="test_vit", weights=str(tmp_path / "b.safetensors"))).fingerprint == first.fingerprint
    state = load_file(tmp_path / "a.safetensors")
    save_file({**state, "norm.bias": state["norm.bias"] + 1e-3}, tmp_path / "c.safetensors")
    assert make_teacher(TimmConfig(model="test_vit", weights=str(tmp_path / "c.safetensors"))).fingerprint != first.fingerprint


def test_unknown_models_and_other_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointError, match=r"'vit_smal_dinov2'.*no such model.*list_models"):
        make_teacher(TimmConfig(model="vit_smal_dinov2"))
    saved("test_resnet", tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match=r"test_vit.*loading state_dict.*timm's format"):
        make_teacher(TimmConfig(model="test_vit", weights=str(tmp_path / "w.safetensors")))
    # A file that lacks weights is refused too: timm itself would leave them random.
    saved("test_vit", tmp_path / "v.safetensors")
    state = load_file(tmp_path / "v.safetensors")
    del state["blocks.0.attn.qkv.weight"]
    save_file(state, tmp_path / "lacking.safetensors")
    with pytest.raises(CheckpointError, match="loading state_dict"):
        make_teacher(TimmConfig(model="test_vit", weights=str(tmp_path / "lacking.safetensors")))
    with pytest.raises(CheckpointError, match=r"missing.*path of a checkpoint"):
        make_teacher(TimmConfig(model="test_vit", weights=str(tmp_path / "missing.safetensors")))
