"""What /diagnostics says about the node: a level, a sentence and values. Without ROS."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from relidar.node_parameters import NodeParameters

OK, WARN, ERROR, STALE = 0, 1, 2, 3
"""Levels of diagnostic_msgs/DiagnosticStatus."""

State = Literal["unconfigured", "configuring", "inactive", "active", "finalized"]


@dataclass(frozen=True)
class NodeStatus:
    """What the report is made of."""

    state: State
    failure: str
    """Why the last transition failed; empty if it did not."""
    counters: Mapping[str, int | float | None]
    """From ScanCounts.snapshot."""
    new_errors: int
    """Scans malformed or failed since the last report."""
    silence_s: float
    """Since the last cloud, or since activation if there was none."""


def judge(status: NodeStatus, limits: NodeParameters) -> tuple[int, str]:
    """Level and message: the gravest of what is wrong.

    Latency is the 95th percentile of the newest 50 answers (`recent_ms.p95`): stamp to answer, or the time of processing where
    stamps do not fit the node's clock.
    """
    if status.failure:
        return ERROR, f"{status.state}: {status.failure}"
    if status.state != "active":
        return OK, status.state
    findings: list[tuple[int, str]] = []
    p95_ms = status.counters["recent_ms.p95"]
    if limits.input_timeout_s and status.silence_s > limits.input_timeout_s:
        findings.append((STALE, f"no cloud for {status.silence_s:.0f} s"))
    elif p95_ms is not None:
        if limits.latency_error_ms and p95_ms > limits.latency_error_ms:
            findings.append((ERROR, f"latency p95 {p95_ms:.0f} ms is over latency_error_ms {limits.latency_error_ms:g}"))
        elif limits.latency_warn_ms and p95_ms > limits.latency_warn_ms:
            findings.append((WARN, f"latency p95 {p95_ms:.0f} ms is over latency_warn_ms {limits.latency_warn_ms:g}"))
    if status.new_errors:
        findings.append((WARN, f"{status.new_errors} scans not usable"))
    if not findings:
        return OK, "labelling" if status.counters["received"] else "no cloud received yet"
    return max(level for level, _ in findings), "; ".join(text for _, text in findings)


def values_of(
    status: NodeStatus, identity: Mapping[str, str], prompts_version: int | None, filtered: tuple[str, ...]
) -> dict[str, str]:
    """All values by key, as text."""
    values = {"state": status.state, "failure": status.failure, **identity}
    values["prompts_version"] = "" if prompts_version is None else str(prompts_version)
    values["filtered_classes"] = ", ".join(filtered)
    return values | {key: "" if value is None else str(value) for key, value in status.counters.items()}
