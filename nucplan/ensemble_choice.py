"""Which configs, averaged, and which decoder make the best nuclei of images that their networks have not seen.

First the configs, all decoded as planned, then the decoder of those: joint choice among all pairs would look at many
times as many figures, of which the best flatters itself the more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from nucplan.decoder_candidates import Candidate
from nucplan.decoder_plan import DecoderPlan
from nucplan.decoder_search import TIE, PartingCounts, ScoredSet, choose, nested_score, score_case
from nucplan.inference.mean_maps import MeanMaps
from nucplan.instances import NucleusProbabilities

# Names of configs whose maps are averaged.
Configs = tuple[str, ...]


def options(configs: Sequence[str]) -> list[Configs]:
    """Each config alone, each pair, and all of them; the cheaper ones first."""
    sizes = sorted({1, 2, len(configs)} & set(range(1, len(configs) + 1)))
    return [option for size in sizes for option in combinations(configs, size)]


def mean_maps(maps: Sequence[NucleusProbabilities]) -> NucleusProbabilities:
    """The mean of the maps of several configs of one image, as an ensemble of their networks predicts it."""
    mean = MeanMaps()
    for one in maps:
        mean.add(one)
    return mean.mean()


def score_options(
    maps: Mapping[str, NucleusProbabilities],
    region: Sequence[tuple[int, int]],
    reference: np.ndarray,
    plans: Mapping[Configs, Sequence[DecoderPlan]],
    ignore: np.ndarray | None = None,
    classes: np.ndarray | None = None,
) -> dict[Configs, np.ndarray]:
    """Score, on one image, the mean maps of some options under the decoder plans of each.

    Parameters
    ----------
    maps
        Of each config, as `nucplan.inference.predictor.Predictor.probabilities` returns them.
    region, reference, ignore, classes
        As `nucplan.decoder_search.score_case` has them.
    plans
        Option to decoder plans.

    Returns
    -------
    dict
        Option to the rows of `nucplan.decoder_search.score_case`, one for each of its plans.
    """
    return {
        option: score_case(mean_maps([maps[name] for name in option]), region, reference, of_option, ignore, classes)
        for option, of_option in plans.items()
    }


class Ensemble(NamedTuple):
    """What is chosen: configs whose maps are averaged, and how the mean is decoded."""

    configs: Configs
    decoder: Candidate


def best_option(sets: Mapping[Configs, ScoredSet], folds: Collection[int] | None = None) -> Configs:
    """The option of highest quality, each decoded as its plan says; of equals the one of fewest networks.

    Of these the one with the fewest merges and splits.

    Parameters
    ----------
    sets : mapping of option to ScoredSet
        Of the same images in one order, each with the scores of its plan's decoder.
    folds : collection of int, optional
        The folds to look at; default is all.
    """
    pooled = {option: one.pooled(Candidate.of(one.plan), folds) for option, one in sets.items()}
    best = max(counts.quality for counts in pooled.values())
    equals = [option for option, counts in pooled.items() if counts.quality >= best - TIE]
    return min(equals, key=lambda option: (len(option), pooled[option].errors))


def finalists(sets: Mapping[Configs, ScoredSet]) -> list[Configs]:
    """The options whose decoders have to be scored: the best of all folds, and of all but each one."""
    folds = np.unique(next(iter(sets.values())).folds).tolist()
    rests = [[other for other in folds if other != fold] for fold in folds] if len(folds) > 1 else []
    return list(dict.fromkeys([best_option(sets), *(best_option(sets, rest) for rest in rests)]))


def choose_ensemble(sets: Mapping[Configs, ScoredSet], folds: Collection[int] | None = None) -> Ensemble:
    """The best option, decoded as planned unless it pays to choose among the decoders that have scores.

    It pays where the folds, each decoded by what the others choose, come out better than by the plan. Few images choose
    worse than the plan knows, and the score of what they choose does not show it.
    """
    option = best_option(sets, folds)
    one, own = sets[option], Candidate.of(sets[option].plan)
    nested = nested_score(one, folds)
    pays = nested is not None and nested.counts.quality > one.pooled(own, folds).quality
    return Ensemble(option, choose(one, folds, one.coarse) if pays else own)


class NestedEnsemble(NamedTuple):
    """Counts of all images, each fold under what the other folds chose: a figure that the choice does not flatter."""

    counts: PartingCounts
    of_folds: dict[int, PartingCounts]
    chosen: dict[int, Ensemble]


def nested_ensemble(sets: Mapping[Configs, ScoredSet]) -> NestedEnsemble | None:
    """Score each fold with what all other folds choose; None where there is one fold."""
    of_images = next(iter(sets.values())).folds
    folds = np.unique(of_images).tolist()
    if len(folds) < 2:
        return None
    chosen = {fold: choose_ensemble(sets, [other for other in folds if other != fold]) for fold in folds}
    rows = {fold: sets[one.configs].scores[one.decoder][of_images == fold] for fold, one in chosen.items()}
    pooled = PartingCounts.of(np.concatenate(list(rows.values())).sum(axis=0))
    return NestedEnsemble(pooled, {fold: PartingCounts.of(of.sum(axis=0)) for fold, of in rows.items()}, chosen)
