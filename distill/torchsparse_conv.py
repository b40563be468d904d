"""Sparse convolution by torchsparse's kernels over our rulebook: the same pairs, the same weights, so the same answer.

torchsparse's own neighbour search is not used. It is not on PyPI and builds from source (https://github.com/mit-han-lab/torchsparse,
version 2.1); chosen by `convolution: torchsparse` in a training configuration. Not run here: no GPU, no torchsparse.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from distill.sparse_conv import PairTable, SparseConv
from relidar.errors import ConfigError


@lru_cache(maxsize=1)
def _function() -> Any:
    """torchsparse's convolution function; raises ConfigError if it cannot be had."""
    try:
        import torchsparse.nn.functional as functional
    # Importing it asks for the GPU's capability, which raises what it likes where there is none.
    except (ImportError, RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"convolution: torchsparse cannot be imported ({error}); build it from source on a machine with CUDA or choose pairs."
        ) from error
    return functional.GatherScatterConvolutionFuntion  # spelt so


def convolve(x: Tensor, weight: Tensor, table: PairTable) -> Tensor:
    """(V_in, C_in), (K, C_in, C_out) -> (V_out, C_out); raises ConfigError where torchsparse is missing."""
    y: Tensor = _function().apply(x, weight, kernel_map(table), {"epsilon": 0.0, "mm_thresh": 0}, False)
    return y


def kernel_map(table: PairTable) -> dict[str, Any]:
    """A table as torchsparse's kernel map: nbmaps (P, 2) int32 [in, out] sorted by offset, nbsizes (K,) int32, sizes (in, out).

    The masks serve its benchmark mode only, which is off by default. For an odd K with as many outputs as inputs it takes the
    middle offset as every row onto itself, as it is in a submanifold table.
    """
    device = table.source.device
    unused = torch.empty(0, dtype=torch.int32, device=device)
    return {
        "nbmaps": torch.stack([table.source, table.target], dim=1).int(),
        "nbsizes": torch.diff(torch.tensor(table.splits)).int(),
        "sizes": (table.inputs, table.outputs),
        "input_mask": unused,
        "output_mask": unused,
    }


def use_torchsparse(module: nn.Module) -> None:
    """Makes every SparseConv inside `module` run on torchsparse; raises ConfigError where it cannot be imported."""
    _function()
    for part in module.modules():
        if isinstance(part, SparseConv):
            part.convolve = convolve
