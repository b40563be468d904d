"""Training scans: determined by seed and number, consistent after augmentation, numbered through in batches."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from distill.cache_filling import open_cache
from distill.config import TrainConfig
from distill.datasets import read_keyframes
from distill.pooling import pool
from distill.scans import StepSampler, TrainingScans, collate
from distill.teachers import make_teacher


@pytest.fixture
def scans(config: TrainConfig) -> TrainingScans:
    cache = open_cache(config, make_teacher(config.teacher).fingerprint)
    return TrainingScans(read_keyframes(config.data, "train"), cache, config)


def test_a_scan_is_determined_by_its_number(scans: TrainingScans) -> None:
    first, again, other = scans[5], scans[5], scans[6]
    np.testing.assert_array_equal(first.voxels.coordinates, again.voxels.coordinates)
    np.testing.assert_array_equal(first.teacher, again.teacher)
    assert (
        first.voxels.coordinates.shape != other.voxels.coordinates.shape
        or (first.voxels.coordinates != other.voxels.coordinates).any()
    )


def test_every_superpixel_of_a_scan_has_a_point_and_every_pair_a_voxel(scans: TrainingScans) -> None:
    scan = scans[0]
    assert set(scan.superpixel) == set(range(len(scan.teacher)))
    assert scan.voxel.min() >= 0
    assert scan.voxel.max() < len(scan.voxels.coordinates)


def test_a_batch_is_its_scans_side_by_side(scans: TrainingScans) -> None:
    one, two = scans[0], scans[1]
    batch = collate([one, two])
    count = len(one.voxels.coordinates)
    np.testing.assert_array_equal(batch.voxel.numpy(), np.concatenate([one.voxel, two.voxel + count]))
    np.testing.assert_array_equal(batch.superpixel.numpy(), np.concatenate([one.superpixel, two.superpixel + len(one.teacher)]))
    alone = collate([one])
    table, single = batch.tables["submanifold_0"], alone.tables["submanifold_0"]
    inside = table.target < count
    assert torch.equal(table.source[inside], single.source)
    assert torch.equal(table.target[inside], single.target)
    torch.testing.assert_close(batch.teacher.norm(dim=1), torch.ones(len(batch.teacher)))


def test_even_rows_draw_the_rare_more_often(config: TrainConfig) -> None:
    cache = open_cache(config, make_teacher(config.teacher).fingerprint)
    frames = read_keyframes(config.data, "train")
    view = cache.read(frames[0])
    # One superpixel in eight is of a rare kind, the others are all alike.
    rare = np.arange(len(view.crowd)) % 8 == 0
    crowd = np.where(rare, rare.sum(), (~rare).sum()).astype(np.float32)
    cache.write(frames[0], replace(view, crowd=crowd))
    try:
        shares = {}
        for even in (False, True):
            schedule = config.schedule.model_copy(update={"even_rows": even, "rows": 40})
            scans = TrainingScans(frames[:1], cache, config.model_copy(update={"schedule": schedule}))
            drawn = np.concatenate([scans[index].teacher for index in range(20)])
            shares[even] = (drawn[:, None, :8] == view.features[rare][None, :, :8]).all(axis=2).any(axis=1).mean()
    finally:
        cache.write(frames[0], view)
    assert shares[False] < 0.2
    assert 0.3 < shares[True] < 0.6


def test_pooling_equals_a_naive_mean() -> None:
    features = torch.nn.functional.normalize(torch.randn(7, 4), dim=1)
    voxel, superpixel = torch.tensor([0, 0, 3, 6, 2]), torch.tensor([0, 0, 0, 1, 1])
    pooled = pool(features, voxel, superpixel, 2)
    expected = torch.stack([(2 * features[0] + features[3]) / 3, (features[6] + features[2]) / 2])
    torch.testing.assert_close(pooled, torch.nn.functional.normalize(expected, dim=1))


def test_processes_share_the_scan_numbers_and_a_resumed_run_goes_on() -> None:
    whole = [number for step in StepSampler(0, 4, 6, 0, 1) for number in step]
    shared = [list(StepSampler(0, 4, 3, rank, 2)) for rank in range(2)]
    assert whole == [number for pair in zip(*shared, strict=True) for part in pair for number in part]
    assert [*StepSampler(2, 4, 6, 0, 1)] == [*StepSampler(0, 4, 6, 0, 1)][2:]
