"""The picture of a bench: one bar for each backend, its stages one after the other, as the text of an .svg file."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from relidar.charts import SERIES_RGB, alone

WIDTH, NAMES, STEP, TOP = 760, 150, 30, 56
"""Pixels: of the picture, of its column of names, from bar to bar, and above the first."""
REASON = 90
"""Characters of the reason why a backend did not run; all of it shows under the pointer."""
GREY = "#5f6a76"


@dataclass(frozen=True)
class Bar:
    """Medians in milliseconds."""

    stages_ms: Mapping[str, float]
    """In the order in which they are drawn."""
    total_ms: float
    """Of whole scans, which is not quite the sum of the stages' medians."""


def picture(backends: Mapping[str, Bar | str], title: str) -> str:
    """Draws the medians of each backend by its name, or in words why it did not run; `title` says what the machine is."""
    bars = [bar for bar in backends.values() if isinstance(bar, Bar)]
    stages = list(dict.fromkeys(stage for bar in bars for stage in bar.stages_ms))
    colours = dict(zip(stages, SERIES_RGB, strict=False))
    longest = max([*(sum(bar.stages_ms.values()) for bar in bars), 1e-9])
    caption = "milliseconds a scan: bars are the medians of the stages, numbers those of whole scans"
    parts = [
        f'<text x="8" y="18" font-weight="bold">{escape(title)}</text>',
        f'<text x="8" y="38" fill="{GREY}">{caption}</text>',
    ]
    for index, (name, bar) in enumerate(backends.items()):
        y = TOP + index * STEP
        parts.append(f'<text x="{NAMES - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>')
        parts += _reason(bar, y) if isinstance(bar, str) else _bar(bar, y, (WIDTH - NAMES - 90) / longest, colours)
    legend_y = TOP + len(backends) * STEP + 14
    for index, (stage, colour) in enumerate(colours.items()):
        x = 8 + index * (WIDTH - 16) / len(stages)
        parts.append(f'<rect x="{x:.0f}" y="{legend_y - 10}" width="11" height="11" fill="{colour}"/>')
        parts.append(f'<text x="{x + 16:.0f}" y="{legend_y}">{escape(stage)}</text>')
    return alone(f'<svg viewBox="0 0 {WIDTH} {legend_y + 14}" role="img"><title>{escape(title)}</title>{"".join(parts)}</svg>')


def _bar(bar: Bar, y: int, scale: float, colours: Mapping[str, str]) -> list[str]:
    parts, x = [], float(NAMES)
    for stage, ms in bar.stages_ms.items():
        if ms:
            label = f"<title>{escape(f'{stage}: {ms:.2f} ms')}</title>"
            size = f'x="{x:.1f}" y="{y}" width="{ms * scale:.1f}" height="20"'
            parts.append(f'<rect {size} fill="{colours[stage]}">{label}</rect>')
            x += ms * scale
    return [*parts, f'<text x="{x + 6:.1f}" y="{y + 14}">{bar.total_ms:.1f}</text>']


def _reason(reason: str, y: int) -> list[str]:
    whole = " ".join(reason.split())
    shown = whole if len(whole) <= REASON else f"{whole[: REASON - 3]}..."
    return [f'<text x="{NAMES}" y="{y + 14}" fill="{GREY}">not run: {escape(shown)}<title>{escape(whole)}</title></text>']
