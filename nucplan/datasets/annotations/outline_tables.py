"""Outlines in CSV, a nucleus per row, as NuCLS and PanopTILs have them.

``coords_x`` and ``coords_y`` are lists of whole numbers, separated by commas in one cell, of a ring through the
centres of the outermost pixels. A nucleus that was only boxed has the type ``rectangle``; some rows are called
``polyline`` and hold the four corners of a box all the same. Corners of boxes are centres of pixels as well.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nucplan.datasets.annotations.polygons import Outline
from nucplan.errors import NucplanError

RING_COLUMNS = ("coords_x", "coords_y")
CORNERS = 4


class Row(NamedTuple):
    """One row: its cells by column, its ring (n, 2) x, y, and whether that is a box instead of an outline."""

    cells: dict[str, str]
    ring: np.ndarray
    is_box: bool

    def outline(self, class_id: int = 1) -> Outline:
        # Fewer than 3 points are no ring, which only outlines along the edges of pixels have to be.
        return Outline([self.ring], class_id, centred=len(np.unique(self.ring, axis=0)) > 2)


def read_outlines(path: Path, columns: Iterable[str] = ()) -> list[Row]:
    """The rows of a table.

    Parameters
    ----------
    columns : what must be there beside the coordinates

    Raises
    ------
    NucplanError
        If the file is missing, lacks a column, or the coordinates of a row are no pairs of numbers.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as handle:
            table = csv.DictReader(handle)
            if lost := [name for name in (*RING_COLUMNS, *columns) if name not in (table.fieldnames or ())]:
                raise NucplanError(f"{path} has no column {', '.join(lost)}; download it again, or check the format.")
            return [_row(cells, f"{path}, line {table.line_num},") for cells in table]
    except OSError as error:
        raise NucplanError(f"{path} cannot be read ({error.strerror}); check the path.") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise NucplanError(f"{path} is no table ({error}); copy or download it again.") from None


def _row(cells: dict[str, str], where: str) -> Row:
    try:
        x, y = (np.array([float(n) for n in cells[name].split(",") if n.strip()]) for name in RING_COLUMNS)
        ring = np.stack([x, y], axis=1)
        if cells.get("type") == "rectangle":
            return Row(cells, _corners(*(float(cells[name]) for name in ("xmin", "ymin", "xmax", "ymax"))), True)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise NucplanError(f"{where} has no pairs of numbers as coordinates; download the file again.") from None
    return Row(cells, ring, _is_box(ring))


def _is_box(ring: np.ndarray) -> bool:
    return len(np.unique(ring, axis=0)) == CORNERS and all(len(np.unique(axis)) == 2 for axis in ring.T)


def _corners(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
