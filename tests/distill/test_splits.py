"""Scenes of nuScenes' splits and their shares, as SLidR counts them; unknown splits are named."""

import pytest
from nuscenes.utils.splits import create_splits_scenes

from distill.splits import PERCENTS, SLIDR_HELD_OUT, choose, nuscenes_scenes, share
from relidar.errors import DatasetError


def test_slidr_pretrains_on_600_of_the_700_training_scenes() -> None:
    official, ours = create_splits_scenes(), nuscenes_scenes()
    assert {name: ours[name] for name in official} == official
    assert len(set(SLIDR_HELD_OUT)) == len(ours["slidr_held_out"]) == 100
    assert len(set(ours["slidr_train"])) == 600
    assert set(ours["slidr_train"]) | set(ours["slidr_held_out"]) == set(official["train"])
    assert not set(official["val"]) & set(ours["slidr_train"])


def test_shares_are_of_scenes_as_slidr_takes_them() -> None:
    train = create_splits_scenes()["train"]
    assert {percent: len(share(train, percent)) for percent in PERCENTS} == {1: 7, 5: 35, 10: 70, 25: 175, 100: 700}
    for percent in PERCENTS:
        # SLidR counts the scenes from 1 and takes those whose number its skip step divides.
        counted = [name for number, name in enumerate(train, start=1) if number % (100 // percent) == 0]
        assert share(train, percent) == counted
    assert share(train, 1)[0] == train[99]
    with pytest.raises(DatasetError, match="1 % is every 100th, but there are only 40"):
        share(train[:40], 1)


def test_an_unknown_split_is_named_with_its_nearest() -> None:
    with pytest.raises(DatasetError, match=r"no split 'slidr_trian'; there are train.*did you mean 'slidr_train'"):
        choose(nuscenes_scenes(), "slidr_trian", "the official splits")
