"""Trains every loss on the same data for the same steps with the same grid of learning rates, and scores all of them alike.

    python -m distill.street runs/compare/street --seed 2 --val-scenes 16
    python -m distill.compare --config configs/compare.yaml --out results/compare.json --jobs 2
    python -m distill.compare --config configs/compare.yaml --out one.json --only street_clip/relational-lr0.003-seed0

For each teacher: every loss with every learning rate and the first seed; the best learning rate of each loss, chosen on keyframes
that nothing else is tested on, with the other seeds; k-shot with each of those, and with random starts. Real sets are those under
RELIDAR_DATA that configs/scan_sets describes. Resumable: what was trained or scored is not done again. OUT holds a record a run,
set and protocol; beside it a figure.
"""

import os
import shlex
from pathlib import Path

from distill.compare.config import CompareConfig
from distill.compare.figure import draw
from distill.compare.schedule import Comparison
from distill.compare.summary import table
from relidar import command_line, config_file
from relidar.atomic import write_text


def main() -> None:
    """The command."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--config", type=Path, required=True, help="what is compared (YAML)")
    parser.add_argument("--out", type=Path, required=True, help="write all records here as JSON, the figure beside it")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="runs at once (default: one a core); 0: only gather"
    )
    parser.add_argument("--only", default="", metavar="NAME", help="runs whose name holds this (teacher/loss-lrX-seedY)")
    arguments, overrides = parser.parse_known_args()
    config = config_file.load(arguments.config, CompareConfig, overrides)
    given = ["--config", str(arguments.config), "--out", str(arguments.out), *overrides]
    command = shlex.join(["python", "-m", "distill.compare", *given])
    records = Comparison(config, arguments.jobs, arguments.only, command, arguments.out).run()
    write_text(arguments.out.with_suffix(".svg"), draw(records))
    command_line.say(f"{table(records)}\n\n{len(records)} records: {arguments.out}, figure beside it")


if __name__ == "__main__":
    command_line.run(main)
