"""Configs side by side as plain numbers: fold means, paired differences, pooled figures, what folds are made of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
    configs: Mapping[str, Folds], groups: Mapping[str, str], test_share: float, classes: int = 0
) -> dict[str, Any]:
    """All numbers of the comparison of configs on one dataset, ready for JSON.

    Parameters
    ----------
    configs : mapping of name to fold to counts of its validation images
        The first one is what the others are compared with; folds, and images of a fold, are the same in all.
    groups : mapping of image name to group
        An image that is not in it is a group of its own.
    test_share : float
        Validation images over training images of a fold, for the corrected t test.
    classes : int
        Number of classes where the counts have them.

    Returns
    -------
    dict
        ``baseline``; ``folds``; ``scores``, each with ``title``, ``is_count``, ``primary`` and the ``folds`` that have
        it under all configs; ``rows``, each with ``config`` and one cell per score; ``test_share`` and
        ``variance_factor`` of the test; ``coverage``, the percentage of intervals of so few folds that hold the truth
        in simulations (None: nominal); ``sizes`` of the folds in ``images``, ``nuclei`` and ``groups``.

        A cell has the ``mean`` over the folds, ``of_folds``, ``pooled`` over all images, and ``difference``: None for
        the baseline, else ``mean``, ``low``, ``high``, ``of_folds`` and, for primary scores, ``p`` of the corrected t
        test and ``p_holm``, adjusted for all tests of the table. None stands for what does not exist.
    """
    scores, primary = ablation_scores(classes), {score.title for score in primary_scores(classes)}
    folds = list(next(iter(configs.values())))
    scored = {score.title: _scored_folds(score, configs) for score in scores}
    rows = [
        {"config": name, "cells": [_cell(score, name, configs, groups, scored[score.title]) for score in scores]}
        for name in configs
    ]
    _add_tests(rows, [score.title in primary for score in scores], test_share)
    return {
        "baseline": next(iter(configs)),
        "folds": folds,
        "scores": [
            {"title": s.title, "is_count": s.is_count, "primary": s.title in primary, "folds": scored[s.title]}
            for s in scores
        ],
        "rows": rows,
        "test_share": test_share,
        "variance_factor": 1 / len(folds) + test_share,
        "coverage": COVERAGE.get(len(folds)),
        "sizes": _sizes(next(iter(configs.values())), groups),
    }


def known(value: float) -> float | None:
    """The number, or None for NaN, which JSON does not have."""
    return None if math.isnan(value) else float(value)


def _scored_folds(score: Score, configs: Mapping[str, Folds]) -> list[int]:
    """The folds that have a score under all configs: over others, means of configs would not differ as their pairs.

    A config that has it in no fold, as stock nnU-Net has no classes, holds up none.
    """
    found = [{fold for fold, images in of.items() if not math.isnan(score(images))} for of in configs.values()]
    having = [folds for folds in found if folds]
    return sorted(set.intersection(*having)) if having else []


def _cell(
    score: Score, name: str, configs: Mapping[str, Folds], groups: Mapping[str, str], scored: Sequence[int]
) -> dict[str, Any]:
    (first, baseline), config = next(iter(configs.items())), configs[name]
    values = [score(config[fold]) for fold in scored]
    cell = {
        "mean": known(sum(values) / len(values)) if values else None,
        "of_folds": [known(score(images)) for images in config.values()],
        "pooled": known(score([image for images in config.values() for image in images])),
        "difference": None,
    }
    if name != first:
        pairs = [_paired(baseline[fold], config[fold], groups) for fold in scored]
        cell["difference"] = _plain(paired_difference(score, pairs))
    return cell


def _paired(baseline: Sequence[ImageCounts], config: Sequence[ImageCounts], groups: Mapping[str, str]) -> PairedFold:
    return PairedFold([groups.get(image.name, image.name) for image in baseline], baseline, config)


def _plain(found: PairedDifference) -> dict[str, Any]:
    ends = {name: known(getattr(found, name)) for name in ("mean", "low", "high")}
    return ends | {"of_folds": [known(value) for value in found.of_folds]}


def _add_tests(rows: Sequence[dict[str, Any]], primary: Sequence[bool], test_share: float) -> None:
    """Write ``p`` and ``p_holm`` into the differences of the primary scores, in place."""
    cells = [cell for row in rows[1:] for cell, tested in zip(row["cells"], primary, strict=True) if tested]
    tested = [cell["difference"] for cell in cells]
    p_values = [corrected_t_test(np.array(difference["of_folds"], np.float64), test_share) for difference in tested]
    for difference, p, adjusted in zip(tested, p_values, holm(p_values), strict=True):
        difference |= {"p": known(p), "p_holm": known(adjusted)}


def _sizes(folds: Folds, groups: Mapping[str, str]) -> dict[str, list[int]]:
    return {
        "images": [len(images) for images in folds.values()],
        "nuclei": [sum(_annotated(image) for image in images) for images in folds.values()],
        "groups": [len({groups.get(image.name, image.name) for image in images}) for images in folds.values()],
    }


def _annotated(image: ImageCounts) -> int:
    return image.nuclei.panoptic.tp + image.nuclei.panoptic.fn
