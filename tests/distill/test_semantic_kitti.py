"""A made-up sequence in SemanticKITTI's layout, read back; damaged files are named."""

from pathlib import Path

import numpy as np
import pytest

from distill.scan_folder import ScanSet
from distill.semantic_kitti import Sequence
from relidar.config_file import load
from relidar.errors import DatasetError
from relidar.label_map import LabelMap

ROOT = Path(__file__).parents[2]
CAMERA_FROM_LIDAR = np.array([[0.0, -1.0, 0.0, 0.1], [0.0, 0.0, -1.0, -0.2], [1.0, 0.0, 0.0, -0.3]])


def write_sequence(folder: Path, scans: range = range(3)) -> Path:
    random = np.random.default_rng(0)
    (folder / "velodyne").mkdir(parents=True)
    (folder / "labels").mkdir()
    for number in scans:
        points = random.uniform([-20, -20, -2, 0], [20, 20, 3, 1], (100 + number, 4)).astype("<f4")
        instance, label = random.integers(0, 2**16, len(points)), random.choice([0, 10, 40, 252, 259], len(points))
        points.tofile(folder / "velodyne" / f"{number:06d}.bin")
        (instance.astype("<u4") << 16 | label.astype("<u4")).tofile(folder / "labels" / f"{number:06d}.label")
    lines = scans.stop
    (folder / "times.txt").write_text("".join(f"{0.1 * n:.6e}\n" for n in range(lines)))
    tr = " ".join(map(str, CAMERA_FROM_LIDAR.ravel()))
    (folder / "calib.txt").write_text("".join(f"P{n}: {' '.join(['1'] * 12)}\n" for n in range(4)) + f"Tr: {tr}\n")
    # The camera moves one metre a scan along its own z, which is the LiDAR's x.
    (folder / "poses.txt").write_text("".join(f"1 0 0 0 0 1 0 0 0 0 1 {n}\n" for n in range(lines)))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_sequence(tmp_path / "sequences" / "04")


def test_a_sequence_reads_back(folder: Path) -> None:
    sequence = Sequence.open(folder)
    raw = np.fromfile(folder / "labels/000001.label", "<u4")
    xyz_m, intensity = sequence.read_cloud(1)
    labels = sequence.read_labels(1, len(xyz_m))
    np.testing.assert_array_equal(np.column_stack([xyz_m, intensity]).ravel(), np.fromfile(folder / "velodyne/000001.bin", "<f4"))
    assert raw.max() > 0xFFFF
    assert set(labels.tolist()) <= {0, 10, 40, 252, 259}
    np.testing.assert_array_equal(labels, raw % 2**16)
    np.testing.assert_allclose(sequence.times_s, [0, 0.1, 0.2])
    assert set(sequence.calibration) == {"P0", "P1", "P2", "P3", "Tr"}


def test_poses_are_of_the_lidar(folder: Path) -> None:
    sequence = Sequence.open(folder)
    assert sequence.has_poses
    np.testing.assert_allclose(sequence.world_from_lidar[:, :3, :3], np.broadcast_to(np.eye(3), (3, 3, 3)), atol=1e-12)
    np.testing.assert_allclose(sequence.world_from_lidar[:, :3, 3], [[0, 0, 0], [1, 0, 0], [2, 0, 0]], atol=1e-12)


def test_an_excerpt_takes_the_lines_of_its_scans(tmp_path: Path) -> None:
    sequence = Sequence.open(write_sequence(tmp_path / "08", range(5, 8)))
    np.testing.assert_allclose(sequence.times_s, [0.5, 0.6, 0.7])
    np.testing.assert_allclose(sequence.world_from_lidar[:, 0, 3], [5, 6, 7])


def test_a_bare_sequence_has_clouds_and_times(folder: Path) -> None:
    for name in ("times.txt", "poses.txt", "calib.txt"):
        (folder / name).unlink()
    sequence = Sequence.open(folder)
    assert not sequence.has_poses
    np.testing.assert_allclose(sequence.times_s, [0, 0.1, 0.2])
    with pytest.raises(DatasetError, match="image_2"):
        sequence.image(0)
    (folder / "image_2").mkdir()
    (folder / "image_2/000000.png").write_bytes(b"")
    assert sequence.image(0) == folder / "image_2/000000.png"


@pytest.mark.parametrize("name", ["velodyne/000000.bin", "labels/000000.label"])
@pytest.mark.parametrize("damage", ["cut", "empty", "gone"])
def test_damaged_files_are_named(folder: Path, name: str, damage: str) -> None:
    path = folder / name
    if damage == "gone":
        path.unlink()
        if name.startswith("velodyne"):
            assert Sequence.open(folder).clouds[0].stem == "000001"
            return
    else:
        path.write_bytes(b"" if damage == "empty" else path.read_bytes()[:-3])
    with pytest.raises(DatasetError, match=path.name):
        Sequence.open(folder).read_labels(0, len(Sequence.open(folder).read_cloud(0)[0]))


def test_tables_that_do_not_fit_are_named(folder: Path, tmp_path: Path) -> None:
    path = folder / "labels/000000.label"
    np.zeros(7, "<u4").tofile(path)
    with pytest.raises(DatasetError, match="7 labels for 100 points"):
        Sequence.open(folder).read_labels(0, 100)
    (folder / "times.txt").write_text("0.0\n0.1\n")
    with pytest.raises(DatasetError, match=r"times\.txt: 2 x 1 numbers"):
        _ = Sequence.open(folder).times_s
    (folder / "poses.txt").write_text("1 0 0 0\n")
    with pytest.raises(DatasetError, match=r"poses\.txt"):
        _ = Sequence.open(folder).world_from_lidar
    (folder / "calib.txt").write_text("P0: 1 2 3\n")
    with pytest.raises(DatasetError, match=r"calib\.txt"):
        _ = Sequence.open(folder).calibration
    with pytest.raises(DatasetError, match="one sequence"):
        Sequence.open(tmp_path)


def test_the_label_map_agrees_with_that_of_the_learning_map() -> None:
    """The learning map of semantic-kitti.yaml, as the benchmark evaluates; its classes are those of the scan set."""
    learning = {
        10: 1, 252: 1, 11: 2, 15: 3, 18: 4, 258: 4, 13: 5, 16: 5, 20: 5, 256: 5, 257: 5, 259: 5, 30: 6, 254: 6, 31: 7, 253: 7,
        32: 8, 255: 8, 40: 9, 60: 9, 44: 10, 48: 11, 49: 12, 50: 13, 51: 14, 70: 15, 71: 16, 72: 17, 80: 18, 81: 19,
    }  # fmt: skip
    raw = load(ROOT / "configs/label_maps/semantickitti.yaml", LabelMap)
    learned = load(ROOT / "configs/scan_sets/semantickitti-range.yaml", ScanSet)
    assert raw.names == learned.names
    expected = np.full(65536, 255, np.uint8)
    for number, target in learning.items():
        expected[number] = learned.truth_lookup()[target]
    np.testing.assert_array_equal(raw.truth_lookup(), expected)
    benchmark = load(ROOT / "configs/label_maps/semantickitti19.yaml", LabelMap)
    numbered = np.full(65536, 255, np.uint8)
    for number, target in learning.items():
        numbered[number] = target - 1
    np.testing.assert_array_equal(benchmark.truth_lookup(), numbered)
