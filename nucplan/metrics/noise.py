"""The noise floor: how much a score moves when nothing but the training seed changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np


def noise_floor(repeats: Iterable[Sequence[float]]) -> float | None:
    """Standard deviation of a score between seeds, pooled over configs and folds.

    Each config and fold has a mean of its own, so that neither better configs nor harder folds count as noise; the
    variances are pooled by their degrees of freedom, one less than the seeds.

    Parameters
    ----------
    repeats : iterable of sequence of float
        For each config and fold its score under every seed; NaN where it has none.

    Returns
    -------
    float or None
        In units of the score; None where no config and fold was trained with two seeds, as then nothing is known.
    """
    squares, freedom = 0.0, 0
    for values in repeats:
        known = np.asarray(values, dtype=np.float64)
        known = known[~np.isnan(known)]
        if known.size > 1:
            squares += float(((known - known.mean()) ** 2).sum())
            freedom += known.size - 1
    return float(np.sqrt(squares / freedom)) if freedom else None
