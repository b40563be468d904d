import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn

from relidar import row_parts
from relidar.config_file import validate
from relidar.errors import CloudError, ConfigError
from relidar.voxels import CartesianGrid, CylindricalGrid, Preprocessing, voxelise

GRIDS = [CartesianGrid(voxel_size_m=0.5), CylindricalGrid(rho_m=0.5, phi_deg=3.0, z_m=0.25)]
coordinate = st.floats(-80, 80, width=32) | st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -0.0, 70.0, 2.0**100])
clouds = hn.arrays(np.float32, st.tuples(st.integers(0, 60), st.just(3)), elements=coordinate)


threads = st.integers(1, 4)


@pytest.fixture(autouse=True, scope="module")
def small_parts() -> Iterator[None]:
    """Even a few points are shared among threads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_parts, "SMALLEST_PART", 1)
        yield


def naive_place(point: np.ndarray, spec: Preprocessing) -> np.ndarray | None:
    """Where one point is, in cells, or None where it has none."""
    x, y, z = point
    rho = np.hypot(x, y)
    if not (spec.min_range_m <= rho <= spec.max_range_m and spec.min_height_m <= z <= spec.max_height_m):
        return None
    grid = spec.grid
    if isinstance(grid, CartesianGrid):
        return point.astype(np.float64) / grid.voxel_size_m
    return np.array([rho / grid.rho_m, math.degrees(math.atan2(y, x)) / grid.phi_deg, z / grid.z_m])


@pytest.mark.parametrize("grid", GRIDS)
@settings(deadline=None)
@given(xyz_m=clouds, threads=threads)
def test_points_share_a_voxel_exactly_when_they_share_a_cell(
    grid: CartesianGrid | CylindricalGrid, xyz_m: np.ndarray, threads: int
) -> None:
    spec = Preprocessing(grid=grid)
    voxels = voxelise(xyz_m, None, spec, threads)
    with np.errstate(all="ignore"):
        places = [naive_place(point, spec) for point in xyz_m]
    assert (voxels.voxel_of_point >= 0).tolist() == [place is not None for place in places]
    for place, voxel in zip(places, voxels.voxel_of_point, strict=True):
        if place is not None:
            # On the border of two cells rounding decides, and it differs between processors.
            cell = voxels.coordinates[voxel]
            assert np.all(np.floor(place - 1e-4) <= cell)
            assert np.all(cell <= np.floor(place + 1e-4))
    assert len(np.unique(voxels.coordinates, axis=0)) == len(voxels.coordinates)
    met = list(dict.fromkeys(voxels.voxel_of_point[voxels.voxel_of_point >= 0].tolist()))
    assert met == list(range(len(voxels.coordinates)))  # in order of first occurrence


@settings(deadline=None)
@given(xyz_m=clouds, seed=st.integers(0, 100), threads=threads)
def test_features_are_means_over_the_points_of_a_voxel(xyz_m: np.ndarray, seed: int, threads: int) -> None:
    spec = Preprocessing(grid=GRIDS[0], features=("one", "intensity", "height", "range"))
    intensity = np.random.default_rng(seed).uniform(-50, 400, len(xyz_m)).astype(np.float32)
    intensity[::7] = np.nan
    voxels = voxelise(xyz_m, intensity, spec, threads)
    assert voxels.features.shape == (len(voxels.coordinates), 4)
    assert np.isfinite(voxels.features).all()
    for row in range(len(voxels.coordinates)):
        inside = voxels.voxel_of_point == row
        share = np.clip(np.nan_to_num(intensity[inside], nan=0), 0, 255) / 255
        rho = np.hypot(xyz_m[inside, 0], xyz_m[inside, 1])
        expected = [1, share.mean(), xyz_m[inside, 2].mean() / 4, rho.mean() / 70]
        np.testing.assert_allclose(voxels.features[row], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("grid", GRIDS)
def test_every_bit_is_that_of_array_arithmetic(grid: CartesianGrid | CylindricalGrid) -> None:
    random = np.random.default_rng(1)
    xyz_m = random.uniform(-60, 60, (30_000, 3)).astype(np.float32)
    intensity = random.uniform(-20, 300, len(xyz_m)).astype(np.float32)
    spec = Preprocessing(grid=grid, features=("one", "intensity", "height", "range"))
    x, y, z = xyz_m.T
    rho = np.hypot(x, y)
    scaled = xyz_m / np.float32(0.5)
    if isinstance(grid, CylindricalGrid):
        scaled = np.stack([rho / grid.rho_m, np.degrees(np.arctan2(y, x)) / grid.phi_deg, z / grid.z_m], axis=1)
    inside = (rho >= 1) & (rho <= 70) & (z >= -5) & (z <= 12)
    cells, first, inverse = np.unique(np.floor(scaled[inside]).astype(np.int32), axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    channels = np.stack([np.ones_like(x), np.clip(intensity, 0, 255) / np.float32(255), z / 4, rho / np.float32(70)], axis=1)
    totals = np.zeros((len(cells), 4), np.float32)
    np.add.at(totals, inverse.ravel(), channels[inside])  # point after point
    means = totals / np.bincount(inverse.ravel())[:, None].astype(np.float32)
    for threads in (1, 3):
        voxels = voxelise(xyz_m, intensity, spec, threads)
        assert np.array_equal(voxels.coordinates, cells[order])
        assert np.array_equal(voxels.features, means[order])
        assert np.array_equal(voxels.voxel_of_point >= 0, inside)
        assert np.array_equal(voxels.voxel_of_point[inside], np.argsort(order)[inverse.ravel()])


@pytest.mark.parametrize("grid", GRIDS)
def test_order_of_points_does_not_matter(grid: CartesianGrid | CylindricalGrid) -> None:
    random = np.random.default_rng(0)
    xyz_m = random.uniform(-30, 30, (2000, 3)).astype(np.float32)
    order = random.permutation(2000)
    spec = Preprocessing(grid=grid)
    one, other = voxelise(xyz_m, None, spec), voxelise(xyz_m[order], None, spec)
    inside = one.voxel_of_point >= 0
    assert np.array_equal(inside[order], other.voxel_of_point >= 0)
    cells = one.coordinates[one.voxel_of_point[inside]]
    assert np.array_equal(other.coordinates[other.voxel_of_point[np.argsort(order)][inside]], cells)


def test_without_intensity_the_channel_is_zero() -> None:
    voxels = voxelise(np.array([[5, 0, 0]], np.float32), None, Preprocessing())
    assert voxels.features.tolist() == [[0.0]]


@pytest.mark.parametrize(("value", "share"), [(np.nan, 0), (np.inf, 1), (-np.inf, 0), (-3, 0), (300, 1), (51, 0.2)])
def test_intensity_is_brought_to_its_range(value: float, share: float) -> None:
    voxels = voxelise(np.array([[5, 0, 0]], np.float32), np.array([value], np.float32), Preprocessing())
    assert voxels.features[0, 0] == pytest.approx(share)


def test_an_empty_cloud_has_no_voxels() -> None:
    voxels = voxelise(np.empty((0, 3), np.float32), np.empty(0, np.float32), Preprocessing())
    assert voxels.coordinates.shape == (0, 3)
    assert voxels.features.shape == (0, 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_coordinates_that_overflow_are_out_of_range(dtype: type) -> None:
    xyz_m = np.array([[3e38, 3e38, 0], [-3e38, 3e38, 3e38], [5, 0, 3e38], [5, 0, 0]], dtype)
    if dtype is np.float64:
        xyz_m[0] = 1e300
    assert voxelise(xyz_m, None, Preprocessing()).voxel_of_point.tolist() == [-1, -1, -1, 0]


def test_double_precision_and_strided_points_are_taken() -> None:
    wide = np.random.default_rng(0).uniform(-30, 30, (100, 6))
    spec = Preprocessing()
    narrow = voxelise(wide[:, ::2].astype(np.float32), None, spec)
    assert np.array_equal(voxelise(wide[:, ::2], None, spec).coordinates, narrow.coordinates)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"grid": {"coordinates": "cartesian", "voxel_size_m": 0}}, "voxel_size_m"),
        ({"grid": {"coordinates": "cartesian", "voxel_size_m": 0.0001}}, "larger voxels"),
        ({"grid": {"coordinates": "cylindrical", "rho_m": 0.0001}}, "larger voxels"),
        ({"grid": {"coordinates": "spherical"}}, "spherical"),
        ({"features": ["colour"]}, "colour"),
        ({"features": []}, "features"),
        ({"min_range_m": 80.0}, "min_range_m"),
        ({"min_height_m": 20.0}, "min_height_m"),
    ],
)
def test_impossible_preprocessing_is_refused(content: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate(content, Preprocessing, "test.yaml")


@pytest.mark.parametrize(
    ("points", "intensity"), [((3, 4), None), ((3,), None), ((3, 3), (2,)), ((3, 3), (3, 1)), ((3, 3), (4,))]
)
def test_arrays_that_do_not_belong_together_are_refused(points: tuple[int, ...], intensity: tuple[int, ...] | None) -> None:
    given = None if intensity is None else np.zeros(intensity, np.float32)
    with pytest.raises(CloudError, match=r"expected points \(N, 3\), intensity \(N,\) or none"):
        voxelise(np.ones(points, np.float32), given, Preprocessing())
