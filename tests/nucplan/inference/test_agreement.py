"""An ensemble: the mean of its networks, and how far they agree on a nucleus."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nucplan.inference.agreement import MeanMaps, agreement
from nucplan.instances import NucleusProbabilities

LABELS = arrays(np.int32, (6, 7), elements=st.integers(0, 4))


def random_maps(seed: int, boundary: bool) -> NucleusProbabilities:
    generator = np.random.default_rng(seed)
    semantic = generator.dirichlet([1, 1, 1], (5, 7)).transpose(2, 0, 1).astype(np.float16)
    return NucleusProbabilities(semantic, generator.random((5, 7)).astype(np.float16) if boundary else None)


@pytest.mark.parametrize("boundaries", [(True, True, True), (False, True, True), (False, False, False)])
def test_maps_are_averaged_and_boundaries_over_the_networks_that_have_them(boundaries):
    maps, mean = [random_maps(seed, boundary) for seed, boundary in enumerate(boundaries)], MeanMaps()
    for one in maps:
        mean.add(one)
    found = mean.mean()
    np.testing.assert_allclose(found.semantic, np.mean([m.semantic for m in maps], 0, np.float32), atol=1e-3)
    known = [m.boundary for m in maps if m.boundary is not None]
    if known:
        np.testing.assert_allclose(found.boundary, np.mean(known, 0, np.float32), atol=1e-3)
    else:
        assert found.boundary is None


def test_the_mean_of_one_network_is_what_it_said():
    maps, mean = random_maps(0, True), MeanMaps()
    mean.add(maps)
    assert all(np.array_equal(found, said) for found, said in zip(mean.mean(), maps, strict=True))


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


@settings(deadline=None)
@given(LABELS, st.lists(LABELS, min_size=1, max_size=3))
def test_it_is_the_mean_over_the_networks_of_the_best_iou_with_one_of_their_nuclei(labels, of_networks):
    labels = np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int32)
    found = agreement(labels, of_networks)
    assert len(found) == labels.max()
    for nucleus in range(1, labels.max() + 1):
        best = [max(iou(labels == nucleus, other == i) for i in range(1, 5)) for other in of_networks]
        assert found[nucleus - 1] == pytest.approx(np.mean(best), abs=1e-6)
