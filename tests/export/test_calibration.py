"""What is measured of a network's activations."""

import numpy as np
import pytest

from export.calibration import QUANTILE, calibrate, values_of
from relidar.errors import CloudError
from relidar.program import Relu
from tests.relidar.compiled.small_programs import interpret, random_program, random_scan


def test_each_activation_is_measured_as_the_steps_mean_it() -> None:
    random = np.random.default_rng(0)
    program = random_program(random, 2, (5, 6, 7, 8), 9)
    scans = [random_scan(random, voxels, 2) for voxels in (40, 90)]
    measured = calibrate(program, scans)
    assert measured.scans == 2
    assert set(measured.largest) == {step.output for step in program.steps if isinstance(step, Relu)}
    values = [{step.output: rows for step, rows in values_of(program, *scan)} for scan in scans]
    np.testing.assert_allclose(values[0]["unit_features"], interpret(program, *scans[0]), atol=1e-5)
    quantiles = [np.quantile(each["c"], QUANTILE) for each in values]
    assert measured.largest["c"] == pytest.approx((40 * quantiles[0] + 90 * quantiles[1]) / 130)


def test_moments_are_means_over_the_rows_of_all_scans() -> None:
    random = np.random.default_rng(1)
    program = random_program(random, 2, (5, 6, 7, 8), 9)
    scans = [random_scan(random, voxels, 2) for voxels in (40, 90)]
    measured = calibrate(program, scans)
    assert set(measured.moments) == set("abcdemgh")  # whatever a layer reads but the raw features; "g" joins two
    for name in "cg":
        rows = np.concatenate([rows for scan in scans for step, rows in values_of(program, *scan) if step.output == name])
        expected = np.mean([np.outer(row, row) for row in rows], axis=0)
        np.testing.assert_allclose(measured.moments[name], expected, rtol=1e-4, atol=1e-5)


def test_an_activation_that_never_fires_is_no_obstacle() -> None:
    random = np.random.default_rng(0)
    program = random_program(random, 1, (4, 4, 4, 4), 4)
    for step in program.steps[:1]:
        step.weight[:] = 0
        step.bias[:] = -1
    assert min(calibrate(program, [random_scan(random, 9, 1)]).largest.values()) > 0


def test_without_scans_nothing_is_measured() -> None:
    with pytest.raises(CloudError, match="no scans"):
        calibrate(random_program(np.random.default_rng(0), 1, (4, 4, 4, 4), 4), [])
