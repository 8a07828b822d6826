"""Ids, colours and black and white are each read as what they are, and refused as what they are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nucplan.datasets.annotations.label_files import load_labelled, read_colours, read_ids, read_pieces
from nucplan.errors import NucplanError
from nucplan.images import write_image, write_label_map

from ..touching import CLASS_OF, label_map, picture


@given(arrays(np.int32, (4, 5), elements=st.integers(0, 2**24 - 1)))
@settings(max_examples=25, deadline=None)
def test_colours_hold_ids_of_24_bits(tmp_path_factory: pytest.TempPathFactory, ids: np.ndarray):
    path = tmp_path_factory.getbasetemp() / "a.png"
    write_image(path, np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8))
    np.testing.assert_array_equal(read_colours(path), ids)


def test_an_image_and_its_ids_are_all_of_class_1(tmp_path: Path):
    write_image(tmp_path / "a.png", picture())
    write_label_map(tmp_path / "a.tif", label_map())
    found = load_labelled(tmp_path / "a.png", tmp_path / "a.tif")
    np.testing.assert_array_equal(found.image, picture())
    np.testing.assert_array_equal(found.instances, label_map())
    assert found.class_of == dict.fromkeys(CLASS_OF, 1)
    pieces = load_labelled(tmp_path / "a.png", tmp_path / "a.tif", lambda path: read_ids(path) // 300)
    assert pieces.class_of == {1: 1}


def pieces(*corners: tuple[int, int], value: int = 1) -> np.ndarray:
    """Squares of 3 x 3 pixels in 20 x 20."""
    mask = np.zeros((20, 20), np.uint8)
    for row, column in corners:
        mask[row : row + 3, column : column + 3] = value
    return mask


@pytest.mark.parametrize(
    ("mask", "is_mask"),
    [
        (pieces((2, 2), (10, 10)), True),
        (pieces((0, 2), (10, 10)), True),
        (pieces((0, 2), (0, 10)), False),
        (pieces((0, 2), (17, 10)), False),
        (pieces((0, 2), (0, 10), value=255), True),
        (pieces((2, 2), value=255), False),
        (pieces((2, 2), (5, 5)), False),
        (pieces(), False),
    ],
    ids=["apart", "one at the edge", "cut by an edge", "cut by two", "white at an edge", "one", "at a corner", "none"],
)
def test_one_id_in_pieces_that_no_edge_can_have_cut_is_a_binary_mask(tmp_path: Path, mask: np.ndarray, is_mask: bool):
    write_image(tmp_path / "a.png", mask)
    if is_mask:
        with pytest.raises(NucplanError, match=r"a\.png has one id, \d+, in 2 separate pieces"):
            read_ids(tmp_path / "a.png")
    else:
        np.testing.assert_array_equal(read_ids(tmp_path / "a.png"), mask)


def test_pieces_are_counted_whatever_the_value_and_two_values_are_refused(tmp_path: Path):
    for value in (1, 255):
        write_image(tmp_path / "a.png", pieces((2, 2), (10, 10), value=value))
        assert np.bincount(read_pieces(tmp_path / "a.png").ravel()).tolist() == [400 - 18, 9, 9]
    write_image(tmp_path / "a.png", label_map())
    with pytest.raises(NucplanError, match=r"a\.png holds 3 values besides 0"):
        read_pieces(tmp_path / "a.png")


@pytest.mark.parametrize("stored", [label_map(), picture().astype(np.uint16)], ids=["grey", "16 bits"])
def test_pictures_without_8_bit_colours_hold_no_ids_of_24_bits(tmp_path: Path, stored: np.ndarray):
    write_image(tmp_path / "a.tif", stored)
    with pytest.raises(NucplanError, match=r"a\.tif is no RGB picture of 8 bits"):
        read_colours(tmp_path / "a.tif")
