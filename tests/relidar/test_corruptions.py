"""Corruptions keep what they must, lose more as they grow worse, and agree with the physics they cite."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from relidar import weather
from relidar.corruptions import KINDS, LEAST_REFLECTIVITY, SCALES, Corrupted, Corruption, estimate_rings
from relidar.errors import ConfigError

NUMBERS = st.floats(width=32, allow_nan=True, allow_infinity=True)
LOSING = ("rain", "fog", "snow", "beam-drop", "dropout", "crosstalk")


@st.composite
def scans(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray | None]:
    points = draw(st.integers(0, 30))
    xyz_m = draw(arrays(np.float32, (points, 3), elements=NUMBERS))
    return xyz_m, draw(st.one_of(st.none(), arrays(np.float32, points, elements=NUMBERS)))


@pytest.fixture(scope="module")
def street_scan() -> tuple[np.ndarray, np.ndarray]:
    """32 beams over a flat road, ended by walls at 60 m, in the dark."""
    elevation, azimuth = np.meshgrid(np.radians(np.linspace(-30, 8, 32)), np.linspace(0, 2 * np.pi, 400, endpoint=False))
    direction = np.stack([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)], -1)
    range_m = np.minimum(60.0, np.where(elevation < 0, 1.8 / np.maximum(-np.sin(elevation), 1e-6), np.inf))
    xyz_m = (direction * range_m[..., None]).reshape(-1, 3).astype(np.float32)
    return xyz_m, np.full(len(xyz_m), 15, np.float32)


def same(first: Corrupted, second: Corrupted) -> bool:
    pairs = [(first.xyz_m, second.xyz_m), (first.void, second.void)]
    if first.intensity is not None and second.intensity is not None:
        pairs.append((first.intensity, second.intensity))
    return all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs)


@given(scans(), st.sampled_from(KINDS), st.integers(0, 5), st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_every_scan_keeps_its_length_its_gaps_and_its_determinism(
    scan: tuple[np.ndarray, np.ndarray | None], kind: str, severity: int, seed: int
) -> None:
    xyz_m, intensity = scan
    before = xyz_m.copy(), None if intensity is None else intensity.copy()
    corruption = Corruption(kind, severity)
    answer, again = (corruption(xyz_m, intensity, np.random.default_rng(seed)) for _ in range(2))
    assert same(answer, again)
    np.testing.assert_array_equal(xyz_m, before[0])
    assert answer.xyz_m.shape == xyz_m.shape
    assert answer.xyz_m.dtype == np.float32
    assert answer.void.shape == xyz_m.shape[:1]
    assert (answer.intensity is None) == (intensity is None)
    unusable = ~np.isfinite(xyz_m).all(axis=1) | (xyz_m == 0).all(axis=1)
    np.testing.assert_array_equal(answer.xyz_m[unusable], xyz_m[unusable])
    assert not answer.void[unusable].any()
    # Whatever was lost is marked.
    assert answer.void[np.isnan(answer.xyz_m).any(axis=1) & ~unusable].all()
    if intensity is not None:
        np.testing.assert_array_equal(intensity, before[1])
        assert answer.intensity is not None
        assert answer.intensity.dtype == np.float32
    if severity == 0:
        np.testing.assert_array_equal(answer.xyz_m, xyz_m)
        if intensity is not None:
            np.testing.assert_array_equal(answer.intensity, intensity)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_moved_stays_in_its_direction(kind: str, street_scan: tuple[np.ndarray, np.ndarray]) -> None:
    xyz_m, intensity = street_scan
    answer = Corruption(kind, 5)(xyz_m, intensity, np.random.default_rng(0))
    if kind == "motion-blur":
        shift_m = np.linalg.norm(answer.xyz_m - xyz_m, axis=1)
        assert 0.9 * SCALES[kind].values[-1] * 0.1 / 2 < shift_m.max() <= SCALES[kind].values[-1] * 0.1 / 2 + 1e-5
        return
    received = np.isfinite(answer.xyz_m[:, 0])
    unit, changed = (p / np.linalg.norm(p, axis=1, keepdims=True) for p in (xyz_m[received], answer.xyz_m[received]))
    np.testing.assert_allclose(changed, unit, atol=1e-5)
    assert answer.intensity is not None
    assert answer.intensity.min() >= 0
    assert answer.intensity.max() <= 255
    untouched = received & ~answer.void
    if kind not in ("jitter",):
        np.testing.assert_allclose(answer.xyz_m[untouched], xyz_m[untouched])


@pytest.mark.parametrize("kind", LOSING)
@pytest.mark.parametrize("known", [True, False], ids=["intensity", "no intensity"])
def test_more_is_lost_as_it_grows_worse(kind: str, known: bool, street_scan: tuple[np.ndarray, np.ndarray]) -> None:
    xyz_m, intensity = street_scan
    scan = xyz_m, intensity if known else None
    void = [
        np.mean([Corruption(kind, severity)(*scan, np.random.default_rng(seed)).void.mean() for seed in range(4)])
        for severity in range(6)
    ]
    assert void[0] == 0
    assert np.all(np.diff(void) > 0), void


@pytest.mark.parametrize("kind", ["dropout", "beam-drop", "crosstalk"])
def test_shares_are_those_of_the_table(kind: str, street_scan: tuple[np.ndarray, np.ndarray]) -> None:
    for severity in range(1, 6):
        answer = Corruption(kind, severity)(*street_scan, np.random.default_rng(severity))
        expected = SCALES[kind].values[severity - 1] / 100
        # A share of 32 beams is a whole number of them.
        assert answer.void.mean() == pytest.approx(expected, abs=0.5 / 32 if kind == "beam-drop" else 0.1 * expected + 0.002)


def test_a_lost_beam_is_lost_all_around(street_scan: tuple[np.ndarray, np.ndarray]) -> None:
    void = Corruption("beam-drop", 3)(*street_scan, np.random.default_rng(0)).void.reshape(400, 32)
    assert (void == void[0]).all()
    assert void[0].sum() == 16


def test_jitter_has_its_standard_deviation(street_scan: tuple[np.ndarray, np.ndarray]) -> None:
    xyz_m, intensity = street_scan
    answer = Corruption("jitter", 4)(xyz_m, intensity, np.random.default_rng(0))
    error_m = np.linalg.norm(answer.xyz_m, axis=1) - np.linalg.norm(xyz_m, axis=1)
    assert np.std(error_m) == pytest.approx(0.08, rel=0.03)
    assert not answer.void.any()


def test_the_unit_of_intensity_does_not_matter(street_scan: tuple[np.ndarray, np.ndarray]) -> None:
    xyz_m, intensity = street_scan
    for kind in ("rain", "fog", "snow", "intensity-shift"):
        as_255 = Corruption(kind, 4, 255.0)(xyz_m, intensity, np.random.default_rng(0))
        as_1 = Corruption(kind, 4, 1.0)(xyz_m, intensity / 255, np.random.default_rng(0))
        np.testing.assert_allclose(as_1.xyz_m, as_255.xyz_m, rtol=1e-5)
        np.testing.assert_allclose(as_1.intensity, as_255.intensity / 255, rtol=1e-4)


def test_fog_takes_what_is_far_and_answers_from_near(street_scan: tuple[np.ndarray, np.ndarray]) -> None:
    xyz_m, intensity = street_scan
    range_m = np.linalg.norm(xyz_m, axis=1)
    answer = Corruption("fog", 5)(xyz_m, intensity, np.random.default_rng(0))
    assert answer.void[range_m > 40].mean() > 0.99
    assert answer.void[range_m < 5].mean() < 0.05
    clutter_m = np.linalg.norm(answer.xyz_m[answer.void & np.isfinite(answer.xyz_m[:, 0])], axis=1)
    assert clutter_m.min() >= weather.BLIND_M - 1e-5
    assert np.median(clutter_m) < 10


@pytest.mark.parametrize("visibility_m", [50.0, 100.0, 300.0])
def test_the_share_that_fog_loses_is_the_closed_form(visibility_m: float) -> None:
    """A return detected in clear air survives extinction with probability exp(-(exp(2 alpha R) - 1) / m)."""
    range_m = np.repeat([10.0, 20.0, 40.0], 20_000)
    reflectivity = np.full(len(range_m), 0.1)
    alpha = np.log(20) / visibility_m
    echoes = weather.through_fog(range_m, reflectivity, visibility_m, np.random.default_rng(0))
    beyond_threshold = np.exp(-np.expm1(2 * alpha * range_m) / (weather.REACH_M / range_m) ** 2)
    for distance_m in (10.0, 20.0, 40.0):
        here = range_m == distance_m
        hit = ~echoes.is_clutter[here] & np.isfinite(echoes.range_m[here])
        expected = beyond_threshold[here].mean()
        # Where fog answers more strongly it takes the target's place, so hits are at most as many.
        assert hit.mean() <= expected + 0.01
        assert hit.mean() + echoes.is_clutter[here].mean() >= expected - 0.01


def test_extinction_of_rain_is_that_of_the_drop_sizes() -> None:
    """Against the integral of the Marshall-Palmer distribution, and the visibility of heavy rain, about a kilometre."""
    step_mm = 1e-4
    diameter_mm = np.arange(0, 20, step_mm)
    for rate in (1.0, 10.0, 50.0):
        per_m3_mm = 8000 * np.exp(-4.1 * rate**-0.21 * diameter_mm)
        cross_section_m2 = np.pi / 4 * (diameter_mm * 1e-3) ** 2
        extinction = (2 * cross_section_m2 * per_m3_mm).sum() * step_mm
        assert weather.rain(rate).extinction_per_m == pytest.approx(extinction, rel=1e-3)
    assert 500 < np.log(20) / weather.rain(50.0).extinction_per_m < 2000


def test_drops_met_are_as_many_as_a_simulation_of_each_drop_says() -> None:
    """Naive count: every drop in the cone of the beam, received if its power reaches the threshold."""
    generator = np.random.default_rng(1)
    drops = weather.rain(100.0)
    beams, reach_m = 400, weather.SCATTERERS_TO_M
    volume_m3 = np.pi / 3 * (weather.BEAM_RAD / 2) ** 2 * reach_m**3
    received = 0
    for _ in range(beams):
        count = generator.poisson(drops.density_per_m3 * volume_m3)
        r = reach_m * generator.random(count) ** (1 / 3)
        diameter_m = 1e-3 * generator.exponential(1 / drops.slope_per_mm, count)
        share = (diameter_m / (weather.BEAM_RAD * r)) ** 2
        power = drops.reflectivity * share / 0.1 * (weather.REACH_M / r) ** 2 * np.exp(-2 * drops.extinction_per_m * r)
        received += bool(((power >= 1) & (r > weather.BLIND_M)).any())
    # Targets too dark to be received themselves leave the beam to the drops.
    many = np.full(20_000, 200.0)
    echoes = weather.through_particles(many, np.full(len(many), 1e-9), drops, generator)
    expected = echoes.is_clutter.mean()
    assert received / beams == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / beams))
    assert 0.05 < expected < 0.95


def test_darkest_returns_are_not_taken_for_nothing(street_scan: tuple[np.ndarray, np.ndarray]) -> None:
    xyz_m, _ = street_scan
    near = xyz_m[np.linalg.norm(xyz_m, axis=1) < 10]
    answer = Corruption("rain", 1)(near, np.zeros(len(near), np.float32), np.random.default_rng(0))
    assert answer.void.mean() < 0.05
    assert LEAST_REFLECTIVITY > 0


@pytest.mark.parametrize("text", ["hail:3", "rain:6", "rain", "rain:", "rain:-1", "rain:2.5", ":", "", "rain:٣", "rain:3:1"])
def test_what_is_no_corruption_is_refused_with_the_choices(text: str) -> None:
    with pytest.raises(ConfigError, match=r"rain, fog, snow, .* SEVERITY 1 to 5"):
        Corruption.parse(text)


def test_words_come_back_as_they_were() -> None:
    for kind in KINDS:
        assert str(Corruption.parse(f"{kind}:3")) == f"{kind}:3"


def test_rings_of_a_clean_sensor_are_found_exactly(street_scan: tuple[np.ndarray, np.ndarray]) -> None:
    xyz_m, _ = street_scan
    ring = estimate_rings(xyz_m.astype(np.float64)).reshape(400, 32)
    np.testing.assert_array_equal(ring, np.broadcast_to(np.arange(32), (400, 32)))
    assert estimate_rings(np.empty((0, 3))).shape == (0,)


def test_rings_of_a_real_scan_are_found(relidar_data: Path) -> None:
    path = next((relidar_data / "nuscenes-one/samples/LIDAR_TOP").glob("*.bin"))
    cloud = np.fromfile(path, np.float32).reshape(-1, 5)
    outside = np.hypot(cloud[:, 0], cloud[:, 1]) > 3  # nearer lies the vehicle itself
    found, true = estimate_rings(cloud[outside, :3].astype(np.float64)), cloud[outside, 4].astype(int)
    pure = sum(np.bincount(true[found == number]).max() for number in np.unique(found)) / len(true)
    whole = sum(np.bincount(found[true == number]).max() for number in np.unique(true)) / len(true)
    assert pure > 0.85
    assert whole > 0.75
