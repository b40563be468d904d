"""A made-up SemanticKITTI in its official layout: pairs show the pixel that the point painted, shares, a training run."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distill.cache_filling import fill_cache, open_cache
from distill.checkpoint import load_student
from distill.config import TrainConfig
from distill.datasets import full_return, read_cloud, read_keyframes, read_labels
from distill.images import image_size, read_image
from distill.keyframe import project
from distill.kitti_frames import SemanticKittiConfig
from distill.scans import TrainingScans
from distill.teachers import make_teacher
from distill.trainer import train
from relidar.config_file import validate
from relidar.errors import ConfigError, DatasetError

HEIGHT, WIDTH = 48, 160
FOCAL_PX = 80.0
CAMERA_2_M = 0.06
"""How far to the right camera 2 sees things beside camera 0; in P2 this is multiplied by the focal length."""
TR = np.array([[0.0, -1.0, 0.0, 0.02], [0.0, 0.0, -1.0, -0.08], [1.0, 0.0, 0.0, -0.27]])


def write_sequence(folder: Path, scans: int, seed: int = 0) -> None:
    """Clouds of random points; each point that the camera sees paints its own number into the image."""
    random = np.random.default_rng(seed)
    for name in ("velodyne", "labels", "image_2"):
        (folder / name).mkdir(parents=True)
    intrinsics = np.array([[FOCAL_PX, 0, WIDTH / 2], [0, FOCAL_PX, HEIGHT / 2], [0, 0, 1]])
    p2 = intrinsics @ np.array([[1, 0, 0, CAMERA_2_M], [0, 1, 0, 0], [0, 0, 1, 0]])
    lines = [f"P{n}: {' '.join(f'{value:.12e}' for value in p2.ravel())}" for n in range(4)]
    lines.append(f"Tr: {' '.join(map(str, TR.ravel()))}")
    (folder / "calib.txt").write_text("\n".join(lines) + "\n")
    (folder / "times.txt").write_text("".join(f"{0.1 * n:.6e}\n" for n in range(scans)))
    (folder / "poses.txt").write_text("".join(f"1 0 0 0 0 1 0 0 0 0 1 {n}\n" for n in range(scans)))
    for number in range(scans):
        points = random.uniform([-20, -10, -2, 0], [30, 10, 3, 1], (900, 4)).astype("<f4")
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        # By hand: x right, y down, z ahead of camera 2.
        right = -points[:, 1] + TR[0, 3] + CAMERA_2_M
        down, ahead = -points[:, 2] + TR[1, 3], points[:, 0] + TR[2, 3]
        ahead = ahead.astype(np.float64)
        for index in np.flatnonzero(ahead > 1):
            u = int(np.floor(FOCAL_PX * right[index] / ahead[index] + WIDTH / 2))
            v = int(np.floor(FOCAL_PX * down[index] / ahead[index] + HEIGHT / 2))
            if 0 <= u < WIDTH and 0 <= v < HEIGHT:
                image[v, u] = [1, index // 256, index % 256]
        points.tofile(folder / "velodyne" / f"{number:06d}.bin")
        labels = random.choice([0, 10, 40, 48, 70, 252], len(points)).astype("<u4") | (7 << 16)
        labels.astype("<u4").tofile(folder / "labels" / f"{number:06d}.label")
        Image.fromarray(image).save(folder / "image_2" / f"{number:06d}.png")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sequence 00 of training and 08 of validation."""
    folder = tmp_path_factory.mktemp("kitti")
    write_sequence(folder / "sequences" / "00", 8)
    write_sequence(folder / "sequences" / "08", 2, seed=1)
    return folder


def config_of(root: Path, **values: object) -> SemanticKittiConfig:
    return validate({"kind": "semantic_kitti", "root": str(root)} | values, SemanticKittiConfig, "test")


def test_every_pair_is_a_point_and_the_pixel_that_shows_it(root: Path) -> None:
    frames = read_keyframes(config_of(root), "train")
    assert [frame.token for frame in frames] == [f"00_{n:06d}" for n in range(8)]
    assert len({frame.cloud for frame in frames}) == 8
    for frame in frames:
        xyz_m, intensity = read_cloud(frame.cloud)
        (view,) = frame.views
        assert image_size(view.image) == (HEIGHT, WIDTH)
        point, pixel = project(xyz_m, view, HEIGHT, WIDTH)
        colour = read_image(view.image).reshape(-1, 3)[pixel].astype(int)
        assert len(point) > 50
        assert (xyz_m[point, 0] > 0).all()  # only the front camera
        assert (colour[:, 0] == 1).all()
        painted = colour[:, 1] * 256 + colour[:, 2]
        # Where several points share a pixel the last one has painted it.
        last = dict(zip(pixel.tolist(), point.tolist(), strict=True))
        np.testing.assert_array_equal(painted, [last[p] for p in pixel.tolist()])
        assert intensity.max() <= full_return(config_of(root)) == 1
        assert set(read_labels(frame, len(xyz_m)).tolist()) <= {0, 10, 40, 48, 70, 252}


def test_shares_are_of_frames(root: Path) -> None:
    tokens = [frame.token for frame in read_keyframes(config_of(root), "train", 25)]
    assert tokens == ["00_000000", "00_000004"]
    assert [frame.token for frame in read_keyframes(config_of(root), "train", 1)] == ["00_000000"]
    assert [frame.scene for frame in read_keyframes(config_of(root), "val")] == ["08", "08"]


def test_refusals(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no split 'vla'.*did you mean 'val'"):
        read_keyframes(config_of(root), "vla")
    with pytest.raises(DatasetError, match="none of the sequences 08"):
        read_keyframes(config_of(tmp_path), "val")
    write_sequence(tmp_path / "sequences" / "08", 1)
    (tmp_path / "sequences/08/image_2/000000.png").unlink()
    with pytest.raises(DatasetError, match="no such image"):
        read_keyframes(config_of(tmp_path), "val")
    (tmp_path / "sequences/08/calib.txt").write_text(f"Tr: {' '.join(map(str, TR.ravel()))}\n")
    with pytest.raises(DatasetError, match="no line `P2:`"):
        read_keyframes(config_of(tmp_path), "val")
    with pytest.raises(ConfigError, match="image_3"):
        config_of(tmp_path, cameras=["image_3"])


def test_a_student_trains_on_it(root: Path, config_values: dict, tmp_path: Path) -> None:
    values = config_values | {
        "run": str(tmp_path / "run"),
        "cache": str(tmp_path / "cache"),
        "data": {"kind": "semantic_kitti", "root": str(root)},
        "preprocessing": config_values["preprocessing"] | {"intensity_max": 1.0},
        "schedule": config_values["schedule"] | {"steps": 2, "rows": 20},
        "augment": {"image_crop": 0.5, "drop_cuboid": 0.2},
    }
    config = validate(values, TrainConfig, "test")
    assert isinstance(config.data, SemanticKittiConfig)
    assert fill_cache(config, workers=0) == 8
    frames = read_keyframes(config.data, "train")
    scan = TrainingScans(frames, open_cache(config, make_teacher(config.teacher).fingerprint), config)[0]
    assert 0.9 < scan.voxels.features.max() <= 1
    assert len(scan.voxel) > 10
    # A student of another unit sees the same.
    other = config.model_copy(update={"preprocessing": config.preprocessing.model_copy(update={"intensity_max": 255.0})})
    scaled = TrainingScans(frames, open_cache(other, make_teacher(other.teacher).fingerprint), other)[0]
    np.testing.assert_allclose(scaled.voxels.features, scan.voxels.features, rtol=1e-6)
    assert load_student(train(config)).training.steps == 2
    with pytest.raises(ConfigError, match=r"data.*splits"):
        validate(values | {"data": values["data"] | {"splits": "file"}}, TrainConfig, "test")
