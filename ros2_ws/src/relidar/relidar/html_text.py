"""Figures as HTML: tables, shaded cells, units. All text is escaped."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """An HTML table; keys become the head."""
    head = "".join(f"<th>{escape(str(name))}</th>" for name in rows[0]) if rows else ""
    body = "".join("<tr>" + "".join(f"<td>{escape(str(value))}</td>" for value in row.values()) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def up(names: Sequence[str]) -> str:
    """Head cells with their names on end, for narrow columns."""
    return "".join(f'<th><span class="up">{escape(spaced(name))}</span></th>' for name in names)


def shaded(percent: float | None, title: str = "") -> str:
    """A cell of 0..100, the darker the higher."""
    if percent is None:
        return "<td></td>"
    style = f"background:rgba(47,111,159,{percent / 100:.2f})" + (";color:#fff" if percent > 55 else "")
    text = "&lt;1" if 0 < percent < 1 else f"{percent:.0f}"
    return f'<td style="{style}" title="{escape(title)}">{text}</td>'


def percent(value: float | None) -> str:
    """Such as "12.3 %"."""
    return "not known" if value is None else f"{value:.1f} %"


def milliseconds(value: float | None) -> str:
    """Such as "12 ms"."""
    return "not known" if value is None else f"{value:.0f} ms"


def spaced(name: str) -> str:
    """A class name to be read."""
    return name.replace("_", " ")
