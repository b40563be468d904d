"""Which scenes are trained on and which are tested on, and the shares of labelled scenes of the few-label protocols.

Sources: nuscenes-devkit's scene lists; the 100 of the 700 training scenes that SLidR (Sautier et al., CVPR 2022,
github.com/valeoai/SLidR) holds out of pretraining to choose its settings.
"""

import difflib
from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

from relidar.errors import DatasetError

Percent = Literal[1, 5, 10, 25, 100]
PERCENTS: tuple[Percent, ...] = (1, 5, 10, 25, 100)
T = TypeVar("T")

SLIDR_HELD_OUT = tuple(
    f"scene-{number:04d}"
    for number in (
        8, 9, 19, 29, 32, 42, 45, 49, 52, 54, 56, 66, 67, 73, 131, 152, 166, 168, 183, 190, 194, 208, 210, 211, 241, 243, 248,
        259, 260, 261, 287, 292, 297, 305, 306, 350, 352, 358, 361, 365, 368, 377, 388, 391, 395, 413, 427, 428, 438, 444, 452,
        453, 459, 463, 464, 475, 513, 533, 544, 575, 587, 589, 642, 652, 658, 669, 678, 687, 701, 703, 706, 710, 715, 726, 735,
        740, 758, 786, 790, 804, 806, 847, 856, 868, 882, 897, 899, 976, 996, 1012, 1015, 1016, 1018, 1020, 1024, 1044, 1058,
        1094, 1098, 1107,
    )
)  # fmt: skip


def nuscenes_scenes() -> dict[str, list[str]]:
    """Scene names by split: the devkit's (train, val, test, mini_train, ...), `slidr_train` (600) and `slidr_held_out` (100)."""
    from nuscenes.utils.splits import create_splits_scenes  # here, since it takes seconds

    splits: dict[str, list[str]] = create_splits_scenes()
    held_out = set(SLIDR_HELD_OUT)
    slidr = {"slidr_train": [name for name in splits["train"] if name not in held_out], "slidr_held_out": list(SLIDR_HELD_OUT)}
    return splits | slidr


def choose(splits: Mapping[str, Sequence[str]], split: str, source: str) -> list[str]:
    """The scenes of one split; raises DatasetError, with the nearest name, if there is no such split in `source`."""
    if split not in splits:
        near = difflib.get_close_matches(split, splits, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "choose one of them."
        raise DatasetError(f"{source}: no split {split!r}; there are {', '.join(map(str, splits))}; {hint}")
    return list(splits[split])


def share(items: Sequence[T], percent: Percent) -> list[T]:
    """Every (100 / percent)-th item: of 700 scenes 7, 35, 70 or 175, as SLidR counts nuScenes' (the 100th, 200th, ... for 1 %).

    Raises:
        DatasetError: there are fewer than 100 / percent.
    """
    step = 100 // percent
    chosen = list(items[step - 1 :: step])
    if not chosen:
        raise DatasetError(f"{percent} % is every {step}th, but there are only {len(items)}; take a larger share.")
    return chosen
