"""Charts as SVG text, to stand in a page without any script, library or file beside it."""

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, log10

Point = tuple[float, float]
SERIES_RGB = ("#2f6f9f", "#c8553d", "#3d8b5f", "#8a5fb0", "#b0892f", "#4a4f57", "#c2568f", "#5d9ea8", "#7d8f3a")
WIDTH, HEIGHT = 520, 300
_STAND_ALONE = 'xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="12" fill="#1d2530" style="background:#fff"'
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 16, 14, 46


def bars(rows: Sequence[tuple[str, float, str]], alternative: str) -> str:
    """Horizontal bars of percentages: (name, 0..100, CSS colour) from top to bottom."""
    step, left = 24, 170
    parts = []
    for index, (name, value, colour) in enumerate(rows):
        y = index * step + 4
        length = max(0.0, min(value, 100.0)) * (WIDTH - left - 50) / 100
        parts.append(f'<text x="{left - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect x="{left}" y="{y}" width="{max(length, 1):.1f}" height="17" rx="2" fill="{escape(colour)}"/>')
        parts.append(f'<text x="{left + length + 6:.1f}" y="{y + 13}">{value:.1f}</text>')
    return _svg("".join(parts), WIDTH, len(rows) * step + 6, alternative)


def columns(cells: Sequence[tuple[float, float]], width: float, x_label: str, y_label: str, alternative: str) -> str:
    """A histogram: (lower end of a cell, count), each cell `width` wide."""
    low, high = (min(x for x, _ in cells), max(x for x, _ in cells) + width) if cells else (0.0, 1.0)
    top = max((count for _, count in cells), default=1.0)
    frame = _Frame((low, high), (0.0, top), x_label, y_label)
    for x, count in cells:
        (left, upper), (right, lower) = frame.at(x, count), frame.at(x + width, 0)
        wide = max(right - left - 1, 0.8)
        frame.add(
            f'<rect x="{left:.1f}" y="{upper:.1f}" width="{wide:.1f}" height="{lower - upper:.1f}" fill="{SERIES_RGB[0]}"/>'
        )
    return frame.svg(alternative)


def lines(
    series: Mapping[str, Sequence[Point]],
    x_range: Point,
    y_range: Point,
    x_label: str,
    y_label: str,
    alternative: str,
    dashed: Mapping[str, Sequence[Point]] | None = None,
) -> str:
    """Lines with dots, one a name, a legend below; a second line of the same name and colour may be `dashed`, without dots."""
    frame = _Frame(x_range, y_range, x_label, y_label)
    for index, (name, points) in enumerate(series.items()):
        colour = SERIES_RGB[index % len(SERIES_RGB)]
        placed = [frame.at(x, y) for x, y in points]
        frame.line(placed, colour)
        if second := (dashed or {}).get(name):
            frame.line([frame.at(x, y) for x, y in second], colour, "5 4")
        for (x, y), (value_x, value_y) in zip(placed, points, strict=True):
            title = escape(f"{name}: {value_x:g}, {value_y:.1f}")
            frame.add(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" fill="{colour}"><title>{title}</title></circle>')
    names = [(name, SERIES_RGB[index % len(SERIES_RGB)]) for index, name in enumerate(series)]
    return frame.svg(alternative, names if len(names) > 1 else [])


def alone(chart: str) -> str:
    """A chart as the text of an .svg file, which lacks the page's fonts and background."""
    return chart.replace("<svg ", f"<svg {_STAND_ALONE} ", 1)


class _Frame:
    """Axes with round ticks."""

    def __init__(self, x_range: Point, y_range: Point, x_label: str, y_label: str) -> None:
        self._x, self._y = x_range, (y_range[0], y_range[1] if y_range[1] > y_range[0] else y_range[0] + 1)
        self._parts: list[str] = []
        for value in _ticks(*self._y):
            _, y = self.at(self._x[0], value)
            self.add(f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e3e7eb"/>')
            self.add(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
        for value in _ticks(*self._x):
            x, _ = self.at(value, self._y[0])
            self.add(f'<text x="{x:.1f}" y="{HEIGHT - _BOTTOM + 17}" text-anchor="middle">{value:g}</text>')
        middle = (_TOP + HEIGHT - _BOTTOM) / 2
        self.add(f'<text x="{(_LEFT + WIDTH - _RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">{escape(x_label)}</text>')
        self.add(f'<text transform="translate(13 {middle}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>')
        base = HEIGHT - _BOTTOM
        self.add(f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{base}" y2="{base}" stroke="#9aa5b1"/>')

    def add(self, part: str) -> None:
        self._parts.append(part)

    def line(self, pixels: Sequence[Point], colour: str, dashes: str = "none") -> None:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in pixels)
        style = f'fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"'
        self.add(f'<polyline points="{path}" {style}/>')

    def at(self, x: float, y: float) -> Point:
        """Pixel of a value; beyond the axes it lies on their edge."""
        right = min(max((x - self._x[0]) / ((self._x[1] - self._x[0]) or 1), 0), 1)
        up = min(max((y - self._y[0]) / (self._y[1] - self._y[0]), 0), 1)
        return _LEFT + right * (WIDTH - _LEFT - _RIGHT), HEIGHT - _BOTTOM - up * (HEIGHT - _TOP - _BOTTOM)

    def svg(self, alternative: str, names: Sequence[tuple[str, str]] = ()) -> str:
        for index, (name, colour) in enumerate(names):
            x, y = _LEFT + index % 4 * 112, HEIGHT + 12 + index // 4 * 18
            self.add(f'<rect x="{x}" y="{y - 9}" width="11" height="11" rx="2" fill="{colour}"/>')
            self.add(f'<text x="{x + 16}" y="{y}">{escape(name)}</text>')
        return _svg("".join(self._parts), WIDTH, HEIGHT + 18 * -(-len(names) // 4), alternative)


def _ticks(low: float, high: float) -> list[float]:
    step = 10 ** ceil(log10((high - low) / 5)) if high > low else 1.0
    step = next((step / part for part in (5, 2, 1) if (high - low) / (step / part) <= 6), step)
    first = ceil(low / step - 1e-9)
    return [round(number * step, 9) for number in range(first, int(high / step + 1e-9) + 1)]


def _svg(body: str, width: float, height: float, alternative: str) -> str:
    label = escape(alternative)
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}"><title>{label}</title>{body}</svg>'
