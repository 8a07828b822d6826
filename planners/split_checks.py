"""Folds that were stored before, or written by a user: kept only where training on them would validate rightly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from nucplan.errors import NucplanError
from nucplan.files import read_json
from nucplan.layout import FOLDS

Fold = dict[str, list[str]]
# Group -> its cases; the flag keeps a group and an ungrouped case of the same name apart.
Members = Mapping[tuple[bool, str], list[str]]
SIDES = ("train", "val")
# Models are trained on the stored folds, so they are never replaced without being asked.
WAY_OUT = "correct it, or delete it to have new folds made and train all of them anew"


def read_folds(path: Path, members: Members) -> list[Fold]:
    """Read five folds and check them against the dataset.

    Each must hold all cases and nothing else, none twice, no group on both sides and no side empty; each case must be
    validated once. With fewer than five groups folds may be equal, and of equal ones one counts.

    Raises
    ------
    NucplanError
        If the file is anything else.
    """
    folds = _well_formed(read_json(path), path)
    group_of = {case: group for group, cases in members.items() for case in cases}
    problem = _other_cases(folds, group_of) or _wrong_sides(folds, group_of) or _wrong_rotation(folds, members)
    if problem:
        raise NucplanError(f"{path} {problem}; {WAY_OUT}.")
    return folds


def _well_formed(folds: Any, path: Path) -> list[Fold]:
    def is_side(cases: Any) -> bool:
        return isinstance(cases, list) and all(isinstance(case, str) for case in cases)

    right = isinstance(folds, list) and all(
        isinstance(fold, dict) and all(is_side(fold.get(side)) for side in SIDES) for fold in folds
    )
    if not right or len(folds) != len(FOLDS):
        found = f"{len(folds)} folds" if right else "something else"
        form = '[{"train": [cases], "val": [cases]}, ...]'
        raise NucplanError(f"{path} holds {found} where five folds, {form}, are wanted; {WAY_OUT}.")
    return folds


def _other_cases(folds: Sequence[Fold], cases: Collection[str]) -> str | None:
    """What is wrong, as the middle of a sentence, or None; so do the functions below."""
    in_folds = [{*fold["train"], *fold["val"]} for fold in folds]
    missing, unknown = set(cases) - set.intersection(*in_folds), set.union(*in_folds) - set(cases)
    problems = []
    if missing:
        problems.append(f"lacks {_some(missing)} of the training images")
    if unknown:
        problems.append(f"has {_some(unknown)} that the training images lack")
    return " and ".join(problems) or None


def _wrong_sides(folds: Sequence[Fold], group_of: Mapping[str, tuple[bool, str]]) -> str | None:
    for k, fold in enumerate(folds):
        times = Counter(fold["train"] + fold["val"])
        if not all(fold[side] for side in SIDES):
            return f"has nothing to train or nothing to validate on in fold {k}"
        if twice := {case for case, n in times.items() if n > 1}:
            return f"has {_some(twice)} more than once in fold {k}"
        train, val = ({group_of[case] for case in fold[side]} for side in SIDES)
        if shared := sorted(train & val):
            return f"has the group '{shared[0][1]}' in training and in validation of fold {k}"
    return None


def _wrong_rotation(folds: Sequence[Fold], members: Members) -> str | None:
    held_out = [frozenset(fold["val"]) for fold in folds]
    different = held_out if len(members) >= len(FOLDS) else set(held_out)
    times = Counter(case for part in different for case in part)
    if repeated := {case for case, n in times.items() if n > 1}:
        return f"validates {_some(repeated)} more than once"
    never = {case for cases in members.values() for case in cases} - set(times)
    return f"never validates {_some(never)}" if never else None


def _some(cases: Collection[str]) -> str:
    shown = sorted(cases)[:3]
    return f"{len(cases)} case(s) ({', '.join(shown)}{', ...' if len(cases) > len(shown) else ''})"
