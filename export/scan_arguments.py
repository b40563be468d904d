"""--scans and --topic, the same for every command that reads scans."""

import argparse

from relidar import command_line


def add_scan_arguments(parser: argparse.ArgumentParser, use: str, required: bool = False) -> None:
    """Adds `scans`, a list of paths for `export.scans.scans_of_source`, and `topic`, the list of topics of the bags among them.

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


def check_scan_arguments(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Ends the command where a topic was named, but nothing to find it in."""
    if arguments.topic and not arguments.scans:
        parser.error("--topic goes with --scans")
