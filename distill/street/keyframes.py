"""One scene as nuScenes records and files: a LiDAR scan and six images every half second, boxes, poses."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distill.street import camera, categories, lidar, poses, seeds
from distill.street.city import City
from distill.street.layout import random_city
from distill.street.raycast import Caster
from distill.street.rig import Rig
from distill.street.seeds import token

VERSION = "v1.0-trainval"
KEYFRAME_S = 0.5
# Scenes lie far from the global origin, as nuScenes' do.
_GLOBAL_FROM_WORLD_M = np.array([400.0, 1100.0, 0.0])
_START_US = 1_700_000_000_000_000

Records = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class SceneJob:
    """What a worker needs to make one scene."""

    folder: Path
    rig: Rig
    seed: int
    use: int  # seeds.TRAIN or seeds.VAL
    index: int  # within its use
    number: int  # in the dataset: names and stamps
    keyframes: int

    @property
    def name(self) -> str:
        """The scene's name in the tables and splits."""
        return f"street-{self.number:04d}"


def make_scene(job: SceneJob) -> Records:
    """Renders a scene into the dataset folder and returns its table records."""
    city = random_city(seeds.generator(job.seed, job.use, job.index), KEYFRAME_S * job.keyframes)
    records: Records = {name: [] for name in ("sample", "sample_data", "ego_pose", "lidarseg", "sample_annotation", "instance")}
    scene_token = token(job.seed, job.name)
    samples = [token(job.seed, job.name, "sample", k) for k in range(job.keyframes)]
    for k in range(job.keyframes):
        stamp_us = _START_US + job.number * 60_000_000 + int(k * KEYFRAME_S * 1e6)
        records["sample"].append(
            {"token": samples[k], "timestamp": stamp_us, "scene_token": scene_token} | _neighbours(samples, k)
        )
        caster = city.caster(k * KEYFRAME_S)
        _lidar_keyframe(job, city, caster, k, stamp_us, samples[k], records)
        for mounted in job.rig.cameras:
            _camera_keyframe(job, city, caster, k, stamp_us, samples[k], mounted.name, records)
    _link(records)
    records["scene"] = [
        {
            "token": scene_token,
            "log_token": token("log"),
            "nbr_samples": job.keyframes,
            "first_sample_token": samples[0],
            "last_sample_token": samples[-1],
            "name": job.name,
            "description": "Simulated street, " + ", ".join(sorted({side.kind for side in city.sides})),
        }
    ]
    return records


def _neighbours(tokens: list[str], k: int) -> dict[str, str]:
    return {"prev": tokens[k - 1] if k else "", "next": tokens[k + 1] if k + 1 < len(tokens) else ""}


def _sensor_record(
    job: SceneJob, city: City, k: int, stamp_us: int, delay_s: float, sample: str, channel: str, records: Records
) -> tuple[str, str]:
    """Adds sample_data and ego_pose of one measurement; returns its token and file name."""
    is_lidar = channel == "LIDAR_TOP"
    tokens = [token(job.seed, job.name, channel, i) for i in range(job.keyframes)]
    measured_us = stamp_us + round(delay_s * 1e6)
    name = f"samples/{channel}/{job.name}__{channel}__{measured_us}.{'pcd.bin' if is_lidar else 'jpg'}"
    world_from_ego = city.world_from_ego(k * KEYFRAME_S + delay_s)
    records["ego_pose"].append(
        {
            "token": tokens[k],
            "timestamp": measured_us,
            "rotation": list(poses.quaternion(world_from_ego[:3, :3])),
            "translation": (world_from_ego[:3, 3] + _GLOBAL_FROM_WORLD_M).tolist(),
        }
    )
    records["sample_data"].append(
        {
            "token": tokens[k],
            "sample_token": sample,
            "ego_pose_token": tokens[k],
            "calibrated_sensor_token": token("calibrated", channel),
            "timestamp": measured_us,
            "fileformat": "pcd" if is_lidar else "jpg",
            "is_key_frame": True,
            "height": 0 if is_lidar else job.rig.image_height,
            "width": 0 if is_lidar else job.rig.image_width,
            "filename": name,
        }
        | _neighbours(tokens, k)
    )
    return tokens[k], name


def _lidar_keyframe(job: SceneJob, city: City, caster: Caster, k: int, stamp_us: int, sample: str, records: Records) -> None:
    data_token, name = _sensor_record(job, city, k, stamp_us, 0.0, sample, "LIDAR_TOP", records)
    world_from_lidar = city.world_from_ego(k * KEYFRAME_S) @ job.rig.lidar.ego_from_lidar()
    rng = seeds.generator(job.seed, job.use, job.index, 1 + k)
    points, category, _ = lidar.scan(caster, city.look, job.rig.lidar, world_from_lidar, rng)
    points.tofile(job.folder / name)
    labels = f"lidarseg/{VERSION}/{data_token}_lidarseg.bin"
    category.tofile(job.folder / labels)
    records["lidarseg"].append({"token": data_token, "sample_data_token": data_token, "filename": labels})
    counter = lidar.BoxCounter(poses.transformed(world_from_lidar, points[:, :3].astype(np.float64)))
    for i, actor in enumerate(city.actors):
        world_from_box, size = actor.box(city.road, k * KEYFRAME_S)
        if np.linalg.norm(world_from_box[:3, 3] - world_from_lidar[:3, 3]) > job.rig.lidar.max_range_m:
            continue
        # nuScenes boxes turn about the vertical only.
        yaw = np.arctan2(world_from_box[1, 0], world_from_box[0, 0])
        x, y, z = world_from_box[:3, 3].tolist()
        world_from_box = poses.pose(x, y, z, yaw)
        count = counter.inside(world_from_box, size)
        if not count:
            continue
        records["sample_annotation"].append(
            {
                "token": token(job.seed, job.name, "annotation", i, k),
                "sample_token": sample,
                "instance_token": token(job.seed, job.name, "instance", i),
                "visibility_token": str(1 + _visibility(caster, city, i, k * KEYFRAME_S, world_from_lidar[:3, 3])),
                "attribute_tokens": [token("attribute", actor.attribute)] if actor.attribute else [],
                "translation": (world_from_box[:3, 3] + _GLOBAL_FROM_WORLD_M).tolist(),
                "size": [size[1], size[0], size[2]],
                "rotation": list(poses.quaternion(world_from_box[:3, :3])),
                "num_lidar_pts": count,
                "num_radar_pts": 0,
                "category": actor.category,
            }
        )


def _visibility(caster: Caster, city: City, index: int, time_s: float, eye: np.ndarray) -> int:
    """Level 0-3 of `categories.VISIBILITY`: the share of sight lines to the actor that nothing else cuts."""
    actor = city.actors[index]
    corners = actor.soup.corners.reshape(-1, 3)
    targets = poses.transformed(actor.world_from_actor(city.road, time_s), corners[:: max(1, len(corners) // 40)])
    rays = (targets - eye).astype(np.float32)
    triangle, _ = caster.first(np.broadcast_to(eye.astype(np.float32), rays.shape).copy(), rays)
    own = caster.soup.instance[triangle] == index
    return int(np.digitize(own.mean(), (0.4, 0.6, 0.8)))


def _camera_keyframe(
    job: SceneJob, city: City, caster: Caster, k: int, stamp_us: int, sample: str, channel: str, records: Records
) -> None:
    mounted = next(c for c in job.rig.cameras if c.name == channel)
    delay_s = mounted.delay_ms / 1e3
    _, name = _sensor_record(job, city, k, stamp_us, delay_s, sample, channel, records)
    size = (job.rig.image_width, job.rig.image_height)
    # The camera sees from where the car is at the camera's stamp; what moves stands where it was at the LiDAR's.
    world_from_camera = city.world_from_ego(k * KEYFRAME_S + delay_s) @ mounted.ego_from_camera()
    rgb, _ = camera.photograph(caster, city.look, mounted.intrinsic(*size), size, world_from_camera, job.number * 1000 + k)
    (job.folder / name).write_bytes(camera.jpeg(rgb, job.rig.jpeg_quality))


def _link(records: Records) -> None:
    """Adds prev and next to the annotations and the instance table that they form."""
    by_instance: dict[str, list[dict[str, Any]]] = {}
    for annotation in records["sample_annotation"]:
        by_instance.setdefault(annotation["instance_token"], []).append(annotation)
    for instance, annotations in by_instance.items():
        tokens = [annotation["token"] for annotation in annotations]
        category = annotations[0]["category"]
        for k, annotation in enumerate(annotations):
            del annotation["category"]
            annotation.update(_neighbours(tokens, k))
        records["instance"].append(
            {
                "token": instance,
                "category_token": token("category", categories.NAMES[category]),
                "nbr_annotations": len(tokens),
                "first_annotation_token": tokens[0],
                "last_annotation_token": tokens[-1],
            }
        )
