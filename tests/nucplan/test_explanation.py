"""What is said of a decision is what decoding did, and the numbers are those that decided."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucplan.explanation import Frame, explain, in_image
from nucplan.instances import DECODERS, DecoderPlan, NucleusProbabilities, decode, relabelled
from nucplan.watershed import Basins, Decision, decide, find_contacts, highest_of_each_pair, join_shallow

quick = settings(max_examples=20, deadline=None)
seeds = st.integers(0, 2**32 - 1)
all_decoders = pytest.mark.parametrize("name", DECODERS)


def crowded_maps(seed: int, shape: tuple[int, int] = (70, 80)) -> NucleusProbabilities:
    """Smooth random maps, two thirds of them foreground: many basins touch."""
    rng = np.random.default_rng(seed)
    noise = [cv2.GaussianBlur(rng.standard_normal(shape).astype(np.float32), (0, 0), sigma) for sigma in (3, 1.5)]
    foreground, boundary = 1 / (1 + np.exp(-40 * (noise[0] + 0.04))), 1 / (1 + np.exp(-10 * noise[1]))
    return NucleusProbabilities(np.stack([1 - foreground, foreground]), boundary)


def plan_of(name: str) -> DecoderPlan:
    return DecoderPlan.default(name, 10)


def random_basins(seed: int) -> tuple[Basins, np.ndarray]:
    """Basins that are all neighbours of each other, at random heights with many ties, and their areas."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(1, 9, (7, 8)).astype(np.int32)
    landscape = rng.integers(1, 9, labels.shape).astype(np.float32)
    peaks = np.append(0, rng.integers(8, 40, 8)).astype(np.float32)
    return Basins(labels, landscape, peaks), np.append(0, rng.integers(1, 20, 8))


@all_decoders
@given(seed=seeds)
@quick
def test_the_nuclei_are_those_of_decoding_and_their_ids_tell_the_decision(name, seed):
    maps, plan = crowded_maps(seed), plan_of(name)
    decisions = explain(maps, plan)
    table = decisions.table
    assert np.array_equal(decisions.nuclei, decode(maps, plan).labels)
    same = table.nuclei[:, 0] == table.nuclei[:, 1]
    assert np.array_equal(same, table.decision != Decision.KEPT)
    assert (table.nuclei[~same] > 0).all()


@all_decoders
@given(seed=seeds)
@quick
def test_each_pair_of_touching_basins_has_one_row(name, seed):
    decisions = explain(crowded_maps(seed), plan_of(name))
    basins, pairs = decisions.basins, set()
    for a, b in ((basins[:, :-1], basins[:, 1:]), (basins[:-1], basins[1:])):
        meet = (a != b) & (a > 0) & (b > 0)
        pairs |= {tuple(sorted(pair)) for pair in zip(a[meet].tolist(), b[meet].tolist(), strict=True)}
    rows = decisions.table.position
    found = {
        tuple(sorted((int(basins[int(r), int(c)]), int(basins[int(np.ceil(r)), int(np.ceil(c))])))) for r, c in rows
    }
    assert found == pairs
    assert len(decisions.table) == len(pairs)


@all_decoders
@given(seed=seeds)
@quick
def test_ratio_and_neck_agree_with_the_decision(name, seed):
    plan = plan_of(name)
    table = explain(crowded_maps(seed), plan).table
    above = table.pass_height > plan.neck * table.lower_peak
    np.testing.assert_allclose(table.ratio, table.pass_height / table.lower_peak)
    assert above[table.decision == Decision.JOINED].all()
    assert not above[np.isin(table.decision, [Decision.KEPT, Decision.JOINED_TOO_SMALL])].any()


@given(seeds, st.floats(0, 1), st.integers(0, 30))
@settings(max_examples=80, deadline=None)
def test_decisions_are_those_of_sets_that_are_united_one_pass_after_the_other(seed, neck, minimum_area):
    basins, areas = random_basins(seed)
    passes = highest_of_each_pair(find_contacts(basins))
    found = decide(passes, basins.peaks, areas, neck, minimum_area)
    sets = {i: frozenset([i]) for i in range(len(areas))}
    for row, (a, b, height) in enumerate(zip(passes.low.tolist(), passes.high.tolist(), passes.height, strict=True)):
        sides = sets[a], sets[b]
        lower = min(max(basins.peaks[i] for i in side) for side in sides)
        assert found.lower_peak[row] == lower
        if sides[0] is sides[1]:
            expected = Decision.JOINED_AROUND
        elif height > neck * lower:
            expected = Decision.JOINED
        elif min(sum(areas[i] for i in side) for side in sides) < minimum_area:
            expected = Decision.JOINED_TOO_SMALL
        else:
            expected = Decision.KEPT
        assert found.decision[row] == expected
        if expected in (Decision.JOINED, Decision.JOINED_TOO_SMALL):
            sets |= dict.fromkeys(sides[0] | sides[1], sides[0] | sides[1])
    assert all((found.group[i] == found.group[j]) == (sets[i] is sets[j]) for i in sets for j in sets)
    # Decoding looks only at passes that may be joined, which changes nothing.
    assert np.array_equal(join_shallow(basins, areas, neck, minimum_area), found.group)


def test_a_nucleus_that_is_dropped_as_too_small_is_0():
    # More than the whole image: basins are joined until none has a neighbour, and all are dropped.
    table = explain(crowded_maps(3), replace(plan_of("distance"), minimum_area=100, neck=1)).table
    assert len(table) > 0
    assert (table.nuclei == 0).all()
    assert set(table.decision) == {Decision.JOINED_TOO_SMALL, Decision.JOINED_AROUND}


def test_without_touching_basins_the_table_is_empty():
    maps = crowded_maps(0)
    empty = NucleusProbabilities(np.stack([np.ones((70, 80)), np.zeros((70, 80))]), maps.boundary)
    for name in DECODERS:
        decisions = explain(empty, plan_of(name))
        assert len(decisions.table) == len(decisions.table.ratio) == 0
        placed = in_image(decisions, np.zeros((70, 80), np.int32), Frame(0, 70, 0, 80))
        assert placed.table.nuclei.shape == placed.table.position.shape == (0, 2)


@given(seeds, st.sampled_from([0.5, 0.7, 1.0, 2.0]), st.integers(0, 9), st.integers(0, 9))
@quick
def test_in_an_image_of_another_size_ids_and_places_are_those_of_its_nuclei(seed, scale, top, left):
    decisions = explain(crowded_maps(seed), plan_of("interior"))
    found = decode(crowded_maps(seed), plan_of("interior"))
    height, width = (round(side / scale) for side in decisions.nuclei.shape)
    labels = np.zeros((height + top + 3, width + left + 5), np.int32)
    resized = cv2.resize(found.labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    labels[top : top + height, left : left + width] = resized
    instances = relabelled(found, labels)
    # Relabelling keeps the order of the ids, hence the rank of an id is its new one.
    ids = np.unique(labels[labels > 0])
    new_id = np.zeros(found.labels.max() + 1, np.int32)
    new_id[ids] = np.arange(1, len(ids) + 1)
    placed = in_image(decisions, instances.labels, Frame(top, top + height, left, left + width)).table
    assert np.array_equal(placed.nuclei, new_id[decisions.table.nuclei])
    centres = decisions.table.position + 0.5
    expected = centres * (height / 70, width / 80) + (top, left) - 0.5
    np.testing.assert_allclose(placed.position, expected)
    assert placed.decision is decisions.table.decision
