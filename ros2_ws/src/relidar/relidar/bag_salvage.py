"""What can still be read of a bag that was cut off or damaged: all messages up to the first damage, in the order of the file.

A recorder that was killed, a full disk or a broken copy leaves a bag without its index, and readers that begin with the index
refuse it. This one walks the records from the start and needs no index.
"""

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rosbags.rosbag2.storage_mcap import zstd  # type: ignore[attr-defined]  # of Python or its backport

from relidar.bag_records import WALKS, RawMessage
from relidar.errors import BagError


@dataclass(frozen=True)
class SalvagedTopic:
    """Stands for a connection of rosbags."""

    topic: str
    msgtype: str
    msgcount: int
    """Intact messages."""


class SalvageReader:
    """Reads the intact part of a bag; has the members of a rosbags reader that `CloudBag` uses."""

    def __init__(self, path: Path) -> None:
        """Walks the bag once to count; raises BagError if nothing can be read."""
        self._path = path
        self._temporary = tempfile.TemporaryDirectory(prefix="relidar-salvage-")
        try:
            self._files = _data_files(path, Path(self._temporary.name))
            self.damage: str | None = None
            """What ended the reading, or None if the end was reached."""
            counts: dict[tuple[str, str], int] = {}
            for message in self._walk():
                key = (message.topic, message.msgtype)
                counts[key] = counts.get(key, 0) + 1
            if not counts:
                raise BagError(f"{path}: nothing intact in it: {self.damage or 'no message'}. Copy the bag again.")
        except BaseException:
            self.close()
            raise
        self.connections = [SalvagedTopic(topic, kind, count) for (topic, kind), count in counts.items()]
        self.expected = _expected_counts(path)
        """Messages by topic as metadata.yaml tells them; empty where it does not."""

    def messages(self, connections: list[SalvagedTopic]) -> Iterator[tuple[SalvagedTopic, int, bytes]]:
        """The intact messages of some topics."""
        wanted = {(connection.topic, connection.msgtype): connection for connection in connections}
        for message in self._walk():
            connection = wanted.get((message.topic, message.msgtype))
            if connection is not None:
                yield connection, message.bag_time_ns, message.raw

    def close(self) -> None:
        """Removes what was unpacked."""
        self._temporary.cleanup()

    def _walk(self) -> Iterator[RawMessage]:
        name = ""
        try:
            for file in self._files:
                name = file.name
                yield from WALKS[file.suffix](file)
        except Exception as error:  # noqa: BLE001  # damaged bytes make every decoder raise something else
            self.damage = f"{name}: {' '.join(str(error).split()) or type(error).__name__}"


def _data_files(path: Path, scratch: Path) -> list[Path]:
    """The files of a bag, in the order of their numbers; packed ones are unpacked into `scratch`, as far as they go."""
    if path.is_file():
        return [path]
    found = [file for file in path.iterdir() if file.name.removesuffix(".zstd").endswith(tuple(WALKS))]
    files = []
    for file in sorted(found, key=lambda file: [int(part) if part.isdigit() else -1 for part in re.split(r"(\d+)", file.name)]):
        if file.suffix != ".zstd":
            files.append(file)
            continue
        unpacker, target = zstd.ZstdDecompressor(), scratch / file.stem
        with file.open("rb") as packed, target.open("wb") as unpacked:
            try:
                while block := packed.read(1 << 16):
                    unpacked.write(unpacker.decompress(block))
            except (zstd.ZstdError, EOFError):
                pass  # the walk through what was unpacked meets the same end and tells it
        files.append(target)
    return files


def _expected_counts(path: Path) -> dict[str, int]:
    try:
        content: Any = yaml.safe_load((path / "metadata.yaml").read_text(encoding="utf-8"))
        topics = content["rosbag2_bagfile_information"]["topics_with_message_count"]
        return {str(entry["topic_metadata"]["name"]): int(entry["message_count"]) for entry in topics}
    except (OSError, ValueError, TypeError, KeyError, RecursionError, yaml.YAMLError):
        return {}
