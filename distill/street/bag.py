"""A drive as a rosbag2 MCAP: labelled clouds at 10 Hz, six compressed images at 2 Hz, calibration and transforms.

Topics: /lidar_points (sensor_msgs/PointCloud2, frame "lidar", fields x y z intensity ring category),
/camera/<name>/image/compressed (jpeg), /camera/<name>/camera_info, /tf (map -> base_link),
/tf_static (base_link -> lidar and the cameras' optical frames).
`category` is the index in nuScenes-lidarseg's 32 categories. The lidar frame is nuScenes' LIDAR_TOP (x right, y forward, z up);
base_link is the ego frame (REP-103: x forward, y left, z up).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distill.street import camera, lidar, poses, seeds
from distill.street.city import City
from distill.street.layout import random_city
from distill.street.raycast import Caster
from distill.street.rig import Rig
from relidar.cloud_writer import FIXED_TRANSFORMS, TRANSFORMS, BagWriter, Pose, cloud_of, record

SCAN_S = 0.1
IMAGE_EVERY_SCANS = 5
_START_NS = 1_600_000_000_000_000_000


@dataclass(frozen=True)
class BagJob:
    """What a worker needs to make the bag."""

    path: Path
    rig: Rig
    seed: int
    scans: int


def make_bag(job: BagJob) -> None:
    """Renders the drive of `job.scans` scans and writes the bag folder."""
    city = random_city(seeds.generator(job.seed, seeds.BAG, 0), SCAN_S * job.scans)
    with record(job.path) as recorder:
        mounts = {"lidar": job.rig.lidar.ego_from_lidar()} | {m.name.lower(): m.ego_from_camera() for m in job.rig.cameras}
        recorder.transforms(FIXED_TRANSFORMS, _START_NS, [_pose("base_link", name, pose) for name, pose in mounts.items()])
        for scan in range(job.scans):
            stamp_ns = _START_NS + scan * round(SCAN_S * 1e9)
            caster = city.caster(scan * SCAN_S)
            world_from_ego = city.world_from_ego(scan * SCAN_S)
            recorder.transforms(TRANSFORMS, stamp_ns, [_pose("map", "base_link", world_from_ego)])
            if scan % IMAGE_EVERY_SCANS == 0:
                _images(recorder, job.rig, city, caster, stamp_ns, world_from_ego, scan)
            world_from_lidar = world_from_ego @ job.rig.lidar.ego_from_lidar()
            rng = seeds.generator(job.seed, seeds.BAG, 0, 1 + scan)
            points, category, _ = lidar.scan(caster, city.look, job.rig.lidar, world_from_lidar, rng)
            _cloud(recorder, stamp_ns, points, category)


def _pose(parent: str, child: str, parent_from_child: np.ndarray) -> Pose:
    return Pose(parent, child, parent_from_child[:3, 3], poses.quaternion(parent_from_child[:3, :3]))


def _cloud(recorder: BagWriter, stamp_ns: int, points: np.ndarray, category: np.ndarray) -> None:
    columns = {name: points[:, column] for column, name in enumerate(("x", "y", "z", "intensity"))}
    fields = columns | {"ring": points[:, 4].astype(np.uint16), "category": category.astype(np.uint8)}
    layout, data = cloud_of(fields)
    recorder.cloud("/lidar_points", stamp_ns, "lidar", layout, data, is_dense=True)


def _images(
    recorder: BagWriter, rig: Rig, city: City, caster: Caster, stamp_ns: int, world_from_ego: np.ndarray, scan: int
) -> None:
    """All cameras at once, at the scan's own stamp: /tf has no pose between scans."""
    size = (rig.image_width, rig.image_height)
    region = recorder.make("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    for mounted in rig.cameras:
        name, k = mounted.name.lower(), mounted.intrinsic(*size)
        rgb, _ = camera.photograph(caster, city.look, k, size, world_from_ego @ mounted.ego_from_camera(), scan)
        data = np.frombuffer(camera.jpeg(rgb, rig.jpeg_quality), np.uint8)
        header = recorder.header(stamp_ns, name)
        recorder.write(
            f"/camera/{name}/image/compressed",
            "sensor_msgs/msg/CompressedImage",
            stamp_ns,
            header=header,
            format="jpeg",
            data=data,
        )
        recorder.write(
            f"/camera/{name}/camera_info",
            "sensor_msgs/msg/CameraInfo",
            stamp_ns,
            header=header,
            height=size[1],
            width=size[0],
            distortion_model="plumb_bob",
            d=np.zeros(5),
            k=k.reshape(-1),
            r=np.eye(3).reshape(-1),
            p=np.hstack([k, np.zeros((3, 1))]).reshape(-1),
            binning_x=0,
            binning_y=0,
            roi=region,
        )
