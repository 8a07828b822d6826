"""The eight symmetries of the square: all that augmentation can do to an image without a new pixel value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Window = tuple[slice, slice]


@dataclass(frozen=True)
class Symmetry:
    """Quarter turns, anticlockwise, then a mirroring of left and right where ``mirrored``."""

    quarter_turns: int
    mirrored: bool

    def __call__(self, array: np.ndarray) -> np.ndarray:
        """A view of the array (..., H, W) with its last two axes moved."""
        turned = np.rot90(array, self.quarter_turns, axes=(-2, -1))
        return turned[..., ::-1] if self.mirrored else turned

    @property
    def inverse(self) -> Symmetry:
        # A mirroring, turned or not, undoes itself.
        return self if self.mirrored else Symmetry(-self.quarter_turns % 4, False)

    def shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        """What becomes of an image of this shape (H, W)."""
        height, width = shape
        return (width, height) if self.quarter_turns % 2 else (height, width)

    def window(self, window: Window, shape: tuple[int, int]) -> Window:
        """Where a window of an image of this shape lies in the moved image."""
        rows, columns = window
        for _ in range(self.quarter_turns):
            rows, columns = _reversed(columns, shape[1]), rows
            shape = shape[::-1]
        return (rows, _reversed(columns, shape[1])) if self.mirrored else (rows, columns)


def _reversed(places: slice, length: int) -> slice:
    return slice(length - places.stop, length - places.start)


SYMMETRIES = tuple(Symmetry(turns, mirrored) for mirrored in (False, True) for turns in range(4))
IDENTITY = SYMMETRIES[0]
