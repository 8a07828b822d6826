"""Simulated null and true effects: how often the interval, the test and the verdict of five folds are wrong.

``python -m pytest tests/nucplan/metrics/test_paired_simulated.py -rP`` prints the rates; docs/metrics.md has them.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from nucplan.metrics.paired import (
    COVERAGE,
    DRAWS,
    PairedDifference,
    PairedFold,
    corrected_t_test,
    paired_difference_of_seeds,
    resample,
)
from nucplan.metrics.scores import Score
from nucplan.report.verdict import Comparison

# Standard deviations of differences: between trainings, where they differ less and where they differ much more than
# patients; between patients and between images of one.
LIKE, UNLIKE = 0.006, 0.02
PATIENT_SD, IMAGE_SD = 0.01, 0.02
PATIENTS, IMAGES = 8, 6
EFFECT, STUDIES = 0.01, 2000

MEAN = Score("mean", lambda value: (value, 1), lambda sums: sums[..., 0] / sums[..., 1])


@cache
def studies(training_sd: float, seeds: int, folds: int = 5) -> np.ndarray:
    """Differences of patients without any effect, (STUDIES, folds, seeds, PATIENTS): seeds share their patients."""
    rng = np.random.default_rng(7)
    patients = rng.normal(0, np.hypot(PATIENT_SD, IMAGE_SD / np.sqrt(IMAGES)), (STUDIES, folds, 1, PATIENTS))
    return patients + rng.normal(0, training_sd, (STUDIES, folds, seeds, 1))


@cache
def intervals(training_sd: float, seeds: int, folds: int = 5) -> np.ndarray:
    """Interval of each study, (2, STUDIES): a mean of equal groups is linear, so one matrix draws for all studies."""
    drawn = resample([PATIENTS] * folds, DRAWS, 0, [seeds] * folds)
    matrix = np.zeros((DRAWS, folds, seeds, PATIENTS), np.float32)
    for fold in range(folds):
        draw, _ = np.nonzero(drawn.folds == fold)
        weights = drawn.seed_weights[fold][:, :, None] * drawn.group_weights[fold][:, None, :]
        np.add.at(matrix[:, fold], draw, weights / (folds * seeds * PATIENTS))
    values = studies(training_sd, seeds, folds).reshape(STUDIES, -1)
    means = matrix.reshape(DRAWS, -1) @ values.T.astype(np.float32)
    centre = values.mean(axis=1)
    return centre + np.sqrt(folds / (folds - 1)) * (np.quantile(means, [0.025, 0.975], axis=0) - centre)


def excludes_nothing(training_sd: float, seeds: int, effect: float = 0.0, folds: int = 5) -> float:
    """Share of studies whose interval leaves out 0; an effect shifts every interval."""
    low, high = intervals(training_sd, seeds, folds) + effect
    return float(np.mean((low > 0) | (high < 0)))


def verdicts(training_sd: float, seeds: int, effect: float = 0.0) -> float:
    """Share of studies whose sentence says "better" or "worse"."""
    of_folds = studies(training_sd, seeds).mean(axis=(2, 3)) + effect
    low, high = intervals(training_sd, seeds) + effect
    # The seeds of two configs differ independently, so one alone varies by half of the variance of their difference.
    repeats = studies(training_sd, seeds).mean(axis=3)
    floors = np.sqrt(repeats.var(axis=2, ddof=1).mean(axis=1) / 2) if seeds > 1 else [None] * STUDIES
    sure = [
        Comparison(
            "config",
            "mean",
            PairedDifference(row.mean(), low[i], high[i], row),
            corrected_t_test(row, 1 / 4),
            5,
            5,
            seeds,
            floors[i],
        ).is_sure
        for i, row in enumerate(of_folds)
    ]
    return float(np.mean(sure))


def rejections(training_sd: float, seeds: int, effect: float = 0.0) -> float:
    """Share of studies with p < .05 in the corrected t test."""
    of_folds = studies(training_sd, seeds).mean(axis=(2, 3)) + effect
    return float(np.mean([corrected_t_test(row, 1 / 4) < 0.05 for row in of_folds]))


@pytest.mark.parametrize(("folds", "seeds"), [(5, 1), (5, 3), (2, 1)])
def test_the_simulated_intervals_are_those_of_the_code(folds, seeds):
    for study in range(3):
        groups = [str(patient) for patient in range(PATIENTS)]
        data = [
            [PairedFold(groups, np.zeros(PATIENTS), values) for values in of_fold]
            for of_fold in studies(LIKE, seeds, folds)[study]
        ]
        found = paired_difference_of_seeds(MEAN, data)
        np.testing.assert_allclose([found.low, found.high], intervals(LIKE, seeds, folds)[:, study], atol=1e-7)


@pytest.mark.parametrize("training_sd", [LIKE, UNLIKE])
@pytest.mark.parametrize(("seeds", "most"), [(1, 0.13), (3, 0.09)])
def test_the_interval_raises_no_more_false_alarms_than_is_said(training_sd, seeds, most):
    alarms = excludes_nothing(training_sd, seeds)
    print(f"false alarms of the interval, {seeds} seeds, trainings {training_sd}: {alarms:.3f}")
    assert 0.005 < alarms <= most


@pytest.mark.parametrize("training_sd", [LIKE, UNLIKE])
@pytest.mark.parametrize("seeds", [1, 3])
def test_the_corrected_t_test_raises_no_more_false_alarms_than_it_says(training_sd, seeds):
    alarms = rejections(training_sd, seeds)
    print(f"false alarms of the corrected t test, {seeds} seeds, trainings {training_sd}: {alarms:.3f}")
    assert alarms <= 0.05


@pytest.mark.parametrize("training_sd", [LIKE, UNLIKE])
@pytest.mark.parametrize("seeds", [1, 3])
def test_without_an_effect_better_or_worse_is_said_in_at_most_one_of_twenty_studies(training_sd, seeds):
    alarms, power = verdicts(training_sd, seeds), verdicts(training_sd, seeds, EFFECT)
    print(f"the sentence says so, {seeds} seeds, trainings {training_sd}: null {alarms:.3f}, {EFFECT}: {power:.3f}")
    assert alarms <= 0.05
    assert power > 3 * alarms


POWER = [(LIKE, 1, 0.7, 0.25), (LIKE, 3, 0.8, 0.45), (UNLIKE, 1, 0.2, 0.03), (UNLIKE, 3, 0.2, 0.08)]


@pytest.mark.parametrize(("training_sd", "seeds", "of_interval", "of_test"), POWER)
def test_a_true_effect_is_found_at_least_this_often(training_sd, seeds, of_interval, of_test):
    power = excludes_nothing(training_sd, seeds, EFFECT), rejections(training_sd, seeds, EFFECT)
    print(f"power for {EFFECT}, {seeds} seeds, trainings {training_sd}: interval {power[0]:.3f}, test {power[1]:.3f}")
    assert power[0] > of_interval
    assert power[1] > of_test


@pytest.mark.parametrize("folds", COVERAGE)
@pytest.mark.parametrize(("training_sd", "end"), [(UNLIKE, 0), (LIKE, 1)])
def test_intervals_of_few_folds_cover_as_little_as_is_said(folds, training_sd, end):
    coverage = 1 - excludes_nothing(training_sd, 1, folds=folds)
    print(f"coverage of {folds} folds, trainings {training_sd}: {coverage:.3f}")
    assert coverage == pytest.approx(COVERAGE[folds][end] / 100, abs=0.02)
