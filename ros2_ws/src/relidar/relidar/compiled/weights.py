"""Weights in the order in which the tiles read them, in single precision or int8."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from relidar.compiled.kernel import COLUMNS, DEPTH_UNIT, LARGEST_ACTIVATION, LARGEST_WEIGHT
from relidar.compiled.places import Place, padded
from relidar.program import Weights

ALIGNMENT = 64
"""Bytes: a line of the cache."""


def pack(weight: Weights, place: Place) -> NDArray[np.float32]:
    """(K, C_in, C_out) -> (K, columns / COLUMNS, depth, COLUMNS), for rows that lie at `place`; zeros where no channel is."""
    offsets, _, outputs = weight.shape
    panels = padded(outputs, COLUMNS) // COLUMNS
    wide = np.zeros((offsets, place.depth, panels * COLUMNS), np.float32)
    wide[:, place.positions, :outputs] = weight
    packed = aligned((offsets, panels, place.depth, COLUMNS), np.float32)
    packed[:] = wide.reshape(offsets, place.depth, panels, COLUMNS).transpose(0, 2, 1, 3)
    return packed


def pack_int8(
    weight: Weights, place: Place, activation_step: NDArray[np.float32]
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """As `pack`, in int8 (K, columns / COLUMNS, depth / 4, COLUMNS, 4), and the factor (columns,) of each column's sums.

    activation_step (C_in,): what one step of each input channel stands for. It goes into the weights, whose steps each output
    channel chooses for itself.
    """
    scaled = weight * activation_step[:, None]
    weight_step = np.abs(scaled).max(axis=(0, 1)) / LARGEST_WEIGHT
    rounded = np.round(scaled / np.where(weight_step > 0, weight_step, 1))
    wide = pack(rounded.astype(np.float32), place)
    offsets, panels, depth, _ = wide.shape
    packed = aligned((offsets, panels, depth // DEPTH_UNIT, COLUMNS, DEPTH_UNIT), np.int8)
    packed[:] = wide.reshape(offsets, panels, depth // DEPTH_UNIT, DEPTH_UNIT, COLUMNS).transpose(0, 1, 2, 4, 3)
    return packed, columns_of(weight_step)


def columns_of(values: NDArray[Any]) -> NDArray[np.float32]:
    """(C_out,) -> (columns,) float32, zeros at the end."""
    columns = aligned((padded(len(values), COLUMNS),), np.float32)
    columns[: len(values)] = values
    return columns


def activation_steps(largest: float, channels: int) -> NDArray[np.float32]:
    """(channels,) what one step of an activation stands for."""
    return np.full(channels, largest / LARGEST_ACTIVATION, np.float32)


def aligned(shape: tuple[int, ...], kind: Any) -> NDArray[Any]:
    """An array of zeros whose first value starts a line of the cache."""
    size = np.dtype(kind).itemsize * int(np.prod(shape))
    memory = np.zeros(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    array: NDArray[Any] = memory[start : start + size].view(kind).reshape(shape)
    return array
