"""What a spinning LiDAR receives through rain, snow and fog: the target, a nearer scatterer, or nothing.

Powers are in units of the detection threshold. A target of reflectivity rho at R metres gives rho / 0.1 * (REACH_M / R)^2 in
clear air and exp(-2 alpha R) of that in a medium of extinction alpha. Speckle makes a received power exponentially distributed
about its mean m; since the recorded return was detected, its clear-air power was 1 + m E with E ~ Exp(1), for such a power has no
memory. Through the medium (1 + m E) exp(-2 alpha R) is left: below 1 it is lost, and of two returns the stronger is reported.

Sources:
- rain, snow: drops in the beam by Monte Carlo and extinction by their cross-section as in Kilic et al., Lidar Light Scattering
  Augmentation (LISA), arXiv:2107.07004; sizes after Marshall and Palmer 1948 (rain), Gunn and Marshall 1958 (snow).
- fog: extinction ln(20) / visibility and backscatter 0.046 / visibility as in Hahner et al., Fog Simulation on Real LiDAR Point
  Clouds, ICCV 2021, after Rasshofer et al. 2011; its soft target is here a single echo of random strength.
The figures of the sensor are those of a 905 nm, 32-beam scanner; they set the scale, not the shape.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

REACH_M = 80.0
"""A target of 10 % reflectivity is just detected here in clear air."""
BLIND_M = 1.5
"""Nothing is reported from nearer than this (LISA's least range)."""
FULL_VIEW_M = 10.0
"""From BLIND_M to here the receiver's view grows linearly into the beam; below 10 m for most sensors (Rasshofer et al.)."""
BEAM_RAD = 3e-3
"""Divergence of the beam (LISA)."""
PULSE_M = 0.75
"""Half the length of a 5 ns pulse: the depth of fog that answers at one moment."""
SCATTERERS_TO_M = 40.0
"""No single drop or flake is detected from farther away."""


@dataclass(frozen=True)
class Echoes:
    """What is received in N directions in which the clear scan had a return."""

    range_m: Floats
    """(N,) NaN where nothing is received."""
    reflectivity: Floats
    """(N,) as the sensor would report it for that range, without a correction for the medium."""
    is_clutter: NDArray[np.bool_]
    """(N,) true where a scatterer of the medium was received instead of the target."""


@dataclass(frozen=True)
class Particles:
    """Drops or flakes, N(D) = density * slope * exp(-slope * D)."""

    density_per_m3: float
    slope_per_mm: float
    reflectivity: float
    """Share of the light on a particle that it returns, compared with a diffuse target."""

    @property
    def extinction_per_m(self) -> float:
        """Particles far larger than the wavelength remove twice their cross-section: pi / 2 * integral of D^2 N(D)."""
        return 1e-6 * np.pi * self.density_per_m3 / self.slope_per_mm**2


def rain(rate_mm_per_h: float) -> Particles:
    """Drops by Marshall and Palmer; a drop returns the Fresnel reflection of water, ((n - 1) / (n + 1))^2, n = 1.328 (LISA)."""
    slope_per_mm = 4.1 * rate_mm_per_h**-0.21
    return Particles(8000.0 / slope_per_mm, slope_per_mm, 0.02)


def snow(rate_mm_per_h: float) -> Particles:
    """Flakes by Gunn and Marshall, rate and diameter as melted water.

    Diffuse with 0.3: an extinction-to-backscatter ratio of 2 pi / 0.3 = 21 sr, about that of ice clouds.
    """
    slope_per_mm = 2.55 * rate_mm_per_h**-0.48
    return Particles(7600.0 * rate_mm_per_h**-0.87 / slope_per_mm, slope_per_mm, 0.3)


def through_particles(range_m: Floats, reflectivity: Floats, particles: Particles, generator: np.random.Generator) -> Echoes:
    """Rain or snow between sensor and targets.

    Args:
        range_m: (N,) > 0, of the targets.
        reflectivity: (N,) in (0, 1].
        particles: what is in the air.
        generator: of all random draws.
    """
    alpha = particles.extinction_per_m
    target = _target_power(range_m, reflectivity, alpha, generator)
    # Only particles larger than least_mm can be detected at r; how many of those a beam meets before r is Poisson.
    r = np.linspace(BLIND_M, SCATTERERS_TO_M, 400)
    least_mm = 1e3 * BEAM_RAD * r * (r / REACH_M) * np.sqrt(0.1 / particles.reflectivity) * np.exp(alpha * r)
    beam_area_m2 = np.pi * (BEAM_RAD * r / 2) ** 2
    per_m = beam_area_m2 * particles.density_per_m3 * np.exp(-particles.slope_per_mm * least_mm)
    met = np.concatenate([[0.0], np.cumsum((per_m[1:] + per_m[:-1]) / 2 * np.diff(r))])
    met_before_target = np.interp(range_m, r, met)
    count = generator.poisson(met_before_target)
    strongest, place_m = np.zeros(len(range_m)), np.full(len(range_m), np.nan)
    for number in range(int(count.max(initial=0))):
        beam = np.flatnonzero(count > number)
        here_m = np.interp(generator.random(len(beam)) * met_before_target[beam], met, r)
        # Above the least detectable diameter the exponential law starts afresh.
        smallest_mm = np.interp(here_m, r, least_mm)
        power = ((smallest_mm + generator.exponential(1 / particles.slope_per_mm, len(beam))) / smallest_mm) ** 2
        better = power > strongest[beam]
        strongest[beam[better]], place_m[beam[better]] = power[better], here_m[better]
    return _strongest(range_m, reflectivity, alpha, target, place_m, strongest)


def through_fog(range_m: Floats, reflectivity: Floats, visibility_m: float, generator: np.random.Generator) -> Echoes:
    """Fog between sensor and targets; arguments as in `through_particles`, visibility as the meteorological optical range."""
    alpha, backscatter_per_m_sr = np.log(20) / visibility_m, 0.046 / visibility_m
    target = _target_power(range_m, reflectivity, alpha, generator)
    r = np.linspace(BLIND_M, SCATTERERS_TO_M, 400)
    seen = np.clip((r - BLIND_M) / (FULL_VIEW_M - BLIND_M), 0, 1)
    # A diffuse target sends rho / pi per steradian, so fog looks like one of this reflectivity.
    echo = np.pi * backscatter_per_m_sr * PULSE_M * seen / 0.1 * (REACH_M / r) ** 2 * np.exp(-2 * alpha * r)
    before = np.concatenate([[0.0], np.cumsum((echo[1:] + echo[:-1]) / 2 * np.diff(r))])
    place_m = np.interp(generator.random(len(range_m)) * np.interp(range_m, r, before), before, r)
    power = np.interp(range_m, r, np.maximum.accumulate(echo), left=0.0) * generator.exponential(size=len(range_m))
    return _strongest(range_m, reflectivity, alpha, target, place_m, power)


def _target_power(range_m: Floats, reflectivity: Floats, alpha: float, generator: np.random.Generator) -> Floats:
    clear = reflectivity / 0.1 * (REACH_M / range_m) ** 2
    return np.asarray((1 + clear * generator.exponential(size=len(range_m))) * np.exp(-2 * alpha * range_m))


def _strongest(range_m: Floats, reflectivity: Floats, alpha: float, target: Floats, place_m: Floats, scattered: Floats) -> Echoes:
    is_clutter = (scattered >= 1) & (scattered > target)
    lost = ~is_clutter & (target < 1)
    received_m = np.where(is_clutter, place_m, range_m)
    received_m[lost] = np.nan
    clutter_reflectivity = 0.1 * scattered * (np.nan_to_num(place_m) / REACH_M) ** 2
    reported = np.where(is_clutter, clutter_reflectivity, reflectivity * np.exp(-2 * alpha * range_m))
    return Echoes(received_m, np.minimum(reported, 1.0), is_clutter)
