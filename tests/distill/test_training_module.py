"""The optimisers, and the course of their learning rates, in a run that breaks and goes on."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from distill.checkpoint import load_student
from distill.config import TrainConfig
from distill.trainer import train
from distill.training_module import Distillation
from relidar.config_file import validate


def test_slidrs_optimiser_goes_on_where_it_was(config_values: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    straight, broken = (
        validate(config_values | {"run": str(tmp_path / name), "optim": {"kind": "sgd"}}, TrainConfig, "test")
        for name in ("straight", "broken")
    )
    expected = load_student(train(straight)).student.state_dict()
    step = Distillation.training_step
    rates: list[float] = []
    breaks_at = 3

    def noting(self: Distillation, *batch: Any) -> torch.Tensor:
        if self.global_step == breaks_at:
            raise RuntimeError("power cut")
        rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])
        return step(self, *batch)

    monkeypatch.setattr(Distillation, "training_step", noting)
    with pytest.raises(RuntimeError, match="power cut"):
        train(broken)
    breaks_at = 6
    resumed = load_student(train(broken)).student.state_dict()  # the last checkpoint is that of step 2
    assert rates == pytest.approx([0.25 * (1 + math.cos(math.pi * number / 6)) for number in (0, 1, 2, 2, 3, 4, 5)])
    assert all(torch.equal(resumed[name], weight) for name, weight in expected.items())
