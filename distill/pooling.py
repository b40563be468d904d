"""From voxels to the rows of the loss."""

import torch
from torch import Tensor


def pool(features: Tensor, voxel: Tensor, superpixel: Tensor, superpixels: int) -> Tensor:
    """Mean over each superpixel's points, at unit length again: without that the losses' diagonals mean nothing.

    Where a row is a pair of a pixel and a point, this is the point's voxel. Half precision is summed up in float32.

    Args:
        features: (V, D) unit rows.
        voxel: (P,) voxel of each point that an image sees.
        superpixel: (P,) superpixel it falls into; each number below `superpixels` occurs.
        superpixels: S.

    Returns:
        (S, D) unit rows, float32 at least.
    """
    wide = torch.promote_types(features.dtype, torch.float32)
    total = features.new_zeros(superpixels, features.shape[1], dtype=wide)
    return torch.nn.functional.normalize(total.index_add(0, superpixel, features.index_select(0, voxel).to(wide)), dim=1)
