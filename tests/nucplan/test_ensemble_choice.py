"""The choice of an ensemble: among all options, by rule, and judged on images that had no say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nucplan.decoder_candidates import Candidate, candidates
from nucplan.decoder_plan import DecoderPlan
from nucplan.decoder_search import TIE, PartingCounts, ScoredSet, score_case
from nucplan.ensemble_choice import (
    best_option,
    choose_ensemble,
    finalists,
    mean_maps,
    nested_ensemble,
    options,
    score_options,
)
from nucplan.instances import NucleusProbabilities, decode
from nucplan.metrics.image import evaluate_image
from nucplan.metrics.panoptic import mpq_plus

PLAN = DecoderPlan(8.0)
OWN = Candidate.of(PLAN)
OTHER = next(candidate for candidate in candidates(PLAN, has_boundary=True) if candidate != OWN)
FOLDS = np.array([0, 0, 1, 2])
OPTIONS = options(("a", "b", "c"))


def rows(pq: float, errors: int = 0) -> np.ndarray:
    """Four images of 1,000 nuclei with this PQ each, of exact matches."""
    return np.array([[round(1000 * pq), round(2000 * (1 - pq)), 0, round(1000 * pq), errors, 0]] * 4, float)


def scored(**of_options: np.ndarray) -> dict:
    return {tuple(name): ScoredSet(name, PLAN, FOLDS, {OWN: table}) for name, table in of_options.items()}


def test_each_config_each_pair_and_all_of_them_are_options_the_cheap_ones_first():
    assert options(("a",)) == [("a",)]
    assert options(("a", "b")) == [("a",), ("b",), ("a", "b")]
    assert OPTIONS == [("a",), ("b",), ("c",), ("a", "b"), ("a", "c"), ("b", "c"), ("a", "b", "c")]
    assert len(options(tuple("abcdef"))) == 6 + 15 + 1


def test_the_best_wins_and_of_equals_the_one_of_fewest_networks_then_of_fewest_errors():
    assert best_option(scored(a=rows(0.5), b=rows(0.6), ab=rows(0.7))) == ("a", "b")
    near = 0.7 - TIE / 2
    assert best_option(scored(a=rows(0.5), b=rows(near, 9), ab=rows(0.7))) == ("b",)
    assert best_option(scored(a=rows(0.7, 9), b=rows(near, 3), ab=rows(0.7))) == ("b",)


def random_sets(counts: np.ndarray) -> dict:
    """Every option with the scores of two decoders: counts (options, decoders, images, 6)."""
    counts = counts.astype(float)
    counts[..., 3] = counts[..., 0]
    return {
        option: ScoredSet("+".join(option), PLAN, FOLDS, dict(zip((OWN, OTHER), tables, strict=True)))
        for option, tables in zip(OPTIONS, counts, strict=True)
    }


COUNTS = arrays(np.int64, (len(OPTIONS), 2, 4, 6), elements=st.integers(0, 40))


@given(COUNTS)
@settings(max_examples=60, deadline=None)
def test_no_score_of_a_fold_has_a_say_in_what_it_is_scored_with(counts):
    sets, before = random_sets(counts), nested_ensemble(random_sets(counts))
    for fold in (0, 1, 2):
        changed = counts.copy()
        changed[:, :, fold == FOLDS] = np.random.default_rng(fold).integers(0, 40, 6)
        after = nested_ensemble(random_sets(changed))
        assert after.chosen[fold] == before.chosen[fold]
    total = sum(sets[one.configs].scores[one.decoder][fold == FOLDS].sum(axis=0) for fold, one in before.chosen.items())
    assert before.counts == PartingCounts.of(total)


def of_folds(*pq: float) -> np.ndarray:
    """Four images in the folds 0, 0, 1, 2 with these PQs."""
    return np.concatenate([rows(pq[fold])[:1] for fold in FOLDS])


def test_the_planned_decoder_is_kept_where_choosing_does_not_pay_on_other_folds():
    one = ScoredSet("a", PLAN, FOLDS, {OWN: of_folds(0.5, 0.5, 0.5), OTHER: of_folds(0.7, 0.6, 0.6)})
    assert choose_ensemble({("a",): one}).decoder == OTHER
    # Better in the sum, but only by the fold that no other one bears out.
    one.scores[OTHER] = of_folds(0.9, 0.3, 0.3)
    assert one.pooled(OTHER).pq > one.pooled(OWN).pq
    assert choose_ensemble({("a",): one}).decoder == OWN


def test_one_fold_alone_keeps_the_planned_decoder():
    one = ScoredSet("a", PLAN, np.zeros(4, int), {OWN: rows(0.5), OTHER: rows(0.9)})
    assert choose_ensemble({("a",): one}).decoder == OWN


@given(COUNTS)
@settings(max_examples=60, deadline=None)
def test_every_choice_is_among_the_finalists(counts):
    sets = random_sets(counts)
    wanted = finalists(sets)
    assert choose_ensemble(sets).configs in wanted
    assert all(one.configs in wanted for one in nested_ensemble(sets).chosen.values())


def test_one_fold_has_no_nested_choice():
    sets = scored(a=rows(0.5), b=rows(0.6))
    for one in sets.values():
        one.folds = np.zeros(4, int)
    assert nested_ensemble(sets) is None
    assert finalists(sets) == [("b",)]


BLOCKS = arrays(np.int32, (4, 4), elements=st.integers(0, 4))


def maps_of(labels: np.ndarray, classes: np.ndarray) -> NucleusProbabilities:
    of_pixel = np.where(labels > 0, classes, 0)
    return NucleusProbabilities(np.stack([np.where(of_pixel == k, 0.8, 0.1) for k in range(3)]).astype(np.float16))


@given(BLOCKS, BLOCKS, BLOCKS)
@settings(max_examples=30, deadline=None)
def test_with_classes_the_quality_is_the_mpq_plus_of_the_evaluation(seen, reference, classes):
    seen, reference, classes = (np.kron(one, np.ones((6, 6), np.int32)) for one in (seen, reference, classes))
    # One class per nucleus, by its id.
    maps, true = maps_of(seen, 1 + classes % 2), 1 + reference % 2
    found = PartingCounts.of(score_case(maps, [(0, 24), (0, 24)], reference, [PLAN], classes=true)[0])
    labels, table = decode(maps, PLAN)
    said = dict(zip(table.id.tolist(), table.class_id.tolist(), strict=True))
    truth = evaluate_image(labels, reference, said, {i: 1 + i % 2 for i in range(5)})
    expected = mpq_plus({k: counts.panoptic for k, counts in truth.per_class.items()})
    assert found.quality == pytest.approx(np.nan_to_num(expected))
    assert found.panoptic == truth.nuclei.panoptic


def test_options_are_scored_on_the_mean_of_their_maps():
    blank = np.zeros((30, 30), np.int32)
    left, both = blank.copy(), blank.copy()
    left[4:12, 4:12] = both[4:12, 4:12] = 1
    both[4:12, 18:26] = 2
    of_config = {"a": maps_of(left, 1 + blank), "b": maps_of(both, 1 + blank)}
    plans = {option: [PLAN, PLAN] for option in options(("a", "b"))}
    found = score_options(of_config, [(0, 30), (0, 30)], both, plans)
    for option, of_plans in found.items():
        mean = mean_maps([of_config[name] for name in option])
        np.testing.assert_array_equal(of_plans, score_case(mean, [(0, 30), (0, 30)], both, [PLAN] * 2))
    assert [found[(name,)][0][0] for name in "ab"] == [1, 2]
    assert set(found) == set(plans)
