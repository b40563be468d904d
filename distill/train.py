"""Distils the teacher's cached features into a student. Resumes by itself from the run's last checkpoint.

Any value of the configuration can be given on the command line. `torchrun` runs it on several processes, or machines that share
the run folder: the loss is over the rows of all and batch norm over the voxels of all, so that two processes of one scan each do
what one does with two, with half the schedule.rows each.

    python -m distill.train --config configs/street.yaml
    python -m distill.train --config configs/street.yaml --run runs/contrastive --loss.kind contrastive --optim.lr 1e-3
    torchrun --nproc-per-node 4 -m distill.train --config configs/street.yaml
"""

import os

from relidar import command_line, config_file


def main() -> None:
    """The command."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--config", type=command_line.existing, required=True, help="training configuration (YAML)")
    arguments, overrides = parser.parse_known_args()
    # PyTorch takes seconds to import, from distill.config on, so the arguments are checked before.
    from distill.config import TrainConfig

    config = config_file.load(arguments.config, TrainConfig, overrides)
    from distill.trainer import train

    path = train(config)
    if os.environ.get("RANK", "0") == "0":
        command_line.say(f"student: {path}")


if __name__ == "__main__":
    command_line.run(main)
