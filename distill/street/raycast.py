"""Ray casting through embree: which triangle a ray meets first, and whether something stands in its way.

What stands still is built once a scene, what moves once a moment: building takes longer than casting.
"""

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene

from distill.street.poses import cross
from distill.street.soup import Soup, join


def unit_normals(soup: Soup) -> np.ndarray:
    """(F, 3) float32, with no particular side."""
    edges = soup.corners[:, 1:] - soup.corners[:, :1]
    normals = cross(edges[:, 0], edges[:, 1])
    return np.asarray(normals / (np.linalg.norm(normals, axis=1, keepdims=True) + 1e-20), np.float32)


class Still:
    """What does not move, ready for rays."""

    def __init__(self, soup: Soup):
        self.soup = soup
        self.normals = unit_normals(soup)
        self.scene = EmbreeScene()
        self._mesh = TriangleMesh(self.scene, soup.corners)


class Caster:
    """The street at one moment: `soup` is what stands still followed by what moves; `normals` (F, 3) are its unit normals."""

    def __init__(self, still: Still, moving: Soup | None):
        self._scenes = [(still.scene, 0)]
        self.soup, self.normals = still.soup, still.normals
        if moving is not None:
            self.soup = join([still.soup, moving])
            self.normals = np.concatenate([still.normals, unit_normals(moving)])
            scene = EmbreeScene()
            self._mesh = TriangleMesh(scene, moving.corners)
            self._scenes.append((scene, len(still.soup.corners)))

    def first(self, origins: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Triangle (R,) int32, -1 where nothing is met, and distance (R,) float32 in lengths of the direction.

        origins, directions: (R, 3) float32.
        """
        triangle = np.full(len(origins), -1, np.int32)
        distance = np.full(len(origins), 1e30, np.float32)
        for scene, offset in self._scenes:
            # Only what is nearer than the hit so far is looked for.
            hits = scene.run(origins, directions, dists=distance.copy(), output=True)
            met = hits["primID"] >= 0
            triangle[met] = hits["primID"][met] + offset
            distance[met] = hits["tfar"][met]
        return triangle, distance

    def blocked(self, origins: np.ndarray, directions: np.ndarray, length_m: float = 1e30) -> np.ndarray:
        """(R,) bool: something is met within `length_m`. `directions` may be a single row (1, 3) for parallel rays."""
        runs = [scene.run(origins, directions, dists=length_m, query="OCCLUDED") >= 0 for scene, _ in self._scenes]
        return np.asarray(np.logical_or.reduce(runs))
