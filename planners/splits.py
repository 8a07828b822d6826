"""Five folds in nnU-Net's ``splits_final.json``: groups stay whole, folds are alike in size and classes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nucplan.errors import NucplanError
from nucplan.files import read_json, write_json
from nucplan.layout import FOLDS

Fold = dict[str, list[str]]


class Splits(NamedTuple):
    """``folds``: five times {"train": cases, "val": cases}; ``note``: what a user should know, or None."""

    folds: list[Fold]
    note: str | None


def load_or_make_splits(
    path: Path, features: Mapping[str, Sequence[float]], groups: Mapping[str, str], seed: int = 0
) -> Splits:
    """Keep the folds in ``path`` where they are of the same cases, else make new ones and write them there.

    Raises
    ------
    NucplanError
        If the stored folds put a group on both sides, or new ones cannot be made (see `make_splits`).
    """
    if path.is_file():
        folds = read_json(path)
        if len(folds) == len(FOLDS) and all(set(fold["train"]) | set(fold["val"]) == set(features) for fold in folds):
            _refuse_leak(path, folds, groups)
            return Splits(folds, None)
    splits = make_splits(features, groups, seed)
    write_json(path, splits.folds)
    return splits


def make_splits(features: Mapping[str, Sequence[float]], groups: Mapping[str, str], seed: int = 0) -> Splits:
    """Split cases into five folds by group.

    Parameters
    ----------
    features
        Case -> counts that are to be spread evenly, for example (1, nuclei, nuclei of class 1, ...).
    groups
        Case -> group; a case without one is a group of its own.
    seed
        Decides between groups of equal size.

    Returns
    -------
    Splits
        With two to four groups, each is left out in turn and some folds are equal; the note says so.

    Raises
    ------
    NucplanError
        If there are fewer than two groups.
    """
    members = _members(sorted(features), groups)
    if len(members) < 2:
        raise NucplanError(
            f"All {len(features)} training images are of one group, so none can be held out for validation; "
            "add images of another patient or slide, or correct 'groups' in dataset.json."
        )
    number = min(len(FOLDS), len(members))
    parts = _balanced_parts(members, features, number, seed)
    folds = [_fold(parts, k % number) for k in FOLDS]
    note = None
    if number < len(FOLDS):
        note = f"The images are of {number} groups only; each is held out in turn, so some of the five folds are equal."
    return Splits(folds, note)


def case_features(cases: Mapping[str, Mapping]) -> dict[str, list[float]]:
    """Images, nuclei and nuclei per class of each case, from the cases of a fingerprint."""
    return {case: [1, record["nuclei"], *record["class_instances"].values()] for case, record in cases.items()}


def _members(cases: Sequence[str], groups: Mapping[str, str]) -> list[list[str]]:
    members: dict[tuple[bool, str], list[str]] = defaultdict(list)
    for case in cases:
        # The flag keeps a group and an ungrouped case of the same name apart.
        members[case in groups, groups.get(case, case)].append(case)
    return list(members.values())


def _balanced_parts(
    members: list[list[str]], features: Mapping[str, Sequence[float]], number: int, seed: int
) -> list[list[str]]:
    """Largest group first, each to the part whose load it resembles least.

    Adding x to a load L raises the sum of squared loads by ``2 L.x`` plus a constant, so the smallest ``L.x`` keeps
    the parts most alike; every x has a positive first entry (images), so no part stays empty.
    """
    loads = np.array([np.sum([features[case] for case in group], axis=0, dtype=float) for group in members])
    loads /= np.maximum(loads.sum(axis=0), 1)
    tie_break = np.random.default_rng(seed).permutation(len(members))
    order = np.lexsort((tie_break, -(loads**2).sum(axis=1)))
    part_loads, parts = np.zeros((number, loads.shape[1])), [[] for _ in range(number)]
    for group in order:
        part = int(np.argmin(part_loads @ loads[group]))
        part_loads[part] += loads[group]
        parts[part] += members[group]
    return parts


def _fold(parts: list[list[str]], held_out: int) -> Fold:
    train = [case for k, part in enumerate(parts) if k != held_out for case in part]
    return {"train": sorted(train), "val": sorted(parts[held_out])}


def _refuse_leak(path: Path, folds: Sequence[Fold], groups: Mapping[str, str]) -> None:
    for k, fold in enumerate(folds):
        # A case without a group is a group of its own.
        sides = [{groups.get(case, case) for case in fold[side]} for side in ("train", "val")]
        shared = sorted(sides[0] & sides[1])
        if shared:
            raise NucplanError(
                f"{path} has the group '{shared[0]}' in training and in validation of fold {k}; "
                "delete the file to have new folds made."
            )
