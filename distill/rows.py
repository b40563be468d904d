"""Which places of a scan become rows of the loss: superpixels, or pairs of a pixel and a point, drawn at random."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distill.teacher_cache import Pairing, TeacherView


@dataclass(frozen=True)
class Rows:
    """S rows and the voxels that the student's side of each is the mean of."""

    voxel: NDArray[np.int32]
    """(P,) voxel of each pair."""
    row: NDArray[np.int32]
    """(P,) row it belongs to; every row has one at least."""
    teacher: NDArray[np.float16]
    """(S, D) unit features."""


def draw_rows(
    view: TeacherView, voxel: NDArray[np.int32], pairing: Pairing, limit: int, even: bool, generator: np.random.Generator
) -> Rows:
    """Draws rows of one scan.

    Args:
        view: what the teacher says about it.
        voxel: (P,) voxel of each of the view's pairs, -1 where the point lies in none; one at least lies in one.
        pairing: what a row is.
        limit: rows at most.
        even: evenly over what the teacher tells apart, rather than evenly over the scan.
        generator: decides.
    """
    draw = _superpixels if pairing == "superpixels" else _pixels
    return draw(view, voxel, limit, even, generator)


def _superpixels(view: TeacherView, voxel: NDArray[np.int32], limit: int, even: bool, generator: np.random.Generator) -> Rows:
    seen = np.unique(view.superpixel[voxel >= 0])
    drawn = _draw(seen, 1.0 / view.crowd[seen] if even else None, limit, generator)
    number = np.full(len(view.features), -1, np.int32)
    number[drawn] = np.arange(len(drawn))
    row = number[view.superpixel]
    kept = (voxel >= 0) & (row >= 0)
    return Rows(voxel[kept], row[kept], view.features[drawn])


def _pixels(view: TeacherView, voxel: NDArray[np.int32], limit: int, even: bool, generator: np.random.Generator) -> Rows:
    seen = np.flatnonzero(voxel >= 0)
    cell = view.superpixel[seen]
    # The crowd counts cells, of which each holds several points.
    weight = 1.0 / (view.crowd * np.bincount(cell, minlength=len(view.crowd)))[cell] if even else None
    drawn = _draw(seen, weight, limit, generator)
    return Rows(voxel[drawn], np.arange(len(drawn), dtype=np.int32), view.features[view.superpixel[drawn]])


def _draw(
    numbers: NDArray[np.integer], weight: NDArray[np.floating] | None, limit: int, generator: np.random.Generator
) -> NDArray[np.integer]:
    """At most `limit` different ones of `numbers`, in order; their chances are as their weights, equal without."""
    weight = np.ones(len(numbers)) if weight is None else weight
    return np.sort(generator.choice(numbers, min(limit, len(numbers)), replace=False, p=weight / weight.sum()))
