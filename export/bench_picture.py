"""The picture of a bench: one bar for each backend, its stages one after the other, as the text of an .svg file."""

from collections.abc import Mapping, Sequence
from html import escape

from relidar.charts import SERIES_RGB, alone

WIDTH, NAMES, STEP = 760, 150, 30
"""Pixels: of the picture, of its column of names, and from bar to bar."""

Stages = Mapping[str, Mapping[str, float | None]]


def picture(backends: Mapping[str, Stages | str], stages: Sequence[str], title: str) -> str:
    """Draws medians.

    Args:
        backends: name -> its stages' percentiles in milliseconds, {"infer": {"p50": 12.3, ...}, ...}, or why it did not run.
        stages: their order, which is that of the legend too.
        title: what the machine is.
    """
    totals = [sum(_medians(rows, stages)) for rows in backends.values() if not isinstance(rows, str)]
    scale = (WIDTH - NAMES - 90) / max([*totals, 1e-9])
    parts = [f'<text x="8" y="18" font-weight="bold">{escape(title)}: milliseconds a scan, medians</text>']
    for index, (name, rows) in enumerate(backends.items()):
        y = 34 + index * STEP
        parts.append(f'<text x="{NAMES - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>')
        if isinstance(rows, str):
            reason = escape(" ".join(rows.split()))
            parts.append(f'<text x="{NAMES}" y="{y + 14}" fill="#7a8490">not run<title>{reason}</title></text>')
            continue
        x = float(NAMES)
        for colour, stage, ms in zip(SERIES_RGB, stages, _medians(rows, stages), strict=False):
            label = escape(f"{stage}: {ms:.2f} ms")
            parts.append(
                f'<rect x="{x:.1f}" y="{y}" width="{ms * scale:.1f}" height="20" fill="{colour}"><title>{label}</title></rect>'
            )
            x += ms * scale
        parts.append(f'<text x="{x + 6:.1f}" y="{y + 14}">{sum(_medians(rows, stages)):.1f}</text>')
    legend_y = 34 + len(backends) * STEP + 14
    for index, (colour, stage) in enumerate(zip(SERIES_RGB, stages, strict=False)):
        x = 8 + index * (WIDTH - 16) / len(stages)
        parts.append(f'<rect x="{x:.0f}" y="{legend_y - 10}" width="11" height="11" fill="{colour}"/>')
        parts.append(f'<text x="{x + 16:.0f}" y="{legend_y}">{escape(stage)}</text>')
    return alone(f'<svg viewBox="0 0 {WIDTH} {legend_y + 14}" role="img"><title>{escape(title)}</title>{"".join(parts)}</svg>')


def _medians(rows: Stages, stages: Sequence[str]) -> list[float]:
    return [rows.get(stage, {}).get("p50") or 0.0 for stage in stages]
