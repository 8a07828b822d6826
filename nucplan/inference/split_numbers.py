"""The numbers behind split decisions, written beside their passes where there is room."""

from __future__ import annotations

import cv2
import numpy as np

from nucplan.explanation import SplitTable
from nucplan.inference.panels import FONT
from nucplan.watershed import Decision

SCALE = 0.48
# Between a pass and its number, and around a number, px of the picture.
DISTANCE, MARGIN = 9, 3
# More numbers would hide the landscape: this is one for each 110 x 110 px.
NUMBERS_PER_PIXEL = 1 / 110**2

# Left, top, right, bottom.
Box = tuple[int, int, int, int]


def place_numbers(table: SplitTable, factor: float, shape: tuple[int, int]) -> dict[int, Box]:
    """Where the numbers of the decisions go: inside of the panel and never over each other.

    Parameters
    ----------
    table : SplitTable
        In pixels of the image.
    factor : float
        From the image to the panel.
    shape : (int, int)
        Height and width of the panel in pixels.

    Returns
    -------
    dict
        Row of the table to left, top, right, bottom of its text; only the closest decisions, and of those only such as
        find room and were decided by a number.
    """
    taken = np.zeros(shape, bool)
    places: dict[int, Box] = {}
    decided = np.flatnonzero(table.decision != Decision.JOINED_AROUND)
    closest = decided[np.argsort(np.abs(table.ratio - table.neck)[decided], kind="stable")]
    for row in closest[: int(NUMBERS_PER_PIXEL * taken.size) + 1].tolist():
        for box in _boxes(table, row, factor):
            left, top, right, bottom = box
            inside = left >= MARGIN and top >= MARGIN and right + MARGIN <= shape[1] and bottom + MARGIN <= shape[0]
            around = np.s_[top - MARGIN : bottom + MARGIN, left - MARGIN : right + MARGIN]
            if inside and not taken[around].any():
                taken[around] = True
                places[row] = box
                break
    return places


def _boxes(table: SplitTable, row: int, factor: float) -> list[Box]:
    """Boxes for the number of a row to the right, to the left, below and above its pass."""
    y, x = ((table.position[row] + 0.5) * factor).astype(int).tolist()
    width, height = cv2.getTextSize(_number(table, row), FONT, SCALE, 1)[0]
    corners = (
        (x + DISTANCE, y - height // 2),
        (x - DISTANCE - width, y - height // 2),
        (x - width // 2, y + DISTANCE),
        (x - width // 2, y - DISTANCE - height),
    )
    return [(left, top, left + width, top + height) for left, top in corners]


def write_number(picture: np.ndarray, table: SplitTable, row: int, box: Box, colour: tuple[int, int, int]) -> None:
    """Write the number of a row into its box, in place, with a black rim that parts it from what lies below."""
    left, _, _, bottom = box
    for thickness, paint in ((3, (0, 0, 0)), (1, colour)):
        cv2.putText(picture, _number(table, row), (left, bottom), FONT, SCALE, paint, thickness, cv2.LINE_AA)


def _number(table: SplitTable, row: int) -> str:
    if table.decision[row] == Decision.JOINED_TOO_SMALL:
        return "small"
    return f"{table.ratio[row]:.2f}".removeprefix("0")
