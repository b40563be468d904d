"""The `maskclip` teacher: CLIP's image tower made dense (Zhou et al., Extract Free Dense Labels from CLIP, ECCV 2022).

CLIP's last attention mixes the values of all places into one. Without that mixing each place keeps its own value, which the
layers after it bring into the space of the text:

  ViT       v = out_proj(v_proj(LN1(x))); x + v; + MLP(LN2(.)); LN; projection, for each patch
  ResNet    c_proj(v_proj(x)) for each cell of the last feature map

The text encoder to go with it is `open_clip:MODEL:PRETRAINED` of the same model and weights.
"""

from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import interpolate, linear, normalize

from distill.open_clip_model import load_open_clip
from distill.teachers.fingerprint import fingerprint
from distill.teachers.image_input import network_input
from relidar.config_file import Model
from relidar.errors import ConfigError

RESNET_STRIDE = 32


class MaskClipConfig(Model):
    """CLIP's image tower, dense."""

    kind: Literal["maskclip"] = "maskclip"
    model: Annotated[str, Field(min_length=1)]
    """A ViT or ResNet of open_clip, e.g. ViT-B-16 or RN50."""
    pretrained: Annotated[str, Field(min_length=1)]
    """A tag such as laion2b_s34b_b88k, fetched from its hub, or the path of a local checkpoint. OpenAI's weights need the
    quickgelu form of a model (ViT-B-16-quickgelu); open_clip warns of another where it is given their tag, but not of a file."""
    short_side_px: Annotated[int, Field(ge=1)] | None = None
    """Images are scaled to this height or width; None leaves their size. More pixels give finer features and take longer."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where it runs; with cuda, fill the cache with --workers 0 and one process a GPU."""


class MaskClipTeacher:
    """A frozen image tower of open_clip."""

    def __init__(self, config: MaskClipConfig) -> None:
        """Raises CheckpointError if model or weights are not to be had, ConfigError for a tower without a dense form."""
        visual = load_open_clip(config.model, config.pretrained).visual.requires_grad_(False)
        self.feature_width = int(getattr(visual, "output_dim", 0))
        self.text_encoder: str | None = f"open_clip:{config.model}:{config.pretrained}"
        self._visual = visual
        self._config = config
        self._stride, self._dense = _dense_form(visual, config.model)
        self.fingerprint = fingerprint(config, visual)

    @torch.inference_mode()
    def __call__(self, image: NDArray[np.uint8]) -> Tensor:
        """(H, W, 3) RGB -> (D, h, w) unit features, one a patch (ViT) or a cell of 32 x 32 pixels (ResNet)."""
        pixels = network_input(image, self._config.short_side_px, self._stride, self._visual.image_mean, self._visual.image_std)
        device = self._config.device
        return normalize(self._dense(self._visual.to(device), pixels.to(device)), dim=1)[0].cpu()


def _dense_form(visual: nn.Module, name: str) -> tuple[int, Any]:
    """Pixels a feature and the dense path of a tower."""
    from open_clip.modified_resnet import ModifiedResNet
    from open_clip.transformer import ResidualAttentionBlock, VisionTransformer

    if isinstance(visual, ModifiedResNet):
        return RESNET_STRIDE, dense_resnet
    if (
        isinstance(visual, VisionTransformer)
        and visual.attn_pool is None
        and visual.patch_size[0] == visual.patch_size[1]
        and isinstance(visual.transformer.resblocks[-1], ResidualAttentionBlock)
    ):
        return int(visual.patch_size[0]), dense_vit
    raise ConfigError(
        f"teacher maskclip: the image tower of {name!r} is a {type(visual).__name__} without a dense value path; take a plain "
        "CLIP ViT or ResNet, such as ViT-B-16 or RN50."
    )


def dense_vit(visual: Any, pixels: Tensor) -> Tensor:
    """(B, 3, H, W) normalised -> (B, D, H / patch, W / patch) before normalisation to unit length."""
    tokens, (rows, columns) = vit_tokens(visual, pixels)
    for block in visual.transformer.resblocks[:-1]:
        tokens = block(tokens)
    tokens = value_block(visual.transformer.resblocks[-1], tokens)
    patches = visual.ln_post(tokens)[:, 1:] @ visual.proj
    return patches.transpose(1, 2).reshape(len(pixels), -1, rows, columns)


def vit_tokens(visual: Any, pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """What enters the first block, (B, 1 + h w, width), and (h, w); the position embeddings are interpolated to h x w patches."""
    patches = visual.conv1(pixels)
    grid = (patches.shape[2], patches.shape[3])
    first = visual.class_embedding.expand(len(pixels), 1, -1)
    tokens = torch.cat([first, patches.flatten(2).transpose(1, 2)], dim=1)
    return visual.ln_pre(tokens + resized_positions(visual.positional_embedding, visual.grid_size, grid)), grid


def resized_positions(positions: Tensor, from_grid: tuple[int, int], to_grid: tuple[int, int]) -> Tensor:
    """(1 + h w, width) position embeddings, the class token's first, to another grid as open_clip does on loading."""
    if tuple(from_grid) == tuple(to_grid):
        return positions
    image = positions[1:].T.reshape(1, -1, *from_grid)
    resized = interpolate(image, to_grid, mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([positions[:1], resized[0].flatten(1).T])


def value_block(block: Any, x: Tensor) -> Tensor:
    """A residual attention block in which each token attends to itself alone, (B, T, width)."""
    attention, width = block.attn, x.shape[-1]
    v = linear(block.ln_1(x), attention.in_proj_weight[2 * width :], attention.in_proj_bias[2 * width :])
    x = x + block.ls_1(attention.out_proj(v))
    return x + block.ls_2(block.mlp(block.ln_2(x)))


def dense_resnet(visual: Any, pixels: Tensor) -> Tensor:
    """(B, 3, H, W) normalised -> (B, D, H / 32, W / 32) before normalisation; positions enter CLIP's pooling only."""
    x = visual.stem(pixels)
    for layer in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
        x = layer(x)
    pool = visual.attnpool
    return pool.c_proj(pool.v_proj(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
