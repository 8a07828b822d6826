"""Intensities of any type as 8 or 16 bits: what has to be scaled gets one factor per channel for all images."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from nucplan.datasets.annotations.layers import counted
from nucplan.errors import NucplanError

HIGHEST = np.iinfo(np.uint16).max
NEGATIVE = "intensities below 0, set to 0"


@dataclass(frozen=True)
class Scale:
    """How every image of a source fits 8 or 16 bits.

    Attributes
    ----------
    dtype : uint8 or uint16, of what is written
    factors : what each channel is multiplied by; None where values stay as they are
    """

    dtype: np.dtype
    factors: tuple[float, ...] | None = None

    def apply(self, image: np.ndarray, origin: object) -> tuple[np.ndarray, dict[str, int]]:
        """``image`` ``(H, W, C)`` as `dtype`, and how many values were negative.

        Raises
        ------
        NucplanError
            If a value is no finite number; the message names ``origin``.
        """
        if self.factors is None and not _needs_a_look(image.dtype):
            return image.astype(self.dtype, copy=False), {}
        scaled, negative = np.empty(image.shape, self.dtype), 0
        # Channel by channel, as float64 takes several times the memory of most images.
        for channel, factor in enumerate(self.factors or [1.0] * image.shape[2]):
            plane = image[..., channel].astype(np.float64)
            if not np.isfinite(plane).all():
                raise NucplanError(f"{origin} holds intensities that are no numbers; correct or remove the image.")
            negative += int((plane < 0).sum())
            scaled[..., channel] = np.rint(plane * factor).clip(0, HIGHEST)
        return scaled, counted([(NEGATIVE, negative)])

    def remarks(self, channels: Sequence[str]) -> tuple[str, ...]:
        """The factors as a sentence for the user; none where values stay as they are."""
        if self.factors is None:
            return ()
        factors = ", ".join(f"{name} by {factor:.6g}" for name, factor in zip(channels, self.factors, strict=True))
        return (f"To fit 16 bits, the intensities of all images were multiplied by one factor per channel: {factors}.",)


def scale_of(images: Iterable[np.ndarray], dtypes: Collection[np.dtype]) -> Scale:
    """How all of ``images`` ``(H, W, C)``, of ``dtypes``, fit; they are not looked at where the types already tell.

    Whole numbers up to 65535 stay as they are. Otherwise the highest value of each channel becomes 65535. Images that
    `Scale.apply` will refuse have no say.
    """
    if not any(map(_needs_a_look, dtypes)):
        return Scale(np.dtype(np.uint8 if all(dtype.itemsize == 1 for dtype in dtypes) else np.uint16))
    highest, whole = np.zeros(1), True
    for image in images:
        planes = np.moveaxis(image, 2, 0)
        if all(np.isfinite(plane).all() for plane in planes):
            highest = np.maximum(highest, [plane.max(initial=0) for plane in planes])
            whole = whole and all((plane == np.rint(plane)).all() for plane in planes)
    if whole and highest.max() <= HIGHEST:
        return Scale(np.dtype(np.uint16))
    return Scale(np.dtype(np.uint16), tuple(HIGHEST / value if value else 1.0 for value in highest.tolist()))


def _needs_a_look(dtype: np.dtype) -> bool:
    """Whether values of the type may be other than whole numbers of at most 16 bits."""
    return dtype.kind not in "bu" or dtype.itemsize > 2
