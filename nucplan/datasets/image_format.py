"""What all images of one dataset share: how many channels, how deep, under which names, in which kind of file."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class ImageFormat(NamedTuple):
    """What all images of one dataset share."""

    channels: int
    bits: int
    markers: tuple[str, ...] | None = None

    @classmethod
    def of(cls, image: np.ndarray, markers: tuple[str, ...] | None = None) -> ImageFormat:
        return cls(1 if image.ndim == 2 else image.shape[2], image.dtype.itemsize * 8, markers)

    @property
    def file_ending(self) -> str:
        # The PNG reader behind nnU-Net cuts 16-bit RGB down to 8 bits.
        return ".tif" if self[:2] == (3, 16) and not self.markers else ".png"

    @property
    def channel_names(self) -> dict[str, str]:
        names = self.markers or (("grey",) if self.channels == 1 else ("R", "G", "B"))
        return {str(i): name for i, name in enumerate(names)}

    def __str__(self) -> str:
        if self.markers:
            return f"multiplex with {self.channels} planes of {self.bits} bits"
        return f"{'grey' if self.channels == 1 else 'RGB'} with {self.bits} bits"
