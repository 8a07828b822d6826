"""The choice of a decoder: scored as the evaluation scores, chosen by rule, and judged on images that had no say."""

from __future__ import annotations

import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nucplan.decoder_candidates import Candidate, candidates, variations
from nucplan.decoder_plan import DECODERS, DecoderPlan
from nucplan.decoder_search import (
    TIE,
    ScoredSet,
    best_for_all,
    choices_of_others,
    choose,
    mean_regrets,
    nested_score,
    score_case,
    search,
)
from nucplan.inference.placement import at_image_grid
from nucplan.instances import NucleusProbabilities, decode
from nucplan.metrics.image import evaluate_image

PLAN = DecoderPlan.default("interior", 20.0)
OWN = Candidate.of(PLAN)
# Counts (candidates, images, 6) of six images in three folds.
FOLDS = np.array([0, 0, 0, 1, 1, 2])
COUNTS = arrays(np.int64, (5, 6, 6), elements=st.integers(0, 40))


def variant(neck: float) -> Candidate:
    return Candidate(OWN.name, tuple((OWN.values | {"neck": neck}).values()))


def candidate_set(counts: np.ndarray, name: str = "Set") -> ScoredSet:
    """Candidates whose neck is 0.6 (the plan), 0.61, ... with these counts; every match is exact."""
    counts = counts.astype(float)
    counts[..., 3] = counts[..., 0]
    return ScoredSet(name, PLAN, FOLDS, {variant(round(0.6 + i / 100, 2)): rows for i, rows in enumerate(counts)})


def coarse_set(counts: np.ndarray, name: str = "Set") -> ScoredSet:
    """The first candidates of the coarse grid, the plan among them, with these counts."""
    scored = candidate_set(counts, name)
    scored.scores = dict(zip(candidates(PLAN, has_boundary=True), scored.scores.values(), strict=False))
    return scored


def rows(*numbers: tuple[float, int]) -> np.ndarray:
    """One image per candidate with this PQ and number of merges, the rest 0."""
    return np.array(
        [[[round(1000 * pq), round(2000 * (1 - pq)), 0, 0, merges, 0]] + [[0] * 6] * 5 for pq, merges in numbers]
    )


def pq(total: np.ndarray) -> float:
    return total[3] / (total[0] + (total[1] + total[2]) / 2) if total[:3].any() else 0.0


def maps_of(labels: np.ndarray) -> NucleusProbabilities:
    inside = (labels > 0).astype(np.float32)
    boundary = (labels != cv2.erode(labels.astype(np.uint8), np.ones((3, 3)))).astype(np.float32)
    blurred = [cv2.GaussianBlur(one, (0, 0), 1) for one in (1 - inside, inside, boundary)]
    return NucleusProbabilities(np.stack(blurred[:2]).astype(np.float16), blurred[2].astype(np.float16))


@given(arrays(np.int32, (4, 5), elements=st.integers(0, 4)), st.booleans(), st.booleans())
@settings(max_examples=30, deadline=None)
def test_a_case_is_scored_as_the_evaluation_scores_its_nuclei(blocks, ignores, crops):
    reference = np.kron(blocks, np.ones((6, 6), np.int32))
    ignore = reference == 4 if ignores else None
    # A map of half of the picture at twice its size, or of the picture as it is.
    seen = cv2.resize(reference[:12], None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST) if crops else reference
    region = [(0, 12 if crops else 24), (0, 30)]
    plans = [DecoderPlan(8.0, name, neck=neck) for neck in (0.5, 0.9) for name in DECODERS]
    found = score_case(maps_of(seen), region, reference, plans, ignore)
    for plan, row in zip(plans, found, strict=True):
        labels = at_image_grid(decode(maps_of(seen), plan).labels, region, reference.shape)
        truth = evaluate_image(labels, reference, ignore=ignore).nuclei
        panoptic = truth.panoptic
        expected = (panoptic.tp, panoptic.fp, panoptic.fn, panoptic.iou_sum, truth.merges, truth.splits)
        np.testing.assert_allclose(row, expected)


def test_the_higher_pq_wins_whatever_its_errors():
    assert choose(candidate_set(rows((0.5, 0), (0.6, 900)))) == variant(0.61)


def test_of_equals_the_one_with_fewer_errors_wins():
    equal = 0.6 - TIE / 2
    assert choose(candidate_set(rows((0.5, 0), (0.6, 90), (equal, 10)))) == variant(0.62)


def test_of_equals_with_equal_errors_the_one_nearest_to_the_plan_wins():
    scored = candidate_set(rows((0.5, 0), (0.6, 10), (0.6, 10), (0.6, 10)))
    assert choose(scored) == variant(0.61)
    scored.scores = dict(reversed(scored.scores.items()))
    assert choose(scored) == variant(0.61)


def test_without_any_nucleus_the_plan_is_kept():
    assert choose(candidate_set(np.zeros((3, 6, 6)))) == OWN


@given(COUNTS)
@settings(max_examples=60, deadline=None)
def test_a_nested_score_is_that_of_choices_made_on_the_other_folds(counts):
    scored = coarse_set(counts)
    nested = nested_score(scored)
    total = np.zeros(6)
    for fold in (0, 1, 2):
        rest = {c: values[fold != FOLDS].sum(axis=0) for c, values in scored.scores.items()}
        best = max(pq(values) for values in rest.values())
        errors = {c: sum(values[4:]) for c, values in rest.items() if pq(values) >= best - TIE}
        chosen = min(errors, key=lambda c: (errors[c], c.steps_from(OWN)))
        assert nested.chosen[fold] == chosen
        total += scored.scores[chosen][fold == FOLDS].sum(axis=0)
    assert nested.counts.pq == pytest.approx(pq(total))
    assert (nested.counts.merges, nested.counts.splits) == tuple(total[4:])


class Surface:
    """Counts by image that depend on the candidate in a way of no order at all, for a search."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __call__(self, scored: ScoredSet, wanted: list[Candidate]) -> np.ndarray:
        tp = [[self.tp(scored.name, image, c) for c in wanted] for image in range(len(FOLDS))]
        return np.array([[[n, 90 - n, 90 - n, n, n % 7, n % 5] for n in of_image] for of_image in tp], float)

    def tp(self, *what: object) -> int:
        return 40 + zlib.crc32(repr((self.seed, *what)).encode()) % 40


class OtherSurface(Surface):
    """As a surface, but for the images of one set, or of one fold of it."""

    def __init__(self, seed: int, name: str, fold: int | None = None) -> None:
        super().__init__(seed)
        self.name, self.fold = name, fold

    def tp(self, name: str, image: int, candidate: Candidate) -> int:
        other = name == self.name and self.fold in (None, FOLDS[image])
        return super().tp("other" * other, name, image, candidate)


def searched(surface: Surface) -> list[ScoredSet]:
    sets = [ScoredSet(name, PLAN, FOLDS) for name in "AB"]
    search(sets, True, surface)
    return sets


@given(st.integers(0, 99), st.integers(0, 2))
@settings(max_examples=15, deadline=None)
def test_the_images_of_a_fold_have_no_say_in_how_it_is_decoded(seed, fold):
    before, after = (searched(OtherSurface(seed, name, fold))[0] for name in ("none", "A"))
    assert not np.array_equal(before.scores[OWN], after.scores[OWN])
    assert nested_score(before).chosen[fold] == nested_score(after).chosen[fold]


@given(st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_the_images_of_a_set_have_no_say_in_what_the_others_choose_for_it(seed):
    before, after = (searched(OtherSurface(seed, name)) for name in ("none", "A"))
    assert choices_of_others(before)[0] == choices_of_others(after)[0]
    # B has the same images in both, so that what it is decoded with may change with A alone.
    assert choices_of_others(before)[0] == max(before[1].coarse, key=lambda c: before[1].pooled(c).pq)


def test_one_fold_has_no_nested_score():
    assert nested_score(ScoredSet("Set", PLAN, np.zeros(2, int), {OWN: np.ones((2, 6))})) is None


def test_a_compromise_beats_the_best_of_a_single_set():
    first = candidate_set(rows((0.70, 0), (0.55, 0), (0.68, 0)))
    second = candidate_set(rows((0.40, 0), (0.50, 0), (0.49, 0)))
    assert choose(first) == OWN
    assert choose(second) == variant(0.61)
    assert best_for_all([first, second]) == variant(0.62)
    assert first.regret(variant(0.62)) == pytest.approx(0.02)
    assert list(mean_regrets([first, second]).values()) == pytest.approx([0.015, 0.05, 0.075])


def test_a_candidate_that_a_set_has_not_scored_is_no_default():
    first, second = candidate_set(rows((0.5, 0), (0.9, 0))), candidate_set(rows((0.5, 0)))
    assert best_for_all([first, second]) == OWN


class Landscape:
    """Counts from a smooth PQ that is highest at ``peak``, less what its decoder is ``behind``; keeps all it gave."""

    def __init__(self, behind: dict[str, float], **peak: float) -> None:
        self.behind, self.peak, self.asked = behind, peak, []

    def __call__(self, scored: ScoredSet, candidates: list[Candidate]) -> np.ndarray:
        self.asked += [(scored.name, c) for c in candidates]
        return np.array([[[1000, 0, 0, 1000 * self.pq(c), 0, 0] for c in candidates]] * len(FOLDS), float)

    def pq(self, candidate: Candidate) -> float:
        off = sum((candidate.values[field] - value) ** 2 for field, value in self.peak.items())
        return 0.8 - off - self.behind.get(candidate.name, 0.1)


def test_the_search_finds_a_peak_that_is_off_the_coarse_grid():
    peak = {"neck": 0.5, "smoothing": 0.15, "seed_spacing": 0.5, "foreground_threshold": 0.6}
    surface, sets = Landscape({"interior": 0.0}, **peak), [ScoredSet(name, PLAN, FOLDS) for name in "AB"]
    best = search(sets, True, surface)
    assert {field: best.values[field] for field in peak} == peak
    assert all(c in one.scores for one in sets for row in variations(best).values() for c in row)
    assert len(surface.asked) == len(set(surface.asked)) == 2 * len(sets[0].scores)
    assert len(sets[0].scores) < 200


def test_the_search_without_a_boundary_stays_with_the_outline():
    sets = [ScoredSet("A", DecoderPlan.default("distance", 20.0), FOLDS)]
    best = search(sets, False, Landscape({}, neck=0.95, smoothing=0.2))
    assert (best.values["neck"], best.values["smoothing"]) == (0.95, 0.2)
    assert {c.name for c in sets[0].scores} == {"distance"}


def test_a_decoder_close_behind_is_refined_and_one_far_behind_is_not():
    sets = [ScoredSet("A", PLAN, FOLDS)]
    search(sets, True, Landscape({"interior": 0.0, "tempered": 0.01}, neck=0.7, smoothing=0.15))
    assert best_for_all(sets, "tempered").values["smoothing"] == 0.15
    usual = DecoderPlan.default("distance", 20.0).smoothing
    assert {c.values["smoothing"] for c in sets[0].scores if c.name == "distance"} == {usual}
