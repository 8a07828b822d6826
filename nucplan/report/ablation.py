"""Configs side by side as plain numbers: fold means, paired differences, pooled figures, what folds are made of."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from nucplan.metrics.image import ImageCounts
from nucplan.metrics.paired import (
    COVERAGE,
    PairedDifference,
    PairedFold,
    corrected_t_test,
    holm,
    paired_difference,
)
from nucplan.metrics.scores import ABLATION_SCORES, DICE, PQ_POOLED, Score, mpq_plus

Folds = Mapping[int, Sequence[ImageCounts]]


def ablation_scores(classes: int) -> tuple[Score, ...]:
    """The scores of an ablation of nuclei with so many classes."""
    return ABLATION_SCORES if classes < 2 else (DICE, mpq_plus(classes), *ABLATION_SCORES[1:])


def primary_scores(classes: int) -> tuple[Score, Score]:
    """The scores that are tested: two alone, as each further test makes all of them less sure."""
    return ablation_scores(classes)[:2] if classes > 1 else (DICE, PQ_POOLED)


def ablation(
    configs: Mapping[str, Folds],
    groups: Mapping[str, str],
    test_shares: Mapping[int, float],
    classes: int = 0,
    untested: Collection[str] = (),
) -> dict[str, Any]:
    """All numbers of the comparison of configs on one dataset, ready for JSON.

    Parameters
    ----------
    configs : mapping of name to fold to counts of its validation images
        The first one is what the others are compared with. Another one that lacks some of its folds is compared over
        those that it has; images of a fold are the same in all.
    groups : mapping of image name to group
        An image that is not in it is a group of its own.
    test_shares : mapping of fold to float
        Validation images over training images, for the corrected t test.
    classes : int
        Number of classes where the counts have them.
    untested : collection of str
        Configs that are shown and not tested, so that they make the tests of the others no less sure.

    Returns
    -------
    dict
        ``baseline``; its ``folds``; ``scores``, each with ``title``, ``is_count``, ``primary`` and the ``folds`` that
        have it under all configs with these folds; ``rows``; ``sizes`` of the folds in ``images``, ``nuclei`` and
        ``groups``.

        A row has the ``config``, whether it is ``tested``, its ``folds``, the ``coverage`` of its intervals (percentage
        that holds the truth in simulations; None: nominal), the ``test_share`` and ``variance_factor`` of its test,
        and one of the ``cells`` per score. A cell has the ``mean`` over the folds of the row, ``of_folds``, ``pooled``
        over all images, and ``difference``: None for the baseline, else ``mean``, ``low``, ``high``, ``of_folds`` and,
        for primary scores of tested rows, ``p`` of the corrected t test and ``p_holm``, adjusted for all tests. None
        stands for what does not exist.
    """
    scores, primary = ablation_scores(classes), {score.title for score in primary_scores(classes)}
    baseline, first = next(iter(configs.items()))
    folds = list(first)
    scored = {score.title: _scored_folds(score, configs, folds) for score in scores}
    rows = [
        _row(config, [fold for fold in folds if fold in of], test_shares)
        | {"tested": config not in {baseline, *untested}}
        | {"cells": [_cell(score, first, of, groups, scored[score.title], config != baseline) for score in scores]}
        for config, of in configs.items()
    ]
    _add_tests(rows, [score.title in primary for score in scores])
    return {
        "baseline": baseline,
        "folds": folds,
        "scores": [
            {"title": s.title, "is_count": s.is_count, "primary": s.title in primary, "folds": scored[s.title]}
            for s in scores
        ],
        "rows": rows,
        "sizes": _sizes(first, groups),
    }


def _row(config: str, folds: Sequence[int], test_shares: Mapping[int, float]) -> dict[str, Any]:
    share = float(np.mean([test_shares[fold] for fold in folds]))
    return {
        "config": config,
        "folds": list(folds),
        "coverage": COVERAGE.get(len(folds)),
        "test_share": share,
        "variance_factor": 1 / len(folds) + share,
    }


def known(value: float) -> float | None:
    """The number, or None for NaN, which JSON does not have."""
    return None if math.isnan(value) else float(value)


def _scored_folds(score: Score, configs: Mapping[str, Folds], folds: Sequence[int]) -> list[int]:
    """The folds that have a score under all configs: over others, means of configs would not differ as their pairs.

    A config that lacks folds, or has the score in none, as stock nnU-Net has no classes, holds up none.
    """
    whole = [of for of in configs.values() if all(fold in of for fold in folds)]
    found = [{fold for fold in folds if not math.isnan(score(of[fold]))} for of in whole]
    having = [of for of in found if of]
    return sorted(set.intersection(*having)) if having else []


def _cell(
    score: Score, baseline: Folds, config: Folds, groups: Mapping[str, str], scored: Sequence[int], compared: bool
) -> dict[str, Any]:
    used = [fold for fold in scored if fold in config]
    values = [score(config[fold]) for fold in used]
    images = [image for fold in baseline if fold in config for image in config[fold]]
    cell = {
        "mean": known(sum(values) / len(values)) if values else None,
        "of_folds": [known(score(config[fold])) if fold in config else None for fold in baseline],
        "pooled": known(score(images)),
        "difference": None,
    }
    if compared:
        pairs = [paired_fold(baseline[fold], config[fold], groups) for fold in used]
        cell["difference"] = _plain(paired_difference(score, pairs))
    return cell


def paired_fold(
    baseline: Sequence[ImageCounts], config: Sequence[ImageCounts], groups: Mapping[str, str]
) -> PairedFold:
    """The images of a fold under both configs; one without a group is a group of its own."""
    return PairedFold([groups.get(image.name, image.name) for image in baseline], baseline, config)


def _plain(found: PairedDifference) -> dict[str, Any]:
    ends = {name: known(getattr(found, name)) for name in ("mean", "low", "high")}
    return ends | {"of_folds": [known(value) for value in found.of_folds]}


def _add_tests(rows: Sequence[dict[str, Any]], primary: Sequence[bool]) -> None:
    """Write ``p`` and ``p_holm`` into the differences of the primary scores, in place."""
    tested = [
        (cell["difference"], row["test_share"])
        for row in rows
        for cell, is_primary in zip(row["cells"], primary, strict=True)
        if row["tested"] and is_primary
    ]
    p_values = [corrected_t_test(np.array(difference["of_folds"], np.float64), share) for difference, share in tested]
    for (difference, _), p, adjusted in zip(tested, p_values, holm(p_values), strict=True):
        difference |= {"p": known(p), "p_holm": known(adjusted)}


def _sizes(folds: Folds, groups: Mapping[str, str]) -> dict[str, list[int]]:
    return {
        "images": [len(images) for images in folds.values()],
        "nuclei": [sum(_annotated(image) for image in images) for images in folds.values()],
        "groups": [len({groups.get(image.name, image.name) for image in images}) for images in folds.values()],
    }


def _annotated(image: ImageCounts) -> int:
    return image.nuclei.panoptic.tp + image.nuclei.panoptic.fn
