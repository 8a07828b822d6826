"""Configs side by side as Markdown: fold means, paired differences, pooled figures, and what the folds are made of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from nucplan.metrics.image import ImageCounts
from nucplan.metrics.paired import (
    COVERAGE,
    PairedDifference,
    PairedFold,
    corrected_t_test,
    holm,
    paired_difference,
)
from nucplan.metrics.scores import ABLATION_SCORES, CONTACT_BOUNDARY_RECALL, PQ_POOLED, Score

# Tested are two scores alone, as each further test makes all of them less sure.
PRIMARY_SCORES = (PQ_POOLED, CONTACT_BOUNDARY_RECALL)

Folds = Mapping[int, Sequence[ImageCounts]]


def ablation_tables(configs: Mapping[str, Folds], groups: Mapping[str, str], test_share: float) -> str:
    """All tables of one dataset.

    Parameters
    ----------
    configs : mapping of name to fold to counts of its validation images
        The first one is what the others are compared with; folds, and images of a fold, are the same in all.
    groups : mapping of image name to group
        An image that is not in it is a group of its own.
    test_share : float
        Validation images over training images of a fold, for the corrected t test.
    """
    scored = _scored_folds(configs)
    parts = [_fold_means(configs, scored)]
    if len(configs) > 1:
        found = _differences(configs, groups, scored)
        parts += [_difference_table(configs, found), _test_table(found, test_share)]
    return "\n\n".join([*parts, _pooled(configs), _fold_sizes(next(iter(configs.values())), groups)])


def _scored_folds(configs: Mapping[str, Folds]) -> dict[Score, list[int]]:
    """The folds that have a score under all configs: over others, means of configs would not differ as their pairs."""
    folds = next(iter(configs.values()))
    return {
        score: [fold for fold in folds if not any(math.isnan(score(of[fold])) for of in configs.values())]
        for score in ABLATION_SCORES
    }


def _fold_means(configs: Mapping[str, Folds], scored: Mapping[Score, Sequence[int]]) -> str:
    rows = {
        name: [_number(_mean([score(folds[fold]) for fold in of_score]), score) for score, of_score in scored.items()]
        for name, folds in configs.items()
    }
    total = len(next(iter(configs.values())))
    fewer = [
        f"{score.title}: only over the folds {', '.join(map(str, of_score))}, where all configs have it"
        for score, of_score in scored.items()
        if 0 < len(of_score) < total
    ]
    head = "; ".join(["Mean over the folds, each scored as a whole", *fewer])
    return f"{head}:\n\n" + _table("config", _titles(ABLATION_SCORES), rows)


def _differences(
    configs: Mapping[str, Folds], groups: Mapping[str, str], scored: Mapping[Score, Sequence[int]]
) -> dict[str, dict[Score, PairedDifference]]:
    (_, baseline), *others = configs.items()
    return {
        name: {
            score: paired_difference(score, [_paired(baseline[fold], folds[fold], groups) for fold in of_score])
            for score, of_score in scored.items()
        }
        for name, folds in others
    }


def _paired(baseline: Sequence[ImageCounts], config: Sequence[ImageCounts], groups: Mapping[str, str]) -> PairedFold:
    return PairedFold([groups.get(image.name, image.name) for image in baseline], baseline, config)


def _difference_table(configs: Mapping[str, Folds], found: Mapping[str, Mapping[Score, PairedDifference]]) -> str:
    first, folds = next(iter(configs.items()))
    rows = {name: [_with_interval(difference, score) for score, difference in of.items()] for name, of in found.items()}
    head = (
        f"Difference to {first}, mean over the folds, with the 95 % interval of a bootstrap over folds, then groups "
        f"({_number_of_folds(len(folds))})"
    )
    return f"{head}:\n\n" + _table("config", _titles(ABLATION_SCORES), rows)


def _number_of_folds(count: int) -> str:
    if count == 1:
        return "1 fold: over its groups alone, which leaves out how much trainings differ and is too narrow"
    if count not in COVERAGE:
        return f"{count} folds"
    lowest, highest = COVERAGE[count]
    return f"{count} folds: too narrow, in simulations it covers the truth in {lowest} to {highest} % of the cases"


def _test_table(found: Mapping[str, Mapping[Score, PairedDifference]], test_share: float) -> str:
    p_values = [corrected_t_test(of[score].of_folds, test_share) for of in found.values() for score in PRIMARY_SCORES]
    adjusted = iter(holm(p_values).tolist())
    rows = {name: [number_text(next(adjusted), 3) for _ in PRIMARY_SCORES] for name in found}
    head = "p of the corrected resampled t test over the folds, a conservative check, after Holm for all of this table"
    return f"{head}:\n\n" + _table("config", _titles(PRIMARY_SCORES), rows)


def _pooled(configs: Mapping[str, Folds]) -> str:
    images = {name: [image for of_fold in folds.values() for image in of_fold] for name, folds in configs.items()}
    rows = {name: [_total(score, of) for score in ABLATION_SCORES] for name, of in images.items()}
    return "All out-of-fold images together:\n\n" + _table("config", _titles(ABLATION_SCORES), rows)


def _total(score: Score, images: Sequence[ImageCounts]) -> str:
    return f"{score(images):,.0f}" if score.is_count else _number(score(images), score)


def _fold_sizes(folds: Folds, groups: Mapping[str, str]) -> str:
    rows = {
        "images": [f"{len(images):,}" for images in folds.values()],
        "nuclei": [f"{sum(_annotated(image) for image in images):,}" for images in folds.values()],
        "groups": [f"{len({groups.get(image.name, image.name) for image in images}):,}" for images in folds.values()],
    }
    return "Validation parts:\n\n" + _table("", [f"fold {fold}" for fold in folds], rows)


def _annotated(image: ImageCounts) -> int:
    return image.nuclei.panoptic.tp + image.nuclei.panoptic.fn


def _titles(scores: Sequence[Score]) -> list[str]:
    return [score.title for score in scores]


def _table(corner: str, columns: Sequence[str], rows: Mapping[str, Sequence[str]]) -> str:
    lines = [f"| {' | '.join([corner, *columns])} |", "|---|" + "---|" * len(columns)]
    return "\n".join(lines + [f"| {' | '.join([name, *cells])} |" for name, cells in rows.items()])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def _with_interval(found: PairedDifference, score: Score) -> str:
    if math.isnan(found.mean):
        return "-"
    low, high = (_number(end, score) for end in (found.low, found.high))
    sign = "" if (text := _number(found.mean, score)).startswith("-") else "+"
    return f"{sign}{text} [{low}, {high}]"


def _number(value: float, score: Score) -> str:
    return number_text(value, 1 if score.is_count else 3)


def number_text(value: float, decimals: int) -> str:
    """A number without the zero before the point, "-" for NaN; never "-.000"."""
    if math.isnan(value):
        return "-"
    text = f"{value:.{decimals}f}"
    text = text.removeprefix("-") if float(text) == 0 else text
    return text if decimals < 2 else text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text
