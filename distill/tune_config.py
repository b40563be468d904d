"""How labelled clouds are learned: the settings of linear probe, fine-tuning and k-shot."""

from typing import Annotated

from pydantic import Field

from distill.augmentation import AugmentConfig
from relidar.config_file import Model

Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(ge=0)]


class TuneConfig(Model):
    """How the labelled clouds are learned; the defaults are SLidR's for fine-tuning on nuScenes."""

    epochs: Count = 100
    batch_scans: Count = 16
    """Scans a step; where there are fewer, all of them."""
    trunk_lr: Rate = 0.02
    """Learning rate of all but the last layer; 0 freezes it, batch norm statistics included."""
    head_lr: Rate = 2.0
    """Learning rate of the last layer."""
    momentum: Rate = 0.9
    dampening: Rate = 0.1
    weight_decay: Rate = 1e-4
    seed: int = 0
    """Of the last layer, the order and the augmentation."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that prepare scans."""
    augment: AugmentConfig = AugmentConfig(scale=0.0)


FINE_TUNE = TuneConfig()
LINEAR_PROBE = TuneConfig(trunk_lr=0.0, head_lr=0.05)
SHOTS = (1, 2, 4, 8)
"""Numbers of labelled scans."""
