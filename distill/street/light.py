"""Sun, sky and haze of one scene, and the colour of the sky in a direction."""

from dataclasses import dataclass

import numpy as np

from distill.street.noise import clouds
from relidar.cached_kernel import cached_kernel


@dataclass(frozen=True)
class Light:
    """sun_direction (3,) unit, towards the sun; colours linear rgb; haze_m the distance at which 63 % is haze."""

    sun_direction: np.ndarray
    sun_rgb: np.ndarray
    zenith_rgb: np.ndarray
    horizon_rgb: np.ndarray
    haze_m: float
    cloudiness: float
    cloud_seed: float
    exposure: float

    def table(self) -> np.ndarray:
        """All of it as one float64 vector for compiled code: sun 0-2, sun rgb 3-5, zenith 6-8, horizon 9-11, 12.. rest."""
        rest = [self.haze_m, self.cloudiness, self.cloud_seed, self.exposure]
        return np.concatenate([self.sun_direction, self.sun_rgb, self.zenith_rgb, self.horizon_rgb, rest])


def random_light(rng: np.random.Generator) -> Light:
    """Daylight: from clear with a low or high sun to overcast."""
    elevation = np.radians(rng.uniform(22, 65))
    azimuth = rng.uniform(0, 2 * np.pi)
    direction = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
    overcast = rng.random() < 0.25
    low = np.clip((np.radians(40) - elevation) / np.radians(20), 0, 1)  # a low sun is yellow
    strength = rng.uniform(0.2, 0.5) if overcast else rng.uniform(2.2, 3.2)
    sun = strength * np.array([1.0, 0.95 - 0.12 * low, 0.86 - 0.3 * low])
    zenith = np.array([0.75, 0.79, 0.85]) if overcast else np.array([0.17, 0.34, 0.72]) * rng.uniform(0.85, 1.15)
    horizon = np.array([0.85, 0.87, 0.9]) if overcast else np.array([0.72, 0.8, 0.92])
    return Light(
        sun_direction=direction,
        sun_rgb=sun,
        zenith_rgb=zenith,
        horizon_rgb=horizon * rng.uniform(0.9, 1.05),
        haze_m=float(rng.uniform(250, 900)),
        cloudiness=float(rng.uniform(0.75, 1.0) if overcast else rng.uniform(0.0, 0.6)),
        cloud_seed=float(rng.uniform(0, 100)),
        exposure=float(rng.uniform(0.62, 0.8) if overcast else rng.uniform(0.5, 0.62)),
    )


@cached_kernel()
def sky(dx: float, dy: float, dz: float, light: np.ndarray, cloudy: bool) -> tuple[float, float, float]:
    """(r, g, b) of the sky in unit direction (dx, dy, dz); clouds and sun are left out unless `cloudy`."""
    up = max(0.0, dz)
    k = (1 - up) ** 4
    r = light[6] * (1 - k) + light[9] * k
    g = light[7] * (1 - k) + light[10] * k
    b = light[8] * (1 - k) + light[11] * k
    if cloudy and dz > 0.0:
        scale = 1.6 / (dz + 0.12)
        cover = clouds(dx * scale + light[14], dy * scale + 2 * light[14]) + 0.35 * light[13] - 0.62
        cover = min(1.0, max(0.0, cover * 3.5)) * min(1.0, dz * 8)
        white = 0.95 - 0.15 * cover
        r, g, b = r * (1 - cover) + white * cover, g * (1 - cover) + white * cover, b * (1 - cover) + white * cover
        toward = dx * light[0] + dy * light[1] + dz * light[2]
        if toward > 0.7:
            glow = ((toward - 0.7) / 0.3) ** 6 * (1 - 0.8 * cover)
            r, g, b = r + light[3] * 0.35 * glow, g + light[4] * 0.35 * glow, b + light[5] * 0.35 * glow
    return r, g, b
