"""Which decoder suits the maps of trained networks: candidates scored on images not seen in training, and a choice."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import astuple, dataclass, field, replace
from typing import NamedTuple

import numpy as np
from skimage.segmentation import relabel_sequential

from nucplan.decoder_candidates import Candidate, candidates, variations
from nucplan.decoder_plan import DecoderPlan
from nucplan.inference.placement import at_image_grid
from nucplan.instances import NucleusProbabilities, class_ids, cut, join_basins
from nucplan.metrics.class_map import classes_of
from nucplan.metrics.image import without_ignored
from nucplan.metrics.merges_and_splits import merges, splits
from nucplan.metrics.overlap import Overlap, overlap_table
from nucplan.metrics.panoptic import PanopticCounts, mpq_plus, panoptic_counts, panoptic_counts_per_class

# Pooled PQs, or means of them over classes, that differ by less are taken for equal.
TIE = 0.002
# A decoder whose coarse grid stays so far below the best is not refined.
FAR_BEHIND = 0.03


class PartingCounts(NamedTuple):
    """What the choice looks at, summed over images; ``classes`` (1..K, in order) where they were counted."""

    panoptic: PanopticCounts
    merges: int
    splits: int
    classes: tuple[PanopticCounts, ...] = ()

    @classmethod
    def of(cls, total: np.ndarray) -> PartingCounts:
        """From the sum of rows of `score_case`."""
        merged, split = total[4:6]
        return cls(_panoptic(total[:4]), int(merged), int(split), tuple(map(_panoptic, total[6:].reshape(-1, 4))))

    @property
    def pq(self) -> float:
        """Pooled PQ; 0 where there is no nucleus."""
        return float(np.nan_to_num(self.panoptic.pq))

    @property
    def quality(self) -> float:
        """mPQ+ where classes were counted, else pooled PQ; 0 where there is no nucleus."""
        return float(np.nan_to_num(mpq_plus(dict(enumerate(self.classes))))) if self.classes else self.pq

    @property
    def errors(self) -> int:
        return self.merges + self.splits


def score_case(
    maps: NucleusProbabilities,
    region: Sequence[tuple[int, int]],
    reference: np.ndarray,
    plans: Sequence[DecoderPlan],
    ignore: np.ndarray | None = None,
    classes: np.ndarray | None = None,
) -> np.ndarray:
    """Score the plans on one image.

    Parameters
    ----------
    maps, region
        As `nucplan.inference.predictor.Predictor.probabilities` returns them.
    reference : (H, W) integer
        The annotated label map.
    plans : sequence of DecoderPlan
        C of them.
    ignore : (H, W) bool, optional
        Where nothing is known, as in `nucplan.metrics.image.evaluate_image`.
    classes : (H, W) integer, optional
        Annotated class, 1..K, of each pixel of a nucleus, K being that of the maps.

    Returns
    -------
    (C, 6) float64, (C, 6 + 4 K) with classes
        TP, FP, FN, sum of the matched IoUs, merges and splits, and the first four of each class: rows that add up over
        images.
    """
    class_count, true = 0, None
    if classes is not None:
        reference = relabel_sequential(reference)[0]
        class_count = len(maps.semantic) - 1
        true = np.array(list(classes_of(reference, classes).values()), np.int64)
    rows = np.zeros((len(plans), 6 + 4 * class_count))
    for alike in _alike_but_for_the_neck(plans):
        basins = cut(maps, plans[alike[0]])[1]
        for position in alike:
            labels, _ = join_basins(basins, plans[position].neck, plans[position].minimum_pixels)
            overlap = _overlap(at_image_grid(labels, region, reference.shape), reference, ignore)
            rows[position, :6] = _counts(overlap)
            if true is not None:
                rows[position, 6:] = _class_counts(overlap, class_ids(labels, maps.semantic), true, class_count)
    return rows


def _alike_but_for_the_neck(plans: Sequence[DecoderPlan]) -> list[list[int]]:
    """Positions of plans that cut alike: the neck says only which basins are joined again, the smaller part of it."""
    alike: dict[DecoderPlan, list[int]] = {}
    for position, plan in enumerate(plans):
        alike.setdefault(replace(plan, neck=0.0), []).append(position)
    return list(alike.values())


def _overlap(predicted: np.ndarray, reference: np.ndarray, ignore: np.ndarray | None) -> Overlap:
    if ignore is not None and ignore.any():
        predicted, reference = without_ignored(predicted, reference, ignore)
    return overlap_table(predicted, reference)


def _counts(overlap: Overlap) -> list[float]:
    return [*astuple(panoptic_counts(overlap)), merges(overlap), splits(overlap)]


def _class_counts(overlap: Overlap, predicted: np.ndarray, true: np.ndarray, class_count: int) -> list[float]:
    """The counts of the classes 1..K in order; ``predicted`` and ``true`` are the class of id 1, 2, ..."""
    of_class = panoptic_counts_per_class(overlap, predicted[overlap.predicted.ids - 1], true[overlap.reference.ids - 1])
    counts = [of_class.get(k, PanopticCounts()) for k in range(1, class_count + 1)]
    return [number for one in counts for number in astuple(one)]


@dataclass
class ScoredSet:
    """The candidates of one set of images.

    Attributes
    ----------
    name : of the set
    plan : its present plan
    folds : (N,) int, the fold whose network predicted each image
    scores : candidate to the counts of `score_case`, a row per image
    """

    name: str
    plan: DecoderPlan
    folds: np.ndarray
    scores: dict[Candidate, np.ndarray] = field(default_factory=dict)

    @property
    def coarse(self) -> list[Candidate]:
        """The coarse grid, fixed before any of these scores; its defaults may come from earlier searches."""
        return [candidate for candidate in candidates(self.plan, has_boundary=True) if candidate in self.scores]

    def pooled(self, candidate: Candidate, folds: Collection[int] | None = None) -> PartingCounts:
        """The counts of a candidate over the images of some folds; default is all."""
        chosen = slice(None) if folds is None else np.isin(self.folds, list(folds))
        return PartingCounts.of(self.scores[candidate][chosen].sum(axis=0))

    def regret(self, candidate: Candidate) -> float:
        """Pooled PQ of the set's best candidate minus that of this one."""
        return max(self.pooled(other).pq for other in self.scores) - self.pooled(candidate).pq


def _panoptic(total: np.ndarray) -> PanopticCounts:
    tp, fp, fn, iou_sum = total.tolist()
    return PanopticCounts(int(tp), int(fp), int(fn), iou_sum)


def choose(
    scored: ScoredSet, folds: Collection[int] | None = None, among: Iterable[Candidate] | None = None
) -> Candidate:
    """The candidate of highest quality; of equals (within ``TIE``) the one with the fewest merges and splits.

    Where these are equal, too, the one nearest to the present plan.

    Parameters
    ----------
    scored : ScoredSet
    folds : collection of int, optional
        The folds to look at; default is all.
    among : iterable of Candidate, optional
        The candidates to choose from; default is all.
    """
    pooled = {c: scored.pooled(c, folds) for c in (scored.scores if among is None else among)}
    best, own = max(counts.quality for counts in pooled.values()), Candidate.of(scored.plan)
    equals = [c for c, counts in pooled.items() if counts.quality >= best - TIE]
    return min(equals, key=lambda c: (pooled[c].errors, c.steps_from(own)))


class NestedScore(NamedTuple):
    """Counts of all images, each decoded as ``chosen[fold]`` says, in which no score of that fold had a say."""

    counts: PartingCounts
    chosen: dict[int, Candidate]


def nested_score(scored: ScoredSet, folds: Collection[int] | None = None) -> NestedScore | None:
    """Score each of the folds with what the others of them choose from the coarse grid; None where there is one fold.

    The best of many candidates is better on the images that chose it than on others; this figure is not. Refined
    candidates take no part: they exist because of what all folds scored.
    """
    folds = sorted(np.unique(scored.folds).tolist() if folds is None else folds)
    if len(folds) < 2:
        return None
    grid = scored.coarse
    chosen = {fold: choose(scored, [other for other in folds if other != fold], grid) for fold in folds}
    rows = [scored.scores[candidate][scored.folds == fold] for fold, candidate in chosen.items()]
    return NestedScore(PartingCounts.of(np.concatenate(rows).sum(axis=0)), chosen)


def mean_regrets(sets: Sequence[ScoredSet]) -> dict[Candidate, float]:
    """Mean regret over the sets of every candidate that all of them have scored, lowest first."""
    best = [max(one.pooled(c).pq for c in one.scores) for one in sets]
    common = [c for c in sets[0].scores if all(c in one.scores for one in sets)]
    regrets = {c: float(np.mean([b - s.pooled(c).pq for b, s in zip(best, sets, strict=True)])) for c in common}
    return dict(sorted(regrets.items(), key=lambda item: item[1]))


def best_for_all(sets: Sequence[ScoredSet], name: str | None = None) -> Candidate:
    """The candidate (of one decoder, where named) whose PQ is in the mean nearest to each set's own best."""
    return next(c for c in mean_regrets(sets) if name in (None, c.name))


def choices_of_others(sets: Sequence[ScoredSet]) -> list[Candidate]:
    """For each set what suits all the other sets best, of the coarse grid: none of its own scores had a say in it."""
    chosen = []
    for one in sets:
        others = [other for other in sets if other is not one]
        grid = set.intersection(*(set(other.coarse) for other in others))
        chosen.append(next(c for c in mean_regrets(others) if c in grid and c in one.scores))
    return chosen


def search(
    sets: Sequence[ScoredSet],
    has_boundary: bool,
    score: Callable[[ScoredSet, Sequence[Candidate]], np.ndarray],
    rounds: int = 3,
) -> Candidate:
    """Fill the scores of the sets: the coarse grid first, then what varies the best ones, until nothing new is best.

    Every candidate is scored on all sets. What is refined is picked on all folds and sets, so that of these scores
    only those of the coarse grid can be compared as if chosen on other images (`nested_score`, `choices_of_others`).

    Parameters
    ----------
    sets : sequence of ScoredSet
    has_boundary : bool
    score
        Gives the counts (N, C, 6) of C candidates on the images of a set.
    rounds : int
        At most.

    Returns
    -------
    Candidate
        The best for all sets; all its `variations` have scores.
    """
    _score_new(sets, [c for one in sets for c in candidates(one.plan, has_boundary)], score)
    for _ in range(rounds):
        near = [c for leader in _leaders(sets) for row in variations(leader, reach=1).values() for c in row]
        if not _score_new(sets, near, score):
            break
    best = best_for_all(sets)
    while _score_new(sets, [c for row in variations(best).values() for c in row], score):
        best = best_for_all(sets)
    return best


def _leaders(sets: Sequence[ScoredSet]) -> list[Candidate]:
    """The best of each set, and for each decoder that is not far behind the best for all sets."""
    regrets = mean_regrets(sets)
    best_of_decoder = [best_for_all(sets, name) for name in dict.fromkeys(c.name for c in regrets)]
    least = regrets[best_of_decoder[0]]
    hopeful = [c for c in best_of_decoder if regrets[c] <= least + FAR_BEHIND]
    return [*hopeful, *(choose(one) for one in sets)]


def _score_new(sets: Sequence[ScoredSet], wanted: Iterable[Candidate], score: Callable) -> bool:
    """Score what has no score yet; whether there was any."""
    wanted = list(dict.fromkeys(wanted))
    new = [[c for c in wanted if c not in one.scores] for one in sets]
    for one, missing in zip(sets, new, strict=True):
        if missing:
            one.scores |= dict(zip(missing, score(one, missing).swapaxes(0, 1), strict=True))
    return any(new)
