"""The verdict turns red for each thing that must not happen, and only then."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.soak.clouds import KINDS
from tests.soak.verdict import Observed, memory_growth, report, violations

END_S = 1800


def counters(**changed: int) -> dict[str, int]:
    counted = {"received": 90, "answered": 50, "dropped": 20, "skipped": 5, "malformed": 15, "failed": 0, "pending": 0}
    return counted | {"malformed.count": 9, "malformed.row_step": 6} | changed


def memory(growth: float, every_s: int = 1) -> list[tuple[float, float]]:
    """Rises while the node warms up, then evenly, so that the medians of the outer thirds differ by `growth`."""
    seconds = range(0, END_S, every_s)
    return [(float(s), 100 + s / 60 if s < 360 else 200 * (1 + growth * (s - 600) / 960)) for s in seconds]


@pytest.fixture
def good() -> Observed:
    return Observed(
        sent={
            "valid": 70,
            "not_finite": 3,
            "empty": 3,
            "huge": 2,
            "malformed": 22,
            "malformed.count": 10,
            "malformed.row_step": 12,
        },
        answered=50,
        answered_kinds={kind: 12 for kind in KINDS if kind != "malformed"},
        counters=[(counters(received=40, answered=8, dropped=11, pending=1), 60), (counters(), 100)],
        memory=memory(0.0),
        idle_memory=memory(0.04, 20),
        events={"prompts": 3},
        exit_code=0,
        stop_s=0.3,
    )


def test_a_good_run_passes(good: Observed) -> None:
    assert violations(good, ("prompts",)) == []
    result = report(good, ("prompts",))
    assert (result["passed"], result["sent"], result["never_arrived"], result["answers_not_seen"]) == (True, 100, 10, 0)


BAD: dict[str, Callable[[Observed], Observed]] = {
    "1 answers: repeated": lambda seen: replace(seen, wrong={"repeated": 1}),
    "2 answers: wrong_label": lambda seen: replace(seen, wrong={"wrong_label": 2}),
    "idle memory grew by 6": lambda seen: replace(seen, idle_memory=memory(0.06, 20)),
    "peak memory grew by 6.0 %": lambda seen: replace(seen, memory=[*memory(0.0)[:-9], *[(END_S - 5.0, 212.0)] * 9]),
    "too short to tell growth of idle": lambda seen: replace(seen, idle_memory=memory(0.0, 20)[:30]),
    "parts add up to 89": lambda seen: replace(seen, counters=[(counters(dropped=19), 100)]),
    "parts add up to 41": lambda seen: replace(
        seen, counters=[(counters(received=40, answered=8, dropped=11, pending=2), 60), (counters(), 100)]
    ),
    "received 90 of 89 clouds sent": lambda seen: replace(seen, counters=[(counters(), 89)]),
    "counters fell: received": lambda seen: replace(seen, counters=[(counters(received=91, dropped=21), 100), (counters(), 100)]),
    "1 scans still pending": lambda seen: replace(seen, counters=[(counters(pending=1, dropped=19), 100)]),
    "1 well-formed scans failed": lambda seen: replace(seen, counters=[(counters(failed=1, dropped=19), 100)]),
    "51 answers seen, but 50 counted": lambda seen: replace(seen, answered=51),
    "9 clouds counted as malformed.count, sent 8": lambda seen: replace(seen, sent={**seen.sent, "malformed.count": 8}),
    "1 clouds counted as malformed.negative, sent 0": lambda seen: replace(
        seen, counters=[(counters(**{"malformed.negative": 1, "malformed.row_step": 5}), 100)]
    ),
    "15 malformed, but by cause 14": lambda seen: replace(seen, counters=[(counters(**{"malformed.row_step": 5}), 100)]),
    "the node never told its counters": lambda seen: replace(seen, counters=[]),
    "no answer to a cloud of kind huge": lambda seen: replace(seen, answered_kinds={**seen.answered_kinds, "huge": 0}),
    "never done: prompts": lambda seen: replace(seen, events={}),
    "SIGTERM ended the node with -15 after 0.3 s": lambda seen: replace(seen, exit_code=-15),
    "SIGTERM ended the node with 0 after 2.1 s": lambda seen: replace(seen, stop_s=2.1),
    "the node crashed": lambda seen: replace(seen, faults=["the node crashed"]),
}


@pytest.mark.parametrize("words", list(BAD))
def test_each_violation_fails_the_run_by_itself(good: Observed, words: str) -> None:
    found = violations(BAD[words](good), ("prompts",))
    assert len(found) == 1
    assert words in found[0]
    assert not report(BAD[words](good), ("prompts",))["passed"]


def test_growth_compares_the_outer_thirds_after_warm_up(good: Observed) -> None:
    assert memory_growth(replace(good, idle_memory=memory(0.06, 20)))["idle"] == pytest.approx(0.06, abs=1e-3)
    assert memory_growth(replace(good, idle_memory=memory(-0.5, 20)))["idle"] == pytest.approx(-0.5, abs=1e-2)
    # What is high in the midst of scans counts only if it is higher than ever before.
    high = [(time_s, mib + 50 * (time_s % 300 < 20)) for time_s, mib in memory(0.0)]
    assert memory_growth(replace(good, memory=high))["peak"] == 0
    # A run of three minutes warms up for one.
    short = [(float(second), 300.0 if second < 60 else 100.0) for second in range(180)]
    assert memory_growth(Observed(memory=short, idle_memory=short)) == {"idle": 0, "peak": 100 / 300 - 1}
    assert memory_growth(Observed()) == {"idle": None, "peak": None}
