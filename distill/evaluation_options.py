"""The arguments of `python -m distill.evaluate`."""

import argparse
from pathlib import Path

from distill.splits import PERCENTS
from distill.tune_config import FINE_TUNE, LINEAR_PROBE, SHOTS, TuneConfig
from relidar import command_line, config_file
from relidar.corruptions import KINDS

TUNE_FLAGS = {"epochs": int, "batch_scans": int, "trunk_lr": float, "head_lr": float, "workers": int}
"""Fields of TuneConfig that can be given."""


def parser(doc: str | None) -> argparse.ArgumentParser:
    """The parser; `doc` is the command's docstring."""
    whole = command_line.parser(doc)
    commands = whole.add_subparsers(dest="command", required=True)
    out, student, folder, tuning, corrupt = (argparse.ArgumentParser(add_help=False) for _ in range(5))
    out.add_argument("--out", type=Path, help="write the result here as JSON")
    student.add_argument("--checkpoint", type=command_line.existing, required=True, help="student.pt of a run")
    student.add_argument("--config", type=command_line.existing, help="training configuration (YAML): dataset and teacher")
    student.add_argument("--label-map", type=command_line.existing, help="what the dataset's labels mean (default: by its kind)")
    student.add_argument("--test-scans", type=command_line.at_least(1), help="test on so many, spread evenly (default: all)")
    student.add_argument("--random-start", action="store_true", help="random weights instead of the checkpoint's")
    folder.add_argument("--scans", type=command_line.existing, help="folder of labelled .npz scans, instead of --config")
    folder.add_argument("--scan-set", type=command_line.existing, help="what their labels mean (configs/scan_sets/*.yaml)")
    tuning.add_argument("--split", help="of the dataset, whose labels are learned (default: train)")
    for flag, kind in TUNE_FLAGS.items():
        usual, probe = getattr(FINE_TUNE, flag), getattr(LINEAR_PROBE, flag)
        default = f"default: {usual}" if usual == probe else f"default: {usual}; linear-probe: {probe}"
        tuning.add_argument(f"--{flag.replace('_', '-')}", type=kind, help=default)
    tuning.add_argument("--seeds", type=command_line.at_least(0), nargs="+", default=[0], help="a run for each (default: 0)")
    words = f"KIND[:SEVERITY], repeatable; KIND: {', '.join(KINDS)}; SEVERITY: 1 to 5 (default: all)"
    corrupt.add_argument("--corrupt", action="append", default=[], metavar="KIND[:SEVERITY]", help=words)
    commands.add_parser("zero-shot", parents=[out, student, folder, corrupt], help="a checkpoint by words alone")
    shots = commands.add_parser("k-shot", parents=[out, student, folder, tuning], help="k labelled scans, tested on others")
    shots.add_argument("--k", type=command_line.at_least(1), nargs="+", default=SHOTS, help="a run for each (default: 1 2 4 8)")
    for name, does in (("linear-probe", "labels train a new last layer"), ("fine-tune", "labels train all layers")):
        command = commands.add_parser(name, parents=[out, student, tuning], help=does)
        command.add_argument("--percent", type=int, choices=PERCENTS, default=100, help="of the scenes labelled (default: 100)")
    scans = commands.add_parser("scans", parents=[out, corrupt], help="a bundle on labelled .npz scans")
    scans.add_argument("folder", type=command_line.existing, help="labelled .npz scans")
    scans.add_argument("--bundle", type=command_line.existing, required=True, help="what `python -m export.trt` wrote")
    scans.add_argument("--scan-set", type=command_line.existing, required=True, help="what they mean (configs/scan_sets/*.yaml)")
    scans.add_argument("--backend", default="auto", help="of relidar.backends (default: the fastest that runs here)")
    return whole


def check(whole: argparse.ArgumentParser, arguments: argparse.Namespace, overrides: list[str]) -> None:
    """Ends with exit code 2 where arguments do not fit together; `overrides` are for values of --config."""
    config, scans = (getattr(arguments, name, None) for name in ("config", "scans"))
    if overrides and config is None:
        whole.error(f"unrecognized arguments: {' '.join(overrides)}")
    if arguments.command == "scans":
        return
    if (config is None) == (scans is None):
        either = "--config or --scans" if arguments.command in ("zero-shot", "k-shot") else "--config"
        whole.error(f"{arguments.command} needs {either}")
    if scans is not None and arguments.scan_set is None:
        whole.error("--scans needs --scan-set, which says what the labels mean")
    source, others = ("--scans", ("label_map", "split")) if config is None else ("--config", ("scan_set",))
    for name in others:
        if getattr(arguments, name, None) is not None:
            whole.error(f"--{name.replace('_', '-')} has no meaning with {source}; leave it out")


def tune_config(arguments: argparse.Namespace, seed: int) -> TuneConfig:
    """The protocol's parameters with those that were given; raises ConfigError for impossible ones."""
    base = LINEAR_PROBE if arguments.command == "linear-probe" else FINE_TUNE
    given = {name: getattr(arguments, name) for name in TUNE_FLAGS if getattr(arguments, name) is not None}
    return config_file.validate(base.model_dump(mode="json") | given | {"seed": seed}, TuneConfig, "command line")
