"""One LiDAR scan of the street: range noise, intensity by material and angle, returns that go missing."""

import numpy as np

from distill.street import poses
from distill.street.materials import ROUGHNESS_M, texture
from distill.street.raycast import Caster
from distill.street.rig import Lidar
from relidar.cached_kernel import cached_kernel

# What the sensor makes of the same echo at other ranges. Read off real HDL-32E scans, where walls, sidewalks and leaves alike
# return most at 6 to 10 m and less than half of that beyond 15 m.
RESPONSE_RANGE_M = (2.0, 4.0, 7.0, 10.0, 15.0, 22.0, 40.0, 100.0)
RESPONSE = (0.5, 0.75, 1.5, 1.35, 0.75, 0.55, 0.5, 0.6)


def beam_directions(lidar: Lidar) -> tuple[np.ndarray, np.ndarray]:
    """Unit directions (N, 3) in the LiDAR frame and ring (N,), column by column, rings from low to high as in nuScenes."""
    elevation = np.radians(np.linspace(lidar.elevation_min_deg, lidar.elevation_max_deg, lidar.beams))
    azimuth = np.arange(lidar.azimuth_steps) * (-2 * np.pi / lidar.azimuth_steps)  # spins clockwise
    azimuth, elevation = np.meshgrid(azimuth, elevation, indexing="ij")
    directions = np.stack([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)], -1)
    ring = np.tile(np.arange(lidar.beams), lidar.azimuth_steps)
    return directions.reshape(-1, 3), ring


@cached_kernel()
def _reflectance(
    triangle: np.ndarray, distance: np.ndarray, origin: np.ndarray, directions: np.ndarray, corners: np.ndarray, uvs: np.ndarray,
    normals: np.ndarray, rgb: np.ndarray, material: np.ndarray, style: np.ndarray, facades: np.ndarray, marks: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Near-infrared reflectance (R,) and cosine of incidence (R,) at each hit."""
    reflectance, cosine = np.zeros(len(triangle)), np.zeros(len(triangle))
    for i in range(len(triangle)):
        f, d = triangle[i], distance[i]
        point = origin + d * directions[i]
        a = corners[f, 0]
        e1, e2, e = corners[f, 1] - a, corners[f, 2] - a, point.astype(np.float32) - a
        d11, d12, d22 = (e1 * e1).sum(), (e1 * e2).sum(), (e2 * e2).sum()
        d01, d02 = (e * e1).sum(), (e * e2).sum()
        area = max(d11 * d22 - d12 * d12, 1e-12)
        wb, wc = (d22 * d01 - d12 * d02) / area, (d11 * d02 - d12 * d01) / area
        uv = (1 - wb - wc) * uvs[f, 0] + wb * uvs[f, 1] + wc * uvs[f, 2]
        reflectance[i] = texture(
            material[f], uv[0], uv[1], point[0], point[1], point[2], style[f], rgb[f, 0], rgb[f, 1], rgb[f, 2], d,
            facades, marks,
        )[5]  # fmt: skip
        cosine[i] = abs((directions[i] * normals[f]).sum())
    return reflectance, cosine


def scan(
    caster: Caster,
    look: tuple[np.ndarray, np.ndarray, np.ndarray],
    lidar: Lidar,
    world_from_lidar: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Measures once around, as if the car stood still.

    Returns:
        points (N, 5) float32 [x, y, z (LiDAR frame, metres), intensity 0-255, ring], category (N,) uint8 and
        instance (N,) int32, -1 for what is not annotated.
    """
    local, ring = beam_directions(lidar)
    directions = (local @ world_from_lidar[:3, :3].T).astype(np.float32)
    origin = world_from_lidar[:3, 3].astype(np.float32)
    triangle, distance = caster.first(np.broadcast_to(origin, directions.shape).copy(), directions)
    # All random numbers are drawn for all beams, so that one more hit does not change every later point.
    chance, gauss, speckle = rng.random(len(ring)), rng.standard_normal(len(ring)), rng.standard_normal(len(ring))
    index = np.flatnonzero((triangle >= 0) & (distance < lidar.max_range_m))
    triangle, distance, soup = triangle[index], distance[index], caster.soup
    _, facades, marks = look
    reflectance, cosine = _reflectance(
        triangle, distance, origin, directions[index], soup.corners, soup.uv, caster.normals, soup.rgb, soup.material,
        soup.style, facades, marks,
    )  # fmt: skip
    glass = reflectance <= 0
    # Glass answers when met squarely, else the beam goes on and is lost.
    echo = np.where(glass, 0.12 * cosine**6, reflectance * (0.35 + 0.65 * cosine))
    weakening = 1 / (1 + (distance / 60) ** 2)
    seen = 1 - np.exp(-echo * weakening * (lidar.max_range_m / np.maximum(distance, 3.0)) ** 1.5 * 3.5)
    kept = chance[index] > 1 - (1 - lidar.dropped) * seen
    triangle, distance, index = triangle[kept], distance[kept], index[kept]
    response = np.interp(distance, RESPONSE_RANGE_M, RESPONSE)
    intensity = np.clip(140 * echo[kept] * response * np.exp(0.35 * speckle[index]), 0, 255).astype(np.int64)
    sigma = np.hypot(lidar.range_noise_m, ROUGHNESS_M[soup.material[triangle]])
    measured = np.maximum(distance + sigma * gauss[index], 0.5)
    points = np.concatenate([local[index] * measured[:, None], intensity[:, None], ring[index, None]], axis=1)
    return points.astype(np.float32), soup.category[triangle], soup.instance[triangle]


class BoxCounter:
    """Counts points in boxes; points are sorted along x once, so that each box looks at its own stretch only."""

    def __init__(self, points: np.ndarray):
        """Takes points (N, 3) of the boxes' frame."""
        self._points = points[np.argsort(points[:, 0], kind="stable")]

    def inside(self, world_from_box: np.ndarray, size_m: np.ndarray) -> int:
        """How many points lie within the box of full extents `size_m` (x, y, z) whose middle is at the pose."""
        reach = np.linalg.norm(size_m) / 2
        low, high = np.searchsorted(self._points[:, 0], (world_from_box[0, 3] - reach, world_from_box[0, 3] + reach))
        local = poses.transformed(poses.inverse(world_from_box), self._points[low:high])
        return int((np.abs(local) <= size_m / 2).all(axis=1).sum())
