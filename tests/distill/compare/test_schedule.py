"""The comparison's order, its choice of learning rates and what it leaves alone, with records written by hand."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from distill.compare import schedule
from distill.compare.__main__ import main
from distill.compare.config import RANDOM, CompareConfig, loss_name
from distill.compare.runs import FEW_LABELS, ZERO_SHOT, Run
from distill.compare.schedule import Comparison
from distill.compare.summary import chosen, few_labels, zero_shot
from relidar.config_file import validate
from relidar.errors import ConfigError

ROOT = Path(__file__).parents[3]
TUNING_MIOU = {("relational", 1e-3): 10.0, ("relational", 1e-2): 30.0, ("scalr", 1e-3): 25.0, ("scalr", 1e-2): 20.0}
"""Of the first seed; with the second the other learning rate would have won."""
BEST = {"relational": 1e-2, "scalr": 1e-3}
RATES, SEEDS = (1e-3, 1e-2), (5, 2)
Score = Callable[[CompareConfig, Run, Sequence[Path], str], None]


@pytest.fixture(autouse=True)
def _no_real_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RELIDAR_DATA", raising=False)
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):  # which a comparison sets: put back after the test
        monkeypatch.setenv(name, os.environ.get(name, "1"))


@pytest.fixture
def config(tmp_path: Path) -> CompareConfig:
    """Two losses, two learning rates, two seeds that do not rise."""
    text = {"prompts": str(ROOT / "configs/prompts/nuscenes16.yaml")}
    train = {"run": str(tmp_path / "runs"), "cache": "none", "data": {"root": "none"}, "text": text}
    losses = [{"kind": "relational"}, {"kind": "scalr"}]
    values = {"train": train, "losses": losses, "learning_rates": RATES, "seeds": SEEDS}
    return validate(values | {"contests": [{"teacher": {"kind": "street_clip"}}]}, CompareConfig, "test")


def record(run: Run, name: str, miou: float, **others: Any) -> dict[str, Any]:
    loss = loss_name(run.loss) if run.loss else RANDOM
    teacher = run.contest.teacher.kind if run.contest else None
    return {"loss": loss, "teacher": teacher, "seed": run.seed, "lr": run.lr, "set": name, "miou": miou, "run": run.name} | others


def records(run: Run, kind: str) -> list[dict[str, Any]]:
    """What a run would have scored."""
    if kind == FEW_LABELS:
        return [record(run, "street", 40.0, protocol="k_shot", k=1)]
    assert run.loss is not None
    assert run.lr is not None
    tuned = TUNING_MIOU[loss_name(run.loss), run.lr] * (1 if run.seed == SEEDS[0] else -1) + 50
    facts = {"protocol": "zero_shot", "text_shift": 0.0}
    return [record(run, "street-tuning", tuned, **facts), record(run, "street", tuned + 1, **facts)]


def write(config: CompareConfig, run: Run, kind: str) -> None:
    path = run.records(config, kind, [])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(records(run, kind)))


def every_run(config: CompareConfig) -> Iterator[tuple[Run, str]]:
    """All pairs of rate and seed, so that records lie there that nobody asks for, and the random starts."""
    for seed in SEEDS:
        for loss in config.losses:
            for lr in RATES:
                yield from ((Run(seed, config.contests[0], loss, lr), kind) for kind in (ZERO_SHOT, FEW_LABELS))
        yield Run(seed), FEW_LABELS


def test_without_jobs_what_is_there_is_gathered_with_the_best_rate_of_the_first_seed(
    config: CompareConfig, tmp_path: Path
) -> None:
    for run, kind in every_run(config):
        write(config, run, kind)
    comparison = Comparison(config, 0, "command", tmp_path / "out.json")
    gathered = comparison.run()
    assert json.loads((tmp_path / "out.json").read_text()) == gathered
    assert comparison.left_out == []
    scored = [(r["loss"], r["lr"], r["seed"]) for r in gathered if r["set"] == "street" and r["protocol"] == "zero_shot"]
    assert scored[:4] == [(loss, lr, 5) for lr in RATES for loss in ("relational", "scalr")]
    assert scored[4:] == [("relational", 1e-2, 2), ("scalr", 1e-3, 2)]
    learned = [(r["loss"], r["lr"], r["seed"]) for r in gathered if r["protocol"] == "k_shot"]
    assert learned == [("random", None, 5), ("random", None, 2), *((loss, lr, s) for s in SEEDS for loss, lr in BEST.items())]
    # The tables choose what the comparison repeated.
    assert {(r["loss"], r["lr"]) for r in chosen(gathered)} == {*BEST.items(), (RANDOM, None)}
    assert all(spread.seeds == 2 for means in (zero_shot(gathered), few_labels(gathered)) for spread in means.values())


def test_without_jobs_runs_that_are_not_there_are_left_out_and_named(config: CompareConfig, tmp_path: Path) -> None:
    absent = f"street_clip/{loss_name(config.losses[0])}-lr0.01-seed2"
    for run, kind in every_run(config):
        if run.name != absent and not (run.loss is None and run.seed == 5):
            write(config, run, kind)
    comparison = Comparison(config, 0, "command", tmp_path / "out.json")
    gathered = comparison.run()
    assert comparison.left_out == [absent, "random/seed5"]
    assert not {absent, "random/seed5"} & {r["run"] for r in gathered}
    assert not Path(config.train.run, absent).exists()


def test_the_command_tells_how_many_runs_are_left_out(
    config: CompareConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "compare.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    words = ["--config", tmp_path / "compare.yaml", "--out", tmp_path / "out.json", "--jobs", 0]
    monkeypatch.setattr(sys, "argv", ["compare", *map(str, words)])
    main()
    grid, random = 4, 2
    assert f"left out: {grid + random} of the wanted runs, whose records are not all there" in capsys.readouterr().out
    assert json.loads((tmp_path / "out.json").read_text()) == []


class InThisProcess:
    """In place of processes."""

    def __init__(self, *arguments: object, **keywords: object) -> None:
        pass

    def __enter__(self) -> "InThisProcess":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def map(self, function: Callable[[Run], None], runs: Iterable[Run]) -> Iterator[None]:
        return map(function, runs)


def test_every_run_is_done_in_order_once_and_what_was_done_is_not_done_again(
    config: CompareConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, str]] = []

    def scoring(kind: str) -> Score:
        def score(config: CompareConfig, run: Run, real: Sequence[Path], command: str) -> None:
            if len(done) == breaks_after:
                raise KeyboardInterrupt
            done.append((kind, run.name))
            write(config, run, kind)

        return score

    monkeypatch.setattr(schedule, "ProcessPoolExecutor", InThisProcess)
    monkeypatch.setattr(schedule, "fill_cache", lambda *_, **__: 0)
    for kind in (ZERO_SHOT, FEW_LABELS):
        monkeypatch.setitem(schedule.SCORES, kind, scoring(kind))
    breaks_after = 5
    with pytest.raises(KeyboardInterrupt):
        Comparison(config, 1, "command", tmp_path / "out.json").run()
    assert len(done) == 5
    breaks_after = -1
    Comparison(config, 1, "command", tmp_path / "out.json").run()
    first = [f"street_clip/{loss}-lr{lr:g}-seed5" for lr in RATES for loss in BEST]
    repeated = [f"street_clip/{loss}-lr{lr:g}-seed2" for loss, lr in BEST.items()]
    learned = [f"street_clip/{loss}-lr{lr:g}-seed{seed}" for seed in SEEDS for loss, lr in BEST.items()]
    assert done == [
        *((ZERO_SHOT, name) for name in first + repeated),
        *((FEW_LABELS, name) for name in ["random/seed5", "random/seed2", *learned]),
    ]
    Comparison(config, 1, "command", tmp_path / "out.json").run()
    assert len(done) == len(set(done)) == 12


def test_too_few_spare_dimensions_are_told_before_the_first_run(config: CompareConfig, tmp_path: Path) -> None:
    contest = config.contests[0].model_copy(update={"text_shifts": (0.0, 1.0), "spare_dimensions": 15})
    with pytest.raises(ConfigError, match=r"16 classes need as many .* found spare_dimensions: 15; set it to 16"):
        Comparison(config.model_copy(update={"contests": (contest,)}), 1, "command", tmp_path / "out.json")
    enough = contest.model_copy(update={"spare_dimensions": 16})
    Comparison(config.model_copy(update={"contests": (enough,)}), 1, "command", tmp_path / "out.json")
