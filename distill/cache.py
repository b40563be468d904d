"""Runs the teacher once over a dataset and keeps its features, pooled per superpixel.

Resumable: what is there and whole is not computed again. `torchrun` spreads the keyframes over processes and machines.

    python -m distill.cache --config configs/street.yaml
    torchrun --nproc-per-node 4 -m distill.cache --config configs/street.yaml
"""

import os

from relidar import command_line, config_file
from relidar.row_parts import cores


def main() -> None:
    """The command."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--config", type=command_line.existing, required=True, help="training configuration (YAML)")
    parser.add_argument("--workers", type=command_line.at_least(0), default=cores(), help="processes (default: one a core)")
    arguments, overrides = parser.parse_known_args()
    # PyTorch takes seconds to import, from distill.config on, so the arguments are checked before.
    from distill.config import TrainConfig

    config = config_file.load(arguments.config, TrainConfig, overrides)
    import torch

    from distill.cache_filling import fill_cache

    torch.set_num_threads(1)
    if torch.cuda.is_available():
        # torchrun starts as many processes as there are GPUs, and without this all of them would run the teacher on the first.
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    fill_cache(config, arguments.workers, int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))


if __name__ == "__main__":
    command_line.run(main)
