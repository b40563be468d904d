"""Replays several bags, one after the other or side by side, each into a folder of its own."""

import hashlib
import multiprocessing
import re
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from relidar import bag_replay, command_line
from relidar.errors import RelidarError
from relidar.loaded_model import LoadedModel, load_model
from relidar.replay_options import ReplayOptions, is_finished
from relidar.row_parts import cores


def replay_bags(bags: Sequence[Path], out: Path, options: ReplayOptions, jobs: int) -> dict[Path, str]:
    """Puts the result of each bag into OUT/bags/NAME; returns what went wrong, by bag.

    Bags whose result is there are left alone, as is a bag's old result where the new one fails.
    """
    folder_of = result_folders(bags, out)
    failed: dict[Path, str] = {}
    todo = []
    for bag, folder in folder_of.items():
        for left in folder.parent.glob(f".{folder.name}.*"):
            shutil.rmtree(left, ignore_errors=True)  # of a run that was killed
        if not bag.exists():
            failed[bag] = f"{bag}: no such bag; give a rosbag2 folder, an .mcap or .db3 file, or a rosbag1 .bag file."
        elif not is_finished(folder, options, bag):
            todo.append(bag)
        else:
            command_line.say(f"{bag}: done before, {folder} is kept")
    if jobs > 1 and len(todo) > 1:
        return failed | _side_by_side(todo, folder_of, options, jobs)
    if todo:
        model = load_model(options.bundle, options.backend, options.threads)
        errors = {bag: _error_of(bag, folder_of[bag], model, options) for bag in todo}
        failed |= {bag: error for bag, error in errors.items() if error is not None}
    return failed


def result_folders(bags: Sequence[Path], out: Path) -> dict[Path, Path]:
    """OUT/bags/NAME for each bag; where two bags have one name, a part of the hash of their path tells them apart."""
    names = [re.sub(r"\.(mcap|db3|bag)$", "", bag.resolve().name) for bag in bags]
    folders = {}
    for bag, name in zip(bags, names, strict=True):
        digest = hashlib.sha256(str(bag.resolve()).encode()).hexdigest()[:8]
        folders[bag] = out / "bags" / (name if names.count(name) == 1 else f"{name}-{digest}")
    return folders


def _error_of(bag: Path, folder: Path, model: LoadedModel, options: ReplayOptions) -> str | None:
    try:
        bag_replay.replay_bag(bag, folder, model, options)
    except (RelidarError, OSError) as error:
        return str(error)
    return None


def _side_by_side(todo: list[Path], folder_of: dict[Path, Path], options: ReplayOptions, jobs: int) -> dict[Path, str]:
    """A process for each bag, `jobs` at a time."""
    context = multiprocessing.get_context("spawn")
    threads = options.threads or max(1, cores() // jobs)
    running: dict[Any, tuple[Path, BaseProcess, Connection]] = {}
    failed: dict[Path, str] = {}
    waiting: Iterator[tuple[int, Path]] = iter(enumerate(todo))
    try:
        while True:
            while len(running) < jobs and (entry := next(waiting, None)) is not None:
                line, bag = entry
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(target=_work, args=(bag, folder_of[bag], options, threads, line % jobs, theirs))
                process.start()
                theirs.close()
                running[process.sentinel] = (bag, process, ours)
            if not running:
                return failed
            for sentinel in wait_for(list(running)):
                bag, ended, answer = running.pop(sentinel)
                ended.join()
                try:
                    error = answer.recv()
                except EOFError:
                    error = f"{bag}: its process ended with exit code {ended.exitcode}."
                if error is not None:
                    failed[bag] = error
    finally:
        for _, left, _ in running.values():
            left.terminate()
            left.join()


def _work(bag: Path, folder: Path, options: ReplayOptions, threads: int, line: int, answer: Connection) -> None:
    signal.signal(signal.SIGTERM, interrupt)
    with suppress(KeyboardInterrupt):
        try:
            bag_replay.replay_bag(bag, folder, load_model(options.bundle, options.backend, threads), options, line)
        except (RelidarError, OSError) as error:
            answer.send(str(error))
        else:
            answer.send(None)


def interrupt(_number: int, _frame: object) -> None:
    """Handles SIGTERM as Ctrl+C is, so that what was begun is removed."""
    raise KeyboardInterrupt
