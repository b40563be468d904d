"""What students are tested on, and which labels they may learn for it."""

from dataclasses import dataclass
from pathlib import Path

from distill.compare.config import CompareConfig
from distill.k_shot import halves
from distill.labelled_clouds import FolderClouds, KeyframeClouds, LabelledClouds
from distill.scan_folder import SCAN_SETS, ScanSet
from relidar import config_file
from relidar.errors import DatasetError
from relidar.label_map import LabelMap, load_label_map

STREET = "street"
STREET_LABELS = Path("configs/label_maps/nuscenes32.yaml")


@dataclass(frozen=True)
class TestSet:
    """Labelled clouds."""

    name: str
    label_map: LabelMap
    zero_shot: LabelledClouds
    """Tested on by words alone."""
    labelled: LabelledClouds
    """Those of which k may be learned."""
    later: LabelledClouds
    """Tested on after that."""


def held_out(config: CompareConfig) -> tuple[KeyframeClouds, KeyframeClouds]:
    """The validation keyframes of the street: those that choose learning rates, those that are tested on.

    Raises:
        DatasetError: there is only one.
    """
    data = config.train.data
    clouds = KeyframeClouds.of_split(data, data.val_split, config.train.preprocessing.intensity_max)
    if len(clouds) < 2:
        raise DatasetError(f"{data.root}: {len(clouds)} validation keyframe; one at least must choose and another test.")
    tuning = min(max(1, round(config.tuning_share * len(clouds))), len(clouds) - 1)
    scenes = [frame.scene for frame in clouds.frames]
    if len(set(scenes)) > 1:  # frames half a second apart must not choose and test
        changes = [number for number in range(1, len(scenes)) if scenes[number] != scenes[number - 1]]
        tuning = min(changes, key=lambda number: abs(number - tuning))
    return clouds.only(range(tuning)), clouds.only(range(tuning, len(clouds)))


def street_set(config: CompareConfig) -> TestSet:
    """The street; its training keyframes may be learned."""
    data, (_, test) = config.train.data, held_out(config)
    labelled = KeyframeClouds.of_split(data, data.train_split, config.train.preprocessing.intensity_max)
    return TestSet(STREET, load_label_map(STREET_LABELS), test, labelled, test)


def real_set(config: CompareConfig, folder: Path) -> TestSet:
    """A folder of labelled scans that a file of configs/scan_sets describes; raises DatasetError if it is too small."""
    scan_set = config_file.load(SCAN_SETS / f"{folder.name}.yaml", ScanSet)
    clouds = FolderClouds.of_folder(folder, scan_set, config.train.preprocessing.intensity_max)
    labelled, later = halves(clouds, max(config.few_labels.shots))
    return TestSet(scan_set.name, scan_set, clouds, labelled, later)
