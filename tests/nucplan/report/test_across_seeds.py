"""All seeds together: one comparison per config and primary score, and the noise that seeds alone make."""

from __future__ import annotations

import numpy as np
import pytest

from nucplan.metrics.image import ImageCounts, evaluate_image
from nucplan.metrics.paired import PairedFold, corrected_t_test, holm, paired_difference
from nucplan.metrics.scores import DICE, PQ_POOLED
from nucplan.report.across_seeds import across_seeds, seed_noise
from nucplan.report.verdict import verdict

SHARES = {0: 0.25, 1: 0.5, 2: 0.25}
GROUPS = {"0a": "p", "0b": "q"}


def counts(name: str, missed: int) -> ImageCounts:
    """Ten nuclei, of which some are missed."""
    reference = np.kron(np.arange(1, 11), np.ones((6, 6), np.int32)).astype(np.int32)
    reference[:, ::6] = reference[0] = 0
    return evaluate_image(np.where(reference > missed, reference, 0), reference, boundary_width=1, name=name)


def folds(*missed: int) -> dict[int, list[ImageCounts]]:
    return {fold: [counts(f"{fold}{k}", number + i) for i, k in enumerate("ab")] for fold, number in enumerate(missed)}


CONFIGS = ("baseline", "boundary")
BASELINE, BETTER = folds(3, 4, 5), folds(1, 3, 2)


def test_one_seed_says_what_the_table_of_it_says():
    found = across_seeds(CONFIGS, [{"baseline": BASELINE, "boundary": BETTER}], GROUPS, SHARES, 5)
    pairs = [PairedFold([GROUPS.get(i.name, i.name) for i in BASELINE[f]], BASELINE[f], BETTER[f]) for f in range(3)]
    p_values = []
    for one, score in zip(found, (DICE, PQ_POOLED), strict=True):
        expected = paired_difference(score, pairs)
        assert (one.config, one.title, one.folds, one.folds_asked, one.seeds) == ("boundary", score.title, 3, 5, 1)
        assert one.difference[:3] == expected[:3]
        assert one.noise_floor is None
        p_values.append(corrected_t_test(expected.of_folds, np.mean(list(SHARES.values()))))
    assert [one.p for one in found] == pytest.approx(holm(p_values))


def test_only_folds_that_both_have_finished_in_all_seeds_count():
    first = {"baseline": BASELINE, "boundary": BETTER}
    second = {"baseline": BASELINE, "boundary": {fold: BETTER[fold] for fold in (0, 2)}}
    assert [one.folds for one in across_seeds(CONFIGS, [first, second], GROUPS, SHARES, 3)] == [2, 2]
    third = {"baseline": BASELINE}
    lost = across_seeds(CONFIGS, [first, third], GROUPS, SHARES, 3)
    assert [one.folds for one in lost] == [0, 0]
    assert all(np.isnan(one.difference.mean) and np.isnan(one.p) for one in lost)


def test_the_noise_is_that_of_seeds_and_neither_of_folds_nor_of_configs():
    still = {"baseline": BASELINE, "boundary": BETTER}
    assert seed_noise(PQ_POOLED, [still, still]) == 0
    moved = {"baseline": BASELINE, "boundary": folds(2, 4, 3)}
    scores = [[PQ_POOLED(of["boundary"][fold]) for of in (still, moved)] for fold in range(3)]
    # Two configs of three folds with one degree of freedom each, of which one config does not move.
    expected = np.sqrt(sum(np.var(pair, ddof=1) for pair in scores) / 6)
    assert seed_noise(PQ_POOLED, [still, moved]) == pytest.approx(expected)
    assert seed_noise(PQ_POOLED, [still]) is None


def test_a_config_that_is_in_no_seed_is_said_to_be_missing():
    lost = across_seeds((*CONFIGS, "lost"), [{"baseline": BASELINE, "boundary": BETTER}], GROUPS, SHARES, 3)
    assert [(one.config, one.folds) for one in lost] == [("boundary", 3)] * 2 + [("lost", 0)] * 2
    assert "lost cannot be compared with baseline: no fold has" in verdict("baseline", lost[1::2])


def test_numbers_are_plain_and_what_does_not_exist_is_none():
    (dice, _) = across_seeds(CONFIGS, [{"baseline": BASELINE}], GROUPS, SHARES, 3)
    assert dice.to_dict() == {
        "config": "boundary",
        "title": "Dice (image mean)",
        "folds": 0,
        "folds_asked": 3,
        "seeds": 1,
        "mean": None,
        "low": None,
        "high": None,
        "p_holm": None,
        "noise_floor": None,
        "sure": False,
    }
