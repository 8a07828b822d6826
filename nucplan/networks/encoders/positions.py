"""Position tables on another grid, where it is not done as timm does it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def dino_positions(table: Tensor, rows: int, columns: int) -> Tensor:
    """DINO's position table (1, 1 + G * G, D) for another grid: (1, 1 + rows * columns, D).

    Bicubic by a scale factor of (n + 0.1) / G (Caron et al. 2021): the 0.1 was meant to guard the rounding of the
    result's size and shifts every sample a little, as it did in training.
    """
    grid = round((table.shape[1] - 1) ** 0.5)
    if rows == columns == grid:
        return table
    patches = table[:, 1:].reshape(1, grid, grid, -1).permute(0, 3, 1, 2)
    scale = (rows + 0.1) / grid, (columns + 0.1) / grid
    patches = functional.interpolate(patches, scale_factor=scale, mode="bicubic")
    return torch.cat([table[:, :1], patches.flatten(2).transpose(1, 2)], 1)
