"""One run of the comparison: its name, its training configuration, its files."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from distill.compare.config import RANDOM, CompareConfig, Contest
from distill.config import LossConfig, TrainConfig

ZERO_SHOT, FEW_LABELS = "zero_shot.json", "few_labels.json"
"""Files of a run's folder that hold its records."""


@dataclass(frozen=True)
class Run:
    """A student to be trained and scored; without a contest and a loss a random start."""

    seed: int
    contest: Contest | None = None
    loss: LossConfig | None = None
    lr: float | None = None

    @property
    def name(self) -> str:
        """teacher/loss-lrX-seedY, its folder and what --only looks for."""
        if self.contest is None or self.loss is None:
            return f"{RANDOM}/seed{self.seed}"
        return f"{self.contest.teacher.kind}/{loss_name(self.loss)}-lr{self.lr:g}-seed{self.seed}"

    @property
    def text_shifts(self) -> tuple[float, ...]:
        """See `Contest.text_shifts`."""
        return self.contest.text_shifts if self.contest else ()

    def folder(self, config: CompareConfig) -> Path:
        """Where its student and its records are."""
        return Path(config.train.run) / self.name

    def train_config(self, config: CompareConfig) -> TrainConfig:
        """What `python -m distill.train` would be given."""
        update: dict[str, object] = {"run": str(self.folder(config)), "seed": self.seed}
        if self.contest is not None:
            update["teacher"] = self.contest.teacher
            update["text"] = config.train.text.model_copy(update={"spare_dimensions": self.contest.spare_dimensions})
            update["loss"] = self.loss
            update["optim"] = config.train.optim.model_copy(update={"lr": self.lr})
        return config.train.model_copy(update=update)


def loss_name(loss: LossConfig) -> str:
    """The kind, and whatever of it is not the default: relational-lambda_intra0."""
    unusual = {name: value for name, value in loss.model_dump(exclude_defaults=True).items() if name != "kind"}
    return "-".join([loss.kind, *(f"{name}{value:g}" for name, value in unusual.items())])


def grid(config: CompareConfig, contest: Contest) -> Iterator[Run]:
    """Every loss with every learning rate, first seed."""
    for lr in config.learning_rates:
        for loss in config.losses:
            yield Run(config.seeds[0], contest, loss, lr)


def repeats(config: CompareConfig, contest: Contest, best_lr: Mapping[str, float]) -> Iterator[Run]:
    """Every loss whose best learning rate is known with every seed; the first seed's are of the grid, too."""
    for seed in config.seeds:
        for loss in config.losses:
            if loss_name(loss) in best_lr:
                yield Run(seed, contest, loss, best_lr[loss_name(loss)])


def random_starts(config: CompareConfig) -> Iterator[Run]:
    """One a seed."""
    for seed in config.seeds:
        yield Run(seed)
