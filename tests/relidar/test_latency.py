"""Percentiles of latencies."""

from relidar.latency import LONGEST_MS, is_usable_ms, percentiles_ms


def test_percentiles_of_known_values() -> None:
    assert percentiles_ms([float(value) for value in range(101)]) == {"p50": 50.0, "p95": 95.0, "p99": 99.0}


def test_nothing_measured_is_none_not_zero() -> None:
    assert percentiles_ms([]) == {"p50": None, "p95": None, "p99": None}


def test_only_a_latency_that_can_be_true_is_usable() -> None:
    assert [is_usable_ms(value) for value in (0.0, 50.0, LONGEST_MS)] == [True] * 3
    assert [is_usable_ms(value) for value in (-1.0, LONGEST_MS + 1, float("nan"))] == [False] * 3
