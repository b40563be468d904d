"""The `pixel_text` teacher: a small LSeg-style network that sees pixels only and answers in the space of the sentence encoder.

It stands in for a camera foundation model where none can be downloaded. `distill.teachers.train_pixel_text` trained it on
labelled images of simulated streets, of other seeds than any dataset made from them.
"""

import hashlib
import itertools
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from relidar.errors import CheckpointError

WEIGHTS = Path(__file__).with_name("pixel_text.safetensors")
STEM_PLANES = 24
PLANES = (64, 96, 128, 160)
FEATURE_WIDTH = 384


class PixelTextNetwork(nn.Module):
    """A U-Net with features at a quarter of the image's resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            _convolution(3, STEM_PLANES, stride=2), _convolution(STEM_PLANES, PLANES[0], stride=2), Residual(PLANES[0])
        )
        self.encoder = nn.ModuleList(
            nn.Sequential(_convolution(narrow, wide, stride=2), Residual(wide), Residual(wide))
            for narrow, wide in itertools.pairwise(PLANES)
        )
        self.merge = nn.ModuleList(
            nn.Sequential(_convolution(deep + skip, skip, kernel=1), Residual(skip))
            for deep, skip in zip(PLANES[:0:-1], PLANES[-2::-1], strict=True)
        )
        self.head = nn.Linear(PLANES[0], FEATURE_WIDTH)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in 0..1 -> (B, 384, H / 4, W / 4), unit length over channels."""
        return self.embed(self.trunk(images).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def embed(self, x: Tensor) -> Tensor:
        """(..., C) features of the trunk -> (..., 384) unit features."""
        return nn.functional.normalize(self.head(x), dim=-1)

    def trunk(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in 0..1 -> (B, C, H / 4, W / 4)."""
        x = self.stem((images - 0.45) / 0.25)
        skips = [x]
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        skips.pop()
        for merge in self.merge:
            skip = skips.pop()
            x = nn.functional.interpolate(x, skip.shape[2:], mode="bilinear", align_corners=False)
            x = merge(torch.cat([x, skip], dim=1))
        return x


class Residual(nn.Module):
    """A separable pair of convolutions with a shortcut: few weights, wide view."""

    def __init__(self, planes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(planes, planes, 5, padding=2, groups=planes, bias=False),
            nn.BatchNorm2d(planes),
            nn.Conv2d(planes, 2 * planes, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(2 * planes, planes, 1, bias=False),
            nn.BatchNorm2d(planes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        return x + self.body(x)


def _convolution(in_planes: int, out_planes: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_planes, out_planes, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(out_planes),
        nn.ReLU(inplace=True),
    )


class PixelTextTeacher:
    """The frozen network."""

    feature_width = FEATURE_WIDTH

    def __init__(self, weights: str | None = None) -> None:
        path = Path(weights) if weights else WEIGHTS
        self._network = PixelTextNetwork()
        try:
            state = load_file(path)
            self._network.load_state_dict(
                {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
            )
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except (OSError, SafetensorError, RuntimeError) as error:
            raise CheckpointError(
                f"{path}: not weights of the pixel_text teacher ({str(error).splitlines()[0]}); make them with "
                "`python -m distill.teachers.train_pixel_text`."
            ) from error
        self._network.eval().requires_grad_(False)
        self.fingerprint = f"pixel_text:{digest}"

    @torch.inference_mode()
    def __call__(self, image: NDArray[np.uint8]) -> Tensor:
        """(H, W, 3) RGB -> (384, H / 4, W / 4) unit features."""
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255.0
        return self._network(pixels)[0]
