"""What weather and faults do to a scan, by severity 1 to 5: rain, fog, snow, lost beams and returns, crosstalk, noise.

    corruption = Corruption.parse("rain:3")
    corrupted = corruption(xyz_m, intensity, np.random.default_rng(0))

The scan keeps its length, so its truth stays aligned. A lost return becomes NaN. A return of something else (a drop, fog, another
LiDAR) takes the place of the point's own, in the same direction. Both are marked `void`: what the truth says of them is gone.
A random generator in the same state gives the same answer. `SCALES` says what each severity stands for.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from relidar import weather
from relidar.errors import ConfigError

MAX_SEVERITY = 5


@dataclass(frozen=True)
class Scale:
    """What severities 1 to 5 of a kind are."""

    quantity: str
    unit: str
    values: tuple[float, float, float, float, float]


SCALES: dict[str, Scale] = {
    # The upper ends of slight and moderate rain, heavy, violent, a cloudburst.
    "rain": Scale("rain rate", "mm/h", (2.5, 10.0, 25.0, 50.0, 100.0)),
    # Extinction 0.005, 0.01, 0.02, 0.03 and 0.06 per metre, those of Hahner et al., ICCV 2021.
    "fog": Scale("visibility", "m", (600.0, 300.0, 150.0, 100.0, 50.0)),
    # Hahner et al., LiDAR Snowfall Simulation, CVPR 2022, go up to 2.5.
    "snow": Scale("snowfall as water", "mm/h", (0.1, 0.25, 0.5, 1.0, 2.5)),
    # Robo3D (Kong et al., ICCV 2023) keeps 48, 32 and 16 of 64 beams: severities 2, 3 and 5.
    "beam-drop": Scale("beams lost", "%", (12.5, 25.0, 50.0, 62.5, 75.0)),
    "dropout": Scale("returns lost", "%", (10.0, 20.0, 40.0, 60.0, 80.0)),
    # Dong et al., Benchmarking Robustness of 3D Object Detection to Common Corruptions, CVPR 2023; so are the steps of jitter.
    "crosstalk": Scale("returns replaced", "%", (0.4, 0.8, 1.2, 1.6, 2.0)),
    "jitter": Scale("standard deviation of the range", "m", (0.02, 0.04, 0.06, 0.08, 0.10)),
    # The way during one sweep of 0.1 s, of which a scan without motion compensation is bent.
    "motion-blur": Scale("speed", "m/s", (3.0, 6.0, 12.0, 20.0, 30.0)),
    # A dirty or aged window, or a sensor of lower gain. A network that leans on height and shape hardly notices.
    "intensity-shift": Scale("intensity kept", "%", (85.0, 70.0, 50.0, 35.0, 20.0)),
}
KINDS: tuple[str, ...] = tuple(SCALES)

SWEEP_S = 0.1
CROSSTALK_FROM_M, CROSSTALK_TO_M = 1.0, 100.0
"""A pulse of another LiDAR arrives at any moment of the listening time."""
UNKNOWN_REFLECTIVITY = 0.1
"""Of every point where the cloud has no intensity."""
LEAST_REFLECTIVITY = 0.02
"""Of the darkest returns: intensity 0 is a rounded number, since something was received."""
ELEVATION_STEP_DEG = 0.02
RING_SPREAD_DEG = 0.1
"""Elevations are counted with this blur; the closest beams of common sensors are 0.33 degrees apart."""


@dataclass(frozen=True)
class Corrupted:
    """A scan of the same N points."""

    xyz_m: NDArray[np.float32]
    """(N, 3), NaN where the return is lost."""
    intensity: NDArray[np.float32] | None
    """(N,) in the unit of the input; None if there was none."""
    void: NDArray[np.bool_]
    """(N,) true where the truth no longer applies: lost returns and returns of something else."""


@dataclass(frozen=True)
class Corruption:
    """One kind at one severity; severity 0 changes nothing."""

    kind: str
    severity: int
    intensity_max: float = 255.0
    """Value of a full return; the weather's effect depends on how bright a target is."""

    def __post_init__(self) -> None:
        if self.kind not in SCALES or not 0 <= self.severity <= MAX_SEVERITY:
            raise ConfigError(_usage(f"{self.kind}:{self.severity}"))

    @classmethod
    def parse(cls, text: str, intensity_max: float = 255.0) -> "Corruption":
        """Reads KIND:SEVERITY, such as "rain:3"; raises ConfigError naming the kinds and severities."""
        kind, _, severity = text.partition(":")
        if len(severity) != 1 or severity not in "012345":
            raise ConfigError(_usage(text))
        return cls(kind, int(severity), intensity_max)

    def __str__(self) -> str:
        return f"{self.kind}:{self.severity}"

    def __call__(
        self, xyz_m: NDArray[np.float32], intensity: NDArray[np.float32] | None, generator: np.random.Generator
    ) -> Corrupted:
        """Corrupts a scan; the input is left as it is.

        Args:
            xyz_m: (N, 3) in the sensor frame, metres. A point that is not finite, or at the origin, stays as it is.
            intensity: (N,) in [0, intensity_max], or None.
            generator: of all random draws.
        """
        xyz_m = xyz_m.astype(np.float32)
        intensity = None if intensity is None else intensity.astype(np.float32)
        void = np.zeros(len(xyz_m), bool)
        scan = Corrupted(xyz_m, intensity, void)
        if self.severity == 0:
            return scan
        with np.errstate(over="ignore", invalid="ignore"):
            usable = np.flatnonzero(np.isfinite(xyz_m).all(axis=1) & (xyz_m != 0).any(axis=1))
        value = SCALES[self.kind].values[self.severity - 1]
        points = xyz_m[usable].astype(np.float64)
        if self.kind in ("rain", "snow", "fog"):
            self._weather(scan, usable, points, value, generator)
        elif self.kind == "beam-drop":
            ring = estimate_rings(points)
            rings = int(ring.max(initial=-1)) + 1
            dropped = generator.permutation(rings)[: round(rings * value / 100)]
            _lose(scan, usable[np.isin(ring, dropped)])
        elif self.kind == "dropout":
            _lose(scan, usable[generator.random(len(usable)) < value / 100])
        elif self.kind == "crosstalk":
            hit = generator.random(len(usable)) < value / 100
            range_m = generator.uniform(CROSSTALK_FROM_M, CROSSTALK_TO_M, len(usable))
            source = usable[generator.integers(0, max(len(usable), 1), len(usable))]
            _move(scan, usable[hit], points[hit], range_m[hit])
            if intensity is not None:
                intensity[usable[hit]] = intensity[source[hit]]
            void[usable[hit]] = True
        elif self.kind == "jitter":
            range_m = np.linalg.norm(points, axis=1)
            _move(scan, usable, points, np.maximum(range_m + generator.normal(0, value, len(usable)), 1e-3))
        elif self.kind == "motion-blur":
            # The cloud does not say which way is forward, nor where the sweep begins.
            heading, start = generator.uniform(0, 2 * np.pi, 2)
            turn = (np.arctan2(points[:, 1], points[:, 0]) - start) / (2 * np.pi) % 1.0
            way_m = value * SWEEP_S * (turn - 0.5)
            xyz_m[usable, :2] = points[:, :2] + way_m[:, None] * [np.cos(heading), np.sin(heading)]
        elif intensity is not None:  # intensity-shift
            intensity *= np.float32(value / 100)
        return scan

    def _weather(
        self, scan: Corrupted, usable: NDArray[np.intp], points: NDArray[np.float64], value: float, generator: np.random.Generator
    ) -> None:
        range_m = np.linalg.norm(points, axis=1)
        reflectivity = np.full(len(points), UNKNOWN_REFLECTIVITY)
        if scan.intensity is not None:
            bright = np.nan_to_num(scan.intensity[usable].astype(np.float64), nan=0.0) / self.intensity_max
            reflectivity = np.clip(bright, LEAST_REFLECTIVITY, 1.0)
        if self.kind == "fog":
            echoes = weather.through_fog(range_m, reflectivity, value, generator)
        else:
            particles = weather.rain(value) if self.kind == "rain" else weather.snow(value)
            echoes = weather.through_particles(range_m, reflectivity, particles, generator)
        scattered = echoes.is_clutter
        _move(scan, usable[scattered], points[scattered], echoes.range_m[scattered])
        if scan.intensity is not None:
            kept = echoes.reflectivity / reflectivity
            with np.errstate(invalid="ignore"):  # nothing of an infinite intensity is no number, and counts as 0
                scan.intensity[usable] *= np.where(scattered, 1.0, kept).astype(np.float32)
            scan.intensity[usable[scattered]] = self.intensity_max * echoes.reflectivity[scattered]
        scan.void[usable[scattered]] = True
        _lose(scan, usable[np.isnan(echoes.range_m)])


def estimate_rings(xyz_m: NDArray[np.float64]) -> NDArray[np.intp]:
    """(N,) number of the ring that each finite point (N, 3) belongs to, from below, since few clouds carry rings.

    Each beam of a spinning LiDAR keeps its elevation, so the count of points by elevation has a peak for each beam; the rings are
    parted in its valleys. Where nothing parts them (solid state, very near points), a ring is a band of some tenths of a degree.
    """
    elevation_deg = np.degrees(np.arctan2(xyz_m[:, 2], np.hypot(xyz_m[:, 0], xyz_m[:, 1])))
    step = np.floor((elevation_deg + 90) / ELEVATION_STEP_DEG).astype(np.intp)
    steps = round(180 / ELEVATION_STEP_DEG) + 1
    reach = round(3 * RING_SPREAD_DEG / ELEVATION_STEP_DEG)
    blur = np.exp(-0.5 * (np.arange(-reach, reach + 1) * ELEVATION_STEP_DEG / RING_SPREAD_DEG) ** 2)
    crowd = np.convolve(np.bincount(step, minlength=steps), blur, "same")
    slope = np.sign(np.diff(crowd))
    sloped = np.flatnonzero(slope)
    valley = np.zeros(steps, np.intp)
    valley[sloped[1:][np.diff(slope[sloped]) > 0]] = 1
    ring: NDArray[np.intp] = np.unique(np.cumsum(valley)[step], return_inverse=True)[1]
    return ring


def _lose(scan: Corrupted, points: NDArray[np.intp]) -> None:
    scan.xyz_m[points] = np.nan
    scan.void[points] = True


def _move(scan: Corrupted, index: NDArray[np.intp], xyz_m: NDArray[np.float64], range_m: NDArray[np.float64]) -> None:
    """Puts points (P, 3), number `index` of the scan, to another range in the same direction."""
    scan.xyz_m[index] = xyz_m * (range_m / np.linalg.norm(xyz_m, axis=1))[:, None]


def _usage(text: str) -> str:
    return f"corruption {text!r}: expected KIND:SEVERITY with KIND one of {', '.join(KINDS)} and SEVERITY 1 to 5 (0 = none)."
