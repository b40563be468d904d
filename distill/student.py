"""The student: a MinkUNet over the rulebook, its head as wide as the teacher's feature space, its output rows of unit length.

The residual U-Net of Choy et al., "4D Spatio-Temporal ConvNets" (CVPR 2019), in the sizes 14, 18 and 34; 34 is the Res16UNet34C
of the LiDAR pretraining literature: 37.8 million weights with one input channel. The stem is 3x3x3 here, where theirs may be
5x5x5: that takes (125 - 27) * C_in * 32 weights off, 3,136 an input channel, and changes nothing else.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from distill.sparse_conv import PairTables, SparseConv
from relidar.config_file import Model
from relidar.rulebook import STRIDED_OFFSETS, SUBMANIFOLD_OFFSETS

Architecture = Literal["minkunet14", "minkunet18", "minkunet34"]
LEVELS = 5


@dataclass(frozen=True)
class Plan:
    """Residual blocks and channels: four stages down, four up."""

    blocks: tuple[int, ...]
    planes: tuple[int, ...]


PLANS: dict[Architecture, Plan] = {
    "minkunet14": Plan((1, 1, 1, 1, 1, 1, 1, 1), (32, 64, 128, 256, 128, 128, 96, 96)),
    "minkunet18": Plan((2, 2, 2, 2, 2, 2, 2, 2), (32, 64, 128, 256, 128, 128, 96, 96)),
    "minkunet34": Plan((2, 3, 4, 6, 2, 2, 2, 2), (32, 64, 128, 256, 256, 128, 96, 96)),
}
STEM_PLANES = 32


class StudentConfig(Model):
    """Which student to build."""

    architecture: Architecture = "minkunet34"
    width: Annotated[float, Field(gt=0, le=4)] = 1.0
    """Multiplies every channel count of the plan; rounded to multiples of 8."""


class Student(nn.Module):
    """Voxel features -> unit features in the teacher's space."""

    def __init__(self, config: StudentConfig, in_channels: int, feature_width: int) -> None:
        super().__init__()
        self.config = config
        self.in_channels = in_channels
        self.feature_width = feature_width
        plan = PLANS[config.architecture]
        stem, *planes = (max(8, round(channels * config.width / 8) * 8) for channels in (STEM_PLANES, *plan.planes))
        self.stem = ConvBlock(in_channels, stem, "submanifold_0")
        self.down, self.encoder, self.up, self.decoder = nn.ModuleList(), nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        channels = stem
        skips = [stem]
        for level in range(LEVELS - 1):
            self.down.append(ConvBlock(channels, channels, f"down_{level}"))
            self.encoder.append(Stage(channels, planes[level], plan.blocks[level], level + 1))
            channels = planes[level]
            skips.append(channels)
        skips.pop()
        for step, level in enumerate(reversed(range(LEVELS - 1)), start=LEVELS - 1):
            self.up.append(ConvBlock(channels, planes[step], f"up_{level}"))
            self.decoder.append(Stage(planes[step] + skips.pop(), planes[step], plan.blocks[step], level))
            channels = planes[step]
        self.head = nn.Linear(channels, feature_width)

    def forward(self, features: Tensor, tables: PairTables, voxels: Tensor | None = None) -> Tensor:
        """(V, C_in) -> (V, D) unit rows, or those of the given voxels alone: the head is wide, and costs accordingly."""
        x = self.trunk(features, tables)
        return nn.functional.normalize(self.head(x if voxels is None else x.index_select(0, voxels)), dim=1)

    def trunk(self, features: Tensor, tables: PairTables) -> Tensor:
        """(V, C_in) -> (V, head.in_features), what the head sees."""
        x: Tensor = self.stem(features, tables)
        skips = []
        for down, stage in zip(self.down, self.encoder, strict=True):
            skips.append(x)
            x = stage(down(x, tables), tables)
        for up, stage in zip(self.up, self.decoder, strict=True):
            x = stage(torch.cat([up(x, tables), skips.pop()], dim=1), tables)
        return x


class ConvBlock(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, table: str) -> None:
        super().__init__()
        offsets = SUBMANIFOLD_OFFSETS if table.startswith("submanifold") else STRIDED_OFFSETS
        self.conv = SparseConv(in_channels, out_channels, table, offsets)
        self.norm = nn.BatchNorm1d(out_channels)

    def forward(self, x: Tensor, tables: PairTables) -> Tensor:
        """(V_in, C_in) -> (V_out, C_out)."""
        return torch.relu_(self.norm(self.conv(x, tables)))


class ResidualBlock(nn.Module):
    """Two 3x3x3 convolutions and a shortcut, projected where the width changes."""

    def __init__(self, in_channels: int, out_channels: int, level: int) -> None:
        super().__init__()
        table = f"submanifold_{level}"
        self.first = ConvBlock(in_channels, out_channels, table)
        self.conv = SparseConv(out_channels, out_channels, table, SUBMANIFOLD_OFFSETS)
        self.norm = nn.BatchNorm1d(out_channels)
        self.project: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.project = nn.Sequential(nn.Linear(in_channels, out_channels, bias=False), nn.BatchNorm1d(out_channels))

    def forward(self, x: Tensor, tables: PairTables) -> Tensor:
        """(V, C_in) -> (V, C_out)."""
        return torch.relu_(self.norm(self.conv(self.first(x, tables), tables)) + self.project(x))


class Stage(nn.Module):
    """Residual blocks of one level."""

    def __init__(self, in_channels: int, out_channels: int, blocks: int, level: int) -> None:
        super().__init__()
        widths = [in_channels] + [out_channels] * (blocks - 1)
        self.blocks = nn.ModuleList([ResidualBlock(width, out_channels, level) for width in widths])

    def forward(self, x: Tensor, tables: PairTables) -> Tensor:
        """(V, C_in) -> (V, C_out)."""
        for block in self.blocks:
            x = block(x, tables)
        return x
