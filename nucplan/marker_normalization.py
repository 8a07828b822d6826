"""Normalisation of multiplex images: counts of markers, most of them 0, brought to comparable values.

An image of a marker is sparse (49 to 94 % zeros) and has a long tail, so that mean and deviation of single images say
more about how many positive cells they hold than about exposure. Each marker is clipped, taken to the logarithm where
its range is wide, and standardised by mean and deviation of the whole cohort.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Key of a configuration in the plans file, of multiplex data alone: the rules, one per channel.
MARKER_NORMALIZATION = "marker_normalization"
# In place of a value: the 99th percentile of all pixels of the image in question (VirTues, arXiv 2501.06039).
IMAGE_Q99 = "image_q99"

Rule = Mapping[str, Any]


def normalize_markers(image: np.ndarray, rules: Sequence[Rule]) -> np.ndarray:
    """Normalise each marker by its rule; the one place that does so, for training and inference alike.

    A marker that is 0 in the whole image was not measured there: it stays exactly 0, by which the network knows it as
    absent. A marker that was measured is 0 nowhere by chance alone, as 0 is its mean.

    Parameters
    ----------
    image : (C, ...) intensities, not negative
    rules : sequence of C mappings
        "clip" (highest intensity, or `IMAGE_Q99`), "unit" (intensity of one count, by which is divided), "log"
        (whether log1p follows), "mean" and "std" (of the cohort after all this); "marker" is for the reader.

    Returns
    -------
    (C, ...) float32
    """
    normalised = np.zeros(image.shape, np.float32)
    for plane, rule, result in zip(image, rules, normalised, strict=True):
        if plane.any():
            values = compressed(plane, clip_of(plane, rule["clip"]), rule["unit"], rule["log"])
            result[...] = (values - np.float32(rule["mean"])) / np.float32(rule["std"])
    return normalised


def clip_of(plane: np.ndarray, clip: float | str) -> float:
    """The highest intensity that ``plane`` keeps."""
    return float(np.quantile(plane, 0.99)) if clip == IMAGE_Q99 else clip


def compressed(values: np.ndarray, clip: float, unit: float, log: bool) -> np.ndarray:
    """Clipped values in counts, or log1p of them, float32."""
    counts = np.minimum(values.astype(np.float32), np.float32(clip)) / np.float32(unit)
    return np.log1p(counts) if log else counts
