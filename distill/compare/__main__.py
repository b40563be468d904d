"""Trains every loss on the same data for the same steps with the same grid of learning rates, and scores all of them alike.

    python -m distill.street runs/compare/street --seed 2 --val-scenes 16
    python -m distill.compare --config configs/compare.yaml --out results/compare.json --jobs 2

For each teacher: every loss with every learning rate and the first seed or seeds; the best learning rate of each loss, chosen on
scenes that nothing else is tested on, with the other seeds; k-shot with each of those, and with random starts. Real sets are
those under RELIDAR_DATA that configs/scan_sets describes. Resumable: what was done with this configuration is not done again.
OUT holds a record a run, set and protocol; beside it a figure.
"""

from pathlib import Path

from distill.provenance import command
from relidar import command_line, config_file
from relidar.atomic import write_text
from relidar.row_parts import cores


def main() -> None:
    """The command."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--config", type=command_line.existing, required=True, help="what is compared (YAML)")
    parser.add_argument("--out", type=Path, required=True, help="write all records here as JSON, the figure beside it")
    jobs = "runs at once (default: one a core; 0: only gather what was done, leaving out runs that are not there)"
    parser.add_argument("--jobs", type=command_line.at_least(0), default=cores(), help=jobs)
    arguments, overrides = parser.parse_known_args()
    # PyTorch takes seconds to import, from distill.compare.config on, so the arguments are checked before.
    from distill.compare.config import CompareConfig

    config = config_file.load(arguments.config, CompareConfig, overrides)
    from distill.compare.figure import draw
    from distill.compare.schedule import Comparison
    from distill.compare.summary import table

    comparison = Comparison(config, arguments.jobs, command("distill.compare"), arguments.out)
    records = comparison.run()
    write_text(arguments.out.with_suffix(".svg"), draw(records))
    command_line.say(f"{table(records)}\n\n{len(records)} records: {arguments.out}, figure beside it")
    if left_out := comparison.left_out:
        command_line.say(f"left out: {len(left_out)} of the wanted runs, whose records are not all there, such as {left_out[0]}")


if __name__ == "__main__":
    command_line.run(main)
