"""A program ready to run: its products with their weights packed, once a bundle, and with their addresses, once a scan.

In int8 every product runs in int8 whose input a calibration has measured (`Program.largest`); the first, which reads the raw
features, and the head, which makes the answer, stay in single precision.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relidar.compiled.fusion import Product, fuse
from relidar.compiled.kernel import COLUMNS
from relidar.compiled.places import Place, find_places, offsets_of, padded
from relidar.compiled.steps import INT8_PRODUCT, PAIRS, PRODUCT, STEP
from relidar.compiled.weights import activation_steps, columns_of, pack, pack_int8
from relidar.errors import BackendError
from relidar.executor import FEATURES, UNIT_FEATURES
from relidar.program import Concat, Program, Weights, input_level, output_level

ANSWER_ROWS = 60
"""Of a block: 120 KB of 512 channels, and a multiple of the rows of a tile."""


@dataclass(frozen=True)
class _Packed:
    """A product's weights."""

    weight: NDArray[Any]
    bias: NDArray[np.float32]
    """(columns,)"""
    shortcut: NDArray[Any] | None = None
    scale: NDArray[np.float32] | None = None
    """(columns,) of int8 sums; None: single precision."""
    shortcut_scale: NDArray[np.float32] | None = None
    factors: NDArray[np.float32] | None = None
    """(2,) what a step of the residual stands for, and steps of a unit of the output."""


class Plan:
    """Immutable."""

    def __init__(self, program: Program, int8: bool = False) -> None:
        """Takes a program that `check_program` lets pass.

        Raises BackendError for one that needs another executor, or for int8 one without a calibration.
        """
        self.products, self._joined = fuse(program)
        _check_form(self.products, self._joined)
        if int8 and not program.largest:
            raise BackendError(
                "compiled-cpu-int8: the network was not calibrated; run `python -m export.quantise BUNDLE --scans FOLDER`."
            )
        self.answer = self.products[-1]
        self.levels, self.in_channels = program.levels, program.in_channels
        self.answer_columns = padded(program.feature_width, COLUMNS)
        self._largest = program.largest
        self._in_bytes = frozenset(program.largest) - set(self._halves(self.answer.input)) if int8 else frozenset()
        self.places, self.slots = find_places(self.products, self._joined, program, self._in_bytes)
        self.tables = list(dict.fromkeys(product.table for product in self.products if product.table is not None))
        self._packed = [self._pack(product) for product in self.products]

    def _pack(self, product: Product) -> _Packed:
        bias = columns_of(product.bias)
        factors = np.zeros(2, np.float32)
        if product.residual is not None and product.residual in self._in_bytes:
            factors[0] = activation_steps(self._largest[product.residual], 1)[0]
        if product.output in self._in_bytes:
            factors[1] = 1 / activation_steps(self._largest[product.output], 1)[0]
        inputs = [name for name in (product.input, product.shortcut) if name is not None]
        kinds = {half in self._in_bytes for name in inputs for half in self._halves(name)}
        if len(kinds) > 1:
            raise BackendError(f"compiled-cpu-int8: {product.output!r} has inputs of both kinds; calibrate the network again.")
        shortcut = None if product.shortcut_weight is None else product.shortcut_weight[None]
        if kinds == {False}:
            packed = None if shortcut is None else pack(shortcut, self.places[str(product.shortcut)])
            return _Packed(pack(product.weight, self.places[product.input]), bias, packed, factors=factors)
        weight8, scale = self._pack_int8(product.weight, product.input)
        if shortcut is None:
            return _Packed(weight8, bias, None, scale, None, factors)
        shortcut8, shortcut_scale = self._pack_int8(shortcut, str(product.shortcut))
        return _Packed(weight8, bias, shortcut8, scale, shortcut_scale, factors)

    def _pack_int8(self, weight: Weights, name: str) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        halves = self._halves(name)
        steps = [activation_steps(self._largest[half], len(self.places[half].positions)) for half in halves]
        return pack_int8(weight, self.places[name], np.concatenate(steps))

    def _halves(self, name: str) -> tuple[str, ...]:
        step: Concat | None = self._joined.get(name)
        return (name,) if step is None else (step.left, step.right)

    def steps(
        self,
        voxels: Sequence[int],
        blocks: Sequence[tuple[int, int]],
        slots: Sequence[int],
        answer: int,
        pairs: Mapping[str, Mapping[str, int]],
    ) -> NDArray[np.void]:
        """The steps of one scan (T + P,): the pairs of all T tables, then the P products.

        Args:
            voxels: V of each level.
            blocks: how many rows a block has on each level, and how many blocks there are.
            slots: address of each slot.
            answer: address of (V, answer_columns) float32.
            pairs: for each table its step's fields `table`, `source`, `target` and `splits`.
        """
        steps = np.zeros(len(self.tables) + len(self.products), STEP)
        for step, table in zip(steps, self.tables, strict=False):
            level = output_level(table)
            _fill(step, kind=PAIRS, rows=voxels[level], offsets=offsets_of(table), table_rows=voxels[input_level(table)])
            _fill(step, block_rows=blocks[level][0], blocks=blocks[level][1], **pairs[table])
        for step, product, packed in zip(steps[len(self.tables) :], self.products, self._packed, strict=True):
            level = self.places[product.input].level if product.table is None else output_level(product.table)
            kind = PRODUCT if packed.scale is None else INT8_PRODUCT
            # Rows as wide as the answer's fill the cache sooner, and need no pairs that were made for blocks of another size.
            block_rows, count = blocks[level] if product.table is not None else (ANSWER_ROWS, -(-voxels[level] // ANSWER_ROWS))
            _fill(step, kind=kind, rows=voxels[level], block_rows=block_rows, blocks=count, relu=product.relu)
            _fill(step, columns=len(packed.bias), bias=_address(packed.bias), factors=_address(packed.factors))
            self._fill_rows(step, "x", product.input, slots)
            _fill(step, weight=_address(packed.weight), depth=self.places[product.input].depth, scale=_address(packed.scale))
            if product.table is not None:
                parts = {name: pairs[product.table][name] for name in ("source", "target", "splits")}
                _fill(step, offsets=offsets_of(product.table), **parts)
            if product.shortcut is not None:
                self._fill_rows(step, "shortcut", product.shortcut, slots)
                _fill(step, shortcut_weight=_address(packed.shortcut), shortcut_depth=self.places[product.shortcut].depth)
                _fill(step, shortcut_scale=_address(packed.shortcut_scale))
            if product.residual is not None:
                self._fill_rows(step, "residual", product.residual, slots)
                _fill(step, int8_residual=product.residual in self._in_bytes)
            if product is self.answer:
                _fill(step, output=answer, output_stride=4 * self.answer_columns, unit_columns=product.weight.shape[2])
            else:
                self._fill_rows(step, "output", product.output, slots)
                _fill(step, int8_output=product.output in self._in_bytes)
        return steps

    def scratch_size(self, block_rows: Sequence[int]) -> int:
        """Bytes that a thread needs, with blocks of so many rows on each level."""
        sizes = [max(block_rows)]
        for product in self.products[:-1] if self._in_bytes else ():
            place = self.places[product.output]
            rows = ANSWER_ROWS if product.table is None else block_rows[place.level]
            sizes.append(2 * 4 * rows * padded(len(place.positions), COLUMNS))
        return max(sizes)

    def _fill_rows(self, step: np.void, field: str, name: str, slots: Sequence[int]) -> None:
        place: Place = self.places[name]
        slot = self.slots[place.slot]
        _fill(step, **{field: slots[place.slot] + slot.item_bytes * place.start, f"{field}_stride": slot.stride})


def _check_form(products: Sequence[Product], joined: Mapping[str, Concat]) -> None:
    head = products[-1] if products else None
    if head is None or head.output != UNIT_FEATURES or not head.unit or head.table or head.shortcut or head.residual:
        raise BackendError("compiled-cpu: the network does not end with a linear head of unit rows; take another backend.")
    for product in products[:-1]:
        if product.unit:
            raise BackendError(f"compiled-cpu: {product.output!r} has unit rows before the end; take another backend.")
        # Rows that are added must be as wide as those of a product, padding included.
        if product.residual == FEATURES or product.residual in joined:
            raise BackendError(f"compiled-cpu: {product.output!r} adds {product.residual!r}, no product's; take another backend.")


def _fill(step: np.void, **fields: int) -> None:
    for name, value in fields.items():
        step[name] = value


def _address(array: NDArray[Any] | None) -> int:
    return 0 if array is None else array.ctypes.data
