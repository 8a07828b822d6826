"""Intensities of any type as 16 bits: one factor per channel for all images, so that their scale stays comparable."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from nucplan.errors import NucplanError

HIGHEST = np.iinfo(np.uint16).max


@dataclass(frozen=True)
class Scale:
    """What every image of a source is multiplied by, channel by channel; None where values stay as they are."""

    factors: tuple[float, ...] | None

    def apply(self, image: np.ndarray, origin: object) -> np.ndarray:
        """``image`` ``(H, W, C)`` as uint16.

        Raises
        ------
        NucplanError
            If a value is negative or no number.
        """
        if not np.isfinite(image).all() or image.min(initial=0) < 0:
            raise NucplanError(f"{origin} holds intensities that are negative or no numbers; correct or remove it.")
        if self.factors is None:
            return image.astype(np.uint16)
        return np.rint(image.astype(np.float64) * self.factors).clip(0, HIGHEST).astype(np.uint16)

    def remarks(self, channels: tuple[str, ...]) -> tuple[str, ...]:
        """What the user should know."""
        if self.factors is None:
            return ()
        factors = ", ".join(f"{name} by {factor:.6g}" for name, factor in zip(channels, self.factors, strict=True))
        return (f"To fit 16 bits, the intensities of all images were multiplied alike: {factors}.",)


def scale_of(images: Iterable[np.ndarray], dtypes: set[np.dtype], channels: int) -> Scale:
    """How all of ``images`` ``(H, W, C)`` fit 16 bits; they are not looked at where the types already tell.

    Whole numbers that fit stay. Otherwise the highest value of a channel becomes the highest of 16 bits.
    """
    if all(dtype.kind in "bu" and dtype.itemsize <= 2 for dtype in dtypes):
        return Scale(None)
    highest, whole = np.zeros(channels), True
    for image in images:
        numbers = np.where(np.isfinite(image), image, 0)
        highest = np.maximum(highest, numbers.max((0, 1), initial=0))
        whole = whole and bool((numbers == np.rint(numbers)).all())
    if whole and highest.max(initial=0) <= HIGHEST:
        return Scale(None)
    return Scale(tuple(HIGHEST / value if value else 1.0 for value in highest.tolist()))
