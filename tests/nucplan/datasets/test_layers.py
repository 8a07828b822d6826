from __future__ import annotations

import numpy as np
import pytest

from nucplan.datasets.layers import ids_of


@pytest.mark.parametrize("dtype", [np.int32, np.uint16, np.int64])
@pytest.mark.parametrize("ids", [[], [1], [2, 3], [1, 60_000]])
def test_ids_are_listed_whatever_their_size(dtype: type, ids: list[int]):
    labels = np.zeros((4, 5), dtype)
    labels.flat[: len(ids)] = ids[::-1]
    assert ids_of(labels) == ids
    assert ids_of(np.full((2, 2), 3, dtype)) == [3]


def test_label_maps_without_pixels_and_with_values_that_are_no_ids_do_not_fail():
    assert ids_of(np.zeros((0, 4), np.int32)) == []
    assert ids_of(np.array([[-1, 0], [2, 2]])) == [-1, 2]
    assert ids_of(np.array([[1.0, 0.0]])) == [1.0]
