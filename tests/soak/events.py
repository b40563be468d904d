"""What happens to the node while clouds arrive: new words, refused words, lifecycle, another bundle, peers that come and go."""

import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from relidar.bundle import open_bundle
from tests.soak.journal import Journal
from tests.soak.model_history import ModelHistory, ModelState
from tests.soak.processes import Publisher
from tests.soak.watcher import Watcher

REFUSED = ((": car",), ("car", "car"), ("unlabelled",), ("car: ,",), tuple(f"class {number}" for number in range(300)))
"""Prompts that no node may take, whatever its words."""
WORDLESS = ("qwxzv",)
"""Refused too where the bundle has no text encoder."""


DISCOVERY_S = 0.5
"""Until a publisher has found a new subscription, about."""


class Events:
    """Does one thing to the node at a time, and writes down which model it has when."""

    def __init__(
        self,
        watcher: Watcher,
        publisher: Publisher,
        journal: Journal,
        history: ModelHistory,
        bundles: Sequence[Path],
        seed: int,
        when_idle: Callable[[], None],
    ) -> None:
        """`when_idle` is called whenever the node is cleaned up and holds no bundle."""
        self._watcher, self._publisher, self._journal, self._history = watcher, publisher, journal, history
        self._bundles = list(bundles)
        self._opened = {path: open_bundle(path) for path in bundles}
        self._when_idle = when_idle
        self._random = np.random.default_rng(seed)
        self.done: Counter[str] = Counter()
        self.faults: list[str] = []
        self.inactive: list[tuple[float, float]] = []
        """Times in which the node was not, or not surely, subscribed, on the monotonic clock."""
        self._kinds: dict[str, tuple[int, Callable[[], None]]] = {
            "prompts": (5, self._prompts),
            "prompts_refused": (3, self._prompts_refused),
            "filter": (2, self._filter),
            "filter_heard": (1, self._filter_heard),
            "pause": (2, self._pause),
            "reconfigure": (0, self._reconfigure),
            "other_bundle": (0, self._other_bundle),
            "publisher_ended": (1, lambda: self._publisher_gone(signal.SIGTERM)),
            "publisher_killed": (1, lambda: self._publisher_gone(signal.SIGKILL)),
            "nobody_listens": (1, self._nobody_listens),
        }
        self._due: list[str] = []
        self._inactive_since_s = 0.0

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of all that can be done."""
        return tuple(self._kinds)

    def next(self) -> None:
        """Does what is next: each kind as often as its weight says, in random order, before any comes again.

        Every third is a clean-up, since only then can the node's memory be compared.
        """
        if not self._due:
            names = [name for name, (weight, _) in self._kinds.items() for _ in range(weight)]
            self._due = [names[index] for index in self._random.permutation(len(names))]
        cleaned = self.done["reconfigure"] + self.done["other_bundle"]
        if sum(self.done.values()) >= 3 * cleaned + 2:
            name = "other_bundle" if cleaned % 2 == 0 else "reconfigure"
        else:
            name = self._due.pop()
        self._kinds[name][1]()
        self.done[name] += 1

    def _prompts(self) -> None:
        """A random vocabulary of the bank's words: some by name, some as groups; now and then the bundle's own again."""
        words = [str(word) for word in self._random.permutation(self._opened[self._history.now.bundle].text.prompts)]
        prompts: list[str] = []
        if self._random.random() < 0.8:
            for _ in range(int(self._random.integers(1, 6))):
                group = [words.pop() for _ in range(int(self._random.integers(1, 3))) if words]
                prompts += [f"group of {group[0]}: {', '.join(group)}"] if len(group) > 1 else group
        queries = tuple(words[:2]) if self._random.random() < 0.3 else ()
        # Classes that are left out of the cloud must be classes.
        self._change(replace(self._history.now, prompts=tuple(prompts), queries=queries, filtered=()))

    def _prompts_refused(self) -> None:
        choices = list(REFUSED)
        if not self._opened[self._history.now.bundle].has_text_encoder:
            choices.append(WORDLESS)
        prompts = choices[int(self._random.integers(len(choices)))]
        taken, reason = self._watcher.set_parameters({"prompts": prompts})
        if taken or not reason:
            self.faults.append(f"prompts {prompts[:3]} were {'taken' if taken else 'refused without a reason'}")

    def _filter(self) -> None:
        now = self._history.now
        names = [entry.partition(":")[0] for entry in now.prompts] or [c.name for c in self._opened[now.bundle].manifest.classes]
        names.append("unlabelled")
        chosen = [name for name in names if self._random.random() < 0.4]
        self._change(replace(now, filtered=tuple(chosen)))

    def _filter_heard(self) -> None:
        self._watcher.listen("filtered", True)
        time.sleep(self._random.uniform(1, 3))
        self._filter()
        time.sleep(self._random.uniform(1, 3))
        self._watcher.listen("filtered", False)

    def _pause(self) -> None:
        self._transitions("deactivate")
        time.sleep(self._random.uniform(0, 1))
        self._transitions("activate")

    def _reconfigure(self) -> None:
        self._transitions("deactivate", "cleanup")
        time.sleep(self._random.uniform(0, 1))
        self._when_idle()
        self._transitions("configure", "activate")

    def _other_bundle(self) -> None:
        now = self._history.now
        other = next(path for path in self._bundles if path != now.bundle)
        self._transitions("deactivate", "cleanup")
        self._when_idle()
        # The other bundle need not know the words of this one.
        self._change(ModelState(other), {"bundle": str(other)})
        self._transitions("configure", "activate")

    def _publisher_gone(self, number: signal.Signals) -> None:
        self._publisher.end(number)
        time.sleep(self._random.uniform(0.5, 2))
        self._publisher.start(self._journal.read_on())

    def _nobody_listens(self) -> None:
        self._watcher.listen("segmentation", False)
        time.sleep(self._random.uniform(1, 2))
        self._watcher.listen("segmentation", True)

    def _change(self, state: ModelState, more: dict[str, str | tuple[str, ...]] | None = None) -> None:
        self._history.ask(state, time.monotonic())
        values: dict[str, str | tuple[str, ...]] = {"prompts": state.prompts, "similarity_prompts": state.queries}
        values |= {"filtered_classes": state.filtered, **(more or {})}
        taken, reason = self._watcher.set_parameters(values)
        if not taken:
            self.faults.append(f"a right change was refused: {values}: {reason}")
        self._history.confirm(time.monotonic())

    def _transitions(self, *names: str) -> None:
        for name in names:
            if name == "deactivate":
                self._inactive_since_s = time.monotonic()
            if not self._watcher.transition(name):
                self.faults.append(f"the node refused the transition {name}")
            if name == "activate":
                self.inactive.append((self._inactive_since_s, time.monotonic() + DISCOVERY_S))
