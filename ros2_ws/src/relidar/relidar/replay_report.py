"""Puts the results of all replayed bags together: report.json, and report.html for people."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from relidar import __version__, replay_page
from relidar.atomic import write_text
from relidar.bag_replay import LABELLED
from relidar.bundle import MANIFEST, Bundle, sha256_file
from relidar.errors import BagError
from relidar.label_map import load_label_map
from relidar.replay_figures import Figures
from relidar.replay_options import RESULT, ReplayOptions


def write(out: Path, bundle: Bundle, folders: Mapping[Path, Path], failed: Mapping[Path, str], options: ReplayOptions) -> Any:
    """Writes report.json and report.html into `out` and returns the report.

    Args:
        out: folder.
        bundle: that was replayed.
        folders: result of each bag that has one; at least one.
        failed: what went wrong, by bag.
        options: what was asked.

    Raises:
        BagError: a result cannot be read.
    """
    results = {folder: _result(folder) for folder in folders.values()}
    figures = {(folder, topic): f for folder, result in results.items() for topic, f in _figures(folder, result).items()}
    report = gather(bundle, results, figures, failed, options)
    page = replay_page.render(report, bundle.manifest.classes, results)
    write_text(out / "report.json", json.dumps(report, indent=2) + "\n")
    write_text(out / "report.html", page)
    return report


def gather(
    bundle: Bundle,
    results: Mapping[Path, dict[str, Any]],
    figures: Mapping[tuple[Path, str], Figures],
    failed: Mapping[Path, str],
    options: ReplayOptions,
) -> dict[str, Any]:
    """All figures: those of all recordings together on top, those of each topic of each bag in `recordings`."""
    names = {c.id: c.name for c in bundle.manifest.classes}
    recordings = []
    for (folder, topic), counted in figures.items():
        result = results[folder]
        clouds = result["clouds"][topic]
        recordings.append(
            {
                "bag": result["bag"],
                "topic": topic,
                "clouds_read": clouds["read"],
                "clouds_recorded": clouds["recorded"],
                "damage": result["damage"],
                "labelled_bag": str(folder / LABELLED) if options.write else None,
                "drop_simulation": counted.drops(),
                **counted.report(names),
            }
        )
    evaluated = load_label_map(options.truth_map) if options.truth_map else None
    together = Figures(evaluated.names if evaluated else None, options.corruptions)
    for counted in figures.values():
        together.add(counted)
    report = together.report(names)
    if evaluated is not None:
        described = {"source": str(options.truth), "map": evaluated.name, "map_description": evaluated.description}
        report["truth"] = described | report["truth"]
    return {
        "bundle": str(bundle.path),
        "bundle_sha256": sha256_file(bundle.path / MANIFEST),
        "relidar_version": __version__,
        "backend": ", ".join(sorted({result["backend"] for result in results.values()})),
        "bags_side_by_side": max(result["side_by_side"] for result in results.values()),
        "warnings": [*_warnings(results, figures), *failed.values()],
        "failed": {str(bag): error for bag, error in failed.items()},
        **report,
        "recordings": recordings,
    }


def _warnings(results: Mapping[Path, dict[str, Any]], figures: Mapping[tuple[Path, str], Figures]) -> list[str]:
    texts = [result["damage"] for result in results.values() if result["damage"]]
    for (folder, topic), counted in figures.items():
        where = f"{results[folder]['bag']}: {topic}"
        if counted.malformed:
            causes = ", ".join(f"{cause} {count}" for cause, count in counted.malformed.items())
            texts.append(f"{where}: {counted.malformed.total()} malformed clouds left out ({causes}).")
        if counted.over_capacity:
            texts.append(
                f"{where}: {counted.over_capacity} of {counted.scans} scans have more voxels than the engine takes and were "
                "answered on the CPU; export the bundle with scans as dense as these (--scans) and build its engine again."
            )
        if counted.without_truth:
            texts.append(f"{where}: {counted.without_truth} of {counted.scans} scans have no truth and are not scored.")
    most = max(result["side_by_side"] for result in results.values())
    if most > 1:
        texts.append(f"Latency was measured with up to {most} bags sharing the processor; replay with --jobs 1 to know it.")
    return texts


def _result(folder: Path) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BagError(f"{folder / RESULT}: cannot be read ({error}); remove the folder and run the command again.") from error
    pictures = result["pictures"]
    for picture in pictures:
        picture["png"] = {view: (folder / name).read_bytes() for view, name in picture["files"].items()}
    return result


def _figures(folder: Path, result: dict[str, Any]) -> dict[str, Figures]:
    try:
        return {topic: Figures.of_raw(raw) for topic, raw in result["topics"].items()}
    except (KeyError, ValueError, TypeError) as error:
        raise BagError(f"{folder / RESULT}: not a result ({error}); remove the folder and run the command again.") from error
