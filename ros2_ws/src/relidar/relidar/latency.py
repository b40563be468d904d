"""Latencies in milliseconds as percentiles, so that rare slow scans are not hidden in a mean."""

from collections.abc import Sequence

import numpy as np

PERCENTILES = (50, 95, 99)


def percentiles_ms(latencies_ms: Sequence[float]) -> dict[str, float | None]:
    """{"p50": ..., "p95": ..., "p99": ...} in ms, rounded to a microsecond; None for each where nothing was measured."""
    if not latencies_ms:
        return {f"p{percent}": None for percent in PERCENTILES}
    values = np.percentile(np.asarray(latencies_ms, np.float64), PERCENTILES)
    return {f"p{percent}": round(float(value), 3) for percent, value in zip(PERCENTILES, values, strict=True)}
