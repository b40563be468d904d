"""Evaluates bags without ROS: labels every cloud as the live node would, and reports how good and how fast the answers are.

    python -m relidar.replay drive.mcap --bundle runs/demo/bundle --out runs/replay
    python -m relidar.replay runs/demo/street/street.mcap --bundle runs/demo/bundle --out runs/replay \\
        --truth-field category --truth-map configs/label_maps/nuscenes32.yaml --corrupt rain --corrupt fog:3 --write
    python -m relidar.replay monday tuesday.bag --jobs 2 --topic all --bundle runs/demo/bundle --out runs/replay

Bags: rosbag2 (MCAP or sqlite3, also packed with zstd) and rosbag1; one that is cut off or corrupt is evaluated up to the damage,
which the report tells. Writes OUT/report.html (one file, opens offline), OUT/report.json and OUT/bags/NAME/ for each bag. A bag
whose result is there already is not done again, unless the bag or its truth files have changed, or more bags shared the
processor then than do now. Results of another bundle, another backend or other options are not replaced: those need an OUT of
their own.

The truth is a field of the clouds (--truth-field), a field of a second topic with the same stamps (--truth-topic), or files
named by stamp, <ns>.npy or SemanticKITTI's <ns>.label (--truth-folder); --truth-map says which numbers are which classes. A point
with a true class that stays unlabelled counts as a miss.

--corrupt KIND:SEVERITY adds rain, fog, lost beams and so on to each scan and shows mIoU against severity; without :SEVERITY, all
five. A point whose return is lost or replaced counts as a miss; the mIoU of the returns left stands beside it.

--write records OUT/bags/NAME/labelled for `ros2 bag play` and RViz (T/segmentation, T/visualization and T/label_info for each
topic T), --rerun OUT/bags/NAME/answers.rrd.

Latency is the time to decode, label and encode one cloud on a warm segmenter. With --jobs several bags share the processor, which
makes it worse. Exit code 1 if a bag had nothing usable.
"""

import signal
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from relidar import command_line, replay_report
from relidar.backends import BACKENDS
from relidar.bags import ALL_TOPICS
from relidar.bundle import open_bundle
from relidar.corruptions import KINDS
from relidar.errors import BagError
from relidar.label_map import load_label_map
from relidar.replay_jobs import interrupt, replay_bags, result_folders
from relidar.replay_options import ReplayOptions, check_same
from relidar.rerun_log import import_rerun
from relidar.robustness import expand
from relidar.truth import DEFAULT_FIELD, TruthSource


def _run(arguments: Namespace) -> None:
    signal.signal(signal.SIGTERM, interrupt)
    bags = list(dict.fromkeys(arguments.bag))
    truth = None
    if arguments.truth_map is not None:
        truth = TruthSource(arguments.truth_field or DEFAULT_FIELD, arguments.truth_topic, arguments.truth_folder)
    options = ReplayOptions(
        bundle=arguments.bundle,
        backend=arguments.backend,
        threads=arguments.threads,
        topics=tuple(arguments.topic),
        truth=truth,
        truth_map=arguments.truth_map,
        corruptions=expand(arguments.corrupt),
        write=arguments.write,
        rerun=arguments.rerun,
        side_by_side=min(arguments.jobs, len(bags)),
    )
    bundle = open_bundle(options.bundle)
    if options.truth_map is not None:
        load_label_map(options.truth_map).prediction_lookup(bundle.manifest.classes)
    check_same(arguments.out, options)
    if options.rerun:
        import_rerun()
    failed = replay_bags(bags, arguments.out, options, arguments.jobs)
    folders = {bag: folder for bag, folder in result_folders(bags, arguments.out).items() if bag not in failed}
    if folders:
        report = replay_report.write(arguments.out, bundle, folders, failed, options)
        for text in (text for text in report["warnings"] if text not in failed.values()):
            sys.stderr.write(f"warning: {text}\n")
        miou = f", mIoU {report['truth']['miou_percent']} %" if report["truth"] else ""
        latency = report["latency_ms"]["p50"]
        command_line.say(f"{report['scans']} scans, latency p50 {latency} ms{miou}: {arguments.out / 'report.html'}")
    if failed:
        raise BagError("\nerror: ".join(failed.values()))


def _parser() -> ArgumentParser:
    parser = command_line.parser(__doc__)
    parser.add_argument("bag", type=Path, nargs="+", help="rosbag2 folder, .mcap, .db3 or rosbag1 .bag")
    parser.add_argument("--bundle", type=Path, required=True, help="folder that `python -m export.trt` wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder for the report and the bags' results; made if missing")
    parser.add_argument(
        "--topic", action="append", default=[], help=f"PointCloud2 topic, may be repeated; `{ALL_TOPICS}` (default: the only one)"
    )
    parser.add_argument("--backend", default="auto", choices=BACKENDS, help="what runs the student (default %(default)s)")
    parser.add_argument(
        "--threads",
        type=command_line.at_least(0),
        default=0,
        help="threads that work on one scan (default: one a core, shared out among --jobs)",
    )
    parser.add_argument("--truth-field", help=f"field with the true label of each point (default `{DEFAULT_FIELD}`)")
    parser.add_argument("--truth-topic", help="topic with the truth: clouds with the stamps and points of the replayed ones")
    parser.add_argument("--truth-folder", type=Path, help="folder with the truth: <stamp in ns>.npy or .label")
    parser.add_argument("--truth-map", type=Path, help="YAML: which true labels and which classes of the bundle are the same")
    parser.add_argument(
        "--corrupt", action="append", default=[], metavar="KIND[:SEVERITY]", help=f"one of {', '.join(KINDS)}; 1-5"
    )
    parser.add_argument("--write", action="store_true", help="record the labelled bag")
    parser.add_argument("--rerun", action="store_true", help="record an .rrd; needs rerun-sdk")
    parser.add_argument(
        "--jobs", type=command_line.at_least(1), default=1, help="bags at a time, each in a process (default %(default)s)"
    )
    return parser


def main() -> None:
    """The command."""
    parser = _parser()
    arguments = parser.parse_args()
    has_source = any(value is not None for value in (arguments.truth_field, arguments.truth_topic, arguments.truth_folder))
    if has_source != (arguments.truth_map is not None):
        parser.error("--truth-map and one of --truth-field, --truth-topic and --truth-folder belong together")
    if arguments.truth_folder is not None and (arguments.truth_topic or arguments.truth_field):
        parser.error("--truth-folder goes without --truth-field and --truth-topic")
    if arguments.corrupt and not has_source:
        parser.error("--corrupt compares with the truth; give --truth-field, --truth-topic or --truth-folder")
    command_line.run(lambda: _run(arguments))


if __name__ == "__main__":
    main()
