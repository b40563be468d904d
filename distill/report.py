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
from relidar.label_map import LabelMap, load_label_map
from relidar.prompts import UNLABELLED
from relidar.segmenter import Segmenter

LABEL_MAP = Path("configs/label_maps/nuscenes32.yaml")
PAGE = Path(__file__).with_name("report_page.html")
TOP_PICTURE = "from_above.png"
CAMERA_PICTURE = "in_cameras.png"


def gather(demo: Path) -> dict[str, Any]:
    """All figures of the demo; raises DatasetError if a step's result is missing."""
    street = _json(demo / "street.json")
    parity = _json(demo / "parity.json")
    slow, fast = _json(demo / "node_2hz.json"), _json(demo / "node_20hz.json")
    engines = [
        {"runtime": key["runtime"], "target": key["target"], "plan_bytes": path.with_suffix(".plan").stat().st_size}
        for path in sorted((demo / "bundle" / ENGINES).glob("*.json"))
        for key in [_json(path)["key"]]
    ]
    return {
        "street": {"zero_shot_miou": street["miou"], "class_iou": street["class_iou"], "simulated": True},
        "real": {path.stem: _json(path) for path in sorted((demo / "real").glob("*.json"))},
        "node": slow,
        "node_20hz": fast,
        "parity": parity,
        "engine": engines[0] if engines else None,
        "engines": engines,
        "structure": street["structure"],
        "replay": _json(demo / "replay" / "report.json"),
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
        miou=f"{figures['street']['zero_shot_miou']:.1f}",
        top=_image(top, "A scan from above: truth, answer, score"),
        cameras=_image(cameras, "The answer in the six camera images"),
        bars=_image(pictures.iou_bars(figures["street"]["class_iou"], classes), "IoU by class on the street"),
        latency=_image(pictures.latency_bars(latency), "Latency of the node"),
        real="".join(_real_set(name, result) for name, result in figures["real"].items()) or "<p>RELIDAR_DATA was not set.</p>",
        node=_table([_node_row("2 Hz", figures["node"]), _node_row("20 Hz", figures["node_20hz"])]),
        parity=_table([{k: _short(v) for k, v in form.items()} for form in figures["parity"]["forms"]]),
        engines=_table(figures["engines"]),
        structure=_table([{name: f"{value:.3f}" for name, value in figures["structure"].items()}]),
        seconds=_table([{"step": step, "seconds": seconds} for step, seconds in figures["seconds"].items()]),
    )
    write_text(demo / "report.json", json.dumps(figures, indent=2) + "\n")
    write_text(demo / "report.html", page)


def most_varied(frames: list[Keyframe]) -> Keyframe:
    """The keyframe with the most categories, which shows the most."""
    return max(frames, key=lambda frame: len(set(frame.lidarseg.read_bytes())) if frame.lidarseg else 0)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: cannot be read ({error}); run `python -m distill.demo`, which writes it.") from error


def _image(png: bytes, alternative: str) -> str:
    return f'<img alt="{html.escape(alternative)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def _real_set(name: str, result: dict[str, Any]) -> str:
    rows = [
        {"class": c, "IoU, %": "absent" if iou is None else f"{iou:.1f}", "predicted as": ", ".join(result["mapping"][c])}
        for c, iou in result["class_iou"].items()
    ]
    present = sum(iou is not None for iou in result["class_iou"].values())
    title = f"{html.escape(name)}: mean IoU {result['miou']:.1f} % over {present} classes, {result['scans']} scans"
    return f"<details><summary>{title}</summary>{_table(rows)}</details>"


def _node_row(rate: str, node: dict[str, Any]) -> dict[str, Any]:
    counted = node["node_counted"]
    latency = {f"{p}, ms": f"{value:.0f}" for p, value in node["latency_ms"].items() if value is not None}
    return {"rate": rate, "sent": node["sent"], "answered": node["answered"], "dropped for a newer scan": counted["dropped"]} | {
        "lost in transport": node["lost_in_transport"], "repeated": node["repeated"], "out of order": node["out_of_order"]
    } | latency  # fmt: skip


def _short(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.1e}" if abs(value) < 1e-2 else f"{value:.6f}"


def _table(rows: list[dict[str, Any]]) -> str:
    head = "".join(f"<th>{html.escape(str(name)).replace('_', ' ')}</th>" for name in rows[0]) if rows else ""
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(value))}</td>" for value in row.values()) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def main() -> None:
    """The command."""
    parser = command_line.parser(__doc__)
    parser.add_argument("demo", type=Path, help="folder of the demo")
    arguments = parser.parse_args()
    write_report(arguments.demo)
    command_line.say(f"report: {arguments.demo / 'report.html'}")


if __name__ == "__main__":
    command_line.run(main)
