"""The order of the runs, and the processes that share them."""

import contextlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

from distill.cache_filling import fill_cache
from distill.compare.config import CompareConfig, Contest
from distill.compare.moved_words import require_room
from distill.compare.runs import FEW_LABELS, ZERO_SHOT, Run, grid, random_starts, repeats
from distill.compare.scoring import Record, few_label_records, zero_shot_records
from distill.compare.summary import best_rates
from distill.scan_folder import described_sets
from relidar.atomic import write_text
from relidar.errors import RelidarError
from relidar.prompts import load_prompt_set

Score = Callable[[CompareConfig, Run, Sequence[Path], str], None]
SCORES: dict[str, Score] = {ZERO_SHOT: zero_shot_records, FEW_LABELS: few_label_records}


class Comparison:
    """All runs of a configuration, in so many processes of one thread each; with none of them, those that were done before.

    Raises:
        ConfigError: a contest has too few spare dimensions for its text_shifts.
    """

    def __init__(self, config: CompareConfig, jobs: int, command: str, out: Path) -> None:
        classes = len(load_prompt_set(Path(config.train.text.prompts)).classes)
        for contest in config.contests:
            if any(contest.text_shifts):
                require_room(contest.spare_dimensions, classes)
        self._config, self._command, self._out = config, command, out
        self._real = tuple(described_sets())
        self._jobs = jobs
        self._seen: list[tuple[Run, str]] = []

    def run(self) -> list[Record]:
        """Does what is not done yet; all records there are, which are written after every run."""
        config = self._config
        os.environ |= {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}  # of the processes that are started
        with ProcessPoolExecutor(max(1, self._jobs), multiprocessing.get_context("spawn"), initializer=_one_thread) as pool:
            chosen: list[Run] = []
            for contest in config.contests:
                self._view_images(contest)
                self._score(pool, grid(config, contest), ZERO_SHOT)
                best = list(repeats(config, contest, self._best_lr(contest)))
                self._score(pool, best, ZERO_SHOT)
                chosen += best
            self._score(pool, (*random_starts(config), *chosen), FEW_LABELS)
        return self._save()

    @property
    def left_out(self) -> list[str]:
        """Names of the wanted runs of which records are not there, after `run`."""
        return list(dict.fromkeys(run.name for run, kind in self._seen if not self._is_done(run, kind)))

    def _view_images(self, contest: Contest) -> None:
        if not self._jobs:
            return
        config = Run(0, contest, self._config.losses[0], self._config.learning_rates[0]).train_config(self._config)
        for split in (config.data.train_split, config.data.val_split):
            fill_cache(config, self._jobs, split=split)

    def _score(self, pool: ProcessPoolExecutor, runs: Iterable[Run], kind: str) -> None:
        wanted = [(run, kind) for run in runs]
        self._seen += wanted
        left = [run for run, _ in wanted if not self._is_done(run, kind)] if self._jobs else []
        one = partial(_quietly, kind, self._config, self._real, self._command)
        for _ in tqdm(pool.map(one, left), total=len(left), desc=kind, unit="run"):
            self._save()

    def _save(self) -> list[Record]:
        records = [record for run, kind in dict.fromkeys(self._seen) for record in self._records(run, kind)]
        write_text(self._out, "[\n" + ",\n".join(map(json.dumps, records)) + "\n]\n")
        return records

    def _best_lr(self, contest: Contest) -> dict[str, float]:
        records = [record for run in grid(self._config, contest) for record in self._records(run, ZERO_SHOT)]
        return {loss: lr for (_, loss), lr in best_rates(records).items()}

    def _is_done(self, run: Run, kind: str) -> bool:
        return run.records(self._config, kind, self._real).exists()

    def _records(self, run: Run, kind: str) -> list[Record]:
        path = run.records(self._config, kind, self._real)
        records: list[Record] = json.loads(path.read_text()) if path.exists() else []
        return records


def _one_thread() -> None:
    torch.set_num_threads(1)


def _quietly(kind: str, config: CompareConfig, real: Sequence[Path], command: str, run: Run) -> None:
    """Scores one run, its output in a log of its own, since two progress bars at once are unreadable."""
    log = run.folder(config) / "log.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as stream, contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
        try:
            SCORES[kind](config, run, real, command)
        except RelidarError as error:
            raise type(error)(f"{run.name}: {error}") from error
