"""Aperio SVS slides: the first page of the TIFF is the image, the others are a thumbnail, a label and a macro."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from nucplan.errors import NucplanError


def read_svs(path: Path) -> np.ndarray:
    """The image at full resolution, which must fit into memory: ``(H, W, 3)`` uint8 RGB.

    Raises
    ------
    NucplanError
        If the file is missing, damaged, or compressed in a way that imagecodecs cannot undo.
    """
    # tifffile meets damaged files with whatever its struct and codec calls raise.
    try:
        with tifffile.TiffFile(path) as file:
            image = file.pages[0].asarray()
    except FileNotFoundError:
        raise NucplanError(f"{path} is missing; restore it.") from None
    except Exception as error:
        raise NucplanError(f"{path} is damaged or cut short ({error}); copy it again.") from None
    if image.ndim != 3 or image.shape[2] < 3 or image.dtype != np.uint8:
        raise NucplanError(f"{path} is no RGB slide with 8 bits per channel; save its image as TIFF.")
    return np.ascontiguousarray(image[..., :3])
