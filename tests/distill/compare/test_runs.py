"""Which runs there are, what each is called, and what each is told to train."""

from pathlib import Path

import pytest

from distill.compare.config import CompareConfig, loss_name
from distill.compare.runs import FEW_LABELS, ZERO_SHOT, Run, grid, repeats
from distill.config import ContrastiveLoss, RelationalLoss, TrainConfig
from relidar.config_file import validate
from relidar.errors import ConfigError


@pytest.fixture
def compare_config(config: TrainConfig) -> CompareConfig:
    values = {"train": config.model_dump(mode="json"), "learning_rates": [1e-3, 1e-2], "seeds": [3, 4]}
    contests = [{"teacher": {"kind": "street_clip"}}, {"teacher": {"kind": "pixel_text"}, "spare_dimensions": 16}]
    losses = [{"kind": "relational"}, {"kind": "relational", "lambda_intra": 0}, {"kind": "scalr"}]
    return validate(values | {"contests": contests, "losses": losses}, CompareConfig, "test")


def test_every_loss_meets_the_same_learning_rates_and_its_best_all_seeds(compare_config: CompareConfig) -> None:
    contest = compare_config.contests[1]
    first = [run.name for run in grid(compare_config, contest)]
    assert len(first) == len(set(first)) == 6
    assert all(name.startswith("pixel_text/") and name.endswith("-seed3") for name in first)
    best = {"relational": 1e-2, "relational-lambda_intra0": 1e-3, "scalr": 1e-2}
    again = [run.name for run in repeats(compare_config, contest, best)]
    assert len(again) == 6
    assert len(set(again) - set(first)) == 3  # the first seed's were trained for the grid
    assert "pixel_text/relational-lambda_intra0-lr0.001-seed4" in again
    assert len(list(repeats(compare_config, contest, {"scalr": 1e-2}))) == 2
    both = contest.model_copy(update={"grid_seeds": 2})
    whole = {run.name for run in grid(compare_config, both)}
    assert len(whole) == 12
    assert {run.name for run in repeats(compare_config, both, best)} <= whole


def test_a_run_trains_its_own_loss_rate_seed_and_teacher_and_shares_the_rest(compare_config: CompareConfig) -> None:
    contest = compare_config.contests[1]
    run = Run(7, contest, ContrastiveLoss(tau=0.1), 0.02)
    config = run.train_config(compare_config)
    assert (config.seed, config.loss, config.optim.lr) == (7, ContrastiveLoss(tau=0.1), 0.02)
    assert config.teacher == contest.teacher
    assert config.text.spare_dimensions == 16
    assert config.run == f"{compare_config.train.run}/pixel_text/contrastive-tau0.1-lr0.02-seed7"
    shared = {"run", "seed", "loss", "optim", "teacher", "text"}
    assert config.model_dump(exclude=shared) == compare_config.train.model_dump(exclude=shared)
    assert config.optim.warm_up == compare_config.train.optim.warm_up


def test_names_tell_what_is_unusual_of_a_loss() -> None:
    assert loss_name(RelationalLoss()) == "relational"
    assert loss_name(RelationalLoss(lambda_intra=0.5)) == "relational-lambda_intra0.5"


def test_records_of_another_configuration_are_never_taken_for_a_runs(compare_config: CompareConfig) -> None:
    run = Run(3, compare_config.contests[0], RelationalLoss(), 1e-2)
    path = run.records(compare_config, ZERO_SHOT, [])
    assert path == run.records(compare_config, ZERO_SHOT, [])
    few = compare_config.few_labels.model_copy(update={"steps": 1})
    other = compare_config.model_copy(update={"few_labels": few})
    assert run.records(other, ZERO_SHOT, []) == path
    assert run.records(other, FEW_LABELS, []) != run.records(compare_config, FEW_LABELS, [])
    for kind in (ZERO_SHOT, FEW_LABELS):  # which decides what is tested on
        shared = compare_config.model_copy(update={"tuning_share": 0.4})
        assert run.records(shared, kind, []) != run.records(compare_config, kind, [])
    longer = compare_config.train.model_copy(update={"schedule": compare_config.train.schedule.model_copy(update={"steps": 99})})
    assert run.records(compare_config.model_copy(update={"train": longer}), ZERO_SHOT, []) != path
    assert run.records(compare_config, ZERO_SHOT, [Path("vlp32-mit")]) != path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"contests": [{"teacher": {"kind": "street_clip"}}] * 2}, "every contest needs a name of its own"),
        ({"losses": [{"kind": "scalr"}, {"kind": "scalr"}]}, "every loss needs a name of its own"),
        ({"losses": []}, "found none"),
        ({"seeds": []}, "seeds"),
        ({"contests": [{"teacher": {"kind": "street_clip"}, "grid_seeds": 6}]}, "grid_seeds is 6, expected at most .* 5"),
        ({"seeds": [1, 0, 1]}, r"seeds \[1, 0, 1\], expected each once"),
        ({"seeds": [-1]}, r"seeds\.0 is -1|seeds\[0\] is -1"),
        ({"learning_rates": [0.1, 0.1]}, r"learning_rates \[0\.1, 0\.1\], expected each once"),
    ],
)
def test_what_would_share_a_folder_or_draws_nothing_is_refused(config: TrainConfig, changes: dict, message: str) -> None:
    values = {"train": config.model_dump(mode="json"), "contests": [{"teacher": {"kind": "street_clip"}}]}
    with pytest.raises(ConfigError, match=message):
        validate(values | changes, CompareConfig, "test")


def test_spare_dimensions_that_every_contest_would_replace_are_refused(config: TrainConfig) -> None:
    train = config.model_dump(mode="json")
    values = {"train": train | {"text": train["text"] | {"spare_dimensions": 16}}}
    with pytest.raises(ConfigError, match=r"train\.text\.spare_dimensions is 16; remove it"):
        validate(values | {"contests": [{"teacher": {"kind": "street_clip"}}]}, CompareConfig, "test")
