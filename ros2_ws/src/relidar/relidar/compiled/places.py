"""Where every value of a program lies.

Rows are padded to whole panels of columns. A concatenation costs nothing: its two halves are written side by side. Values whose
lives do not overlap share a slot, so that a scan needs about as much memory as its widest level.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from relidar.compiled.fusion import Product
from relidar.compiled.kernel import COLUMNS, DEPTH_UNIT
from relidar.errors import BackendError
from relidar.executor import FEATURES, UNIT_FEATURES
from relidar.program import Concat, Program, output_level
from relidar.rulebook import STRIDED_OFFSETS, SUBMANIFOLD_OFFSETS


@dataclass(frozen=True)
class Slot:
    """Memory for the rows of a level, (V, columns), which values share one after the other."""

    level: int
    columns: int
    item_bytes: int

    @property
    def stride(self) -> int:
        """Bytes from row to row."""
        return self.columns * self.item_bytes


@dataclass(frozen=True)
class Place:
    """Where a value's rows lie."""

    slot: int
    """Which of the slots."""
    start: int
    """First column in the rows of the slot."""
    level: int
    positions: NDArray[np.int64]
    """(C,) column of each channel, from `start` on."""

    @property
    def depth(self) -> int:
        """Columns from `start` on that a product reads."""
        return padded(int(self.positions[-1]) + 1, DEPTH_UNIT)


@dataclass
class _Rows:
    """Rows of values that lie side by side: one value, or the two halves of a concatenation."""

    level: int
    columns: int
    item_bytes: int
    first: int
    """Product that writes them first; -1: there from the start."""
    last: int
    """Product that reads them last."""


def find_places(
    products: Sequence[Product], joined: Mapping[str, Concat], program: Program, in_bytes: frozenset[str]
) -> tuple[dict[str, Place], tuple[Slot, ...]]:
    """Gives every value but the answer columns of a slot; those of `in_bytes` are uint8, all others float32.

    Raises:
        BackendError: a value that is part of two concatenations.
    """
    half_of = {half: name for name, step in joined.items() for half in (step.left, step.right)}
    if len(half_of) < 2 * len(joined) or any(name in joined or name == FEATURES for name in half_of):
        raise BackendError("compiled-cpu: a value is part of two concatenations; take another backend.")
    width_of = {FEATURES: program.in_channels} | {product.output: product.weight.shape[2] for product in products}
    level_of = {FEATURES: 0}
    rows = {FEATURES: _Rows(0, padded(program.in_channels, DEPTH_UNIT), 4, -1, 0)}
    for index, product in enumerate(products):
        for name in filter(None, (product.input, product.shortcut, product.residual)):
            rows[half_of.get(name, name)].last = index
        level = level_of[product.input] if product.table is None else output_level(product.table)
        owner = half_of.get(product.output, product.output)
        halves = (joined[owner].left, joined[owner].right) if owner in joined else (product.output,)
        level_of[product.output] = level_of[owner] = level
        if product.output != UNIT_FEATURES:
            columns = sum(padded(width_of[half], COLUMNS) for half in halves)
            rows.setdefault(owner, _Rows(level, columns, 1 if product.output in in_bytes else 4, index, index))
    slot_of, slots = _share(rows)
    places = {}
    for name in (FEATURES, *(product.output for product in products[:-1])):
        owner = half_of.get(name, name)
        start = padded(width_of[joined[owner].left], COLUMNS) if owner != name and name == joined[owner].right else 0
        places[name] = Place(slot_of[owner], start, level_of[name], np.arange(width_of[name]))
    for name, step in joined.items():
        left, right = places[step.left], places[step.right]
        positions = np.concatenate([left.positions, right.start + right.positions])
        places[name] = Place(left.slot, 0, left.level, positions)
    return places, slots


def _share(rows: Mapping[str, _Rows]) -> tuple[dict[str, int], tuple[Slot, ...]]:
    """Slots for all rows, the best fitting that is free or a new one."""
    slots: list[Slot] = []
    busy_until: list[int] = []
    slot_of: dict[str, int] = {}
    for name, row in sorted(rows.items(), key=lambda item: item[1].first):
        wanted = Slot(row.level, row.columns, row.item_bytes)
        free = [
            i for i, s in enumerate(slots) if busy_until[i] < row.first and (s.level, s.item_bytes) == (row.level, row.item_bytes)
        ]
        if free:
            index = min(free, key=lambda i: abs(slots[i].columns - wanted.columns))
            slots[index] = Slot(row.level, max(slots[index].columns, row.columns), row.item_bytes)
            busy_until[index] = row.last
        else:
            index = len(slots)
            slots.append(wanted)
            busy_until.append(row.last)
        slot_of[name] = index
    return slot_of, tuple(slots)


def offsets_of(table: str) -> int:
    """K of a table."""
    return SUBMANIFOLD_OFFSETS if table.startswith("submanifold") else STRIDED_OFFSETS


def padded(value: int, unit: int) -> int:
    """The next multiple of a unit."""
    return -(-value // unit) * unit
