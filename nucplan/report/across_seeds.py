"""All training seeds of a dataset together: what each config is worth beside the first one, and the noise of seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nucplan.metrics.image import ImageCounts
from nucplan.metrics.noise import noise_floor
from nucplan.metrics.paired import corrected_t_test, holm, paired_difference_of_seeds
from nucplan.metrics.scores import Score
from nucplan.report.ablation import paired_fold, primary_scores
from nucplan.report.verdict import Comparison

Folds = Mapping[int, Sequence[ImageCounts]]


def across_seeds(
    configs: Sequence[str],
    seeds: Sequence[Mapping[str, Folds]],
    groups: Mapping[str, str],
    test_shares: Mapping[int, float],
    folds_asked: int,
    classes: int = 0,
) -> list[Comparison]:
    """Compare each config with the first by the primary scores, over the folds that both have finished in all seeds.

    Parameters
    ----------
    configs : sequence of str
        All that were asked for; one that is in no seed is compared over no fold.
    seeds : sequence of mappings of config to fold to counts of its validation images
        One for each seed. No two folds of a config have the same images.
    groups : mapping of image name to group
        An image that is not in it is a group of its own.
    test_shares : mapping of fold to float
        Validation images over training images, for the corrected t test.
    folds_asked : int
        As many folds as there would be without failures.
    classes : int
        Number of classes where the counts have them.

    Returns
    -------
    list of Comparison
        Config by config, the primary scores of each in order; p is adjusted for all of them (Holm).
    """
    baseline, *others = configs
    pairs = [(config, score) for config in others for score in primary_scores(classes)]
    folds = {config: _shared_folds(seeds, baseline, config) for config in others}
    paired = {
        config: [[paired_fold(of[baseline][fold], of[config][fold], groups) for of in seeds] for fold in of_config]
        for config, of_config in folds.items()
    }
    differences = {(config, score): paired_difference_of_seeds(score, paired[config]) for config, score in pairs}
    shares = {config: float(np.mean([test_shares[fold] for fold in of])) for config, of in folds.items() if of}
    p_values = holm([corrected_t_test(differences[pair].of_folds, shares.get(pair[0], 0)) for pair in pairs])
    return [
        Comparison(
            config,
            score.title,
            differences[config, score],
            float(p),
            folds=int(np.count_nonzero(~np.isnan(differences[config, score].of_folds))),
            folds_asked=folds_asked,
            seeds=len(seeds),
            noise_floor=seed_noise(score, seeds),
        )
        for (config, score), p in zip(pairs, p_values, strict=True)
    ]


def seed_noise(score: Score, seeds: Sequence[Mapping[str, Folds]]) -> float | None:
    """Standard deviation of a score between the seeds of a config and fold; None where none has two."""
    runs = {(config, fold) for of_seed in seeds for config, folds in of_seed.items() for fold in folds}
    return noise_floor(
        [
            [score(of_seed[config][fold]) for of_seed in seeds if fold in of_seed.get(config, {})]
            for config, fold in sorted(runs)
        ]
    )


def _shared_folds(seeds: Sequence[Mapping[str, Folds]], baseline: str, config: str) -> list[int]:
    """The folds that both configs have finished in all seeds."""
    finished = [set(of_seed.get(name, {})) for of_seed in seeds for name in (baseline, config)]
    return sorted(set.intersection(*finished))
