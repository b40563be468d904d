"""What is compared with what."""

from typing import Annotated

from pydantic import Field, model_validator

from distill.config import (
    ContrastiveLoss,
    ContrastiveTolerantLoss,
    Count,
    LossConfig,
    NonNegative,
    Positive,
    RelationalLoss,
    ScalrLoss,
    SimilarityLoss,
    TrainConfig,
)
from distill.teachers import TeacherConfig
from distill.tune_config import SHOTS, TuneConfig
from relidar.config_file import Model

RANDOM = "random"
"""In place of a loss: a student that learned from no teacher, the start that pretraining is compared with."""


def loss_name(loss: LossConfig) -> str:
    """The kind, and whatever of it is not the default: relational-lambda_intra0."""
    unusual = {name: value for name, value in loss.model_dump(exclude_defaults=True).items() if name != "kind"}
    return "-".join([loss.kind, *(f"{name}{value:g}" for name, value in unusual.items())])


class Contest(Model):
    """A teacher, and how far its words are moved out of the image features."""

    teacher: TeacherConfig
    text_shifts: tuple[NonNegative, ...] = (0.0,)
    """Lengths, beside the words' own of 1, by which each class's words are moved into a dimension of its own where no image
    feature has anything. The students are the same for all, only the words move; more than 0 needs one of `spare_dimensions` a
    class."""
    spare_dimensions: Annotated[int, Field(ge=0)] = 0
    """See `text.spare_dimensions` of a training run."""
    grid_seeds: Count = 1
    """So many of the seeds, the first ones, try every learning rate, and choose the best of each loss by their mean."""


class ShotConfig(Model):
    """How few labels are learned: SLidR's protocol but for the batch, the number of steps and the learning rates."""

    shots: tuple[Count, ...] = SHOTS
    steps: Count = 32
    """Of one scan each, about, whatever k."""
    probe_steps: Count = 80
    """Of the linear probe on the street, whose scans are all labelled then."""
    trunk_lr: Positive = 0.05
    head_lr: Positive = 0.5


class CompareConfig(Model):
    """All runs: every teacher, loss and learning rate with `grid_seeds` seeds, then each loss's best with the other seeds."""

    train: TrainConfig
    """What all runs share; run, seed, teacher, spare dimensions, loss and learning rate are set for each."""
    contests: tuple[Contest, ...]
    losses: tuple[LossConfig, ...] = (
        RelationalLoss(),
        SimilarityLoss(),
        ContrastiveLoss(),
        ContrastiveTolerantLoss(),
        ScalrLoss(),
    )
    learning_rates: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1e-2, 3e-2, 1e-1)
    """The best of these is chosen for each teacher and loss, on keyframes that nothing else is tested on."""
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0, 1, 2, 3, 4)
    """Of the students, and of what they are given to learn from."""
    tuning_share: Annotated[float, Field(gt=0, lt=1)] = 0.25
    """Share of the validation keyframes, its first scenes, that chooses learning rates; the others are tested on."""
    few_labels: ShotConfig = ShotConfig()

    @model_validator(mode="after")
    def _distinct(self) -> "CompareConfig":
        for what, names in (("contest", [c.teacher.kind for c in self.contests]), ("loss", list(map(loss_name, self.losses)))):
            if not names or len(set(names)) < len(names):
                raise ValueError(f"every {what} needs a name of its own, and one at least; found {', '.join(names) or 'none'}")
        for each in self.contests:
            if each.grid_seeds > len(self.seeds):
                raise ValueError(f"grid_seeds is {each.grid_seeds}, expected at most the number of seeds, {len(self.seeds)}")
        for what, numbers in (("seeds", self.seeds), ("learning_rates", self.learning_rates)):
            if len(set(numbers)) < len(numbers):
                raise ValueError(f"{what} {list(numbers)}, expected each once")
        return self

    @model_validator(mode="after")
    def _spare_dimensions_of_the_contests(self) -> "CompareConfig":
        if spare := self.train.text.spare_dimensions:
            raise ValueError(f"train.text.spare_dimensions is {spare}; remove it, each contest has its own spare_dimensions")
        return self

    def fine_tune(self, k: int, seed: int) -> TuneConfig:
        """Learning k scans with all layers."""
        few = self.few_labels
        return TuneConfig(epochs=max(1, few.steps // k), batch_scans=1, trunk_lr=few.trunk_lr, head_lr=few.head_lr, seed=seed)

    def linear_probe(self, scans: int, seed: int) -> TuneConfig:
        """Learning so many scans with the last layer."""
        few = self.few_labels
        return TuneConfig(
            epochs=max(1, round(few.probe_steps / scans)), batch_scans=1, trunk_lr=0.0, head_lr=few.head_lr, seed=seed
        )
