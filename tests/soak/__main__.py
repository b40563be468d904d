"""The soak: the real node under clouds of every kind and constant change, each answer checked. Linux only.

The node runs as its own process, the publisher as another that comes and goes; this one makes the changes, and works out every
answer anew. Exit code 1 if anything that must hold did not. The verdict and all figures are written as JSON; node.log,
publisher.log and journal.txt lie beside it.

    python -m tests.soak --minutes 30 --out runs/soak/verdict.json
"""

import json
import queue
import signal
import tempfile
import threading
import time
from argparse import Namespace
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tqdm import tqdm

from relidar import command_line
from relidar.atomic import write_text
from relidar.errors import RelidarError
from tests.soak.answer_book import AnswerBook
from tests.soak.events import Events
from tests.soak.journal import Journal
from tests.soak.model_history import ModelHistory, ModelState
from tests.soak.processes import TARGET, Publisher, resident_mib, set_environment, start_node, stop
from tests.soak.verdict import Observed, report
from tests.soak.watcher import NoAnswerError, Watcher, wait

START_TIMEOUT_S = 120.0
EVENT_EVERY_S = 2.5
SETTLE_S = 5.0
"""For the last scans and the diagnostics about them."""
CHECK_TIMEOUT_S = 300.0
"""For answers that are not checked yet when the node has stopped."""


class Soak:
    """One run."""

    def __init__(self, bundles: list[Path], folder: Path, seed: int, rate_hz: float) -> None:
        self._folder = folder
        self._journal = Journal(folder / "journal.txt")
        self._history = ModelHistory(ModelState(bundles[0]))
        self._book = AnswerBook(seed, self._journal, self._history)
        self._watcher = Watcher(TARGET)
        self._publisher = Publisher(seed, rate_hz, folder / "journal.txt", folder / "publisher.log")
        self._events = Events(self._watcher, self._publisher, self._journal, self._history, bundles, seed, self._sample_idle)
        self._seen = Observed(events=self._events.done, faults=self._events.faults)
        self._over = threading.Event()
        self._backlog = 0
        self._seconds = 0.0
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._check, self._sample)]
        self._started_s = time.monotonic()
        self._node = start_node(bundles[0], folder / "node.log")

    @property
    def required_events(self) -> tuple[str, ...]:
        """What a run must have done to count."""
        return self._events.kinds

    def run(self, seconds: float) -> Observed:
        """All of it, from the node's start to its end by SIGTERM."""
        seen = self._seen
        try:
            if not wait(lambda: self._state() == "active" or self._node.poll() is not None, START_TIMEOUT_S) or self._ended():
                seen.faults.append(f"the node was not active within {START_TIMEOUT_S:.0f} s")
                return seen
            self._started_s = time.monotonic()
            for thread in self._threads:
                thread.start()
            self._watcher.listen("segmentation", True)
            self._publisher.start(0)
            self._change_things(seconds)
            self._seconds = time.monotonic() - self._started_s
            self._publisher.end(signal.SIGTERM)
            wait(lambda: self._ended() or self._settled(), SETTLE_S)
            time.sleep(2.5)  # two more diagnostics, so that the last counters are those of the end
        finally:
            self._finish()
        return seen

    def _change_things(self, seconds: float) -> None:
        end_s = self._started_s + seconds
        next_s = self._started_s + EVENT_EVERY_S
        with tqdm(total=round(seconds), unit="s", desc="soak", mininterval=5) as bar:
            shown_s = 0
            while (now_s := time.monotonic()) < end_s and not self._ended():
                bar.update(int(now_s - self._started_s) - shown_s)
                shown_s = int(now_s - self._started_s)
                if not self._publisher.is_running:
                    self._seen.faults.append("the publisher ended by itself; publisher.log says why")
                    return
                if now_s >= next_s:
                    try:
                        self._events.next()
                    except NoAnswerError as error:
                        self._seen.faults.append(str(error))
                    next_s = time.monotonic() + EVENT_EVERY_S
                time.sleep(0.05)

    def _finish(self) -> None:
        seen = self._seen
        self._publisher.end(signal.SIGTERM)
        if self._ended():
            seen.faults.append(f"the node ended by itself with {self._node.returncode}; node.log says more")
        seen.exit_code, seen.stop_s = stop(self._node)
        self._over.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(CHECK_TIMEOUT_S)
                if thread.is_alive():
                    seen.faults.append(f"answers not checked within {CHECK_TIMEOUT_S:.0f} s")
        self._watcher.close()
        log = (self._folder / "node.log").read_text(errors="replace")
        if "Traceback" in log or "scan failed" in log:
            seen.faults.append("a traceback or a failed scan in node.log")
        self._journal.read_on()
        seen.sent = self._journal.kinds
        seen.wrong, seen.answered, seen.answered_kinds = self._book.wrong, self._book.answered, self._book.answered_kinds

    def _check(self) -> None:
        """Thread: works out every answer anew; goes on after the end until all are checked."""
        answers = self._watcher.answers
        while not (self._over.is_set() and answers.empty()):
            self._backlog = max(self._backlog, answers.qsize())
            try:
                output, answer = answers.get(timeout=0.2)
            except queue.Empty:
                continue
            (self._book.segmentation if output == "segmentation" else self._book.filtered)(answer)

    def _sample_idle(self) -> None:
        mib = resident_mib(self._node.pid)
        if mib is not None:
            self._seen.idle_memory.append((time.monotonic() - self._started_s, mib[0]))

    def _sample(self) -> None:
        """Thread: memory each second, and the counters as they come."""
        told = 0
        while not self._over.wait(1.0):
            mib = resident_mib(self._node.pid)
            if mib is not None:
                now_s = time.monotonic() - self._started_s
                self._seen.memory.append((now_s, mib[0]))
                self._seen.shared_memory.append((now_s, mib[1]))
            news = self._watcher.diagnostics[told:]
            told += len(news)
            sent = self._journal.read_on()
            self._seen.counters += [(counts, sent) for values, _ in news if (counts := _counts(values))]

    def figures(self) -> dict[str, Any]:
        """What the verdict does not judge."""
        return {
            "backends": sorted({values["backend"] for values, _ in self._watcher.diagnostics if values.get("backend")}),
            "sent_while_the_node_was_not_active": self._journal.sent_within(self._events.inactive),
            "rate_hz_reached": round(self._journal.read_on() / self._seconds, 2) if self._seconds else None,
            "either_vocabulary_right": self._book.several_states,
            "filtered_checked": self._book.checked_filtered,
            "answers_waiting_for_the_checker_at_most": self._backlog,
            "examples_of_wrong_answers": self._book.examples,
        }

    def _state(self) -> str:
        diagnostics = self._watcher.diagnostics
        return diagnostics[-1][0].get("state", "") if diagnostics else ""

    def _settled(self) -> bool:
        return bool(self._seen.counters) and self._seen.counters[-1][0]["pending"] == 0

    def _ended(self) -> bool:
        return self._node.poll() is not None


def _counts(values: Mapping[str, str]) -> dict[str, int]:
    """Those of the diagnostic values that count something."""
    return {key: int(value) for key, value in values.items() if value.isdigit() and not key.endswith(("version", "sha256"))}


def soak(bundle: Path | None, folder: Path, minutes: float, seed: int, rate_hz: float) -> dict[str, Any]:
    """Runs the soak in `folder`; returns the report."""
    from tests.soak.small_bundle import write_small_bundle

    small = [write_small_bundle(folder / f"bundle{index}", seed + index) for index in range(2)]
    bundles = small if bundle is None else [bundle.resolve(), small[0]]
    run = Soak(bundles, folder, seed, rate_hz)
    seen = run.run(60 * minutes)
    return {"minutes": minutes, "rate_hz": rate_hz, "seed": seed, **report(seen, run.required_events), **run.figures()}


def _run(arguments: Namespace) -> None:
    set_environment()
    with ExitStack() as stack:
        if arguments.out is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        else:
            folder = arguments.out.parent
            folder.mkdir(parents=True, exist_ok=True)
            for name in ("journal.txt", "node.log", "publisher.log"):
                (folder / name).unlink(missing_ok=True)
        result = soak(arguments.bundle, folder, arguments.minutes, arguments.seed, arguments.rate)
    text = json.dumps(result, indent=2)
    if arguments.out is not None:
        write_text(arguments.out, text + "\n")
    command_line.say(text)
    if not result["passed"]:
        raise RelidarError("soak: " + "; ".join(result["violations"]))


def main() -> None:
    """The command."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--minutes", type=command_line.above_zero, default=30.0, help="length (default %(default)s)")
    parser.add_argument("--rate", type=command_line.above_zero, default=20.0, help="clouds a second (default %(default)s)")
    parser.add_argument("--bundle", type=Path, help="a bundle to begin with (default: a small one, made on the spot)")
    parser.add_argument("--seed", type=int, default=0, help="of clouds and events (default %(default)s)")
    parser.add_argument("--out", type=Path, help="verdict to write, JSON; logs go beside it")
    arguments = parser.parse_args()
    command_line.run(lambda: _run(arguments))


if __name__ == "__main__":
    main()
