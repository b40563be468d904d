"""Percentiles of latencies."""

from relidar.latency import percentiles_ms


def test_percentiles_of_known_values() -> None:
    assert percentiles_ms([float(value) for value in range(101)]) == {"p50": 50.0, "p95": 95.0, "p99": 99.0}


def test_nothing_measured_is_none_not_zero() -> None:
    assert percentiles_ms([]) == {"p50": None, "p95": None, "p99": None}
