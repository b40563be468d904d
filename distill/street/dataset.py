"""The dataset folder: scenes spread over processes, then the nuScenes tables, splits, map and bag."""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from distill.street import categories, poses, seeds
from distill.street.bag import BagJob, make_bag
from distill.street.keyframes import VERSION, SceneJob, make_scene
from distill.street.rig import Rig
from distill.street.seeds import token


@dataclass(frozen=True)
class DatasetPlan:
    """How much to make."""

    seed: int
    scenes: int
    val_scenes: int
    keyframes: int
    bag_scans: int
    processes: int


def write_dataset(folder: Path, rig: Rig, plan: DatasetPlan) -> Iterator[str]:
    """Fills the empty `folder`; yields the name of each scene (and "bag") as it is finished."""
    channels = ["LIDAR_TOP", *[camera.name for camera in rig.cameras]]
    for channel in channels:
        (folder / "samples" / channel).mkdir(parents=True)
    (folder / "lidarseg" / VERSION).mkdir(parents=True)
    jobs = [
        SceneJob(folder, rig, plan.seed, use, index, number, plan.keyframes)
        for number, (use, index) in enumerate(
            [(seeds.TRAIN, i) for i in range(plan.scenes)] + [(seeds.VAL, i) for i in range(plan.val_scenes)]
        )
    ]
    bag = BagJob(folder / "street.mcap", rig, plan.seed, plan.bag_scans)
    records: list[dict[str, list[dict[str, Any]]]] = [{} for _ in jobs]
    if plan.processes == 1:
        for i, job in enumerate(jobs):
            records[i] = make_scene(job)
            yield job.name
        make_bag(bag)
        yield "bag"
    else:
        with ProcessPoolExecutor(plan.processes, mp_context=get_context("spawn")) as pool:
            waiting: dict[Future[Any], int] = {pool.submit(make_bag, bag): -1}
            waiting |= {pool.submit(make_scene, job): i for i, job in enumerate(jobs)}
            try:
                for future in as_completed(waiting):
                    i = waiting[future]
                    if i >= 0:
                        records[i] = future.result()
                    else:
                        future.result()
                    yield jobs[i].name if i >= 0 else "bag"
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    _write_tables(folder, rig, records)
    names = [job.name for job in jobs]
    splits = {"train": names[: plan.scenes], "val": names[plan.scenes :]}
    (folder / "splits.json").write_text(json.dumps(splits, indent=1) + "\n", encoding="utf-8")


def _write_tables(folder: Path, rig: Rig, scenes: list[dict[str, list[dict[str, Any]]]]) -> None:
    tables: dict[str, list[dict[str, Any]]] = {
        name: [record for scene in scenes for record in scene[name]]
        for name in ("scene", "sample", "sample_data", "ego_pose", "sample_annotation", "instance", "lidarseg")
    }
    tables["category"] = [
        {"token": token("category", name), "name": name, "description": "", "index": index}
        for index, name in enumerate(categories.NAMES)
    ]
    tables["attribute"] = [{"token": token("attribute", n), "name": n, "description": ""} for n in categories.ATTRIBUTES]
    tables["visibility"] = [{"token": str(i + 1), "level": n, "description": ""} for i, n in enumerate(categories.VISIBILITY)]
    tables["log"] = [
        {"token": token("log"), "logfile": "street", "vehicle": "street", "date_captured": "2023-11-14", "location": "street"}
    ]
    tables["map"] = [
        {"token": token("map"), "log_tokens": [token("log")], "category": "semantic_prior", "filename": "maps/street.png"}
    ]
    tables["sensor"] = [{"token": token("sensor", "LIDAR_TOP"), "channel": "LIDAR_TOP", "modality": "lidar"}]
    tables["calibrated_sensor"] = [_calibrated("LIDAR_TOP", rig.lidar.ego_from_lidar(), [])]
    for camera in rig.cameras:
        tables["sensor"].append({"token": token("sensor", camera.name), "channel": camera.name, "modality": "camera"})
        intrinsic = camera.intrinsic(rig.image_width, rig.image_height).tolist()
        tables["calibrated_sensor"].append(_calibrated(camera.name, camera.ego_from_camera(), intrinsic))
    (folder / VERSION).mkdir()
    for name, rows in tables.items():
        (folder / VERSION / f"{name}.json").write_text(json.dumps(rows, indent=0), encoding="utf-8")
    (folder / "maps").mkdir()
    # The devkit wants a mask of the drivable area; the street has no map, so all of it is drivable.
    Image.fromarray(np.full((20, 20), 255, np.uint8)).save(folder / "maps" / "street.png")


def _calibrated(channel: str, ego_from_sensor: np.ndarray, intrinsic: list[list[float]]) -> dict[str, Any]:
    return {
        "token": token("calibrated", channel),
        "sensor_token": token("sensor", channel),
        "translation": ego_from_sensor[:3, 3].tolist(),
        "rotation": list(poses.quaternion(ego_from_sensor[:3, :3])),
        "camera_intrinsic": intrinsic,
    }
