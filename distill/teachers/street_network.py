"""The small network behind the street teachers `pixel_text` and `street_clip`, which differ only in how they were trained."""

import itertools

import torch
from torch import Tensor, nn

STEM_PLANES = 24
PLANES = (64, 96, 128, 160)
FEATURE_WIDTH = 384
"""That of the `sentence` encoder."""
STRIDE = 4
"""Pixels a feature, along each side."""


class StreetNetwork(nn.Module):
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
