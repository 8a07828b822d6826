"""What the boundary heads learn: the band of pixels around every outline, and the weights of the loss there.

Everything is computed from the instance ids of a patch when it is needed, on the device where they lie.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


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
    labels = _narrowed(labels)
    known = labels >= 0 if counts is None else counts & (labels >= 0)
    highest = lowest = labels
    # On a GPU the question would cost more than the answer saves.
    if labels.device.type != "cpu" or not known.all():
        highest, lowest = labels.where(known, -1), labels.where(known, torch.iinfo(labels.dtype).max)
    return (_filter(torch.maximum, highest, kernel) != _filter(torch.minimum, lowest, kernel)) & known


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
    band = _filter(torch.maximum, boundary.view(torch.uint8), kernel)
    return band.float().mul_(beta).add_(1)


def _narrowed(labels: Tensor) -> Tensor:
    """The same ids in 16 bits where they fit: filters take half the time."""
    if labels.device.type != "cpu" or labels.dtype == torch.int16 or labels.numel() == 0:
        return labels
    low, high = torch.aminmax(labels)
    fits = torch.iinfo(torch.int16).min <= int(low) and int(high) < torch.iinfo(torch.int16).max
    return labels.short() if fits else labels


def _filter(pick: Callable[..., Tensor], values: Tensor, kernel: int) -> Tensor:
    """Running maximum or minimum over squares, (B, H, W) of any type; what lies outside of the patch does not count."""
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError(f"a kernel is an odd number of pixels, not {kernel}")
    for axis in (-1, -2):
        filtered, side = values.clone(), values.shape[axis]
        # Shifted views in place: several times faster on a CPU than pooling, exact for every id, and no padding.
        for shift in range(1, min(kernel // 2, side - 1) + 1):
            left, right = values.narrow(axis, 0, side - shift), values.narrow(axis, shift, side - shift)
            for start, other in ((shift, left), (0, right)):
                target = filtered.narrow(axis, start, side - shift)
                pick(target, other, out=target)
        values = filtered
    return values
