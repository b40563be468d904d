"""One run of the comparison: its name, its training configuration, its files."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from distill.compare.config import RANDOM, CompareConfig, Contest, loss_name
from distill.config import LossConfig, TrainConfig

ZERO_SHOT, FEW_LABELS = "zero_shot", "few_labels"
"""What a run's folder holds records of."""


@dataclass(frozen=True)
class Run:
    """A student to be trained and scored; without a contest and a loss a random start."""

    seed: int
    contest: Contest | None = None
    loss: LossConfig | None = None
    lr: float | None = None

    @property
    def name(self) -> str:
        """teacher/loss-lrX-seedY, and its folder."""
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

    def records(self, config: CompareConfig, kind: str, real: Sequence[Path]) -> Path:
        """Where its records of a kind are; in the name what of the configuration they depend on, and the sets."""
        trained = self.train_config(config).model_dump(mode="json", exclude={"run", "cache"})
        scored = config.few_labels.model_dump(mode="json") if kind == FEW_LABELS else self.text_shifts
        made_from = json.dumps([trained, scored, config.tuning_share, [folder.name for folder in real]])
        return self.folder(config) / f"{kind}-{hashlib.sha256(made_from.encode()).hexdigest()[:12]}.json"

    def train_config(self, config: CompareConfig) -> TrainConfig:
        """What `python -m distill.train` would be given."""
        update: dict[str, object] = {"run": str(self.folder(config)), "seed": self.seed}
        if self.contest is not None:
            update["teacher"] = self.contest.teacher
            update["text"] = config.train.text.model_copy(update={"spare_dimensions": self.contest.spare_dimensions})
            update["loss"] = self.loss
            update["optim"] = config.train.optim.model_copy(update={"lr": self.lr})
        return config.train.model_copy(update=update)


def grid(config: CompareConfig, contest: Contest) -> Iterator[Run]:
    """Every loss with every learning rate and the seeds that choose among these."""
    for seed in config.seeds[: contest.grid_seeds]:
        for lr in config.learning_rates:
            for loss in config.losses:
                yield Run(seed, contest, loss, lr)


def repeats(config: CompareConfig, contest: Contest, best_lr: Mapping[str, float]) -> Iterator[Run]:
    """Every loss whose best learning rate is known with every seed; some are of the grid, too."""
    for seed in config.seeds:
        for loss in config.losses:
            if loss_name(loss) in best_lr:
                yield Run(seed, contest, loss, best_lr[loss_name(loss)])


def random_starts(config: CompareConfig) -> Iterator[Run]:
    """One a seed."""
    for seed in config.seeds:
        yield Run(seed)
