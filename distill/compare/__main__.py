"""Trains every loss on the same data for the same steps with the same grid of learning rates, and scores all of them alike.

    python -m distill.street runs/compare/street --seed 2 --val-scenes 16
    python -m distill.compare --config configs/compare.yaml --out results/compare.json --jobs 2

For each teacher: every loss with every learning rate and the first seed; the best learning rate of each loss, chosen on scenes
that nothing else is tested on, with the other seeds; k-shot with each of those, and with random starts. Real sets are those under
RELIDAR_DATA that configs/scan_sets describes. Resumable: what was done with this configuration is not done again. OUT holds a
record a run, set and protocol; beside it a figure.
"""

import argparse
import os
from pathlib import Path

from distill.provenance import command
from relidar import command_line, config_file
from relidar.atomic import write_text


def _jobs(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{number} is below 0")
    return number


def main() -> None:
    """The command."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--config", type=command_line.existing, required=True, help="what is compared (YAML)")
    parser.add_argument("--out", type=Path, required=True, help="write all records here as JSON, the figure beside it")
    jobs = os.cpu_count() or 1
    parser.add_argument("--jobs", type=_jobs, default=jobs, help="runs at once (default: one a core; 0: only gather)")
    arguments, overrides = parser.parse_known_args()
    # What takes seconds to import comes after what can be told without it.
    from distill.compare.config import CompareConfig

    config = config_file.load(arguments.config, CompareConfig, overrides)
    from distill.compare.figure import draw
    from distill.compare.schedule import Comparison
    from distill.compare.summary import table

    records = Comparison(config, arguments.jobs, command("distill.compare"), arguments.out).run()
    write_text(arguments.out.with_suffix(".svg"), draw(records))
    command_line.say(f"{table(records)}\n\n{len(records)} records: {arguments.out}, figure beside it")


if __name__ == "__main__":
    command_line.run(main)
