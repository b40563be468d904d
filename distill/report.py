"""Gathers what the demo's commands wrote into one page and one JSON file.

    python -m distill.report runs/demo

Writes report.html (self-contained, opens offline) and report.json into that folder.
"""

import base64
import html
import json
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from distill import pictures
from distill.config import TrainConfig
from distill.datasets import read_cloud, read_keyframes, read_labels
from distill.keyframe import Keyframe
from distill.provenance import commit
from relidar import command_line, config_file
from relidar.atomic import atomic_file, write_text
from relidar.backends import open_executor
from relidar.bundle import ENGINES, Bundle, open_bundle
from relidar.errors import DatasetError
from relidar.html_text import milliseconds, percent
from relidar.label_map import LabelMap, load_label_map
from relidar.prompts import UNLABELLED
from relidar.segmenter import Segmenter

LABEL_MAP = Path("configs/label_maps/nuscenes32.yaml")
PAGE = Path(__file__).with_name("report_page.html")
NODE_FIGURES = ("sent", "answered", "repeated", "out_of_order", "lost_in_transport", "latency_ms", "node_counted")
GAPS = {
    "modality_gap": "distance between the mean features; 0 is none",
    "alignment": "mean squared distance between features of the same place; 0 is none",
    "uniformity_student": "how evenly features spread; lower is more even",
    "uniformity_teacher": "how evenly features spread; lower is more even",
    "uniformity_gap": "between the two above; 0 is none",
    "relation_gap": "difference between the features' cosines to each other; 0 is none",
    "tolerance_student": "mean cosine within a class; higher is tighter",
    "tolerance_teacher": "mean cosine within a class; higher is tighter",
}
"""What each figure of distill.structure tells."""
TOP_PICTURE = "from_above.png"
CAMERA_PICTURE = "in_cameras.png"


def gather(demo: Path) -> dict[str, Any]:
    """All figures of the demo; raises DatasetError if a step's result is missing or not whole."""
    street = _json(demo / "street.json", "miou", "class_iou", "structure")
    parity = _json(demo / "parity.json", "forms")
    slow, fast = (_json(demo / f"node_{rate}hz.json", *NODE_FIGURES) for rate in (2, 20))
    engines = [
        {"runtime": key["runtime"], "target": key["target"], "plan_bytes": path.with_suffix(".plan").stat().st_size}
        for path in sorted((demo / "bundle" / ENGINES).glob("*.json"))
        for key in [_json(path, "key")["key"]]
    ]
    real = sorted((demo / "real").glob("*.json"))
    return {
        "street": {"zero_shot_miou": street["miou"], "class_iou": street["class_iou"], "simulated": True},
        "real": {path.stem: _json(path, "miou", "class_iou", "scans", "mapping") for path in real},
        "node": slow,
        "node_20hz": fast,
        "parity": parity,
        "engine": engines[0] if engines else None,
        "engines": engines,
        "structure": street["structure"],
        "replay": _json(demo / "replay" / "report.json", "scans", "latency_ms", "truth"),
        "seconds": _json(demo / "seconds.json"),
        "commit": commit(),
        "command": "python -m distill.demo",
    }


def label_keyframe(bundle: Bundle, frame: Keyframe, label_map: LabelMap) -> pictures.Labelled:
    """Runs the bundle on a keyframe; the truth is given as the bundle's class ids."""
    segmenter = Segmenter.of_bundle(bundle, open_executor(bundle))
    xyz_m, intensity = read_cloud(frame.cloud)
    answer = segmenter(xyz_m, intensity)
    number = label_map.truth_lookup()[read_labels(frame, len(xyz_m))]
    id_of = {c.name: c.id for c in bundle.manifest.classes}
    ids = [id_of[c.predicted[0]] for c in label_map.classes]
    lookup = np.full(256, UNLABELLED, np.uint8)
    lookup[: len(ids)] = ids
    return pictures.Labelled(xyz_m, lookup[number], answer.label, answer.score)


def write_report(demo: Path) -> None:
    """Writes report.json, the two pictures and report.html."""
    figures = gather(demo)
    config = config_file.load(demo / "train" / "config.yaml", TrainConfig)
    bundle = open_bundle(demo / "bundle")
    classes = bundle.manifest.classes
    frame = most_varied(read_keyframes(config.data, config.data.val_split))
    scan = label_keyframe(bundle, frame, load_label_map(LABEL_MAP))
    top, cameras = pictures.seen_from_above(scan, classes), pictures.in_cameras(frame, scan, classes)
    for name, png in ((TOP_PICTURE, top), (CAMERA_PICTURE, cameras)):
        with atomic_file(demo / name) as temporary:
            temporary.write_bytes(png)
    latency = {f"node at {rate}": figures[key]["latency_ms"] for rate, key in (("2 Hz", "node"), ("20 Hz", "node_20hz"))}
    page = Template(PAGE.read_text(encoding="utf-8")).substitute(
        miou=percent(figures["street"]["zero_shot_miou"]),
        top=_image(top, "A scan from above: truth, answer, score"),
        cameras=_image(cameras, "The answer in the six camera images"),
        bars=_image(pictures.iou_bars(figures["street"]["class_iou"], classes), "IoU by class on the street"),
        latency=_image(pictures.latency_bars(latency), "Latency of the node"),
        real="".join(_real_set(name, result) for name, result in figures["real"].items())
        or "<p>RELIDAR_DATA names no set that configs/scan_sets describes.</p>",
        node=_table([_node_row("2 Hz", figures["node"]), _node_row("20 Hz", figures["node_20hz"])]),
        replay=_replayed(figures["replay"]),
        parity=_table([{k: _short(v) for k, v in form.items()} for form in figures["parity"]["forms"]]),
        engines=_table([_engine_row(engine) for engine in figures["engines"]]) or "<p>None was built.</p>",
        structure=_table(
            [
                {"figure": name.replace("_", " "), "value": f"{value:.3f}", "what it tells": GAPS.get(name, "")}
                for name, value in figures["structure"].items()
            ]
        ),
        seconds=_table(
            [
                {"step": step, "seconds": f"{seconds:.1f}"}
                for step, seconds in [*figures["seconds"].items(), ("together", sum(figures["seconds"].values()))]
            ]
        ),
        origin=f"<code>{html.escape(figures['command'])}</code>, commit {html.escape(figures['commit'])}",
    )
    write_text(demo / "report.json", json.dumps(figures, indent=2) + "\n")
    write_text(demo / "report.html", page)


def most_varied(frames: list[Keyframe]) -> Keyframe:
    """The keyframe with the most categories, which shows the most."""
    return max(frames, key=lambda frame: len(set(frame.lidarseg.read_bytes())) if frame.lidarseg else 0)


def _json(path: Path, *needed: str) -> Any:
    """What a step wrote, which must hold the keys `needed`."""
    cure = "run `python -m distill.demo`, which writes it."
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: cannot be read ({error}); {cure}") from error
    missing = [key for key in needed if key not in content] if isinstance(content, dict) else needed or ["figures"]
    if missing:
        raise DatasetError(f"{path}: holds no {', '.join(missing)}, so it is damaged or of another version; {cure}")
    return content


def _image(png: bytes, alternative: str) -> str:
    return f'<img alt="{html.escape(alternative)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def _real_set(name: str, result: dict[str, Any]) -> str:
    rows = [
        {"class": c, "IoU, %": "absent" if iou is None else f"{iou:.1f}", "predicted as": ", ".join(result["mapping"][c])}
        for c, iou in result["class_iou"].items()
    ]
    present = sum(iou is not None for iou in result["class_iou"].values())
    title = f"{html.escape(name)}: mean IoU {percent(result['miou'])} over {present} classes, {result['scans']} scans"
    return f"<details><summary>{title}</summary>{_table(rows)}</details>"


def _node_row(rate: str, node: dict[str, Any]) -> dict[str, Any]:
    counted = node["node_counted"]
    latency = {f"{p}, ms": "none" if value is None else f"{value:.0f}" for p, value in node["latency_ms"].items()}
    return {"rate": rate, "sent": node["sent"], "answered": node["answered"], "dropped for a newer scan": counted["dropped"]} | {
        "lost in transport": node["lost_in_transport"], "repeated": node["repeated"], "out of order": node["out_of_order"]
    } | latency  # fmt: skip


def _replayed(report: dict[str, Any]) -> str:
    miou = f", mean IoU {percent(report['truth']['miou_percent'])}" if report["truth"] else ""
    latency = milliseconds(report["latency_ms"]["p50"])
    return f'{report["scans"]} scans without ROS, {latency} a scan (p50){miou}. <a href="replay/report.html">Its report</a>'


def _engine_row(engine: dict[str, Any]) -> dict[str, Any]:
    return {"runtime": engine["runtime"], "GPU class": engine["target"], "size, MB": f"{engine['plan_bytes'] / 1e6:.1f}"}


def _short(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return "0" if value == 0 else f"{value:.1e}" if abs(value) < 1e-2 else f"{value:.6f}"


def _table(rows: list[dict[str, Any]]) -> str:
    """A column for each key; those of numbers are set flush right."""
    is_numeric = {name: all(_is_number(row.get(name, "none")) for row in rows) for row in rows for name in row}
    head = "".join(_cell("th", name.replace("_", " "), numeric) for name, numeric in is_numeric.items())
    lines = ("".join(_cell("td", row.get(name, ""), numeric) for name, numeric in is_numeric.items()) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><tr>{head}</tr>{body}</table>" if rows else ""


def _cell(tag: str, value: Any, is_numeric: bool) -> str:
    return f"<{tag}{' class=number' if is_numeric else ''}>{html.escape(str(value))}</{tag}>"


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except ValueError:
        return value in ("absent", "none")
    return True


def main() -> None:
    """The command."""
    parser = command_line.parser(__doc__)
    parser.add_argument("demo", type=Path, help="folder of the demo")
    arguments = parser.parse_args()
    write_report(arguments.demo)
    command_line.say(f"report: {arguments.demo / 'report.html'}")


if __name__ == "__main__":
    command_line.run(main)
