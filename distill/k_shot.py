"""k-shot: a student fine-tuned on k labelled frames, tested on later ones.

In a dataset with splits the k frames are of the training scenes and the test is on the others. In a folder of consecutive scans
they are of its first half (its first eight scans at least, or as many as the largest k of the command), the test is on the
rest. So all k of a set share one test.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from distill.checkpoint import StudentCheckpoint
from distill.fine_tuning import fine_tuned
from distill.labelled_clouds import LabelledClouds
from distill.tune_config import SHOTS, TuneConfig
from relidar.errors import DatasetError
from relidar.label_map import LabelMap


def halves(clouds: LabelledClouds, most: int = max(SHOTS)) -> tuple[LabelledClouds, LabelledClouds]:
    """A drive's earlier scans, to be labelled, and the later ones, to be tested on.

    Raises:
        DatasetError: with `most` scans to be labelled none would be left.
    """
    first = max(most, len(clouds) // 2)
    if first >= len(clouds):
        raise DatasetError(f"{len(clouds)} scans are too few to label {most} and test on later ones; use a smaller k.")
    return clouds.only(range(first)), clouds.only(range(first, len(clouds)))


def draw(clouds: LabelledClouds, k: int, seed: int) -> LabelledClouds:
    """k of the scans, in their order; those of a smaller k are among them. Raises DatasetError if there are fewer."""
    if k > len(clouds):
        raise DatasetError(f"k = {k}, but there are only {len(clouds)} labelled scans to draw from; use a smaller k.")
    return clouds.only(sorted(np.random.default_rng([seed, 2]).permutation(len(clouds))[:k].tolist()))


def k_shot(
    checkpoint: StudentCheckpoint,
    labelled: LabelledClouds,
    test: LabelledClouds,
    label_map: LabelMap,
    shots: Sequence[int],
    config: TuneConfig,
) -> list[dict[str, Any]]:
    """One result (see `fine_tuned`) a number of frames `k`; config.seed draws the frames, too."""
    chosen = [draw(labelled, k, config.seed) for k in shots]
    return [{"k": len(scans)} | fine_tuned(checkpoint, scans, test, label_map, config) for scans in chosen]
