"""Run lengths give back the mask; what is no run is refused in test_dsb2018."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nucplan.datasets.annotations.run_lengths import decode_runs, read_run_lengths
from nucplan.errors import NucplanError


def encoded(mask: np.ndarray) -> str:
    """Starts (from 1) and lengths down the columns."""
    edges = np.flatnonzero(np.diff(np.pad(mask.ravel(order="F").astype(int), 1)))
    return " ".join(f"{start + 1} {stop - start}" for start, stop in edges.reshape(-1, 2).tolist())


@given(arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7))))
@settings(max_examples=50, deadline=None)
def test_runs_give_back_the_mask(mask: np.ndarray):
    np.testing.assert_array_equal(decode_runs(encoded(mask), mask.shape, Path("x")), mask)


@pytest.mark.parametrize(
    "text",
    [
        "1 7",
        "6 2",
        "1 0",
        "0 1",
        "1 -1",
        "9223372036854775807 1",
        "9223372036854775807 2",
        "1 9223372036854775807",
        "99999999999999999999 1",
    ],
)
def test_runs_that_leave_the_image_are_refused(text: str):
    with pytest.raises(NucplanError, match=r"^x has "):
        decode_runs(text, (2, 3), Path("x"))


def test_lines_belong_to_their_image_and_empty_ones_to_images_without_nuclei(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text("Usage,ImageId,EncodedPixels\nx,a,1 2\nx,b,\nx,a,5 1 \n", encoding="utf-8-sig")
    assert read_run_lengths(path) == {"a": ["1 2", "5 1"], "b": []}
    path.write_bytes(b"ImageId,EncodedPixels\n\xff,1 2\n")
    with pytest.raises(NucplanError, match=r"a\.csv is not UTF-8 text"):
        read_run_lengths(path)
