"""--scans and what belongs to it, the same for every command that reads scans."""

import argparse

from relidar import command_line


def add_scan_arguments(parser: argparse.ArgumentParser, use: str, required: bool = False) -> None:
    """Adds `scans`, a list of paths for `export.scans.scans_of_source`, `topic`, the topics of the bags among them, and
    `intensity_max`, their value of a full return.

    Args:
        parser: of the command.
        use: what the command does with the scans, for its help.
        required: refuse a call without --scans.
    """
    parser.add_argument(
        "--scans",
        type=command_line.existing,
        action="append",
        default=[],
        required=required,
        metavar="SOURCE",
        help=f"bag, dataset or folder of scans (.pcd.bin, velodyne/*.bin, labelled .npz), repeatable; {use}",
    )
    parser.add_argument(
        "--topic",
        action="append",
        default=[],
        help="PointCloud2 topic of the bags among --scans, repeatable; `all` (default: the only one)",
    )
    parser.add_argument(
        "--intensity-max",
        type=command_line.above_zero,
        help="value of a full return in --scans (default: 255 in .pcd.bin, 1 in velodyne/*.bin, the student's in bags and .npz)",
    )


def check_scan_arguments(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Ends the command where something is said of scans that are not given."""
    if (arguments.topic or arguments.intensity_max is not None) and not arguments.scans:
        parser.error("--topic and --intensity-max go with --scans")
