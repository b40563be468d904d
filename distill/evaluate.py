"""How well a student names points that nobody labelled for it: mean IoU over raw points.

    python -m distill.evaluate zero-shot --config configs/street.yaml --checkpoint runs/demo/train/student.pt
    python -m distill.evaluate scans FOLDER --bundle runs/demo/bundle --scan-set configs/scan_sets/semantickitti-range.yaml \\
        --corrupt rain --corrupt fog --corrupt beam-drop:3 --out runs/kitti.json

`zero-shot` runs a checkpoint on the validation split of a nuScenes dataset; `scans` runs a bundle on a folder of labelled .npz
scans, such as those of another sensor. `--corrupt` measures both again in bad weather and with a failing sensor, as replay does,
and draws mean IoU against severity beside OUT (relidar.corruptions says what each severity is). A point whose return is lost or
replaced counts as a miss of its true class; the mean IoU of the returns left stands beside it.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from distill.checkpoint import load_student
from distill.config import TrainConfig
from distill.nuscenes_frames import Keyframe, read_cloud, read_keyframes, read_lidarseg
from distill.pooling import pool
from distill.scan_folder import ScanSet, list_scans, read_scan
from distill.structure import structure_gaps
from distill.student import LEVELS
from distill.teacher_cache import view_keyframe
from distill.teachers import make_teacher
from distill.torch_executor import TorchExecutor, student_segmenter
from relidar import charts, command_line, config_file
from relidar.atomic import write_text
from relidar.bundle import open_bundle
from relidar.corruptions import KINDS
from relidar.errors import DatasetError
from relidar.label_map import LabelMap, load_label_map
from relidar.metrics import Confusion
from relidar.prompts import ClassPrompts
from relidar.robustness import Robustness, expand, plot
from relidar.rulebook import build_rulebook
from relidar.segmenter import Segmenter
from relidar.voxels import voxelise

Cloud = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.integer]]
"""xyz_m (N, 3), intensity (N,), true label (N,)."""
STRUCTURE_FRAMES = 4
"""Keyframes that the structural gaps are averaged over, at most; each costs a run of the teacher."""


def score(
    segmenter: Segmenter,
    classes: Iterable[ClassPrompts],
    clouds: Iterable[Cloud],
    label_map: LabelMap,
    corruptions: Sequence[str] = (),
    intensity_max: float = 255.0,
) -> dict[str, Any]:
    """Labels clouds and compares them with the truth: {miou, class_iou, points, scans, robustness}, IoU in percent.

    The mean is over the classes that occur in the truth; class_iou holds None for the others. Robustness is the report of
    relidar.robustness, None without `corruptions` (such as "rain:3"); `intensity_max` is a full return in the clouds.
    """
    confusion, robustness = Confusion(label_map.names), Robustness(label_map.names, corruptions)
    truth_of, prediction_of = label_map.truth_lookup(), label_map.prediction_lookup(tuple(classes))

    def predict(xyz_m: NDArray[np.float32], intensity: NDArray[np.float32] | None) -> NDArray[np.uint8]:
        return prediction_of[segmenter(xyz_m, intensity).label]

    scans = 0
    for xyz_m, intensity, label in clouds:
        truth, prediction = truth_of[label], predict(xyz_m, intensity)
        confusion.update(truth, prediction)
        robustness.scan(scans, (xyz_m, intensity), intensity_max, truth, prediction, predict)
        scans += 1
    return {
        "miou": confusion.miou_percent(),
        "class_iou": confusion.iou_percent(),
        "points": confusion.points,
        "scans": scans,
        "robustness": robustness.report(confusion),
    }


def zero_shot(config: TrainConfig, checkpoint_path: Path, label_map: LabelMap, corruptions: Sequence[str]) -> dict[str, Any]:
    """Scores a checkpoint on the validation split, and measures the structural gaps between it and the teacher there."""
    checkpoint = load_student(checkpoint_path)
    frames = read_keyframes(config.data, config.data.val_split)
    clouds = (_labelled_cloud(frame) for frame in tqdm(frames, desc="zero-shot", unit="keyframe"))
    segmenter, classes = student_segmenter(checkpoint), checkpoint.prompt_set.classes
    result = score(segmenter, classes, clouds, label_map, corruptions, checkpoint.preprocessing.intensity_max)
    teacher = make_teacher(config.teacher)
    executor = TorchExecutor(checkpoint.student)
    gaps = []
    for frame in tqdm(frames[:: -(-len(frames) // STRUCTURE_FRAMES)], desc="structure", unit="keyframe"):
        view = view_keyframe(frame, teacher, config.superpixels, config.occlusion)
        voxels = voxelise(*read_cloud(frame.cloud), checkpoint.preprocessing)
        features = executor(voxels.features, build_rulebook(voxels.coordinates, LEVELS))
        voxel = voxels.voxel_of_point[view.point]
        seen, row = np.unique(view.superpixel[voxel >= 0], return_inverse=True)
        k = pool(torch.from_numpy(features), torch.from_numpy(voxel[voxel >= 0]), torch.from_numpy(row), len(seen))
        q = torch.nn.functional.normalize(torch.from_numpy(view.features[seen]).float(), dim=1)
        gaps.append(structure_gaps(k, q))
    result["structure"] = {name: float(np.mean([gap[name] for gap in gaps])) for name in gaps[0]}
    return result


def scan_folder(folder: Path, bundle_path: Path, scan_set: ScanSet, backend: str, corruptions: Sequence[str]) -> dict[str, Any]:
    """Scores a bundle on the labelled scans of a folder; the result states the class mapping."""
    from relidar.backends import open_executor  # here, since a machine that only trains has no ONNX Runtime

    paths = list_scans(folder)
    bundle = open_bundle(bundle_path)
    segmenter = Segmenter.of_bundle(bundle, open_executor(bundle, backend))
    intensity_max = bundle.manifest.preprocessing.intensity_max
    gain = np.float32(intensity_max / scan_set.intensity_max)
    scans = (read_scan(path) for path in tqdm(paths, desc=scan_set.name, unit="scan"))
    clouds = ((scan.xyz_m, scan.intensity * gain, scan.label) for scan in scans)
    result = score(segmenter, bundle.manifest.classes, clouds, scan_set, corruptions, intensity_max)
    result["mapping"] = {c.name: list(c.predicted) for c in scan_set.classes}
    return result


def _labelled_cloud(frame: Keyframe) -> Cloud:
    if frame.lidarseg is None:
        raise DatasetError(f"{frame.cloud}: the dataset has no lidarseg table, so there is nothing to compare labels with.")
    xyz_m, intensity = read_cloud(frame.cloud)
    return xyz_m, intensity, read_lidarseg(frame.lidarseg, len(xyz_m))


def table(result: dict[str, Any]) -> str:
    """A result as lines of text."""
    lines = [f"{name:24s} {'absent' if iou is None else f'{iou:6.1f}'}" for name, iou in result["class_iou"].items()]
    present = sum(iou is not None for iou in result["class_iou"].values())
    mean = "none" if result["miou"] is None else f"{result['miou']:.1f}"
    lines.append(f"mean IoU {mean} % over {present} classes, {result['points']} points of {result['scans']} scans")
    for row in result["robustness"]["rows"] if result["robustness"] else ():
        whole, left = ("none" if row[k] is None else f"{row[k]:.1f}" for k in ("miou_percent", "left_miou_percent"))
        gone = row["lost_percent"] + row["replaced_percent"]
        name = f"{row['kind']}:{row['severity']}"
        lines.append(f"{name:18s} mIoU {whole:>5s}   of the returns left {left:>5s}   returns lost or replaced {gone:5.1f} %")
    return "\n".join(lines)


def main() -> None:
    """The command."""
    parser = command_line.parser(__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--out", type=Path, help="write the result here as JSON")
    words = f"KIND[:SEVERITY], repeatable; KIND: {', '.join(KINDS)}; SEVERITY: 1 to 5 (default: all)"
    common.add_argument("--corrupt", action="append", default=[], metavar="KIND[:SEVERITY]", help=words)
    validation = commands.add_parser("zero-shot", parents=[common], help="a checkpoint on a validation split")
    validation.add_argument("--config", type=Path, required=True, help="training configuration (YAML)")
    validation.add_argument("--checkpoint", type=Path, required=True, help="student.pt of a run")
    validation.add_argument("--label-map", type=Path, default=Path("configs/label_maps/nuscenes32.yaml"))
    folder = commands.add_parser("scans", parents=[common], help="a bundle on labelled .npz scans")
    folder.add_argument("folder", type=Path)
    folder.add_argument("--bundle", type=Path, required=True)
    folder.add_argument("--scan-set", type=Path, required=True, help="what the labels mean (configs/scan_sets/*.yaml)")
    folder.add_argument("--backend", default="auto")
    arguments, overrides = parser.parse_known_args()
    corruptions = expand(arguments.corrupt)
    if arguments.command == "zero-shot":
        config = config_file.load(arguments.config, TrainConfig, overrides)
        result = zero_shot(config, arguments.checkpoint, load_label_map(arguments.label_map), corruptions)
    elif overrides:
        parser.error(f"unrecognized arguments: {' '.join(overrides)}")
    else:
        scan_set = config_file.load(arguments.scan_set, ScanSet)
        result = scan_folder(arguments.folder, arguments.bundle, scan_set, arguments.backend, corruptions)
    command_line.say(table(result))
    if arguments.out:
        write_text(arguments.out, json.dumps(result, indent=2) + "\n")
        if corruptions:
            file = arguments.out.with_name(f"{arguments.out.stem}_robustness.svg")
            write_text(file, charts.alone(plot(result["robustness"]["rows"])))
            command_line.say(f"plot: {file}")


if __name__ == "__main__":
    command_line.run(main)
