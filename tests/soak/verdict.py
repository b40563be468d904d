"""The soak's verdict: everything that was seen, held against what must hold. Without ROS, so that each rule can be tested."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.soak.clouds import CAUSES, KINDS

ENDS = ("answered", "dropped", "skipped", "malformed", "failed", "pending")
"""What a received scan is counted as, each as exactly one."""
MOST_GROWTH = 0.05
WARM_UP_SHARE, SHORTEST_WARM_UP_S = 0.2, 60.0
LONGEST_STOP_S = 2.0
TRACE = 60
"""Points of the memory curve that the report keeps."""


@dataclass
class Observed:
    """What a soak has seen."""

    sent: Mapping[str, int] = field(default_factory=dict)
    """Clouds by kind, and `malformed.CAUSE`."""
    answered: int = 0
    """Clouds whose answer arrived, each counted once."""
    answered_kinds: Mapping[str, int] = field(default_factory=dict)
    wrong: Mapping[str, int] = field(default_factory=dict)
    """Wrong answers by what is wrong."""
    counters: list[tuple[Mapping[str, int], int]] = field(default_factory=list)
    """The node's counters each second, with the clouds sent until then."""
    memory: list[tuple[float, float]] = field(default_factory=list)
    """(seconds since the start, resident memory in MiB without that shared with other processes)."""
    shared_memory: list[tuple[float, float]] = field(default_factory=list)
    """(seconds since the start, resident memory shared with other processes in MiB): that of publishers, mostly."""
    idle_memory: list[tuple[float, float]] = field(default_factory=list)
    """Like `memory`, each time right after the node was cleaned up, so that it holds nothing that it does not keep."""
    events: Mapping[str, int] = field(default_factory=dict)
    """What was done to the node, by kind."""
    faults: list[str] = field(default_factory=list)
    """Whatever else went wrong: a crash, a service that did not answer, a traceback in the log."""
    exit_code: int | None = None
    stop_s: float = 0.0
    """From SIGTERM to the end of the process."""


def violations(seen: Observed, required_events: Sequence[str] = ()) -> list[str]:
    """Everything that must hold and does not, in words; an empty list is a pass."""
    found = [f"{count} answers: {what}" for what, count in sorted(seen.wrong.items()) if count]
    found += seen.faults
    found += _counter_violations(seen)
    for what, growth in memory_growth(seen).items():
        if growth is None:
            found.append(f"too short to tell growth of {what} memory after warm-up")
        elif growth >= MOST_GROWTH:
            found.append(f"{what} memory grew by {100 * growth:.1f} % after warm-up, limit {100 * MOST_GROWTH:.0f} %")
    if seen.exit_code != 0 or seen.stop_s >= LONGEST_STOP_S:
        found.append(
            f"SIGTERM ended the node with {seen.exit_code} after {seen.stop_s:.1f} s; expected 0 within {LONGEST_STOP_S} s"
        )
    # A soak that never got to the hard parts proves nothing.
    found += [
        f"no answer to a cloud of kind {kind}" for kind in KINDS if kind != "malformed" and not seen.answered_kinds.get(kind)
    ]
    found += [f"never done: {name}" for name in required_events if not seen.events.get(name)]
    return found


def memory_growth(seen: Observed) -> dict[str, float | None]:
    """Growth after warm-up, None where the run was too short to tell.

    Of two kinds, since what an inference library holds depends on the largest scan since its session was opened.

    Warm-up is the first WARM_UP_SHARE of the run, but at least SHORTEST_WARM_UP_S; the rest is cut into thirds.
    idle: after clean-up, median of the last third over that of the first third; what leaks stays there.
    peak: highest of the last third over the highest before, warm-up included.
    """
    end_s = seen.memory[-1][0] if seen.memory else 0.0
    start_s = max(WARM_UP_SHARE * end_s, SHORTEST_WARM_UP_S)
    third_s = (end_s - start_s) / 3

    def within(samples: Sequence[tuple[float, float]], from_s: float, to_s: float) -> list[float]:
        return [mib for time_s, mib in samples if from_s <= time_s <= to_s]

    early, late = within(seen.idle_memory, start_s, start_s + third_s), within(seen.idle_memory, end_s - third_s, end_s)
    before, after = within(seen.memory, 0, end_s - third_s), within(seen.memory, end_s - third_s, end_s)
    return {
        "idle": statistics.median(late) / statistics.median(early) - 1
        if third_s > 0 and min(len(early), len(late)) > 1
        else None,
        "peak": max(after) / max(before) - 1 if third_s > 0 and min(len(before), len(after)) >= 10 else None,
    }


def report(seen: Observed, required_events: Sequence[str] = ()) -> dict[str, Any]:
    """The verdict and all figures, as plain data."""
    found = violations(seen, required_events)
    sent = sum(seen.sent.get(kind, 0) for kind in KINDS)
    last = dict(seen.counters[-1][0]) if seen.counters else {}
    return {
        "passed": not found,
        "violations": found,
        "sent": sent,
        "sent_by_kind": dict(sorted(seen.sent.items())),
        "never_arrived": sent - last.get("received", 0),
        "node_counted": last,
        "answers_checked": seen.answered,
        "answers_by_kind": dict(sorted(seen.answered_kinds.items())),
        "answers_not_seen": last.get("answered", 0) - seen.answered,
        "wrong": dict(Counter(seen.wrong)),
        "events": dict(sorted(seen.events.items())),
        "memory_growth": {what: None if growth is None else round(growth, 4) for what, growth in memory_growth(seen).items()},
        "memory_mib": _curve(seen.memory),
        "idle_memory_mib": _curve(seen.idle_memory),
        "shared_memory_mib": _curve(seen.shared_memory),
        "exit_code": seen.exit_code,
        "stop_s": round(seen.stop_s, 2),
    }


def _curve(samples: Sequence[tuple[float, float]]) -> dict[str, Any]:
    values = [round(mib, 1) for _, mib in samples]
    step = max(1, len(samples) // TRACE)
    thinned = [[round(time_s), round(mib, 1)] for time_s, mib in samples[::step]]
    return {"first": values[0], "highest": max(values), "last": values[-1], "by_second": thinned} if values else {}


def _counter_violations(seen: Observed) -> list[str]:
    if not seen.counters:
        return ["the node never told its counters"]
    found = []
    before: Mapping[str, int] = {}
    for counted, sent in seen.counters:
        parts = {name: counted[name] for name in ENDS}
        if counted["received"] != sum(parts.values()):
            found.append(f"received {counted['received']}, but its parts add up to {sum(parts.values())}: {parts}")
        if counted["received"] > sent:
            found.append(f"received {counted['received']} of {sent} clouds sent")
        fallen = [name for name in ("received", *ENDS[:-1]) if counted[name] < before.get(name, 0)]
        if fallen:
            found.append(f"counters fell: {', '.join(fallen)}")
        before = counted
    last = before
    if last["pending"]:
        found.append(f"{last['pending']} scans still pending after the last was sent")
    if last["failed"]:
        found.append(f"{last['failed']} well-formed scans failed")
    if seen.answered > last["answered"]:
        found.append(f"{seen.answered} answers seen, but {last['answered']} counted")
    told = {name.removeprefix("malformed."): count for name, count in last.items() if name.startswith("malformed.")}
    for cause, count in sorted(told.items()):
        if cause not in CAUSES or count > seen.sent.get(f"malformed.{cause}", 0):
            found.append(f"{count} clouds counted as malformed.{cause}, sent {seen.sent.get(f'malformed.{cause}', 0)}")
    if sum(told.values()) != last["malformed"]:
        found.append(f"{last['malformed']} malformed, but by cause {sum(told.values())}")
    return found[:10]
