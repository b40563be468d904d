"""The reader against nuscenes-devkit's own projection, and its refusals."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from nuscenes import NuScenes
from nuscenes.nuscenes import NuScenesExplorer

from distill.nuscenes_frames import NuScenesConfig, project, read_cloud, read_keyframes, read_lidarseg
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
