"""The reader against nuscenes-devkit's own projection, and its refusals."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from nuscenes import NuScenes
from nuscenes.nuscenes import NuScenesExplorer

from distill.datasets import read_cloud, read_keyframes
from distill.keyframe import project
from distill.nuscenes_frames import NuScenesConfig, read_lidarseg
from relidar.errors import DatasetError

REAL = NuScenesConfig(root=os.environ.get("RELIDAR_DATA", "") + "/nuscenes-one", version="v1.0-mini")
needs_real = pytest.mark.skipif("RELIDAR_DATA" not in os.environ, reason="RELIDAR_DATA names no folder of real scans")


def agrees_with_devkit(config: NuScenesConfig, split: str) -> None:
    explorer = NuScenesExplorer(NuScenes(config.version, config.root, verbose=False))
    frame = read_keyframes(config, split)[0]
    xyz_m, _ = read_cloud(frame.cloud)
    lidar = explorer.nusc.get("sample_data", frame.token)
    for view in frame.views:
        camera = explorer.nusc.get("sample", lidar["sample_token"])["data"][view.channel]
        pixels, _, image = explorer.map_pointcloud_to_image(lidar["token"], camera, min_dist=1.0)
        with image:  # which the devkit leaves open
            width, height = image.size
        point, pixel = project(xyz_m, view, height, width)
        # The devkit keeps one pixel of distance to the image's edge.
        row, column = pixel // width, pixel % width
        inner = (row >= 2) & (row < height - 2) & (column >= 2) & (column < width - 2)
        theirs = {(int(c), int(r)) for c, r in pixels[:2].T}
        ours = set(zip(column[inner].tolist(), row[inner].tolist(), strict=True))
        assert len(ours) > 100
        # They compute in float32 and we in float64: a point on the border of two pixels may fall either way.
        assert len(ours - theirs) < 0.01 * len(ours)
        assert len(point) == len(pixel)


def test_projection_agrees_with_the_devkit_on_the_street(street: Path) -> None:
    agrees_with_devkit(NuScenesConfig(root=str(street), splits="file"), "train")


@needs_real
def test_projection_agrees_with_the_devkit_on_a_real_keyframe() -> None:
    agrees_with_devkit(REAL, "mini_train")


def test_labels_have_the_length_of_the_cloud(street: Path) -> None:
    frame = read_keyframes(NuScenesConfig(root=str(street), splits="file"), "val")[0]
    xyz_m, intensity = read_cloud(frame.cloud)
    assert xyz_m.shape == (len(intensity), 3)
    assert 0 <= intensity.min() <= intensity.max() <= 255
    assert frame.lidarseg is not None
    assert len(read_lidarseg(frame.lidarseg, len(xyz_m))) == len(xyz_m)
    with pytest.raises(DatasetError, match="cut short"):
        read_lidarseg(frame.lidarseg, len(xyz_m) + 1)


def test_splits_are_disjoint(street: Path) -> None:
    config = NuScenesConfig(root=str(street), splits="file")
    train, val = ({frame.scene for frame in read_keyframes(config, split)} for split in ("train", "val"))
    assert len(train) == 2
    assert len(val) == 1
    assert not train & val


def test_shares_are_of_scenes(street: Path, tmp_path: Path) -> None:
    root = tmp_path / "street"
    shutil.copytree(street, root)
    scenes = [scene["name"] for scene in json.loads((root / "v1.0-trainval/scene.json").read_text())]
    # The order is that of the dataset, not of the list.
    (root / "splits.json").write_text(json.dumps({"train": scenes[::-1]}))
    config = NuScenesConfig(root=str(root), splits="file")
    with pytest.raises(DatasetError, match="25 % is every 4th, but there are only 3"):
        read_keyframes(config, "train", 25)
    table = json.loads((root / "v1.0-trainval/scene.json").read_text())
    copies = [scene | {"token": scene["token"] + str(number), "name": f"other-{number}"} for number, scene in enumerate(table)]
    (root / "v1.0-trainval/scene.json").write_text(json.dumps([*copies, *table]))
    (root / "splits.json").write_text(json.dumps({"train": scenes + [scene["name"] for scene in copies]}))
    # The fourth scene of six is the first of the three that have keyframes.
    assert {frame.scene for frame in read_keyframes(config, "train", 25)} == {scenes[0]}


def test_the_names_of_slidr_are_known(street: Path) -> None:
    with pytest.raises(DatasetError, match=r"no keyframe in split 'slidr_train' \(600 scene names"):
        read_keyframes(NuScenesConfig(root=str(street)), "slidr_train")


def test_refusals(street: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no tables"):
        read_keyframes(NuScenesConfig(root=str(tmp_path)), "train")
    with pytest.raises(DatasetError, match="no split 'trian'; there are train, val"):
        read_keyframes(NuScenesConfig(root=str(street), splits="file"), "trian")
    copy = tmp_path / "street"
    shutil.copytree(street, copy)
    (copy / "splits.json").write_text(json.dumps({"train": ["scene-9999"]}))
    with pytest.raises(DatasetError, match="no keyframe"):
        read_keyframes(NuScenesConfig(root=str(copy), splits="file"), "train")
    with pytest.raises(DatasetError, match="no CAM_TOP"):
        read_keyframes(NuScenesConfig(root=str(street), splits="file", cameras=("CAM_TOP",)), "train")
    (copy / "v1.0-trainval/sample.json").write_text("[")
    with pytest.raises(DatasetError, match="devkit cannot read"):
        read_keyframes(NuScenesConfig(root=str(copy), splits="file"), "train")


def test_a_cut_cloud_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cloud.pcd.bin"
    np.zeros(23, np.float32).tofile(path)
    with pytest.raises(DatasetError, match="92 bytes, expected a multiple of 20"):
        read_cloud(path)
    with pytest.raises(DatasetError, match=r"absent\.pcd\.bin: cloud cannot be read"):
        read_cloud(tmp_path / "absent.pcd.bin")
