"""Writes labelled datasets as ROS 2 bags whose clouds carry the truth, for `relidar.replay` or any other evaluation.

    python -m distill.to_bag nuscenes /data/nuscenes --version v1.0-mini --scene scene-0061 --out scene-0061
    python -m distill.to_bag semantic-kitti /data/sequences/08 --out kitti08
    python -m distill.to_bag scans /data/scans --scan-set configs/scan_sets/semantickitti-range.yaml --out scans
    python -m relidar.replay kitti08 --bundle runs/demo/bundle --out runs/kitti08 \\
        --truth-field category --truth-map configs/label_maps/semantickitti.yaml

OUT is a rosbag2 folder (MCAP). Topic /lidar_points: sensor_msgs/PointCloud2 in frame "lidar" with x, y, z, intensity, ring (where
the dataset has it) and category, the dataset's own numbers: the index in nuScenes-lidarseg's 32 categories, SemanticKITTI's raw
class, or the label of the .npz. A full return has intensity 255, as with ROS drivers and nuScenes; --intensity-max changes that
for a bundle of another unit. nuScenes and, with poses.txt and calib.txt, SemanticKITTI also bring /tf. `scans` adds
label_map.yaml, the scan set as the map that replay takes.
"""

from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from tqdm import tqdm

from distill.labelled_drives import (
    LIDAR,
    Drive,
    DriveScan,
    nuscenes_drive,
    scan_folder_drive,
    semantic_kitti_drive,
)
from distill.scan_folder import ScanSet
from relidar import command_line, config_file
from relidar.atomic import write_text
from relidar.cloud_writer import FIXED_TRANSFORMS, TRANSFORMS, BagWriter, cloud_of, record
from relidar.label_map import LabelMap

TOPIC = "/lidar_points"
TRUTH_FIELD = "category"
LABEL_MAP = "label_map.yaml"


def write_bag(drive: Drive, out: Path, label_map: LabelMap | None = None) -> None:
    """Writes a drive as the bag folder `out`, with a label map beside the recording if there is one.

    Raises:
        DatasetError: a scan cannot be read; nothing is written then.
    """
    with record(out) as writer:
        for number, scan in enumerate(tqdm(drive.scans, desc=out.name, total=drive.count, unit="scan")):
            if number == 0 and drive.fixed_poses:
                writer.transforms(FIXED_TRANSFORMS, scan.stamp_ns, drive.fixed_poses)
            if scan.poses:
                writer.transforms(TRANSFORMS, scan.stamp_ns, scan.poses)
            _write_cloud(writer, scan)
    if label_map is not None:
        fields = label_map.model_dump(mode="json", include=set(LabelMap.model_fields))
        write_text(out / LABEL_MAP, yaml.safe_dump(fields, sort_keys=False, default_flow_style=None))


def _write_cloud(writer: BagWriter, scan: DriveScan) -> None:
    columns: dict[str, Any] = {name: scan.xyz_m[:, axis] for axis, name in enumerate("xyz")}
    columns["intensity"] = scan.intensity
    if scan.ring is not None:
        columns["ring"] = scan.ring
    columns[TRUTH_FIELD] = scan.category
    layout, data = cloud_of(columns)
    writer.cloud(TOPIC, scan.stamp_ns, LIDAR, layout, data, is_dense=bool(np.isfinite(scan.xyz_m).all()))


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise ArgumentTypeError(f"{text!r} is not a positive number")
    return value


def main() -> None:
    """The command."""
    parser = command_line.parser(__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    common = ArgumentParser(add_help=False)
    common.add_argument("input", type=Path, help="folder of the dataset")
    common.add_argument("--out", type=Path, required=True, help="bag folder to write; an old one is replaced")
    common.add_argument("--intensity-max", type=_positive, default=255.0, help="a full return in the bag (default %(default)s)")
    nuscenes = kinds.add_parser("nuscenes", parents=[common], help="keyframes of nuScenes scenes with lidarseg labels")
    nuscenes.add_argument("--version", default="v1.0-trainval", help="folder of the tables (default %(default)s)")
    nuscenes.add_argument("--scene", action="append", default=[], help="name of a scene, repeatable (default: all)")
    kinds.add_parser("semantic-kitti", parents=[common], help="one sequence: velodyne/*.bin, labels/*.label, times.txt")
    scans = kinds.add_parser("scans", parents=[common], help="a folder of labelled .npz scans")
    scans.add_argument("--scan-set", type=Path, required=True, help="what the labels and intensities mean (configs/scan_sets)")
    scans.add_argument("--rate-hz", type=_positive, default=10.0, help="scans a second (default %(default)s)")
    arguments = parser.parse_args()
    label_map = None
    if arguments.kind == "nuscenes":
        drive = nuscenes_drive(arguments.input, arguments.version, arguments.scene, arguments.intensity_max)
    elif arguments.kind == "semantic-kitti":
        drive = semantic_kitti_drive(arguments.input, arguments.intensity_max)
    else:
        label_map = config_file.load(arguments.scan_set, ScanSet)
        drive = scan_folder_drive(arguments.input, label_map, arguments.rate_hz, arguments.intensity_max)
    write_bag(drive, arguments.out, label_map)
    command_line.say(f"{drive.count} clouds on {TOPIC}, truth in the field {TRUTH_FIELD}: {arguments.out}")


if __name__ == "__main__":
    command_line.run(main)
