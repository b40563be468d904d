"""Linear probe and fine-tuning: a student with a new last layer for labelled classes, trained on labelled clouds.

SLidR's protocol for nuScenes (Sautier et al., CVPR 2022) but for batch norm's momentum: SGD under a cosine schedule, cross
entropy and Lovasz-softmax, rotations and flips. A linear probe trains the last layer alone; fine-tuning trains all, trunk and
last layer each with its own learning rate. The last layer is new and sees the trunk's features; text and the teacher's space
play no part.
"""

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from distill.checkpoint import StudentCheckpoint
from distill.labelled_clouds import LabelledClouds
from distill.lovasz import lovasz_softmax
from distill.scans import StepSampler, batch_voxels
from distill.scoring import Predict, score
from distill.sparse_conv import PairTables
from distill.student import Student
from distill.tune_config import TuneConfig
from distill.tuning_scans import IGNORED, TuningScans, collate
from distill.worker_errors import plain_worker_errors
from relidar.errors import TrainingError
from relidar.label_map import LabelMap
from relidar.prompts import UNLABELLED
from relidar.voxels import Preprocessing, voxelise


class Classifier(nn.Module):
    """A student's trunk and a linear layer over classes."""

    def __init__(self, student: Student, classes: int) -> None:
        super().__init__()
        self.trunk = student
        self.head = nn.Linear(student.head.in_features, classes)

    def forward(self, features: Tensor, tables: PairTables) -> Tensor:
        """(V, C_in) -> (V, C) logits."""
        return self.head(self.trunk.trunk(features, tables))


def tune(
    student: Student, preprocessing: Preprocessing, clouds: LabelledClouds, label_map: LabelMap, config: TuneConfig
) -> Classifier:
    """Trains a classifier of the map's classes on a copy of the student.

    Raises:
        DatasetError: a damaged file. TrainingError: the loss is not finite.
    """
    torch.manual_seed(config.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = Classifier(copy.deepcopy(student), len(label_map.classes)).to(device)
    frozen = config.trunk_lr == 0
    model.trunk.requires_grad_(not frozen)
    optimizer = _optimizer(model, config)
    batch = min(config.batch_scans, len(clouds))
    steps = config.epochs * (len(clouds) // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    scans = TuningScans(clouds, label_map, preprocessing, config.seed, config.augment)
    workers: dict[str, Any] = {}
    if config.workers:
        workers = {"num_workers": config.workers, "multiprocessing_context": "forkserver", "prefetch_factor": 4}
    loader: DataLoader[Any] = DataLoader(scans, batch_sampler=StepSampler(0, steps, batch, 0, 1), collate_fn=collate, **workers)
    model.train()
    model.trunk.train(not frozen)
    with plain_worker_errors():
        for step, scan in enumerate(tqdm(loader, desc="labels", unit="step")):
            tables = {name: table.to(device) for name, table in scan.tables.items()}
            loss = segmentation_loss(model(scan.features.to(device), tables), scan.truth.to(device))
            if not torch.isfinite(loss):
                raise TrainingError(f"step {step} of tuning: the loss is {loss.item()}; lower the learning rates.")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval().cpu()


def _optimizer(model: Classifier, config: TuneConfig) -> torch.optim.SGD:
    """SGD with a learning rate for the last layer and one for the trunk, without what the student's own head holds."""
    groups: list[dict[str, Any]] = [{"params": list(model.head.parameters()), "lr": config.head_lr}]
    if config.trunk_lr > 0:
        trunk = [weight for name, weight in model.trunk.named_parameters() if not name.startswith("head.")]
        groups.append({"params": trunk, "lr": config.trunk_lr})
    return torch.optim.SGD(groups, momentum=config.momentum, dampening=config.dampening, weight_decay=config.weight_decay)


def segmentation_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross entropy + Lovasz-softmax over the (V, C) logits whose (V,) class is not IGNORED; 0 where all are."""
    labelled = truth != IGNORED
    if not labelled.any():
        return logits.sum() * 0.0
    logits, truth = logits[labelled], truth[labelled]
    return nn.functional.cross_entropy(logits, truth) + lovasz_softmax(logits.softmax(dim=1), truth)


def answers(model: Classifier, preprocessing: Preprocessing) -> Predict:
    """A classifier's answers to raw points; 255 where a point is in no voxel."""

    @torch.inference_mode()
    def predict(xyz_m: NDArray[np.float32], intensity: NDArray[np.float32] | None) -> NDArray[np.uint8]:
        voxels = voxelise(xyz_m, intensity, preprocessing)
        label = np.full(len(xyz_m), UNLABELLED, np.uint8)
        if len(voxels.coordinates):
            best = model(*batch_voxels([voxels])).argmax(dim=1).numpy().astype(np.uint8)
            inside = voxels.voxel_of_point >= 0
            label[inside] = best[voxels.voxel_of_point[inside]]
        return label

    return predict


def fine_tuned(
    checkpoint: StudentCheckpoint, labelled: LabelledClouds, test: LabelledClouds, label_map: LabelMap, config: TuneConfig
) -> dict[str, Any]:
    """Learns the labels of some clouds and scores the classifier on others (see `score`)."""
    model = tune(checkpoint.student, checkpoint.preprocessing, labelled, label_map, config)
    scans = (test[number] for number in tqdm(range(len(test)), desc="test", unit="scan"))
    result = score(answers(model, checkpoint.preprocessing), scans, label_map)
    return {"labelled_scans": len(labelled)} | result


def fresh(student: Student, seed: int) -> Student:
    """A student like this one that has learned nothing: the random start that pretraining is compared with."""
    torch.manual_seed(seed)
    return Student(student.config, student.in_channels, student.feature_width).eval()
