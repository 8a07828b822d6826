"""What the boundary heads learn: the band of pixels around every outline, and the weights of the loss there.

Everything is computed from the instance ids of a patch when it is needed, on the device where they lie.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional


def boundary_map(labels: Tensor, kernel: int, counts: Tensor | None = None) -> Tensor:
    """Union over the nuclei of dilation minus erosion with a square of ``kernel`` pixels, classes aside.

    A pixel is in it exactly where its window holds two different ids (background is one of them), so one maximum and
    one minimum filter of the label map do the work of a loop over the nuclei. A window takes in only what is known:
    neither the border of the patch nor an uncounted place makes a boundary, so a nucleus that goes on there is not
    outlined along the cut.

    Parameters
    ----------
    labels : (B, H, W) integer
        int16, int32 or int64 ids below 2^31, 0 background; negative where nothing is known (padding).
    kernel : int
        Odd side of the square: 3 marks one pixel on either side of an outline, 1 none at all.
    counts : (B, H, W) bool, optional
        False where an annotation says nothing (ignore areas); default is everywhere. Never a boundary.

    Returns
    -------
    (B, H, W) bool

    Raises
    ------
    ValueError
        If the kernel is not odd.
    """
    known = labels >= 0 if counts is None else counts & (labels >= 0)
    # Padding takes its value as a float64, which the largest int64 overflows.
    above = torch.iinfo(torch.int16 if labels.dtype == torch.int16 else torch.int32).max
    highest = _filter(torch.maximum, labels.where(known, -1), kernel, -1)
    lowest = _filter(torch.minimum, labels.where(known, above), kernel, above)
    return (highest != lowest) & known


def weight_band(boundary: Tensor, beta: float, kernel: int) -> Tensor:
    """Pixel weights W = 1 + beta * dilate(B, kernel): 1 + beta within a band around the boundaries, 1 elsewhere.

    Parameters
    ----------
    boundary : (B, H, W) bool
        From `boundary_map`.
    beta : float
        Extra weight in the band.
    kernel : int
        Odd side of the square by which the boundary is widened; 1 leaves it as it is.

    Returns
    -------
    (B, H, W) float32

    Raises
    ------
    ValueError
        If the kernel is not odd.
    """
    return 1 + beta * _filter(torch.logical_or, boundary, kernel, False).float()


def _filter(pick: Callable[[Tensor, Tensor], Tensor], values: Tensor, kernel: int, outside: int | bool) -> Tensor:
    """Running maximum (or minimum, or "any") over squares: along the rows, then along the columns, any data type."""
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError(f"a kernel is an odd number of pixels, not {kernel}")
    half = kernel // 2
    for axis, padding in ((-1, (half, half)), (-2, (0, 0, half, half))):
        padded = functional.pad(values, padding, value=outside)
        # Shifted views, one after the other: several times faster on a CPU than pooling, exact for every id.
        values = reduce(pick, padded.unfold(axis, kernel, 1).unbind(-1))
    return values
