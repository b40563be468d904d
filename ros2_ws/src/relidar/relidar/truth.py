"""The true label of each point of a recording: from a field of the clouds, from a second topic, or from files named by stamp.

A second topic carries clouds of the same stamps with as many points, in the same order. A folder holds for each scan
`<header stamp in ns>.npy` (integers, (N,)) or `<header stamp in ns>.label` (SemanticKITTI: uint32, the class in the lower 16
bits); where several topics are replayed, in one folder a topic: DIR/lidar/top/<stamp>.npy for /lidar/top.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relidar.bags import RecordedCloud
from relidar.errors import BagError, CloudError, DatasetError
from relidar.label_map import LabelMap
from relidar.pointcloud2 import Cloud, CloudLayout, MalformedCloudError, decode
from relidar.prompts import UNLABELLED, ClassPrompts

DEFAULT_FIELD = "label"
WAITING_SCANS = 30
"""So many scans are held back until their truth comes; a truth that is recorded later than that is missed."""


@dataclass(frozen=True)
class TruthSource:
    """Where the truth is. With neither topic nor folder it is in the clouds themselves."""

    field: str = DEFAULT_FIELD
    topic: str | None = None
    folder: Path | None = None

    def __str__(self) -> str:
        return f"folder {self.folder}" if self.folder else f"field {self.field!r} of {self.topic or 'the clouds'}"


class Truth:
    """Reads the truth of scans and maps it, and the bundle's labels, to the evaluated classes."""

    def __init__(self, source: TruthSource, label_map: LabelMap, classes: Sequence[ClassPrompts], topics: Sequence[str]) -> None:
        """`classes` are the bundle's, `topics` the replayed ones; raises ConfigError and BagError where these don't fit."""
        if source.topic is not None and len(topics) > 1:
            raise BagError(
                f"truth topic {source.topic} for {len(topics)} topics: {', '.join(topics)}; name its one with --topic."
            )
        self.label_map = label_map
        self._source = source
        self._folder_of = {t: source.folder / t.strip("/") if len(topics) > 1 else source.folder for t in topics if source.folder}
        self._truth_lookup = label_map.truth_lookup()
        self._prediction_lookup = label_map.prediction_lookup(classes)

    def beside(self, scans: Iterable[RecordedCloud]) -> Iterator[tuple[RecordedCloud, RecordedCloud | None]]:
        """Each scan, in order, with the cloud of the truth topic that has its stamp; None where there is none."""
        waiting: list[RecordedCloud] = []
        truths: dict[int, RecordedCloud] = {}
        for scan in scans:
            if scan.topic == self._source.topic:
                truths[scan.stamp_ns] = scan
                if len(truths) > 2 * WAITING_SCANS:
                    del truths[next(iter(truths))]
            else:
                waiting.append(scan)
            while waiting and (self._source.topic is None or waiting[0].stamp_ns in truths or len(waiting) > WAITING_SCANS):
                yield waiting[0], truths.pop(waiting[0].stamp_ns, None)
                waiting.pop(0)
        yield from ((scan, truths.pop(scan.stamp_ns, None)) for scan in waiting)

    def of(self, scan: RecordedCloud, cloud: Cloud, beside: RecordedCloud | None) -> NDArray[np.uint8] | None:
        """(N,) evaluated class of each point, 255 where it has none; None if this scan's truth is not there.

        Args:
            scan: as recorded.
            cloud: the scan, decoded.
            beside: from `beside`.

        Raises:
            BagError: no such field. DatasetError: a truth of another length, or a file that cannot be read.
        """
        raw: NDArray[Any] | None
        if self._source.folder is not None:
            raw = _from_folder(self._folder_of[scan.topic], scan.stamp_ns)
        elif self._source.topic is not None:
            raw = None if beside is None else _from_cloud(beside.topic, self._decoded(beside), self._source.field)
        else:
            raw = _from_cloud(scan.topic, cloud, self._source.field)
        if raw is None:
            return None
        if len(raw) != cloud.layout.points:
            raise DatasetError(
                f"{scan.topic}: the truth of stamp {scan.stamp_ns} has {len(raw)} labels for {cloud.layout.points} points; "
                "it must be of the same cloud."
            )
        with np.errstate(invalid="ignore"):
            known = (raw >= 0) & (raw < len(self._truth_lookup))
        truth = np.full(len(raw), UNLABELLED, np.uint8)
        truth[known] = self._truth_lookup[raw[known].astype(np.int64)]
        return truth

    def prediction(self, label: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(N,) labels of the bundle -> evaluated classes, 255 for none."""
        return self._prediction_lookup[label]

    def _decoded(self, scan: RecordedCloud) -> Cloud:
        try:
            return decode(scan.layout, scan.data)
        except MalformedCloudError:
            # A label cloud needs no coordinates.
            return Cloud(scan.layout, scan.data, np.empty((0, 3), np.float32), None)


def _from_cloud(topic: str, cloud: Cloud, name: str) -> NDArray[Any]:
    field = cloud.layout.field(name)
    if field is None or field.elements != 1:
        raise BagError(f"{topic}: no field {name!r} with one value a point, only {_names(cloud.layout)}; correct --truth-field.")
    try:
        return cloud.values(name)
    except (CloudError, ValueError, TypeError) as error:
        raise BagError(f"{topic}: field {name!r} cannot be read ({error}); record the truth again.") from error


def _names(layout: CloudLayout) -> str:
    return ", ".join(field.name for field in layout.fields)


def _from_folder(folder: Path, stamp_ns: int) -> NDArray[Any] | None:
    if not folder.is_dir():
        raise DatasetError(
            f"{folder}: no such folder; it must hold <stamp in ns>.npy or .label files, the true label of each point."
        )
    array, kitti = folder / f"{stamp_ns}.npy", folder / f"{stamp_ns}.label"
    if not array.is_file():
        return (np.fromfile(kitti, "<u4") & 0xFFFF).astype(np.int64) if kitti.is_file() else None
    try:
        with array.open("rb") as file:
            raw: NDArray[Any] = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DatasetError(f"{array}: not an array ({error}); write it with numpy.save.") from error
    if raw.ndim != 1 or raw.dtype.kind not in "iu":
        raise DatasetError(f"{array}: {raw.dtype} {raw.shape}, expected integers (N,), the true label of each point.")
    return raw
