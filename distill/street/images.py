"""Labelled pictures of many cities, to train an image teacher on other seeds than the datasets'."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np

from distill.street import camera, poses, seeds
from distill.street.categories import OTHER_FLAT, ROAD, SIDEWALK, TERRAIN
from distill.street.city import City
from distill.street.layout import random_city
from distill.street.raycast import Caster
from distill.street.rig import Rig

Picture = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class _CityJob:
    seed: int
    index: int
    pictures: int
    rig: Rig


def labelled_images(seed: int, count: int, rig: Rig, images_per_city: int = 3, processes: int = 1) -> Iterator[Picture]:
    """Yields `count` pictures from random places, directions and lenses, in an order that depends on the seed alone.

    Args:
        seed: never shares a city with a dataset, whatever the dataset's seed.
        count: number of pictures.
        rig: gives the size of the pictures and the range of lenses.
        images_per_city: a new city after so many; making one costs about as much as two pictures.
        processes: worker processes; 1 works in this one.

    Yields:
        rgb (H, W, 3) uint8 and category (H, W) uint8: index of `categories.NAMES`, 255 (`categories.SKY`) for sky.
    """
    jobs = [
        _CityJob(seed, i, min(images_per_city, count - start), rig) for i, start in enumerate(range(0, count, images_per_city))
    ]
    if processes == 1:
        for job in jobs:
            yield from _pictures(job)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for pictures in pool.map(_pictures, jobs):
            yield from pictures


def _pictures(job: _CityJob) -> list[Picture]:
    rng = seeds.generator(job.seed, seeds.IMAGES, job.index)
    city = random_city(rng, 4.0)
    caster = city.caster(0.0)
    size = (job.rig.image_width, job.rig.image_height)
    lenses = [mounted.fov_deg for mounted in job.rig.cameras]
    taken: list[Picture] = []
    while len(taken) < job.pictures:
        fov = rng.uniform(min(lenses) * 0.8, max(lenses))
        focal = size[0] / 2 / np.tan(np.radians(fov) / 2)
        intrinsic = np.array([[focal, 0, size[0] / 2], [0, focal, size[1] / 2], [0, 0, 1.0]])
        world_from_ego = _place(rng, city)
        pitch = np.radians(rng.normal(0, 3))
        forward = np.array([[0, np.sin(pitch), np.cos(pitch)], [-1, 0, 0], [0, -np.cos(pitch), np.sin(pitch)]])
        ego_from_camera = poses.pose(0, 0, rng.uniform(1.3, 2.0))
        ego_from_camera[:3, :3] = forward
        world_from_camera = world_from_ego @ ego_from_camera
        if not _boxed_in(caster, world_from_camera, camera.pixel_rays(intrinsic, *size, world_from_camera)[::97]):
            taken.append(camera.photograph(caster, city.look, intrinsic, size, world_from_camera, job.index * 100 + len(taken)))
    return taken


def _place(rng: np.random.Generator, city: City) -> np.ndarray:
    """world_from_ego: anywhere on the street in any direction or, half the time, a few metres from some actor, facing it."""
    edge = city.section.kerb_m + (2.0 if rng.random() < 0.3 else -city.section.parking_m)
    s, t, yaw = rng.uniform(-25, 55), rng.uniform(-edge, edge), rng.uniform(0, 2 * np.pi)
    if rng.random() < 0.5:
        # Each category is as likely as the next, so that a bicycle is met as often as a car.
        categories = sorted({actor.category for actor in city.actors})
        wanted = categories[rng.integers(len(categories))]
        members = [actor for actor in city.actors if actor.category == wanted]
        actor = members[rng.integers(len(members))]
        low, high = actor.soup.bounds
        away = float(np.clip(np.linalg.norm(high - low) * rng.uniform(1.2, 3.0), 2.5, 14.0))
        direction = rng.uniform(0, 2 * np.pi)
        s, t = actor.s_m + away * np.cos(direction), float(np.clip(actor.t_m + away * np.sin(direction), -edge, edge))
        yaw = np.arctan2(actor.t_m - t, actor.s_m - s) + rng.normal(0, 0.2)
    return city.road.pose(s, t, yaw, city.lift(s, t))


def _boxed_in(caster: Caster, world_from_camera: np.ndarray, rays: np.ndarray) -> bool:
    """Whether the camera is in or on something rather than over the ground, or close against something."""
    eye = world_from_camera[None, :3, 3].astype(np.float32)
    below, _ = caster.first(eye, np.array([[0, 0, -1]], np.float32))
    if caster.soup.category[below[0]] not in (ROAD, OTHER_FLAT, SIDEWALK, TERRAIN):
        return True
    triangle, distance = caster.first(np.repeat(eye, len(rays), axis=0), rays)
    return bool(((triangle >= 0) & (distance < 1.2)).mean() > 0.15)
