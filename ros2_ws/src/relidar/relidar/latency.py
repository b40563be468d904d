"""Latencies in milliseconds as percentiles, so that rare slow scans are not hidden in a mean."""

from collections.abc import Sequence

import numpy as np

PERCENTILES = (50, 95, 99)
LONGEST_MS = 60_000.0
"""A scan cannot wait longer in a node that keeps only the newest; what looks older was stamped by another clock."""


def percentiles_ms(latencies_ms: Sequence[float]) -> dict[str, float | None]:
    """{"p50": ..., "p95": ..., "p99": ...} in ms, rounded to a microsecond; None for each where nothing was measured."""
    if not latencies_ms:
        return {f"p{percent}": None for percent in PERCENTILES}
    values = np.percentile(np.asarray(latencies_ms, np.float64), PERCENTILES)
    return {f"p{percent}": round(float(value), 3) for percent, value in zip(PERCENTILES, values, strict=True)}


def is_usable_ms(latency_ms: float) -> bool:
    """Whether a latency, as node clock minus stamp, can be true: not negative and at most LONGEST_MS."""
    return 0.0 <= latency_ms <= LONGEST_MS
