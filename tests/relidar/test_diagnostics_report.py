"""What the diagnostics say, from what happened."""

from dataclasses import replace

import pytest

from relidar.diagnostics_report import ERROR, OK, STALE, WARN, NodeStatus, judge, values_of
from relidar.node_parameters import NodeParameters

COUNTERS = {"received": 10, "answered": 10, "recent_ms.p95": 80.0, "latency_ms.p50": None}
ACTIVE = NodeStatus("active", "", COUNTERS, new_errors=0, silence_s=0.1)
LIMITS = NodeParameters(latency_warn_ms=90.0, latency_error_ms=200.0)


def with_p95(value: float | None) -> NodeStatus:
    return replace(ACTIVE, counters={**COUNTERS, "recent_ms.p95": value})


@pytest.mark.parametrize(
    ("status", "level", "words"),
    [
        (ACTIVE, OK, "labelling"),
        (with_p95(None), OK, "labelling"),
        (with_p95(90.0), OK, "labelling"),
        (with_p95(91.0), WARN, "latency p95 91 ms is over latency_warn_ms 90"),
        (with_p95(201.0), ERROR, "latency p95 201 ms is over latency_error_ms 200"),
        (replace(ACTIVE, new_errors=2), WARN, "2 scans not usable"),
        (replace(with_p95(300.0), new_errors=2), ERROR, "latency_error_ms 200; 2 scans not usable"),
        (replace(ACTIVE, silence_s=6.0), STALE, "no cloud for 6 s"),
        # Latencies of long ago are no news.
        (replace(with_p95(300.0), silence_s=6.0), STALE, "no cloud for 6 s"),
        (replace(ACTIVE, counters={**COUNTERS, "received": 0}), OK, "no cloud received yet"),
        (replace(ACTIVE, state="inactive", silence_s=99.0), OK, "inactive"),
        (replace(ACTIVE, state="unconfigured", failure="/b: no manifest"), ERROR, "unconfigured: /b: no manifest"),
    ],
)
def test_the_gravest_finding_sets_the_level(status: NodeStatus, level: int, words: str) -> None:
    found_level, message = judge(status, LIMITS)
    assert found_level == level
    assert words in message


def test_limits_of_zero_never_speak() -> None:
    off = NodeParameters(input_timeout_s=0.0)
    assert judge(replace(with_p95(1e6), silence_s=1e6), off) == (OK, "labelling")


def test_values_are_text_and_none_is_empty() -> None:
    values = values_of(ACTIVE, {"backend": "onnxruntime-cpu"}, 3, ("car", "unlabelled"))
    assert values["backend"] == "onnxruntime-cpu"
    assert (values["state"], values["prompts_version"], values["filtered_classes"]) == ("active", "3", "car, unlabelled")
    assert (values["received"], values["latency_ms.p50"]) == ("10", "")
    assert values_of(ACTIVE, {}, None, ())["prompts_version"] == ""
