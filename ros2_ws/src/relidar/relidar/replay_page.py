"""report.html of a replay: one file that opens offline, without scripts. All that comes from a bag or bundle is escaped."""

import base64
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from relidar import charts
from relidar.labelled_cloud import palette
from relidar.prompts import ClassPrompts
from relidar.replay_figures import LATENCY_CELL_MS

PAGE = Path(__file__).with_name("replay_page.html")
VIEWS = {"truth": "truth", "answer": "answer", "score": "score: cosine with the best word"}
MOST_COLUMNS = 40
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
        sections += [_quality(truth, classes), _rings(truth), _calibration(truth["calibration"])]
    if report["corruption"]:
        sections.append(_corruption(report["corruption"]))
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


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """An HTML table; keys become the head."""
    head = "".join(f"<th>{escape(str(name))}</th>" for name in rows[0]) if rows else ""
    body = "".join("<tr>" + "".join(f"<td>{escape(str(value))}</td>" for value in row.values()) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _tiles(report: Mapping[str, Any]) -> Iterator[str]:
    tiles = [("scans", f"{report['scans']:,}"), ("points", f"{report['points']:,}")]
    if report["truth"]:
        tiles.insert(0, ("mean IoU", _percent(report["truth"]["miou_percent"])))
        score = report["truth"]["calibration"]["score"]
        if score:
            tiles.append(("right of the points answered", _percent(score["right_percent"])))
    tiles.append(("latency p50 / p99", f"{_ms(report['latency_ms']['p50'])} / {_ms(report['latency_ms']['p99'])}"))
    live = [recording["drop_simulation"][0] for recording in report["recordings"]]
    dropped, scans = sum(row["dropped"] for row in live), sum(row["scans"] for row in live)
    tiles.append(("dropped at the recorded rate", f"{100 * dropped / max(scans, 1):.0f} %"))
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
        f'<span><i style="background:rgb({c[0]},{c[1]},{c[2]})"></i>{escape(_spaced(name))}</span>' for name, c in entries
    )
    scale = '<p class="note">score 0<i class="scale"></i>1; each picture reaches 45 m to each side of the sensor</p>'
    return f'<h2>Scans from above</h2><p class="legend">{legend}</p>{scale}{"".join(blocks)}'


def _quality(truth: Mapping[str, Any], classes: Sequence[ClassPrompts]) -> str:
    colour = {c.name: "rgb({},{},{})".format(*c.rgb) for c in classes}
    rows = [
        (_spaced(n), iou, colour.get(n, charts.SERIES_RGB[0])) for n, iou in truth["class_iou_percent"].items() if iou is not None
    ]
    chart = charts.bars(rows, "IoU by class, percent")
    points, names = truth["confusion"]["points"], truth["confusion"]["rows"]
    columns = truth["confusion"]["columns"]
    head = "".join(f'<th><span class="up">{escape(_spaced(name))}</span></th>' for name in columns)
    body = []
    for name, row in zip(names, points, strict=True):
        if total := sum(row):
            cells = "".join(_heat(100 * count / total, f"{count:,} points") if count else "<td></td>" for count in row)
            body.append(f"<tr><th>{escape(_spaced(name))}</th>{cells}</tr>")
    matrix = f'<table class="heat"><thead><tr><th></th>{head}</tr></thead><tbody>{"".join(body)}</tbody></table>'
    absent = [_spaced(name) for name, iou in truth["class_iou_percent"].items() if iou is None]
    note = f'<p class="note">Not in the truth: {escape(", ".join(absent))}.</p>' if absent else ""
    legend = '<p class="note">Rows: true class; columns: answer; percent of the row.</p>'
    return (
        f'<h2>IoU by class, %</h2><div class="bars">{chart}</div>{note}<h2>Confusion</h2>{legend}<div class="wide">{matrix}</div>'
    )


def _rings(truth: Mapping[str, Any]) -> str:
    names = [name for name, iou in truth["class_iou_percent"].items() if iou is not None]
    head = "".join(f'<th><span class="up">{escape(_spaced(name))}</span></th>' for name in names)
    rows = []
    for ring in truth["rings"]:
        cells = "".join(_heat(ring["class_iou_percent"][name]) for name in names)
        rows.append(f"<tr><th>{ring['ring']}</th><td>{ring['points']:,}</td>{_heat(ring['miou_percent'])}{cells}</tr>")
    table_head = f"<thead><tr><th></th><th>points</th><th>mean IoU</th>{head}</tr></thead>"
    note = '<p class="note">IoU in percent within rings around the sensor.</p>'
    body = f'<table class="heat">{table_head}<tbody>{"".join(rows)}</tbody></table>'
    return f'<h2>By distance</h2>{note}<div class="wide">{body}</div>'


def _calibration(calibration: Mapping[str, Any]) -> str:
    blocks = []
    for name in ("score", "margin"):
        figures = calibration[name]
        if figures is None:
            continue
        bins = figures["bins"]
        points = [(row["mean"], row["right_percent"]) for row in bins]
        span = (min(row["from"] for row in bins), max(row["to"] for row in bins))
        chart = charts.lines({name: points}, span, (0, 100), name, "labelled right, %", f"Share labelled right by {name}")
        learned = "not known" if figures["learned_error"] is None else f"{100 * figures['learned_error']:.1f} %"
        auroc = "not known" if figures["auroc"] is None else f"{figures['auroc']:.3f}"
        text = (
            f"Tells right from wrong with AUROC {auroc}. Off by {100 * figures['face_value_error']:.1f} % on average if taken "
            f"for the chance of being right; by {learned} if read through a curve learned on every other scan."
        )
        blocks.append(f"<div>{chart}<p class='note'>{text}</p></div>")
    rows = [
        {"answered class": _spaced(r["class"]), "points": f"{r['points']:,}", "right, %": f"{r['right_percent']:.1f}"}
        | {"mean score": f"{r['mean_score']:.3f}", "mean margin": f"{r['mean_margin']:.3f}"}
        for r in calibration["by_predicted_class"]
    ]
    by_class = f"<details><summary>By answered class</summary>{table(rows)}</details>" if rows else ""
    note = '<p class="note">Each dot stands for a twelfth of the points. Scores are cosines, not probabilities.</p>'
    return f'<h2>How far the score can be trusted</h2>{note}<div class="pair">{"".join(blocks)}</div>{by_class}'


def _corruption(rows: Sequence[Mapping[str, Any]]) -> str:
    series: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row["miou_percent"] is not None:
            series.setdefault(row["kind"], []).append((row["severity"], row["miou_percent"]))
    top = max((y for points in series.values() for _, y in points), default=1.0)
    chart = charts.lines(
        series, (0, 5), (0, max(top * 1.1, 1.0)), "severity", "mean IoU, %", "Mean IoU by severity of corruption"
    )
    figures = [
        {"corruption": row["kind"], "severity": row["severity"], "mean IoU": _percent(row["miou_percent"])}
        | {"points lost or replaced": _percent(row["void_percent"])}
        for row in rows
    ]
    note = "The same scans with simulated weather and faults; 0 is as recorded. Points lost or replaced are not scored."
    pair = f'<div class="pair"><div>{chart}</div><div>{table(figures)}</div></div>'
    return f'<h2>Robustness</h2><p class="note">{note}</p>{pair}'


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
        "unlabelled": _percent(100 * recording["unlabelled_points"] / max(recording["points"], 1)),
        "mean IoU": _percent(truth["miou_percent"]) if truth else "",
        "latency p50": _ms(recording["latency_ms"]["p50"]),
        "damage": "yes" if recording["damage"] else "none",
    }


def _heat(percent: float | None, title: str = "") -> str:
    if percent is None:
        return "<td></td>"
    dark = percent > 55
    style = f"background:rgba(47,111,159,{percent / 100:.2f})" + (";color:#fff" if dark else "")
    text = "&lt;1" if 0 < percent < 1 else f"{percent:.0f}"
    return f'<td style="{style}" title="{escape(title)}">{text}</td>'


def _percentiles(values: Mapping[str, float | None]) -> dict[str, str]:
    return {f"{name}, ms": "" if value is None else f"{value:.1f}" for name, value in values.items()}


def _percent(value: float | None) -> str:
    return "not known" if value is None else f"{value:.1f} %"


def _ms(value: float | None) -> str:
    return "not known" if value is None else f"{value:.0f} ms"


def _spaced(name: str) -> str:
    return name.replace("_", " ")
