"""The reference that needs no training: Otsu's threshold, distance transform, watershed."""

from __future__ import annotations

import numpy as np

PEAK_DISTANCE = 5
SMALLEST_AREA = 30
SMOOTHING = 1.0


def otsu_watershed(image: np.ndarray) -> np.ndarray:
    """Segment nuclei by Otsu's threshold (1979) and a watershed on the distance transform.

    Parameters
    ----------
    image : (H, W) grey, bright nuclei on dark; or (H, W, 3) RGB, stained by hematoxylin

    Returns
    -------
    np.ndarray
        ``(H, W)`` int32 label map. Distances are fitted to about 0.25 microns per pixel.
    """
    from scipy.ndimage import distance_transform_edt
    from skimage.feature import peak_local_max
    from skimage.filters import gaussian, threshold_otsu
    from skimage.morphology import remove_small_objects
    from skimage.segmentation import watershed

    stain = gaussian(_nuclear_stain(image), SMOOTHING)
    if stain.min() == stain.max():
        return np.zeros(stain.shape, np.int32)
    foreground = remove_small_objects(stain > threshold_otsu(stain), max_size=SMALLEST_AREA)
    distance = distance_transform_edt(foreground)
    seeds = np.zeros(stain.shape, np.int32)
    peaks = peak_local_max(
        gaussian(distance, SMOOTHING), min_distance=PEAK_DISTANCE, labels=foreground.astype(np.int32)
    )
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return watershed(-distance, seeds, mask=foreground).astype(np.int32)


def _nuclear_stain(image: np.ndarray) -> np.ndarray:
    from skimage.color import rgb2hed

    return rgb2hed(image)[..., 0] if image.ndim == 3 else image.astype(np.float64)
