"""Paired comparison of two configs over the folds of a cross-validation: effect, interval, conservative test.

Images of one patient are alike and all images of a fold share one training, so neither images nor patients are
independent: on a simulated null a Wilcoxon test over images gives 37 % false alarms at a nominal 5 %. The interval
therefore resamples folds, and within each drawn fold its groups (patients, slides, parent pictures) and its training
seeds. Few folds vary too little among themselves: a bootstrap of K underestimates the spread by sqrt((K - 1) / K), so
the interval is widened by the inverse (narrowness bias: Hesterberg, The American Statistician 69, 2015, section 3.2).

Five folds of one seed then raise 5 to 12 % false alarms at a nominal 5 %, the more the more trainings differ; three
seeds raise 1 to 3 %, as what resampled seeds add exceeds what few folds miss. The corrected t test beside it raises
1 to 2 %. Fewer folds cover less; the tables are in docs/metrics.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from nucplan.metrics.scores import Score

DRAWS = 2000
LEVEL = 0.95
# What percentage of the intervals of so many folds of one seed hold the true difference in simulations: where
# trainings differ much more than patients (standard deviations .02 and .01), and where they differ less (.006).
COVERAGE = {2: (75, 93), 3: (83, 93), 4: (87, 94), 5: (89, 94)}


class PairedFold(NamedTuple):
    """One fold under two configs of one seed: for each image its group and its record under either, in one order.

    A record is whatever the score counts, for example `nucplan.metrics.image.ImageCounts`.
    """

    groups: Sequence[str]
    baseline: Sequence[Any]
    config: Sequence[Any]


class PairedDifference(NamedTuple):
    """Score of the config minus score of the baseline.

    Attributes
    ----------
    mean : float
        Over the folds that have the score under both configs, each scored on all of its images, mean of its seeds.
    low, high : float
        Ends of the 95 % interval; NaN where nothing could be resampled.
    of_folds : (K,) float64
        The difference of each fold; NaN where it has no image with the score under one of the configs.
    """

    mean: float
    low: float
    high: float
    of_folds: np.ndarray


class Resampling(NamedTuple):
    """Draws of folds, and of groups and seeds within each drawn fold.

    Attributes
    ----------
    folds : (D, K) int64
        The K folds of each draw, with replacement.
    group_weights : one (M_f, G_f) int64 per fold
        Row m says how often each group of fold f was drawn the m-th time that the fold occurs in ``folds``, counted
        row by row. A fold that occurs twice in a draw has its groups drawn twice.
    seed_weights : one (M_f, S_f) int64 per fold
        The same for its seeds.
    """

    folds: np.ndarray
    group_weights: list[np.ndarray]
    seed_weights: list[np.ndarray]


def resample(
    group_counts: Sequence[int], draws: int = DRAWS, seed: int = 0, seed_counts: Sequence[int] | None = None
) -> Resampling:
    """Draw as many folds as there are, and as many groups and seeds within each as it has.

    Equal for equal arguments. Seeds (without ``seed_counts`` one per fold) are drawn last, so that their number
    changes neither folds nor groups.
    """
    generator = np.random.default_rng(seed)
    folds = generator.integers(len(group_counts), size=(draws, len(group_counts)))
    occurrences = np.bincount(folds.ravel(), minlength=len(group_counts))

    def weights(counts: Sequence[int]) -> list[np.ndarray]:
        return [
            generator.multinomial(count, np.full(count, 1 / count), size=times)
            for count, times in zip(counts, occurrences, strict=True)
        ]

    return Resampling(folds, weights(group_counts), weights(seed_counts or [1] * len(group_counts)))


def paired_difference(score: Score, folds: Sequence[PairedFold], draws: int = DRAWS, seed: int = 0) -> PairedDifference:
    """`paired_difference_of_seeds` of one seed per fold."""
    return paired_difference_of_seeds(score, [[fold] for fold in folds], draws, seed)


def paired_difference_of_seeds(
    score: Score, folds: Sequence[Sequence[PairedFold]], draws: int = DRAWS, seed: int = 0
) -> PairedDifference:
    """The mean paired difference of a score and its bootstrap interval over folds, then groups and seeds.

    A draw scores both configs on the same groups of the same folds under the same seeds. An image without the score
    is in no mean, a drawn fold without any such image is left out of its draw, a draw without any fold is skipped.

    Seeds are drawn as well, rather than averaged before: in simulations where trainings differ much more than
    patients, averages of three raise 8 to 11 % false alarms at a nominal 5 %, drawn seeds 2 %.

    With one fold only its groups and seeds are resampled: the interval then leaves out how much folds differ, and is
    too narrow. With one group per fold and one seed only folds are. Where nothing can be drawn there is no interval,
    and without a fold no mean.

    Parameters
    ----------
    score : Score
    folds : sequence of sequence of PairedFold
        Folds that both configs have finished, each under every seed; all of a fold have its images in one order.
    draws, seed
        Of the bootstrap; the same seed draws the same folds and groups for every score and config.

    Raises
    ------
    ValueError
        If a fold does not have one group and two records for each image, or its seeds have different groups.
    """
    if not folds:
        return PairedDifference(float("nan"), float("nan"), float("nan"), np.empty(0))
    sums = [_sums_of_seeds(score, seeds) for seeds in folds]
    of_folds = np.array([_mean(_difference(score, table.sum(axis=-2))) for table in sums])
    seed_counts, group_counts = zip(*(table.shape[1:3] for table in sums), strict=True)
    drawn = resample(group_counts, draws, seed, seed_counts)
    differences = np.empty(drawn.folds.shape)
    for position, table in enumerate(sums):
        of_seeds = _difference(score, drawn.group_weights[position] @ table)
        differences[drawn.folds == position] = _weighted_means(of_seeds.T, drawn.seed_weights[position])
    mean = _mean(of_folds)
    varies = len(folds) > 1 or max(*seed_counts, *group_counts) > 1
    low, high = _interval(_known_means(differences), mean, of_folds) if varies else (float("nan"), float("nan"))
    return PairedDifference(mean, low, high, of_folds)


def corrected_t_test(differences: np.ndarray, test_share: float) -> float:
    """Two-sided p of the corrected resampled t test (Nadeau & Bengio, Machine Learning 52, 2003).

    The variance of the fold differences ``(K,)`` is multiplied by 1/K + ``test_share`` instead of 1/K, as trainings
    of a cross-validation share most of their images. Folds without the score (NaN) are left out; NaN where fewer than
    two are left or nothing varies.

    Parameters
    ----------
    test_share : float
        Images in the test part over images in the training part of a fold: 1/4 for five folds.
    """
    known = differences[~np.isnan(differences)]
    if known.size < 2 or np.ptp(known) == 0:
        return float("nan")
    error = np.sqrt(known.var(ddof=1) * (1 / known.size + test_share))
    return float(2 * stats.t.sf(abs(known.mean()) / error, known.size - 1))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """P values adjusted for their number, in the order given (Holm 1979); NaN is no test and stays NaN."""
    p = np.asarray(p_values, dtype=np.float64)
    # NaN sorts last.
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]
    adjusted = np.full(p.shape, np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(order.size, 0, -1)), 1)
    return adjusted


def _sums_of_seeds(score: Score, seeds: Sequence[PairedFold]) -> np.ndarray:
    """What each group adds, under the baseline and under the config, with each seed: (2, S, G, C)."""
    if not seeds or any(list(each.groups) != list(seeds[0].groups) for each in seeds):
        raise ValueError("the seeds of a fold need the same images with the same groups, and a fold at least one seed")
    return np.stack([_group_sums(score, each) for each in seeds], axis=1)


def _group_sums(score: Score, fold: PairedFold) -> np.ndarray:
    """What each group adds, under the baseline and under the config: (2, G, C)."""
    if not len(fold.groups) == len(fold.baseline) == len(fold.config) > 0:
        raise ValueError(
            f"a fold has {len(fold.groups)} groups, {len(fold.baseline)} records of the baseline and "
            f"{len(fold.config)} of the config; it needs one of each for every image"
        )
    _, group = np.unique(np.asarray(fold.groups), return_inverse=True)
    tables = np.stack([score.table(fold.baseline), score.table(fold.config)])
    sums = np.zeros((2, group.max() + 1, tables.shape[2]))
    np.add.at(sums, (slice(None), group), tables)
    return sums


def _difference(score: Score, sums: np.ndarray) -> np.ndarray:
    """From sums (2, ..., C) to differences (...)."""
    baseline, config = score.value(sums)
    return config - baseline


def _interval(means: np.ndarray, mean: float, of_folds: np.ndarray) -> tuple[float, float]:
    """Quantiles of the draws, widened about the mean by what a bootstrap of so few folds is too narrow."""
    if means.size == 0 or np.isnan(mean):
        return float("nan"), float("nan")
    folds = np.count_nonzero(~np.isnan(of_folds))
    widening = np.sqrt(folds / (folds - 1)) if folds > 1 else 1.0
    ends = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    low, high = (float(mean + widening * (end - mean)) for end in ends)
    return low, high


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _weighted_means(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean of what is not NaN in each row of (M, S) values, by their weights; NaN where nothing is left."""
    weights = np.where(np.isnan(values), 0, weights)
    sums, counts = (np.nan_to_num(values) * weights).sum(axis=1), weights.sum(axis=1)
    return np.divide(sums, counts, out=np.full(len(values), np.nan), where=counts > 0)


def _known_means(values: np.ndarray) -> np.ndarray:
    """Mean of what is not NaN in each row of (D, K); rows of NaN alone are left out."""
    means = _weighted_means(values, np.ones(values.shape))
    return means[~np.isnan(means)]
