"""The student's weights, counted from the published plan of layers and channels by a formula of its own."""

import pytest
import torch

from distill.student import PLANS, Architecture, Student, StudentConfig

WIDTH = 384
RES16UNET34C = {"layers": (2, 3, 4, 6, 2, 2, 2, 2), "planes": (32, 64, 128, 256, 256, 128, 96, 96)}


def weights_of_plan(layers: tuple[int, ...], planes: tuple[int, ...], in_channels: int, stem_kernel: int, out: int) -> int:
    """Weights of a Res16UNet as its paper describes it, of 2 a channel for every batch norm."""

    def convolution(kernel: int, inputs: int, outputs: int) -> int:
        return kernel**3 * inputs * outputs + 2 * outputs

    def stage(inputs: int, outputs: int, blocks: int) -> int:
        first = convolution(3, inputs, outputs) + convolution(3, outputs, outputs)
        shortcut = convolution(1, inputs, outputs) if inputs != outputs else 0
        return first + shortcut + (blocks - 1) * 2 * convolution(3, outputs, outputs)

    down = [32, *planes[:4]]
    total = convolution(stem_kernel, in_channels, 32)
    for level in range(4):
        total += convolution(2, down[level], down[level]) + stage(down[level], down[level + 1], layers[level])
    below = planes[3]
    for step in range(4):
        above = planes[4 + step]
        total += convolution(2, below, above) + stage(above + down[3 - step], above, layers[4 + step])
        below = above
    return total + below * out + out


def count(architecture: Architecture, in_channels: int) -> int:
    student = Student(StudentConfig(architecture=architecture), in_channels, WIDTH)
    return sum(weight.numel() for weight in student.parameters())


@pytest.mark.parametrize("in_channels", [1, 2])
def test_minkunet34_has_the_weights_of_res16unet34c(in_channels: int) -> None:
    ours = count("minkunet34", in_channels)
    assert ours == weights_of_plan(**RES16UNET34C, in_channels=in_channels, stem_kernel=3, out=WIDTH)
    theirs = weights_of_plan(**RES16UNET34C, in_channels=in_channels, stem_kernel=5, out=WIDTH)
    assert theirs - ours == (5**3 - 3**3) * in_channels * 32 == 3136 * in_channels


@pytest.mark.parametrize(("architecture", "blocks"), [("minkunet14", 1), ("minkunet18", 2)])
def test_the_smaller_ones_follow_their_plans(architecture: Architecture, blocks: int) -> None:
    planes = (32, 64, 128, 256, 128, 128, 96, 96)
    assert PLANS[architecture].planes == planes
    assert count(architecture, 1) == weights_of_plan((blocks,) * 8, planes, 1, 3, WIDTH)


def test_the_trunk_is_what_the_head_sees(tiny_checkpoint, random_cloud) -> None:  # type: ignore[no-untyped-def]
    from distill.scans import batch_voxels
    from relidar.voxels import voxelise

    student, scan = tiny_checkpoint.student, random_cloud(500)
    features, tables = batch_voxels([voxelise(scan.xyz_m, scan.intensity, tiny_checkpoint.preprocessing)])
    with torch.inference_mode():
        trunk = student.trunk(features, tables)
        assert trunk.shape == (len(features), student.head.in_features)
        expected = torch.nn.functional.normalize(student.head(trunk), dim=1)
        torch.testing.assert_close(student(features, tables), expected)
