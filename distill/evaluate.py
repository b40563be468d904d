"""How well a student names points: mean IoU over raw points, by words alone or after learning labels.

    python -m distill.evaluate zero-shot --config configs/street.yaml --checkpoint runs/demo/train/student.pt
    python -m distill.evaluate scans FOLDER --bundle runs/demo/bundle --scan-set configs/scan_sets/semantickitti-range.yaml \\
        --corrupt rain --corrupt fog --corrupt beam-drop:3 --out runs/kitti.json
    python -m distill.evaluate fine-tune --config configs/street.yaml --checkpoint runs/demo/train/student.pt --percent 10
    python -m distill.evaluate k-shot --scans FOLDER --scan-set configs/scan_sets/vlp32-mit.yaml \\
        --checkpoint runs/demo/train/student.pt --k 1 4 --seeds 0 1 2 --out runs/k_shot.json

`zero-shot` and `k-shot` measure on the validation split of a dataset (--config) or on a folder of labelled .npz scans (--scans),
`linear-probe` and `fine-tune` on a dataset; `scans` runs a bundle on a folder. The defaults are SLidR's protocol for nuScenes
but for batch norm's momentum. `--corrupt` measures again in bad weather and with a failing sensor, and draws mean IoU against
severity beside OUT. OUT holds a record, or `runs` of them where seeds or numbers of scans are several, with the commit and the
command.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distill import evaluation_options
from distill.provenance import command, commit
from relidar import charts, command_line, config_file
from relidar.atomic import write_text
from relidar.robustness import plot


def _write(path: Path, runs: Sequence[dict[str, Any]], seconds: float) -> None:
    facts = {"seconds": round(seconds, 1), "commit": commit(), "command": command("distill.evaluate")}
    write_text(path, json.dumps((runs[0] if len(runs) == 1 else {"runs": runs}) | facts, indent=2) + "\n")
    if runs[0]["robustness"]:
        file = path.with_name(f"{path.stem}_robustness.svg")
        write_text(file, charts.alone(plot(runs[0]["robustness"]["rows"])))
        command_line.say(f"plot: {file}")


def main() -> None:
    """The command."""
    parser = evaluation_options.parser(__doc__)
    arguments, overrides = parser.parse_known_args()
    evaluation_options.check(parser, arguments, overrides)
    # PyTorch takes seconds to import, from distill.config on, so the arguments are checked before.
    config = None
    if getattr(arguments, "config", None) is not None:
        from distill.config import TrainConfig

        config = config_file.load(arguments.config, TrainConfig, overrides)
    from distill.evaluation import bundle_run, student_runs
    from distill.scoring import table

    started = time.monotonic()
    runs = [bundle_run(arguments)] if arguments.command == "scans" else student_runs(arguments, config)
    for run in runs:
        if "k" in run:
            command_line.say(f"\n{run['k']} labelled scan{'s' * (run['k'] != 1)}, seed {run['seed']}")
        command_line.say(table(run))
    if arguments.out:
        _write(arguments.out, runs, time.monotonic() - started)


if __name__ == "__main__":
    command_line.run(main)
