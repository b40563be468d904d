"""A bag that was cut off or damaged is read up to the damage, and the damage is told."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from relidar.bags import ALL_TOPICS, CloudBag
from relidar.errors import BagError
from relidar.pointcloud2 import decode

SCANS, POINTS = 40, 400
XYZ_M = np.random.default_rng(0).normal(size=(SCANS, POINTS, 3)).astype(np.float32)
STORAGES = ["mcap", "db3", "bag", "mcap-zstd-file", "mcap-zstd-message", "db3-zstd-file", "db3-zstd-message"]


@pytest.fixture
def drive(tmp_path: Path, record: Callable[..., Path], scan_of: Callable) -> Callable[..., tuple[Path, Path]]:
    """drive(storage): what to open, and the file that holds the data."""

    def make(storage: str, *topics: str) -> tuple[Path, Path]:
        path = record(tmp_path / "drive", [scan_of(xyz_m, np.zeros(POINTS)) for xyz_m in XYZ_M], storage, topics or ("/points",))
        return path, next(file for file in path.iterdir() if file.name != "metadata.yaml") if path.is_dir() else path

    return make


@pytest.mark.parametrize("storage", STORAGES)
def test_of_a_cut_bag_the_first_clouds_are_read(drive: Callable[..., tuple[Path, Path]], storage: str) -> None:
    path, file = drive(storage)
    intact = file.read_bytes()
    read_before = 0
    for share in (0.65, 0.95):
        file.write_bytes(intact[: int(share * len(intact))])
        with pytest.raises(BagError), CloudBag(path) as bag:
            list(bag)
        with CloudBag(path, salvage=True) as bag:
            scans = list(bag)
            assert bag.damage is not None
            assert "drive" in bag.damage
            assert bag.expected("/points") == (None if storage == "bag" else SCANS)
        assert read_before < len(scans) <= SCANS
        read_before = len(scans)
        for number, scan in enumerate(scans):
            assert scan.stamp_ns == 10**18 + number * 10**8
            np.testing.assert_array_equal(decode(scan.layout, scan.data).xyz_m, XYZ_M[number])


@pytest.mark.parametrize("storage", STORAGES)
def test_random_damage_never_gives_a_wrong_cloud_or_another_error(drive: Callable[..., tuple[Path, Path]], storage: str) -> None:
    path, file = drive(storage)
    intact = file.read_bytes()
    random = np.random.default_rng(1)
    for trial in range(12):
        changed = bytearray(intact[: random.integers(1, len(intact))] if trial % 2 else intact)
        for position in random.integers(0, len(changed), 1 + trial // 2):
            changed[position] ^= int(random.integers(1, 256))
        file.write_bytes(changed)
        with suppress(BagError), CloudBag(path, ALL_TOPICS, salvage=True) as bag:
            scans = list(bag)
            assert bag.damage is not None or len(scans) == SCANS


def test_an_intact_bag_has_no_damage(drive: Callable[..., tuple[Path, Path]]) -> None:
    with CloudBag(drive("mcap")[0], salvage=True) as bag:
        assert len(list(bag)) == SCANS
        assert bag.damage is None
        assert bag.expected("/points") == SCANS


def test_a_bag_without_index_is_read_whole(drive: Callable[..., tuple[Path, Path]]) -> None:
    path, file = drive("mcap")
    file.write_bytes(file.read_bytes()[:-20])
    with CloudBag(path, salvage=True) as bag:
        assert len(list(bag)) == SCANS
        assert f"{SCANS} of {SCANS} clouds" in str(bag.damage)


def test_several_topics_of_a_cut_bag(drive: Callable[..., tuple[Path, Path]]) -> None:
    path, file = drive("mcap", "/front", "/rear", "/truth")
    file.write_bytes(file.read_bytes()[: int(0.5 * file.stat().st_size)])
    with CloudBag(path, ALL_TOPICS, salvage=True, beside="/truth") as bag:
        assert bag.topics == ("/front", "/rear")
        topics = [scan.topic for scan in bag]
    assert topics[:6] == ["/front", "/rear", "/truth"] * 2
    assert bag.read["/front"] == topics.count("/front") < SCANS


def test_nothing_intact_is_an_error(drive: Callable[..., tuple[Path, Path]]) -> None:
    path, file = drive("mcap")
    file.write_bytes(file.read_bytes()[:30])
    with pytest.raises(BagError, match="nothing intact"):
        CloudBag(path, salvage=True)
