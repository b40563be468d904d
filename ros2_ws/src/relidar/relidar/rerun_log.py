"""Records the answers of a replay as an .rrd for the Rerun viewer, where the package rerun-sdk is installed."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from relidar.bags import RecordedCloud
from relidar.errors import BackendError
from relidar.from_above import colours_of_score
from relidar.labelled_cloud import UNLABELLED_RGB
from relidar.pointcloud2 import Cloud
from relidar.prompts import UNLABELLED, ClassPrompts
from relidar.segmenter import Segmentation


class RerunLog:
    """An .rrd being written: for each topic T the entities T/label, by class, and T/score, on timelines stamp and bag_time."""

    def __init__(self, path: Path, classes: Sequence[ClassPrompts]) -> None:
        """Raises BackendError where rerun is not installed."""
        self._rerun = import_rerun()
        self._stream = self._rerun.RecordingStream("relidar", recording_id=path.stem)
        self._stream.save(path)
        described = [(c.id, c.name, c.rgb) for c in classes] + [(UNLABELLED, "unlabelled", UNLABELLED_RGB)]
        self._stream.log("/", self._rerun.AnnotationContext(described), static=True)

    def answer(self, scan: RecordedCloud, cloud: Cloud, segmentation: Segmentation) -> None:
        """Logs the answer to one scan."""
        finite = np.isfinite(cloud.xyz_m).all(axis=1)
        xyz_m = cloud.xyz_m[finite]
        self._stream.set_time("stamp", timestamp=np.datetime64(scan.stamp_ns, "ns"))
        self._stream.set_time("bag_time", timestamp=np.datetime64(scan.bag_time_ns, "ns"))
        self._stream.log(f"{scan.topic}/label", self._rerun.Points3D(xyz_m, class_ids=segmentation.label[finite]))
        colours = colours_of_score(segmentation.score[finite])
        self._stream.log(f"{scan.topic}/score", self._rerun.Points3D(xyz_m, colors=colours))

    def close(self) -> None:
        """Writes what is still on its way."""
        self._stream.disconnect()


def import_rerun() -> Any:
    """The module rerun; raises BackendError with what to install."""
    try:
        return importlib.import_module("rerun")
    except ImportError as error:
        raise BackendError(
            f"--rerun needs the package rerun-sdk, which is not installed ({error}): pip install rerun-sdk."
        ) from error
