"""From voxels to superpixels."""

import torch
from torch import Tensor


def pool(features: Tensor, voxel: Tensor, superpixel: Tensor, superpixels: int) -> Tensor:
    """Mean over each superpixel's points, at unit length again: without that the losses' diagonals mean nothing.

    Args:
        features: (V, D) unit rows.
        voxel: (P,) voxel of each point that an image sees.
        superpixel: (P,) superpixel it falls into; each number below `superpixels` occurs.
        superpixels: S.

    Returns:
        (S, D) unit rows.
    """
    total = features.new_zeros(superpixels, features.shape[1]).index_add(0, superpixel, features.index_select(0, voxel))
    return torch.nn.functional.normalize(total.float(), dim=1)
