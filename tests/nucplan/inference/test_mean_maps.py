"""The mean of the networks of an ensemble."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nucplan.inference.mean_maps import MeanMaps
from nucplan.instances import NucleusProbabilities

BOUNDARIES = st.lists(arrays(np.float16, (4, 6), elements=st.floats(0, 1, width=16)), min_size=2, max_size=5)


def random_maps(seed: int, boundary: bool) -> NucleusProbabilities:
    generator = np.random.default_rng(seed)
    semantic = generator.dirichlet([1, 1, 1], (5, 7)).transpose(2, 0, 1).astype(np.float16)
    return NucleusProbabilities(semantic, generator.random((5, 7)).astype(np.float16) if boundary else None)


def mean_of(maps: list[NucleusProbabilities]) -> NucleusProbabilities:
    mean = MeanMaps()
    for one in maps:
        mean.add(one)
    return mean.mean()


def mean_boundary(boundaries: list[np.ndarray]) -> np.ndarray:
    semantic = np.ones((1, *boundaries[0].shape), np.float16)
    return mean_of([NucleusProbabilities(semantic, boundary) for boundary in boundaries]).boundary


@pytest.mark.parametrize("boundaries", [(True, True, True), (False, True, True), (False, False, False)])
def test_classes_are_averaged_and_a_boundary_is_there_where_one_network_has_it(boundaries):
    maps = [random_maps(seed, boundary) for seed, boundary in enumerate(boundaries)]
    found = mean_of(maps)
    np.testing.assert_allclose(found.semantic, np.mean([m.semantic for m in maps], 0, np.float32), atol=1e-3)
    assert (found.boundary is not None) == any(boundaries)


def test_the_mean_of_one_network_or_of_equal_ones_is_what_they_said():
    maps = random_maps(0, True)
    for count in (1, 3):
        found = mean_of([maps] * count)
        np.testing.assert_array_equal(found.boundary, maps.boundary)
        np.testing.assert_allclose(found.semantic, maps.semantic, atol=1e-3)


@settings(deadline=None)
@given(BOUNDARIES)
def test_the_boundary_keeps_the_order_of_the_mean_and_has_values_that_networks_said(boundaries):
    found, mean = mean_boundary(boundaries), np.mean(boundaries, 0, np.float32).astype(np.float16)
    order = np.argsort(mean, axis=None, kind="stable")
    assert (np.diff(found.ravel()[order].astype(np.float32)) >= 0).all()
    assert np.isin(found, np.abs(boundaries)).all()


@settings(deadline=None)
@given(BOUNDARIES)
def test_each_pixel_gets_the_value_that_has_its_rank_among_the_pixels_of_the_networks(boundaries):
    mean = np.mean(boundaries, 0, np.float32).astype(np.float16).ravel()
    pool = np.sort(np.abs(np.concatenate([b.ravel() for b in boundaries])))
    for value, found in zip(mean, mean_boundary(boundaries).ravel(), strict=True):
        rank = ((mean < value).sum() + (mean <= value).sum()) / 2 / len(mean)
        shares = np.arange(1, len(pool) + 1) / len(pool)
        assert found == pool[np.argmax(shares >= rank - 1e-9)]


def test_soft_lines_that_lie_side_by_side_give_the_one_in_the_middle_as_sharp_as_it_is():
    lines = [np.zeros((9, 9), np.float16) for _ in range(3)]
    for column, line in enumerate(lines, start=3):
        line[:, column - 1 : column + 2] = (0.4, 0.9, 0.4)
    np.testing.assert_array_equal(mean_boundary(lines), lines[1])
