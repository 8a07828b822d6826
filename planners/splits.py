"""Five folds in nnU-Net's ``splits_final.json``: groups stay whole, folds are alike in size, classes and nuclei."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nucplan.errors import NucplanError
from nucplan.files import write_json
from nucplan.layout import FOLDS
from planners.balance import balanced_parts
from planners.split_checks import Fold, Members, read_folds

# Block of counts ("nuclei", "class_nuclei", ...) -> one number per nuclear class, size, ...
Features = Mapping[str, Sequence[float]]


class Splits(NamedTuple):
    """``folds``: five times {"train": cases, "val": cases}; ``notes``: sentences that a user should read."""

    folds: list[Fold]
    notes: list[str]


def load_or_make_splits(
    path: Path, features: Mapping[str, Features], groups: Mapping[str, str], seed: int = 0
) -> Splits:
    """Keep the folds in ``path`` where there are any, else make new ones and write them there.

    Models are trained on the stored folds, so these are checked (`read_folds`) and never replaced.

    Raises
    ------
    NucplanError
        If the stored folds are not of this dataset or would validate wrongly, or there are fewer than two groups.
    """
    if not path.is_file():
        splits = make_splits(features, groups, seed)
        write_json(path, splits.folds)
        return splits
    members = _members(features, groups)
    folds = read_folds(path, members)
    return Splits(folds, _notes(folds, members))


def make_splits(features: Mapping[str, Features], groups: Mapping[str, str], seed: int = 0) -> Splits:
    """Split cases into five folds by group.

    Parameters
    ----------
    features
        Case -> counts that are to be spread evenly, see `case_features`.
    groups
        Case -> group; a case without one is a group of its own.
    seed
        Decides between groups of equal size.

    Returns
    -------
    Splits
        With two to four groups, each is left out in turn and some folds are equal; a note says which.

    Raises
    ------
    NucplanError
        If there are fewer than two groups.
    """
    members = _members(features, groups)
    number = min(len(FOLDS), len(members))
    cases = list(members.values())
    parts = [
        [case for position in part for case in cases[position]]
        for part in balanced_parts(cases, features, number, seed)
    ]
    folds = [_fold(parts, k % number) for k in FOLDS]
    return Splits(folds, _notes(folds, members))


def case_features(cases: Mapping[str, Mapping[str, Any]]) -> dict[str, Features]:
    """What the folds are stratified by, from the cases of a fingerprint.

    Per case: "nuclei"; "class_nuclei", the nuclei of each class; "class_present", 0 or 1 for each class; and
    "size_third", which third of the cases it is in by its median diameter (three of 0 or 1; no 1 without a diameter).
    """
    medians = [record["diameter_px"]["50"] for record in cases.values() if record["diameter_px"]]
    thirds = np.quantile(medians, (1 / 3, 2 / 3)) if medians else np.zeros(2)
    features = {}
    for case, record in cases.items():
        third = int(np.searchsorted(thirds, record["diameter_px"]["50"])) if record["diameter_px"] else None
        counts = list(record["class_instances"].values())
        features[case] = {
            "nuclei": [record["nuclei"]],
            "class_nuclei": counts,
            "class_present": [int(count > 0) for count in counts],
            "size_third": [int(k == third) for k in range(3)],
        }
    return features


def _members(cases: Mapping[str, Any], groups: Mapping[str, str]) -> Members:
    members: dict[tuple[bool, str], list[str]] = defaultdict(list)
    for case in sorted(cases):
        members[case in groups, groups.get(case, case)].append(case)
    if len(members) < 2:
        raise NucplanError(
            f"All {len(cases)} training image(s) are of one group, so none can be held out for validation; "
            "add images of another patient or slide, or correct 'groups' in dataset.json."
        )
    return dict(members)


def _fold(parts: list[list[str]], held_out: int) -> Fold:
    train = [case for k, part in enumerate(parts) if k != held_out for case in part]
    return {"train": sorted(train), "val": sorted(parts[held_out])}


def _notes(folds: Sequence[Fold], members: Members) -> list[str]:
    equal: dict[frozenset[str], list[int]] = defaultdict(list)
    for k, fold in enumerate(folds):
        equal[frozenset(fold["val"])].append(k)
    notes = []
    if repeated := [_in_words(which) for which in equal.values() if len(which) > 1]:
        notes.append(
            f"The images are of {len(members)} groups only, too few for five different folds: each group is held out "
            f"in turn, so {', and '.join(f'{folds} are equal' for folds in repeated)}."
        )
    total = sum(len(cases) for cases in members.values())
    for held_out, which in equal.items():
        if 2 * len(held_out) > total:
            notes.append(_lopsided(which, held_out, members, total))
    return notes


def _lopsided(which: list[int], held_out: frozenset[str], members: Members, total: int) -> str:
    (_, name), largest = max(members.items(), key=lambda item: len(held_out.intersection(item[1])))
    share = "them all" if len(largest) == len(held_out) else f"{len(largest)} of them"
    because = f", because the group '{name}' has {share}" if 2 * len(largest) > total else ""
    verb = "is" if len(which) == 1 else "are"
    return f"{_in_words(which).capitalize()} {verb} validated on {len(held_out)} of {total} images{because}."


def _in_words(which: Sequence[int]) -> str:
    *first, last = map(str, which)
    return f"folds {', '.join(first)} and {last}" if first else f"fold {last}"
