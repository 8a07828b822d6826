"""Sheets of titled panels: pictures with a title above and a key below, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

FONT, FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.55
LINE_HEIGHT = 28
TITLE_HEIGHT, TITLE_SCALE = 32, 0.65
GAP = 12

Colour = tuple[int, int, int]


def key(entries: Sequence[tuple[str, Colour | None]], width: int) -> np.ndarray:
    """White strip (h, ``width``, 3) with each text, after a swatch where it has a colour, wrapped to ``width``."""
    places, x, line = [], 10, 0
    for text, colour in entries:
        needed = cv2.getTextSize(text, FONT, FONT_SCALE, 1)[0][0] + (50 if colour else 28)
        if x > 10 and x + needed > width:
            x, line = 10, line + 1
        places.append((x, line))
        x += needed
    strip = np.full(((line + 1) * LINE_HEIGHT, width, 3), 255, np.uint8)
    for (text, colour), (x, line) in zip(entries, places, strict=True):
        base = line * LINE_HEIGHT
        if colour:
            cv2.rectangle(strip, (x, base + 7), (x + 14, base + 21), colour, cv2.FILLED)
        cv2.putText(strip, text, (x + 22 * bool(colour), base + 20), FONT, FONT_SCALE, (0, 0, 0), 1, cv2.LINE_AA)
    return strip


def panel(title: str, picture: np.ndarray, below: np.ndarray) -> np.ndarray:
    """A title, a picture and what explains it, below each other; a narrow picture gets a white margin."""
    width = max(picture.shape[1], below.shape[1])
    head = np.full((TITLE_HEIGHT, width, 3), 255, np.uint8)
    # A long title is written smaller, so that it ends within its panel.
    scale = TITLE_SCALE * min(1, (width - 4) / cv2.getTextSize(title, FONT, TITLE_SCALE, 1)[0][0])
    cv2.putText(head, title, (2, TITLE_HEIGHT - 10), FONT, scale, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([head, _padded(picture, picture.shape[0], width), _padded(below, below.shape[0], width)])


def sheet(panels: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Panels in rows of ``columns``, white between them: (H, W, 3) uint8."""
    width = max(each.shape[1] for each in panels) + GAP
    rows = [panels[first : first + columns] for first in range(0, len(panels), columns)]
    lines = [[_padded(each, max(map(len, row)) + GAP, width) for each in row] for row in rows]
    whole = np.concatenate([_padded(np.hstack(line), len(line[0]), len(lines[0]) * width) for line in lines])
    return np.pad(whole, ((GAP, 0), (GAP, 0), (0, 0)), constant_values=255)


def _padded(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    missing = ((0, height - picture.shape[0]), (0, width - picture.shape[1]), (0, 0))
    return np.pad(picture, missing, constant_values=255)
