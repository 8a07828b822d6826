from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucplan.datasets.annotations.stacks import eight_bit, read_row, row_origin, stack_shape
from nucplan.errors import NucplanError


def test_each_image_is_read_as_it_is_stored_and_is_no_map_of_the_file(tmp_path: Path):
    stack = np.random.default_rng(0).random((3, 4, 5, 2)).astype(np.float32)
    np.save(tmp_path / "a.npy", stack)
    assert stack_shape(tmp_path / "a.npy", (2, 3)) == (3, 4, 5)
    for index in range(3):
        row = read_row(tmp_path / "a.npy", index)
        np.testing.assert_array_equal(row, stack[index])
        assert type(row) is np.ndarray
        assert row.flags.owndata
    assert str(row_origin(tmp_path / "a.npy", 2)) == f"{tmp_path}/a.npy[2]"


@pytest.mark.parametrize("array", [np.zeros((3, 4, 5)), np.zeros((3, 4, 5, 4)), np.zeros((1, 1, 1, 3), "S1")])
def test_arrays_of_another_form_are_refused(tmp_path: Path, array: np.ndarray):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(NucplanError, match=r"a\.npy holds .*\(images, height, width, 3 or 6\)"):
        stack_shape(tmp_path / "a.npy", (3, 6))


@given(st.lists(st.integers(0, 255), min_size=1), st.sampled_from([np.int16, np.uint32, np.float32, np.float64]))
@settings(max_examples=50, deadline=None)
def test_whole_numbers_of_8_bits_become_bytes_whatever_their_type(values: list[int], dtype: type):
    found = eight_bit(np.array(values, dtype), "x")
    assert (found.dtype, found.tolist()) == (np.uint8, values)


@pytest.mark.parametrize("value", [-1, 256, 0.5, 255.01, np.nan, np.inf, -np.inf, 1e30])
def test_other_numbers_are_refused_and_never_wrapped(value: float):
    with pytest.raises(NucplanError, match=r"x holds intensities that are no whole numbers from 0 to 255"):
        eight_bit(np.array([1.0, value]), "x")
