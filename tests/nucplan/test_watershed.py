"""Basins are joined over the passes that are really there, and only where the rule says so."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nucplan.watershed import (
    Basins,
    distance_map,
    find_basins,
    find_contacts,
    highest_of_each_pair,
    join_shallow,
    label_maxima,
)


@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 2**32 - 1))
@settings(max_examples=80, deadline=None)
def test_contacts_are_all_places_where_ids_meet_and_the_pass_of_two_ids_is_the_highest_one(height, width, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, (height, width), dtype=np.int32)
    landscape = rng.random((height, width), dtype=np.float32)
    expected = []
    for r, c in np.ndindex(height, width):
        for other in ((r, c + 1), (r + 1, c)):
            if other[0] < height and other[1] < width and 0 < labels[r, c] != labels[other] > 0:
                ids = sorted((int(labels[r, c]), int(labels[other])))
                expected.append((*ids, min(landscape[r, c], landscape[other])))
    contacts = find_contacts(Basins(labels, landscape, np.zeros(4, np.float32)))
    low, high, saddles, pixels = contacts
    assert sorted(zip(low.tolist(), high.tolist(), saddles, strict=True)) == sorted(expected)
    assert np.array_equal(np.sort(labels.flat[pixels], axis=0), [low, high])
    assert np.array_equal(landscape.flat[pixels].min(axis=0), saddles)
    passes = highest_of_each_pair(contacts)
    highest = {ids: max(s for *pair, s in expected if tuple(pair) == ids) for ids in {pair[:2] for pair in expected}}
    assert dict(zip(zip(passes.low.tolist(), passes.high.tolist(), strict=True), passes.height, strict=True)) == highest
    assert (np.diff(passes.height) <= 0).all()


def row_of_three(passes: tuple[float, float]) -> Basins:
    """Basins 1, 2, 3 with peaks 10, 4 and 6 and a pass between each two neighbours."""
    labels = np.array([[1, 1, 2, 2, 3, 3]], np.int32)
    landscape = np.array([[10, passes[0], passes[0], passes[1], passes[1], 6]], np.float32)
    return Basins(labels, landscape, np.array([0, 10, 4, 6], np.float32))


def test_basins_stay_apart_where_the_pass_is_below_the_neck_of_the_lower_peak():
    areas = np.array([0, 2, 2, 2])
    assert len(set(join_shallow(row_of_three((3, 3)), areas, 0.8, 0)[1:])) == 3
    assert len(set(join_shallow(row_of_three((3.5, 3)), areas, 0.8, 0)[1:])) == 2
    # Joined to the first basin, the second has a higher peak, but the third one's peak is then the lower: 3.9 < 4.8.
    assert len(set(join_shallow(row_of_three((3.95, 3.9)), areas, 0.8, 0)[1:])) == 2


def test_a_small_basin_joins_its_neighbour_over_the_higher_pass():
    group = join_shallow(row_of_three((1, 2)), np.array([0, 20, 2, 20]), 0.8, 5)
    assert group[2] == group[3] != group[1]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_basins_cover_the_foreground_and_nothing_else(seed):
    foreground = np.random.default_rng(seed).random((30, 40)) < 0.6
    landscape = distance_map(foreground)
    basins = find_basins(foreground, landscape, label_maxima(landscape, foreground, 2))
    assert np.array_equal(basins.labels > 0, foreground)


def test_every_seed_is_a_basin_of_its_own_and_a_component_without_a_seed_is_one():
    foreground = np.zeros((5, 12), bool)
    foreground[1:4, 1:7] = foreground[1:4, 9:11] = True
    seeds = np.zeros((5, 12), np.int32)
    seeds[2, 1:3], seeds[2, 5:7] = 3, 5
    landscape = np.tile(np.abs(np.arange(12, dtype=np.float32) - 4), (5, 1))
    basins = find_basins(foreground, landscape, seeds)
    assert [len(np.unique(basins.labels[2, part])) for part in (np.s_[1:4], np.s_[5:7], np.s_[9:11])] == [1, 1, 1]
    assert len(np.unique(basins.labels[foreground])) == 3
    # The peak of a seed of several pixels is its highest one.
    assert basins.peaks[basins.labels[2, [1, 6]]].tolist() == [3, 2]


def test_the_border_of_the_image_is_not_background():
    foreground = np.zeros((20, 20), bool)
    foreground[:6, 5:15] = True
    assert distance_map(foreground)[:, 9].argmax() == 0
