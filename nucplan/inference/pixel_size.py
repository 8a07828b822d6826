"""Images of another pixel size than the model was trained at: resampled for it, their nuclei brought back."""

from __future__ import annotations

import cv2
import numpy as np

from nucplan.errors import NucplanError
from nucplan.inference.interface import NucleusFinder
from nucplan.instances import Instances, relabelled

# Pixel sizes that scanners state for one magnification differ by about this much; resampling would only blur.
TOLERANCE = 0.03
# Beyond this factor the number is a slip of the unit, and the image would not fit into memory.
LARGEST_FACTOR = 10
# Channels that OpenCV shrinks at once.
MOST_TOGETHER = 4


def scale_to_model(image_mpp: float | None, model_mpp: float | None) -> float:
    """The factor by which an image is enlarged before prediction; 1 within the tolerance or where a size is unknown.

    Parameters
    ----------
    image_mpp, model_mpp
        Microns per pixel of the image and of the training data.

    Raises
    ------
    NucplanError
        If ``image_mpp`` is not a positive number, or more than ten times larger or smaller than ``model_mpp``.
    """
    if image_mpp is None:
        return 1.0
    if not 0 < image_mpp < np.inf:
        raise NucplanError(f"The pixel size --mpp {image_mpp:g} is not greater than 0; give microns per pixel.")
    scale = 1.0 if model_mpp is None else image_mpp / model_mpp
    if not 1 / LARGEST_FACTOR <= scale <= LARGEST_FACTOR:
        raise NucplanError(
            f"The pixel size --mpp {image_mpp:g} is too far from the {model_mpp:g} um per pixel of the model's "
            "training data; check that it is in microns."
        )
    return scale if abs(scale - 1) > TOLERANCE else 1.0


def predict_at_scale(predictor: NucleusFinder, image: np.ndarray, scale: float, progress=iter) -> Instances:
    """Nuclei of ``image`` (H, W) or (H, W, C) at its own size, predicted on the image enlarged by ``scale``."""
    return at_image_size(predictor(at_model_size(image, scale), progress), image.shape[:2])


def at_model_size(image: np.ndarray, scale: float) -> np.ndarray:
    """``image`` (H, W) or (H, W, C) enlarged by ``scale``; itself where that is 1."""
    if scale == 1:
        return image
    height, width = image.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    if image.ndim == 3 and image.shape[2] > MOST_TOGETHER:
        return np.dstack([cv2.resize(plane, size, interpolation=how) for plane in np.moveaxis(image, 2, 0)])
    return cv2.resize(image, size, interpolation=how)


def at_image_size(found: Instances, shape: tuple[int, int]) -> Instances:
    """Nuclei of an image that was resampled, at the (H, W) that it had before."""
    if found.labels.shape == shape:
        return found
    # Nearest neighbour, so that ids stay ids.
    return relabelled(found, cv2.resize(found.labels, shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT))
