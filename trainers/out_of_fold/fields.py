"""Which fields of out-of-fold images are drawn enlarged: the densest, or those on which the configs differ most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from nucplan.progress import Progress, silent
from nucplan.report.crops import Field, densest_field, differing_field, field_side
from trainers.out_of_fold.runs import Models
from trainers.out_of_fold.scores import OutOfFoldScores

# Each of another group, so that no single patient makes all the pictures.
FIELDS = 3


class ChosenField(NamedTuple):
    """A field of a validation image; ``differing`` counts its touching nuclei on which configs differ."""

    fold: int
    case: str
    field: Field
    differing: int = 0


def dense_fields(scores: OutOfFoldScores, folds: Sequence[int]) -> list[tuple[int, str, Field]]:
    """The densest fields, each the best of its group, as (fold, case, field)."""
    side = _side(scores)
    chosen = _best_of_groups(
        scores, folds, lambda fold, case: ChosenField(fold, case, densest_field(scores.raw.instances(case), side))
    )
    return [(one.fold, one.case, one.field) for one in chosen]


def differing_fields(
    scores: OutOfFoldScores, models: Models, folds: Sequence[int], progress: Progress = silent
) -> list[ChosenField]:
    """The fields with the most touching nuclei on which the models' stored label maps differ, one per group."""
    side = _side(scores)

    def choose(fold: int, case: str) -> ChosenField:
        predictions = [scores.labels(model, fold, case) for model in models.values()]
        return ChosenField(fold, case, *differing_field(scores.raw.instances(case), predictions, side))

    return _best_of_groups(scores, progress(folds, "Choosing fields"), choose)


def _side(scores: OutOfFoldScores) -> int:
    return field_side(float(np.median(np.sqrt(4 * scores.reference_areas / np.pi))))


def _best_of_groups(
    scores: OutOfFoldScores, folds: Sequence[int], choose: Callable[[int, str], ChosenField]
) -> list[ChosenField]:
    best: dict[str, ChosenField] = {}
    for fold in folds:
        for case in scores.splits[fold]["val"]:
            found = choose(fold, case)
            group = scores.raw.info.groups.get(case, case)
            if group not in best or _merit(found) > _merit(best[group]):
                best[group] = found
    return sorted(best.values(), key=_merit, reverse=True)[:FIELDS]


def _merit(found: ChosenField) -> tuple[int, int]:
    return found.differing, found.field.touching
