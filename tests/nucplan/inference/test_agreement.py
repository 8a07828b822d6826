"""How far the networks of an ensemble agree on a nucleus."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nucplan.inference.agreement import agreement

LABELS = arrays(np.int32, (6, 7), elements=st.integers(0, 4))


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
