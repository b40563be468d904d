"""Cities: the classes that occur, what the labels say about heights, and pictures for the teacher."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.street import categories, lidar, poses, seeds
from distill.street.ground import KERB_M, Section, raised
from distill.street.images import labelled_images
from distill.street.layout import random_city
from distill.street.materials import CONCRETE
from distill.street.raycast import Caster, Still
from distill.street.rig import read_rig
from distill.street.shapes import quads
from distill.street.soup import Paint

RIG = read_rig(Path(__file__).parents[3] / "configs" / "rigs" / "nuscenes_like.yaml")
# The 16 classes of the nuScenes-lidarseg challenge and the categories that form them (as this street uses them).
CHALLENGE = {
    "barrier": [9], "bicycle": [14], "bus": [15, 16], "car": [17], "construction_vehicle": [18], "motorcycle": [21],
    "pedestrian": [2, 3, 4, 6], "traffic_cone": [12], "trailer": [22], "truck": [23], "driveable_surface": [24],
    "other_flat": [25], "sidewalk": [26], "terrain": [27], "manmade": [28], "vegetation": [30],
}  # fmt: skip


def test_at_least_12_of_the_16_classes_occur_in_a_few_default_scenes() -> None:
    counts = np.zeros(32)
    for index in range(4):
        city = random_city(seeds.generator(0, seeds.TRAIN, index), 2.0)
        world_from_lidar = city.world_from_ego(0.5) @ RIG.lidar.ego_from_lidar()
        rng = seeds.generator(0, seeds.TRAIN, index, 1)
        points, category, _ = lidar.scan(city.caster(0.5), city.look, RIG.lidar, world_from_lidar, rng)
        assert 20_000 < len(points) <= RIG.lidar.beams * RIG.lidar.azimuth_steps
        assert np.linalg.norm(points[:, :3], axis=1).max() <= RIG.lidar.max_range_m + 0.5
        counts += np.bincount(category, minlength=32)
    occurring = [name for name, members in CHALLENGE.items() if counts[members].sum() >= 20]
    assert len(occurring) >= 12, occurring
    assert counts[categories.INDEX["noise"]] == 0


@given(st.integers(0, 50), st.floats(0, 1.9))
@settings(max_examples=4, deadline=None)
def test_the_ego_car_stands_on_the_road(seed: int, time_s: float) -> None:
    city = random_city(seeds.generator(seed, seeds.TRAIN, 0), 2.0)
    caster, world_from_lidar = city.caster(time_s), city.world_from_ego(time_s) @ RIG.lidar.ego_from_lidar()
    triangle, distance = caster.first(
        world_from_lidar[None, :3, 3].astype(np.float32), -world_from_lidar[None, :3, 2].astype(np.float32)
    )
    assert caster.soup.category[triangle[0]] == categories.ROAD
    assert distance[0] == pytest.approx(RIG.lidar.translation_m[2], abs=0.03)


def test_roads_fall_to_their_kerbs_and_land_rises_beyond_as_its_section_says() -> None:
    section = Section(3.0, 1, 2.5, 0.0, camber=0.02, banks=(-0.1, 0.2))
    t = np.array([0.0, 3.0, -3.0, 7.0, -7.0, 18.0, -18.0])
    expected = [0, -0.06, -0.06, KERB_M - 0.11, KERB_M - 0.11, KERB_M - 0.11 + 0.2 * 10, KERB_M - 0.11 - 0.1 * 10]
    np.testing.assert_allclose(raised(section, [], 0.0, t), expected, atol=1e-9)


def test_walls_return_most_at_the_range_at_which_the_sensor_does() -> None:
    medians = {}
    for range_m in (4.0, 8.0, 25.0):
        ring = np.array([(range_m, -30, -3), (range_m, 30, -3), (range_m, 30, 3), (range_m, -30, 3)], np.float64)
        wall = quads(ring[None], Paint(CONCRETE, (0.4, 0.4, 0.4))).labelled(categories.MANMADE)
        look = (np.zeros(1), np.zeros((1, 12)), np.zeros((1, 5)))
        points, _, _ = lidar.scan(Caster(Still(wall), None), look, RIG.lidar, np.eye(4), np.random.default_rng(0))
        medians[range_m] = np.median(points[np.abs(points[:, 1]) < 0.3 * range_m, 3])
    assert medians[8.0] > 1.4 * medians[4.0]
    assert medians[8.0] > 1.8 * medians[25.0]


def test_still_things_stay_and_movers_move() -> None:
    city = random_city(seeds.generator(1, seeds.VAL, 0), 2.0)
    before, after = city.caster(0.0).soup, city.caster(1.0).soup
    shift = np.linalg.norm(after.corners - before.corners, axis=2).max(axis=1)
    moving = np.array([i for i, actor in enumerate(city.actors) if actor.moves])
    assert len(moving) > 3
    moves = np.isin(before.instance, moving)
    assert (shift[moves] > 0.2).all()
    assert (shift[~moves] == 0).all()


def test_labelled_images_are_repeatable_varied_and_labelled() -> None:
    small = RIG.model_copy(update={"image_width": 96, "image_height": 54})
    first = list(labelled_images(7, 3, small, images_per_city=3))
    again = list(labelled_images(7, 3, small, images_per_city=3))
    assert len(first) == 3
    for (rgb, category), (rgb_again, category_again) in zip(first, again, strict=True):
        assert rgb.shape == (54, 96, 3)
        assert category.shape == (54, 96)
        assert rgb.dtype == category.dtype == np.uint8
        np.testing.assert_array_equal(rgb, rgb_again)
        np.testing.assert_array_equal(category, category_again)
        assert set(np.unique(category)) <= {*range(1, 31), categories.SKY}
        assert rgb.std() > 15
    assert (first[0][0] != first[1][0]).mean() > 0.5


def test_no_two_uses_share_a_stream() -> None:
    draws = {
        float(seeds.generator(seed, use, index, part).random())
        for seed in range(3)
        for use in (seeds.TRAIN, seeds.VAL, seeds.BAG, seeds.IMAGES)
        for index in range(3)
        for part in range(3)
    }
    assert len(draws) == 3 * 4 * 3 * 3


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: sum(x * x for x in q) > 0.01))
def test_quaternions_survive_the_way_there_and_back(values: list[float]) -> None:
    rotation = poses.rotation(np.array(values))
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(poses.rotation(poses.quaternion(rotation)), rotation, atol=1e-9)


@pytest.mark.parametrize(("yaw", "expected"), [(0.0, (0, 0, 1)), (90.0, (-1, 0, 0))])
def test_cameras_look_along_their_yaw(yaw: float, expected: tuple[float, float, float]) -> None:
    camera = RIG.cameras[0].model_copy(update={"yaw_deg": yaw})
    ego_from_camera = camera.ego_from_camera()
    # What the forward camera sees ahead lies, for a camera turned left, on its right.
    forward_camera = RIG.cameras[0].ego_from_camera()
    direction = poses.inverse(forward_camera)[:3, :3] @ ego_from_camera[:3, :3] @ np.array([0, 0, 1.0])
    np.testing.assert_allclose(direction, expected, atol=1e-12)
