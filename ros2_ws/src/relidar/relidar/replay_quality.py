"""The sections of report.html that need a truth: IoU, confusion, distance, calibration, robustness."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from relidar import charts
from relidar.html_text import percent, shaded, spaced, table, up
from relidar.prompts import ClassPrompts
from relidar.robustness import plot


def quality(truth: Mapping[str, Any], classes: Sequence[ClassPrompts]) -> str:
    """IoU by class and confusion, of the truth's part of the report."""
    colour = {c.name: "rgb({},{},{})".format(*c.rgb) for c in classes}
    rows = [
        (spaced(n), iou, colour.get(n, charts.SERIES_RGB[0])) for n, iou in truth["class_iou_percent"].items() if iou is not None
    ]
    chart = charts.bars(rows, "IoU by class, percent")
    points, names = truth["confusion"]["points"], truth["confusion"]["rows"]
    columns = truth["confusion"]["columns"]
    head = up(columns)
    body = []
    for name, row in zip(names, points, strict=True):
        if total := sum(row):
            cells = "".join(shaded(100 * count / total, f"{count:,} points") if count else "<td></td>" for count in row)
            body.append(f"<tr><th>{escape(spaced(name))}</th>{cells}</tr>")
    matrix = f'<table class="heat"><thead><tr><th></th>{head}</tr></thead><tbody>{"".join(body)}</tbody></table>'
    absent = [spaced(name) for name, iou in truth["class_iou_percent"].items() if iou is None]
    note = f'<p class="note">Not in the truth: {escape(", ".join(absent))}.</p>' if absent else ""
    legend = '<p class="note">Rows: true class; columns: answer; percent of the row.</p>'
    return (
        f'<h2>IoU by class, %</h2><div class="bars">{chart}</div>{note}<h2>Confusion</h2>{legend}<div class="wide">{matrix}</div>'
    )


def rings(truth: Mapping[str, Any]) -> str:
    """IoU by distance."""
    names = [name for name, iou in truth["class_iou_percent"].items() if iou is not None]
    head = up(names)
    rows = []
    for ring in truth["rings"]:
        cells = "".join(shaded(ring["class_iou_percent"][name]) for name in names)
        rows.append(f"<tr><th>{ring['ring']}</th><td>{ring['points']:,}</td>{shaded(ring['miou_percent'])}{cells}</tr>")
    table_head = f"<thead><tr><th></th><th>points</th><th>mean IoU</th>{head}</tr></thead>"
    text = "IoU in percent within rings around the sensor. What lies beyond the bundle's reach is not labelled: missed."
    note = f'<p class="note">{text}</p>'
    body = f'<table class="heat">{table_head}<tbody>{"".join(rows)}</tbody></table>'
    return f'<h2>By distance</h2>{note}<div class="wide">{body}</div>'


def calibration(figures_of: Mapping[str, Any]) -> str:
    """What score and margin tell."""
    blocks = []
    for name in ("score", "margin"):
        figures = figures_of[name]
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
        {"answered class": spaced(r["class"]), "points": f"{r['points']:,}", "right, %": f"{r['right_percent']:.1f}"}
        | {"mean score": f"{r['mean_score']:.3f}", "mean margin": f"{r['mean_margin']:.3f}"}
        for r in figures_of["by_predicted_class"]
    ]
    by_class = f"<details><summary>By answered class</summary>{table(rows)}</details>" if rows else ""
    note = '<p class="note">Each dot stands for a twelfth of the points. Scores are cosines, not probabilities.</p>'
    return f'<h2>How far the score can be trusted</h2>{note}<div class="pair">{"".join(blocks)}</div>{by_class}'


def robustness(report: Mapping[str, Any]) -> str:
    """Mean IoU against the severity of corruptions."""
    figures = [
        {"corruption": f"{row['kind']}:{row['severity']}", "what it is": row["meaning"], "mean IoU": percent(row["miou_percent"])}
        | {"of returns left": percent(row["left_miou_percent"]), "the same, uncorrupted": percent(row["left_clean_miou_percent"])}
        | {"returns lost": percent(row["lost_percent"]), "replaced": percent(row["replaced_percent"])}
        for row in report["rows"]
        if row["severity"]
    ]
    note = (
        "The same scans with simulated weather and faults; 0 is as recorded. A point whose return was lost or replaced counts as "
        "a miss of its true class (solid). Of the returns left alone (dashed) the mean IoU may rise, since weather takes the far "
        "and hard points; hold it against the same returns uncorrupted to see what the network itself suffers."
    )
    chart = f'<div class="chart">{plot(report["rows"])}</div>'
    return f'<h2>Robustness</h2><p class="note">{note}</p>{chart}<div class="wide">{table(figures)}</div>'
