"""A triangle soup: every triangle carries its texture coordinates, paint, category and instance."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np


class Paint(NamedTuple):
    """How a surface looks: a material of `materials`, an albedo in 0..1 (linear), and a number the material may use."""

    material: int
    rgb: tuple[float, float, float] = (0.5, 0.5, 0.5)
    style: float = 0.0


@dataclass(frozen=True)
class Soup:
    """F triangles.

    corners (F, 3, 3) float32 metres; uv (F, 3, 2) float32, metres along the surface; rgb (F, 3) float32 linear albedo;
    material, category (F,) uint8; style (F,) float32; instance (F,) int32, -1 for what is not annotated.
    """

    corners: np.ndarray
    uv: np.ndarray
    rgb: np.ndarray
    material: np.ndarray
    style: np.ndarray
    category: np.ndarray
    instance: np.ndarray

    def moved(self, world_from_local: np.ndarray) -> "Soup":
        """The soup after the 4x4 pose `world_from_local`."""
        rotation = world_from_local[:3, :3].astype(np.float32)
        return replace(self, corners=self.corners @ rotation.T + world_from_local[:3, 3].astype(np.float32))

    def labelled(self, category: int, instance: int = -1) -> "Soup":
        """The soup with every triangle given to one category and instance."""
        return replace(
            self,
            category=np.full(len(self.corners), category, np.uint8),
            instance=np.full(len(self.corners), instance, np.int32),
        )

    @cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest corner, (3,) each."""
        flat = self.corners.reshape(-1, 3)
        return flat.min(axis=0), flat.max(axis=0)


def painted(corners: np.ndarray, uv: np.ndarray, paint: Paint) -> Soup:
    """Triangles (F, 3, 3) with texture coordinates (F, 3, 2), all in one paint, category 0, no instance."""
    count = len(corners)
    return Soup(
        corners=np.ascontiguousarray(corners, dtype=np.float32),
        uv=np.ascontiguousarray(uv, dtype=np.float32),
        rgb=np.broadcast_to(np.asarray(paint.rgb, np.float32), (count, 3)),
        material=np.full(count, paint.material, np.uint8),
        style=np.full(count, paint.style, np.float32),
        category=np.zeros(count, np.uint8),
        instance=np.full(count, -1, np.int32),
    )


def join(parts: Sequence[Soup]) -> Soup:
    """All parts as one soup, in order."""
    return Soup(**{field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Soup)})
