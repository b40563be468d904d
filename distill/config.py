"""The configuration of a training run. YAML files in configs/ hold only what differs from these defaults."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from distill.augmentation import AugmentConfig
from distill.datasets import DataConfig
from distill.images import SuperpixelConfig, SuperpixelsConfig
from distill.occlusion import OcclusionConfig
from distill.student import StudentConfig
from distill.teacher_cache import Pairing
from distill.teachers import StreetTeacherConfig, TeacherConfig
from relidar.config_file import Model
from relidar.voxels import Preprocessing

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]


class TextConfig(Model):
    """The words and their encoder."""

    encoder: str | None = None
    """sentence, or open_clip:MODEL:PRETRAINED; by default that of the teacher, whose space it must share."""
    prompts: str = "configs/prompts/nuscenes16.yaml"
    """Classes for evaluation and export; training does not see them."""
    spare_dimensions: Annotated[int, Field(ge=0)] = 0
    """Dimensions added to the student's space in which no image feature and no word has anything: room into which
    `distill.compare` moves words, so that they lie outside the image features by a known amount."""


class RelationalLoss(Model):
    """cross_relation + lambda_intra * intra_relation."""

    kind: Literal["relational"] = "relational"
    lambda_intra: NonNegative = 1.0


class ContrastiveLoss(Model):
    """InfoNCE."""

    kind: Literal["contrastive"] = "contrastive"
    tau: Positive = 0.07


class ContrastiveTolerantLoss(Model):
    """InfoNCE without the most similar negatives, anchors reweighted; the defaults are ST-SLidR's."""

    kind: Literal["contrastive_tolerant"] = "contrastive_tolerant"
    tau: Positive = 0.07
    drop_share: Annotated[float, Field(ge=0, lt=1)] = 0.01
    """Share of each row's negatives that is dropped, the most similar ones."""
    vote_cosine: Annotated[float, Field(ge=-1, le=1)] = 0.5
    """Rows of less cosine to each other in the teacher's eyes cast no vote for each other."""


class SimilarityLoss(Model):
    """1 - cosine."""

    kind: Literal["similarity"] = "similarity"


class ScalrLoss(Model):
    """Mean distance, not squared."""

    kind: Literal["scalr"] = "scalr"


LossConfig = Annotated[
    RelationalLoss | ContrastiveLoss | ContrastiveTolerantLoss | SimilarityLoss | ScalrLoss, Field(discriminator="kind")
]


class AdamWConfig(Model):
    """AdamW under a one-cycle schedule."""

    kind: Literal["adamw"] = "adamw"
    lr: Positive = 2e-3
    """Peak learning rate."""
    weight_decay: NonNegative = 1e-2
    warm_up: Fraction = 0.1
    """Share of the steps in which the rate rises."""


class SgdConfig(Model):
    """SGD whose learning rate falls along a cosine; the defaults are those of SLidR's pretraining."""

    kind: Literal["sgd"] = "sgd"
    lr: Positive = 0.5
    """Learning rate of the first step."""
    weight_decay: NonNegative = 1e-4
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    dampening: Fraction = 0.1


def _adamw_unless_said(value: Any) -> Any:
    return {"kind": "adamw"} | value if isinstance(value, dict) else value


OptimConfig = Annotated[AdamWConfig | SgdConfig, Field(discriminator="kind"), BeforeValidator(_adamw_unless_said)]


class ScheduleConfig(Model):
    """How long and how much at once."""

    steps: Count = 1000
    """Optimiser steps."""
    batch_scans: Count = 2
    """B, scans a step and process."""
    rows: Count = 4096
    """N, rows that enter the loss of a process's batch at most, drawn at random from its superpixels or pairs."""
    even_rows: bool = False
    """Draw superpixels evenly over what the teacher tells apart, rather than evenly over the scan: one is drawn the more rarely
    the more of its keyframe is like it in the teacher's eyes. Needs no label, and keeps road from drowning cones."""
    checkpoint_every: Count = 100
    """Steps between resumable checkpoints."""
    workers: Annotated[int, Field(ge=0)] = 1
    """Processes that prepare scans."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"


class TrainConfig(Model):
    """Everything about a run."""

    seed: int = 0
    run: str
    """Folder for checkpoints, logs, the resolved configuration and student.pt."""
    data: DataConfig
    cache: str
    """Folder for the teacher's pooled features."""
    superpixels: SuperpixelsConfig = SuperpixelConfig()
    occlusion: OcclusionConfig | None = None
    """None: every point that projects onto an image is paired with it (SLidR's protocol)."""
    pairing: Pairing = "superpixels"
    """What a row of the loss is: a superpixel and the mean of its points (SLidR), or a pixel and a point in it (PPKT). The cache
    of pixels keeps a feature for every cell of the teacher's output that a point falls into, many times as many."""
    teacher: TeacherConfig = StreetTeacherConfig()
    text: TextConfig = TextConfig()
    preprocessing: Preprocessing = Preprocessing()
    student: StudentConfig = StudentConfig()
    convolution: Literal["pairs", "torchsparse"] = "pairs"
    """What works out the sparse convolutions while training; the weights fit either."""
    loss: LossConfig = RelationalLoss()
    optim: OptimConfig = AdamWConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    augment: AugmentConfig = AugmentConfig()
