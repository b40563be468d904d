"""report.html of a replay: one file that opens offline, without scripts. All that comes from a bag or bundle is escaped."""

import base64
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from relidar import charts, replay_quality
from relidar.html_text import milliseconds, percent, spaced, table
from relidar.labelled_cloud import palette
from relidar.prompts import ClassPrompts
from relidar.replay_figures import LATENCY_CELL_MS

PAGE = Path(__file__).with_name("replay_page.html")
VIEWS = {"truth": "truth", "answer": "answer", "score": "score: cosine with the best word"}
MOST_COLUMNS = 20
"""Of the histogram of latencies."""


def render(report: Mapping[str, Any], classes: Sequence[ClassPrompts], results: Mapping[Path, dict[str, Any]]) -> str:
    """The page.

    Args:
        report: of `replay_report.gather`.
        classes: of the bundle.
        results: of the bags, with the bytes of their pictures.
    """
    truth, recordings = report["truth"], report["recordings"]
    sections = [_pictures(results, classes)]
    if truth is not None:
        sections += [replay_quality.quality(truth, classes), replay_quality.rings(truth)]
        sections.append(replay_quality.calibration(truth["calibration"]))
    if report["robustness"] is not None:
        sections.append(replay_quality.robustness(report["robustness"]))
    sections += [_latency(report), _drops(recordings)]
    against = f", held against the {escape(truth['source'])}" if truth else ""
    many = "s" if len(recordings) > 1 else ""
    return Template(PAGE.read_text(encoding="utf-8")).substitute(
        lead=f"{report['scans']} scans of {len(recordings)} recording{many}, labelled as the live node labels them{against}.",
        tiles="".join(_tiles(report)),
        warnings="".join(f'<p class="warning">{escape(text)}</p>' for text in report["warnings"]),
        sections="\n".join(sections),
        recordings=table([_recording(r) for r in recordings]),
        provenance=escape(
            f"Bundle {report['bundle']} (manifest sha256 {report['bundle_sha256'][:12]}), backend {report['backend']}, relidar "
            f"{report['relidar_version']}. All figures, also those of each recording, are in report.json."
        ),
    )


def _tiles(report: Mapping[str, Any]) -> Iterator[str]:
    tiles = [("scans", f"{report['scans']:,}"), ("points", f"{report['points']:,}")]
    if report["truth"]:
        classes = sum(iou is not None for iou in report["truth"]["class_iou_percent"].values())
        tiles.insert(0, (f"mean IoU of {classes} classes", percent(report["truth"]["miou_percent"])))
        score = report["truth"]["calibration"]["score"]
        if score:
            tiles.append(("of the labelled points right", percent(score["right_percent"])))
    tiles.append(
        ("latency p50 / p99", f"{milliseconds(report['latency_ms']['p50'])} / {milliseconds(report['latency_ms']['p99'])}")
    )
    live = [recording["drop_simulation"][0] for recording in report["recordings"]]
    dropped, scans = sum(row["dropped"] for row in live), sum(row["scans"] for row in live)
    tiles.append(("of the scans dropped at the recorded rate", f"{100 * dropped / max(scans, 1):.0f} %"))
    return (f"<div><strong>{escape(value)}</strong>{escape(name)}</div>" for name, value in tiles)


def _pictures(results: Mapping[Path, dict[str, Any]], classes: Sequence[ClassPrompts]) -> str:
    rgb = palette(classes)
    name_of = {c.id: c.name for c in classes}
    blocks, seen = [], set()
    for number, result in enumerate(results.values()):
        rows = []
        for picture in result["pictures"]:
            seen |= set(picture["labels"])
            title = f"{picture['topic']}, scan {picture['scan']}"
            figures = "".join(
                f'<figure><img alt="{escape(title)}: {view}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
                f"<figcaption>{escape(VIEWS[view])}</figcaption></figure>"
                for view, png in picture["png"].items()
            )
            rows.append(f'<h3>{escape(title)}</h3><div class="views">{figures}</div>')
        is_open = " open" if number == 0 else ""
        blocks.append(f"<details{is_open}><summary>{escape(result['bag'])}</summary>{''.join(rows)}</details>")
    entries = [(name_of.get(label, "unlabelled"), rgb[label]) for label in sorted(seen)]
    legend = "".join(
        f'<span><i style="background:rgb({c[0]},{c[1]},{c[2]})"></i>{escape(spaced(name))}</span>' for name, c in entries
    )
    scale = '<p class="note">score 0<i class="scale"></i>1; each picture reaches 45 m to each side of the sensor</p>'
    return f'<h2>Scans from above</h2><p class="legend">{legend}</p>{scale}{"".join(blocks)}'


def _latency(report: Mapping[str, Any]) -> str:
    cells = report["latency_histogram"]
    width = LATENCY_CELL_MS * (1 + (cells[-1][0] - cells[0][0]) // (LATENCY_CELL_MS * MOST_COLUMNS))
    wider: Counter[int] = Counter()
    for low, count in cells:
        wider[low // width * width] += count
    chart = charts.columns(sorted(wider.items()), width, "ms", "scans", "Latency of the scans")
    rows = [{"stage": "all", **_percentiles(report["latency_ms"])}]
    rows += [{"stage": stage, **_percentiles(values)} for stage, values in report["stages_ms"].items()]
    return f'<h2>Latency</h2><div class="pair"><div>{chart}</div><div>{table(rows)}</div></div>'


def _drops(recordings: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        {"recording": f"{Path(recording['bag']).name} {recording['topic']}"}
        | {"rate": f"{row['rate_hz']:g} Hz ({row['times_recorded_rate']:g} x recorded)" if row["rate_hz"] else "unknown"}
        | {"scans": row["scans"], "answered": row["answered"], "dropped": row["dropped"]}
        | _percentiles(row["latency_ms"])
        for recording in recordings
        for row in recording["drop_simulation"]
    ]
    note = "Simulated: one scan in work, the newest waits, as in the node; latency from arrival to answer, without transport."
    return f'<h2>What a live node would have answered</h2><p class="note">{note}</p><div class="wide">{table(rows)}</div>'


def _recording(recording: Mapping[str, Any]) -> dict[str, Any]:
    recorded = recording["clouds_recorded"]
    truth = recording["truth"]
    return {
        "bag": recording["bag"],
        "topic": recording["topic"],
        "clouds": f"{recording['clouds_read']} of {recorded if recorded is not None else 'unknown'}",
        "malformed": sum(recording["malformed"].values()),
        "points": f"{recording['points']:,}",
        "unlabelled": percent(100 * recording["unlabelled_points"] / max(recording["points"], 1)),
        "mean IoU": percent(truth["miou_percent"]) if truth else "",
        "latency p50": milliseconds(recording["latency_ms"]["p50"]),
        "damage": "yes" if recording["damage"] else "none",
    }


def _percentiles(values: Mapping[str, float | None]) -> dict[str, str]:
    return {f"{name}, ms": "" if value is None else f"{value:.1f}" for name, value in values.items()}
