"""Ray casting through embree: which triangle a ray meets first, and whether something stands in its way."""

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene

from distill.street.soup import Soup


class Caster:
    """A soup ready for rays. `normals` (F, 3) are unit, with no particular side."""

    def __init__(self, soup: Soup):
        self.soup = soup
        edges = soup.corners[:, 1:] - soup.corners[:, :1]
        normals = np.cross(edges[:, 0], edges[:, 1])
        self.normals = normals / (np.linalg.norm(normals, axis=1, keepdims=True) + 1e-20)
        self._scene = EmbreeScene()
        self._mesh = TriangleMesh(self._scene, soup.corners)

    def first(self, origins: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Triangle (R,) int32, -1 where nothing is met, and distance (R,) float32 in lengths of the direction.

        origins, directions: (R, 3) float32.
        """
        hits = self._scene.run(origins, directions, output=True)
        # The distance is taken from the triangle's plane: exact for grazing rays too, and the same on every run.
        triangle = hits["primID"].astype(np.int32)
        return triangle, hits["tfar"]

    def blocked(self, origins: np.ndarray, directions: np.ndarray, length_m: float = 1e30) -> np.ndarray:
        """(R,) bool: something is met within `length_m`. `directions` may be a single row (1, 3) for parallel rays."""
        return np.asarray(self._scene.run(origins, directions, dists=length_m, query="OCCLUDED") >= 0)
