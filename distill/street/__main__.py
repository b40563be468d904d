"""Makes a simulated street: a nuScenes dataset with exact labels, and a bag of another drive.

OUT becomes a dataset that nuscenes.NuScenes("v1.0-trainval", OUT) opens (images, clouds, lidarseg, boxes), with OUT/splits.json
naming the train and val scenes, and OUT/street.mcap, a rosbag2 with clouds, images, calibration and transforms. No two of train,
val and bag share a city. The same arguments give the same bytes.

Example:
  python -m distill.street runs/street --seed 0 --scenes 40 --val-scenes 8
"""

from pathlib import Path

from tqdm import tqdm

from distill.street.bag import SCAN_S
from distill.street.dataset import DatasetPlan, write_dataset
from distill.street.keyframes import VERSION
from distill.street.rig import read_rig
from relidar import command_line
from relidar.atomic import atomic_folder
from relidar.errors import DatasetError
from relidar.row_parts import cores

_DEFAULT_RIG = Path(__file__).parents[2] / "configs" / "rigs" / "nuscenes_like.yaml"


def main() -> None:
    """Parses the arguments and writes the dataset."""
    parser = command_line.parser(__doc__)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to make; an earlier street there is replaced")
    parser.add_argument("--seed", type=command_line.at_least(0), default=0)
    parser.add_argument("--scenes", type=command_line.at_least(1), default=40, help="training scenes (default 40)")
    parser.add_argument("--val-scenes", type=command_line.at_least(0), default=8, help="validation scenes (default 8)")
    parser.add_argument("--keyframes", type=command_line.at_least(1), default=2, help="keyframes a scene, at 2 Hz (default 2)")
    parser.add_argument("--rig", type=Path, default=_DEFAULT_RIG, help="YAML of the sensors")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--bag-scans", type=command_line.at_least(1), default=20, help="clouds in the bag, at 10 Hz (default 20)")
    length.add_argument("--bag-seconds", type=command_line.above_zero, help="the same in seconds")
    parser.add_argument("--processes", type=command_line.at_least(1), default=cores(), help="default: all cores")
    arguments = parser.parse_args()
    scans = arguments.bag_scans
    if arguments.bag_seconds is not None:
        scans = round(arguments.bag_seconds / SCAN_S)
        if scans < 1:
            parser.error(f"--bag-seconds {arguments.bag_seconds} is shorter than one scan ({SCAN_S} s)")
    out: Path = arguments.out.resolve()
    _check_replaceable(out)
    rig = read_rig(arguments.rig)
    plan = DatasetPlan(arguments.seed, arguments.scenes, arguments.val_scenes, arguments.keyframes, scans, arguments.processes)
    try:
        with atomic_folder(out) as folder, tqdm(total=plan.scenes + plan.val_scenes + 1, desc="street", unit="scene") as bar:
            for name in write_dataset(folder, rig, plan):
                bar.set_postfix_str(name)
                bar.update()
    except OSError as error:
        raise DatasetError(f"{out}: the street cannot be written: {error}. Choose a folder with room to write to.") from error


def _check_replaceable(out: Path) -> None:
    """Refuses to replace what is not a street."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / VERSION / "scene.json").is_file() or not (out / "splits.json").is_file():
        raise DatasetError(f"{out}: exists and is not a street dataset, so it is not replaced. Give another folder or remove it.")


if __name__ == "__main__":
    command_line.run(main)
