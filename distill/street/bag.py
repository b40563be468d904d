"""A drive as a rosbag2 MCAP: labelled clouds at 10 Hz, six compressed images at 2 Hz, calibration and transforms.

Topics: /lidar_points (sensor_msgs/PointCloud2, frame "lidar", fields x y z intensity ring category),
/camera/<name>/image/compressed (jpeg), /camera/<name>/camera_info, /tf (map -> base_link),
/tf_static (base_link -> lidar and the cameras' optical frames).
`category` is the index in nuScenes-lidarseg's 32 categories. The lidar frame is nuScenes' LIDAR_TOP (x right, y forward, z up);
base_link is the ego frame (REP-103: x forward, y left, z up).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from distill.street import camera, lidar, poses, seeds
from distill.street.city import City
from distill.street.layout import random_city
from distill.street.raycast import Caster
from distill.street.rig import Rig

SCAN_S = 0.1
IMAGE_EVERY_SCANS = 5
_START_NS = 1_600_000_000_000_000_000

# PointCloud2's layout: name, byte offset, datatype (7 float32, 4 uint16, 2 uint8), numpy type.
_FIELDS = (
    ("x", 0, 7, "<f4"),
    ("y", 4, 7, "<f4"),
    ("z", 8, 7, "<f4"),
    ("intensity", 12, 7, "<f4"),
    ("ring", 16, 4, "<u2"),
    ("category", 18, 2, "u1"),
)
POINT = np.dtype(
    {"names": [f[0] for f in _FIELDS], "offsets": [f[1] for f in _FIELDS], "formats": [f[3] for f in _FIELDS], "itemsize": 20}
)


@dataclass(frozen=True)
class BagJob:
    """What a worker needs to make the bag."""

    path: Path
    rig: Rig
    seed: int
    scans: int


def _qos(depth: int, reliability: QosReliability, durability: QosDurability) -> Qos:
    forever = QosTime(sec=2147483647, nsec=4294967295)
    return Qos(QosHistory.KEEP_LAST, depth, reliability, durability, forever, forever, QosLiveliness.AUTOMATIC, forever, False)


def _profiles() -> dict[str, list[Qos]]:
    sensor = _qos(5, QosReliability.BEST_EFFORT, QosDurability.VOLATILE)
    return {
        "/tf_static": [_qos(1, QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL)],
        "/tf": [_qos(100, QosReliability.RELIABLE, QosDurability.VOLATILE)],
        "sensor": [sensor],
    }


class _Recorder:
    """Writes messages to one bag, opening topics as they come."""

    def __init__(self, writer: Writer):
        self.types: Any = get_typestore(Stores.ROS2_JAZZY)
        self._writer = writer
        self._connections: dict[str, Any] = {}
        self._profiles = _profiles()

    def header(self, stamp_ns: int, frame: str) -> Any:
        """std_msgs/Header."""
        time = self.types.types["builtin_interfaces/msg/Time"](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
        return self.types.types["std_msgs/msg/Header"](stamp=time, frame_id=frame)

    def write(self, topic: str, kind: str, stamp_ns: int, **values: Any) -> None:
        """Writes one message of type `kind` with these field values."""
        if topic not in self._connections:
            qos = self._profiles.get(topic, self._profiles["sensor"])
            self._connections[topic] = self._writer.add_connection(topic, kind, typestore=self.types, offered_qos_profiles=qos)
        message = self.types.types[kind](**values)
        self._writer.write(self._connections[topic], stamp_ns, self.types.serialize_cdr(message, kind))

    def transform(self, stamp_ns: int, parent: str, child: str, parent_from_child: np.ndarray) -> Any:
        """geometry_msgs/TransformStamped."""
        make = self.types.types
        w, x, y, z = poses.quaternion(parent_from_child[:3, :3])
        place = make["geometry_msgs/msg/Vector3"](*map(float, parent_from_child[:3, 3]))
        turn = make["geometry_msgs/msg/Quaternion"](x=x, y=y, z=z, w=w)
        body = make["geometry_msgs/msg/Transform"](translation=place, rotation=turn)
        return make["geometry_msgs/msg/TransformStamped"](
            header=self.header(stamp_ns, parent), child_frame_id=child, transform=body
        )


def make_bag(job: BagJob) -> None:
    """Renders the drive of `job.scans` scans and writes the bag folder."""
    city = random_city(seeds.generator(job.seed, seeds.BAG, 0), SCAN_S * job.scans)
    with Writer(job.path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        recorder = _Recorder(writer)
        mounts = {"lidar": job.rig.lidar.ego_from_lidar()} | {m.name.lower(): m.ego_from_camera() for m in job.rig.cameras}
        transforms = [recorder.transform(_START_NS, "base_link", name, pose) for name, pose in mounts.items()]
        recorder.write("/tf_static", "tf2_msgs/msg/TFMessage", _START_NS, transforms=transforms)
        for scan in range(job.scans):
            stamp_ns = _START_NS + scan * round(SCAN_S * 1e9)
            caster = city.caster(scan * SCAN_S)
            world_from_ego = city.world_from_ego(scan * SCAN_S)
            pose = recorder.transform(stamp_ns, "map", "base_link", world_from_ego)
            recorder.write("/tf", "tf2_msgs/msg/TFMessage", stamp_ns, transforms=[pose])
            if scan % IMAGE_EVERY_SCANS == 0:
                _images(recorder, job.rig, city, caster, stamp_ns, world_from_ego, scan)
            world_from_lidar = world_from_ego @ job.rig.lidar.ego_from_lidar()
            rng = seeds.generator(job.seed, seeds.BAG, 0, 1 + scan)
            points, category, _ = lidar.scan(caster, city.look, job.rig.lidar, world_from_lidar, rng)
            _cloud(recorder, stamp_ns, points, category)


def _cloud(recorder: _Recorder, stamp_ns: int, points: np.ndarray, category: np.ndarray) -> None:
    cloud = np.zeros(len(points), POINT)
    for column, name in enumerate(("x", "y", "z", "intensity", "ring")):
        cloud[name] = points[:, column]
    cloud["category"] = category
    field = recorder.types.types["sensor_msgs/msg/PointField"]
    recorder.write(
        "/lidar_points",
        "sensor_msgs/msg/PointCloud2",
        stamp_ns,
        header=recorder.header(stamp_ns, "lidar"),
        height=1,
        width=len(cloud),
        fields=[field(name=name, offset=offset, datatype=datatype, count=1) for name, offset, datatype, _ in _FIELDS],
        is_bigendian=False,
        point_step=POINT.itemsize,
        row_step=POINT.itemsize * len(cloud),
        data=np.frombuffer(cloud.tobytes(), np.uint8),
        is_dense=True,
    )


def _images(
    recorder: _Recorder, rig: Rig, city: City, caster: Caster, stamp_ns: int, world_from_ego: np.ndarray, scan: int
) -> None:
    """All cameras at once, at the scan's own stamp: /tf has no pose between scans."""
    size = (rig.image_width, rig.image_height)
    region = recorder.types.types["sensor_msgs/msg/RegionOfInterest"](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
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
