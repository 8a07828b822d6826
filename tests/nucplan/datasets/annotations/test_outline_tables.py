"""Rows of outlines: rings through the centres of pixels are nuclei, four corners are boxes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nucplan.datasets.annotations.outline_tables import read_outlines
from nucplan.datasets.annotations.polygons import TOO_FEW_POINTS, draw
from nucplan.errors import NucplanError

HEADER = "type,xmin,ymin,xmax,ymax,coords_x,coords_y,name\n"


def line(ring: np.ndarray, kind: str = "polyline", box: tuple[int, ...] = (0, 0, 0, 0)) -> str:
    x, y = (",".join(map(str, axis)) for axis in np.reshape(ring, (-1, 2)).T)
    return f'{kind},{",".join(map(str, box))},"{x}","{y}",n\n'


def write(path: Path, *lines: str) -> Path:
    path.write_text(HEADER + "".join(lines))
    return path


@given(arrays(np.uint8, (7, 9), elements=st.integers(0, 1)))
@settings(max_examples=40, deadline=None)
def test_rings_as_opencv_draws_them_give_back_nuclei_without_holes(tmp_path_factory, pixels: np.ndarray):
    contours = cv2.findContours(pixels, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    # Four corners are a box and two points no ring, whatever they were meant to be.
    rings = [ring[:, 0] for ring in contours if len(np.unique(ring, axis=0)) > 4]
    expected = cv2.drawContours(np.zeros_like(pixels), [ring[:, None] for ring in rings], -1, 1, cv2.FILLED)
    rows = read_outlines(write(tmp_path_factory.getbasetemp() / "a.csv", *map(line, rings)))
    assert not any(row.is_box for row in rows)
    np.testing.assert_array_equal(draw([row.outline() for row in rows], pixels.shape).instances > 0, expected > 0)


def test_boxes_are_told_by_their_type_or_by_their_four_corners(tmp_path: Path):
    corners = np.array([[2, 3], [12, 3], [12, 9], [2, 9], [2, 3]])
    tilted = np.array([[2, 3], [12, 4], [12, 9], [2, 9]])
    lines = (line(np.zeros((0, 2)), "rectangle", (2, 3, 12, 9)), line(corners), line(tilted))
    rows = read_outlines(write(tmp_path / "a.csv", *lines))
    assert [row.is_box for row in rows] == [True, True, False]
    # Corners are pixels of the nucleus, as those of outlines are.
    drawn = [draw([row.outline()], (20, 20)).instances > 0 for row in rows[:2]]
    np.testing.assert_array_equal(*drawn)
    assert int(drawn[0].sum()) == 11 * 7


@pytest.mark.parametrize("points", [[], [[1, 1]], [[1, 1], [5, 5]], [[1, 1], [5, 5], [1, 1]]])
def test_fewer_than_three_points_are_no_outline(tmp_path: Path, points: list):
    (row,) = read_outlines(write(tmp_path / "a.csv", line(np.array(points))))
    assert draw([row.outline()], (20, 20)).left_out == {TOO_FEW_POINTS: 1}


def test_columns_that_are_asked_for_must_be_there(tmp_path: Path):
    path = write(tmp_path / "a.csv")
    assert read_outlines(path, ["name"]) == []
    with pytest.raises(NucplanError, match=r"a\.csv has no column class, group; "):
        read_outlines(path, ["class", "name", "group"])


def test_bad_rows_are_named_by_their_line_and_bad_files_by_their_path(tmp_path: Path):
    fine = line(np.array([[1, 1], [5, 1], [3, 4]]))
    for bad in ("polyline,0,0,0,0\n", 'polyline,0,0,0,0,"1,2","1",n\n', "rectangle,a,0,0,0,,,n\n"):
        with pytest.raises(NucplanError, match=r"a\.csv, line 3, has no pairs of numbers"):
            read_outlines(write(tmp_path / "a.csv", fine, bad))
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(NucplanError, match=r"a\.csv is no table"):
        read_outlines(tmp_path / "a.csv")
    with pytest.raises(NucplanError, match=r"b\.csv cannot be read"):
        read_outlines(tmp_path / "b.csv")
