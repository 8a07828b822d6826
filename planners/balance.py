"""Groups of images shared out over folds, so that the folds are alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

SWEEPS = 20
# Groups that one group may be exchanged with; more only cost time where there are thousands.
PARTNERS = 500
PRESENCE = "class_present"


class Loads(NamedTuple):
    """What each group brings to its fold.

    Attributes
    ----------
    present : (G, K) float64
        1 where a nucleus of the class is in the group; only classes that can be in every fold.
    amounts : (G, 1 + F) float64
        Images, and all else that is to be spread, scaled so that squares of the latter never weigh as much as an image.
    """

    present: np.ndarray
    amounts: np.ndarray

    @property
    def images(self) -> np.ndarray:
        return self.amounts[:, 0]


def balanced_parts(
    members: Sequence[Sequence[str]], features: Mapping[str, Mapping[str, Sequence[float]]], number: int, seed: int
) -> list[list[int]]:
    """Share groups out over ``number`` folds.

    First, each class that is in enough groups is in every fold; then the numbers of images are alike; then all that
    the features count. The largest group goes first, each to the fold with the fewest images; then groups are moved
    and exchanged as long as that makes things better.

    Parameters
    ----------
    members
        The cases of each group.
    features
        Case -> block -> counts that are to be spread evenly; each block weighs the same, however many counts it has.
        The block "class_present" says which classes a case has (0 or 1 each).
    number
        Folds, at most as many as groups.
    seed
        Decides between groups of equal size.

    Returns
    -------
    list of list of int
        The groups of each fold, as positions in ``members``; none is empty.
    """
    loads = _loads(members, features, number)
    random = np.random.default_rng(seed)
    order = np.lexsort((random.permutation(len(members)), -loads.images))
    assignment = _Assignment(loads, _fewest_images_first(loads.images, order, number), number)
    partners = order if len(order) <= PARTNERS else random.permutation(order)[:PARTNERS]
    for _ in range(SWEEPS):
        if not sum(assignment.improve(group, partners) for group in order):
            break
    return [np.flatnonzero(assignment.fold_of == fold).tolist() for fold in range(number)]


class _Assignment:
    """Which group is in which fold, and how full that makes the folds."""

    def __init__(self, loads: Loads, fold_of: np.ndarray, number: int) -> None:
        self.loads, self.fold_of = loads, fold_of
        in_fold = np.eye(number)[fold_of].T
        self.present, self.amounts = in_fold @ loads.present, in_fold @ loads.amounts
        # One class more outweighs all images.
        self.class_weight = loads.images.sum() ** 2 + 2

    def improve(self, group: int, partners: np.ndarray) -> bool:
        """Move ``group`` to the fold, or exchange it with the partner, that is best; nothing where none is better."""
        own, folds = self.fold_of[group], np.arange(len(self.amounts))
        rivals = partners[self.fold_of[partners] != own]
        goals = np.concatenate([folds[folds != own], self.fold_of[rivals]])
        coming = np.concatenate([np.full(len(folds) - 1, -1), rivals])
        gains = self._gains(group, goals, coming)
        best = int(np.argmax(gains))
        # Rounding may pretend that a step pays, and the step back as well.
        if gains[best] < 1e-9:
            return False
        self._put(group, goals[best])
        if coming[best] >= 0:
            self._put(coming[best], own)
        return True

    def _gains(self, group: int, goals: np.ndarray, coming: np.ndarray) -> np.ndarray:
        """(N,): what is won where ``group`` goes to the fold ``goals`` and ``coming`` comes for it, -1 for nobody."""
        own, exchange = self.fold_of[group], (coming >= 0)[:, None]
        moved = self.loads.amounts[group] - exchange * self.loads.amounts[coming]
        fewer_squares = 2 * ((self.amounts[own] - self.amounts[goals] - moved) * moved).sum(axis=1)
        moved = self.loads.present[group] - exchange * self.loads.present[coming]
        here, there = self.present[own], self.present[goals]
        missing_before = (here == 0).sum() + (there == 0).sum(axis=1)
        missing_after = (here - moved == 0).sum(axis=1) + (there + moved == 0).sum(axis=1)
        return self.class_weight * (missing_before - missing_after) + fewer_squares

    def _put(self, group: int, fold: int) -> None:
        for totals, loads in ((self.present, self.loads.present), (self.amounts, self.loads.amounts)):
            totals[self.fold_of[group]] -= loads[group]
            totals[fold] += loads[group]
        self.fold_of[group] = fold


def _loads(
    members: Sequence[Sequence[str]], features: Mapping[str, Mapping[str, Sequence[float]]], number: int
) -> Loads:
    blocks = {
        name: np.array([np.sum([features[case][name] for case in group], axis=0) for group in members], float)
        for name in features[members[0][0]]
    }
    # The squares of the shares of one column add up to at most 1 over the folds; one image more or less is 2 at least.
    shares = [block / np.maximum(block.sum(axis=0), 1) for block in blocks.values()]
    spread = [share / np.sqrt(max(1, share.shape[1]) * len(shares)) for share in shares]
    present = blocks[PRESENCE] > 0 if PRESENCE in blocks else np.zeros((len(members), 0), bool)
    images = np.array([[len(group)] for group in members], float)
    everywhere = present.sum(axis=0) >= number
    return Loads(present[:, everywhere].astype(float), np.concatenate([images, *spread], axis=1))


def _fewest_images_first(images: np.ndarray, order: np.ndarray, number: int) -> np.ndarray:
    fold_of, filled = np.zeros(len(images), np.intp), np.zeros(number)
    for group in order:
        fold_of[group] = np.argmin(filled)
        filled[fold_of[group]] += images[group]
    return fold_of
