"""The centre line: a gently curved street over gently uneven ground. Street coordinates are s (along) and t (left)."""

import numpy as np

from distill.street import poses


class Road:
    """Maps street coordinates (s, t), metres, to the world; s = 0 is the world's origin, heading along x."""

    def __init__(self, rng: np.random.Generator, s_min_m: float, s_max_m: float):
        self._s = np.arange(s_min_m - 400, s_max_m + 401, 1.0)
        # Radii stay above 150 m, so that straight things placed beside the street still fit it.
        bend = rng.uniform(0, 1 / 260) if rng.random() < 0.6 else 0.0
        phase, wave = rng.uniform(0, 2 * np.pi), rng.uniform(110, 200)
        curvature = bend * np.sin(self._s / wave + phase)
        heading = np.cumsum(curvature)
        heading -= np.interp(0, self._s, heading)
        x, y = np.cumsum(np.cos(heading)), np.cumsum(np.sin(heading))
        self._heading = heading
        self._x, self._y = x - np.interp(0, self._s, x), y - np.interp(0, self._s, y)
        wavelength = np.array([140.0, 75.0, 38.0]) * rng.uniform(0.8, 1.3, 3)
        direction = rng.uniform(0, 2 * np.pi, 3)
        self._waves = 2 * np.pi / wavelength * np.stack([np.cos(direction), np.sin(direction)])  # (2, 3)
        self._phases = rng.uniform(0, 2 * np.pi, 3)
        self._amplitudes = np.array([0.6, 0.16, 0.035]) * rng.uniform(0.2, 1.0, 3)
        self._grade = rng.normal(0, 0.008, 2)

    def height(self, x: np.ndarray | float, y: np.ndarray | float) -> np.ndarray:
        """Height of the bare ground at world (x, y)."""
        z = np.asarray(x) * self._grade[0] + np.asarray(y) * self._grade[1]
        for k in range(3):
            z = z + self._amplitudes[k] * np.sin(x * self._waves[0, k] + y * self._waves[1, k] + self._phases[k])
        return z

    def slope(self, x: float, y: float) -> tuple[float, float]:
        """Rise of the ground along world x and y."""
        step = 1.0
        dx = self.height(x + step, y) - self.height(x - step, y)
        dy = self.height(x, y + step) - self.height(x, y - step)
        return float(dx) / (2 * step), float(dy) / (2 * step)

    def plane(self, s: np.ndarray | float, t: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """World x, y of street coordinates (any equal shapes)."""
        heading = np.interp(s, self._s, self._heading)
        x = np.interp(s, self._s, self._x) - t * np.sin(heading)
        return x, np.interp(s, self._s, self._y) + t * np.cos(heading)

    def points(self, s: np.ndarray | float, t: np.ndarray | float, lift: np.ndarray | float = 0.0) -> np.ndarray:
        """World points (..., 3) on the ground, raised by `lift`."""
        x, y = self.plane(s, t)
        return np.stack([x, y, self.height(x, y) + lift], -1)

    def heading(self, s: float) -> float:
        """World yaw of the street at s, radians."""
        return float(np.interp(s, self._s, self._heading))

    def pose(self, s: float, t: float, yaw_rad: float = 0.0, lift_m: float = 0.0, tilt: bool = False) -> np.ndarray:
        """world_from_local of something at (s, t), its x turned by yaw from the street's direction.

        `tilt` stands it square on the slope, as wheels do; otherwise it is upright.
        """
        x, y, z = self.points(s, t, lift_m).tolist()
        yaw = self.heading(s) + yaw_rad
        return poses.tilted(x, y, z, yaw, *self.slope(x, y)) if tilt else poses.pose(x, y, z, yaw)
