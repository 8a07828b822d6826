"""From a class per pixel to a class per nucleus."""

from __future__ import annotations

import numpy as np


def classes_of(labels: np.ndarray, class_map: np.ndarray) -> dict[int, int]:
    """Id to class, by ascending id: that of its first pixel, as a nucleus has one class.

    Parameters
    ----------
    labels, class_map
        (H, W) integer; 0 in ``labels`` is background and has no entry.
    """
    ids, first = np.unique(labels, return_index=True)
    values = zip(ids.tolist(), class_map.ravel()[first].tolist(), strict=True)
    return {nucleus: value for nucleus, value in values if nucleus}
