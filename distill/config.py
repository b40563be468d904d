"""The configuration of a training run. YAML files in configs/ hold only what differs from these defaults."""

from typing import Annotated, Literal

from pydantic import Field

from distill.images import SuperpixelConfig
from distill.nuscenes_frames import NuScenesConfig
from distill.occlusion import OcclusionConfig
from distill.student import StudentConfig
from distill.teachers import TeacherConfig
from relidar.config_file import Model
from relidar.voxels import Preprocessing

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]


class TextConfig(Model):
    """The words and their encoder."""

    encoder: str = "sentence"
    """sentence, or open_clip:MODEL:PRETRAINED; must share the teacher's space."""
    prompts: str = "configs/prompts/nuscenes16.yaml"
    """Classes for evaluation and export; training does not see them."""


class RelationalLoss(Model):
    """cross_relation + lambda_intra * intra_relation."""

    kind: Literal["relational"] = "relational"
    lambda_intra: NonNegative = 1.0


class ContrastiveLoss(Model):
    """InfoNCE."""

    kind: Literal["contrastive"] = "contrastive"
    tau: Positive = 0.07


class SimilarityLoss(Model):
    """1 - cosine."""

    kind: Literal["similarity"] = "similarity"


LossConfig = Annotated[RelationalLoss | ContrastiveLoss | SimilarityLoss, Field(discriminator="kind")]


class OptimConfig(Model):
    """AdamW under a one-cycle schedule."""

    lr: Positive = 2e-3
    """Peak learning rate."""
    weight_decay: NonNegative = 1e-2
    warm_up: Fraction = 0.1
    """Share of the steps in which the rate rises."""


class ScheduleConfig(Model):
    """How long and how much at once."""

    steps: Count = 1000
    """Optimiser steps."""
    batch_scans: Count = 2
    """B, scans a step and process."""
    rows: Count = 4096
    """N, superpixels that enter the loss at most, drawn at random from the batch's."""
    even_rows: bool = False
    """Draw superpixels evenly over what the teacher tells apart, rather than evenly over the scan: one is drawn the more rarely
    the more of its keyframe is like it in the teacher's eyes. Needs no label, and keeps road from drowning cones."""
    checkpoint_every: Count = 100
    """Steps between resumable checkpoints."""
    workers: Annotated[int, Field(ge=0)] = 1
    """Processes that prepare scans."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"


class AugmentConfig(Model):
    """Random changes of each training scan; the pairs with the image stay as they are."""

    rotate: bool = True
    """About the vertical axis, by any angle."""
    flip: bool = True
    """Left-right and front-back."""
    scale: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Sizes vary by up to this share."""
    drop_points: Fraction = 0.0
    """Up to this share of the points is dropped at random."""
    shift_height_m: NonNegative = 0.0
    """The sensor's height varies by up to this."""


class TrainConfig(Model):
    """Everything about a run."""

    seed: int = 0
    run: str
    """Folder for checkpoints, logs, the resolved configuration and student.pt."""
    data: NuScenesConfig
    cache: str
    """Folder for the teacher's pooled features."""
    superpixels: SuperpixelConfig = SuperpixelConfig()
    occlusion: OcclusionConfig | None = None
    """None: every point that projects onto an image is paired with it (SLidR's protocol)."""
    teacher: TeacherConfig = TeacherConfig()
    text: TextConfig = TextConfig()
    preprocessing: Preprocessing = Preprocessing()
    student: StudentConfig = StudentConfig()
    loss: LossConfig = RelationalLoss()
    optim: OptimConfig = OptimConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    augment: AugmentConfig = AugmentConfig()
