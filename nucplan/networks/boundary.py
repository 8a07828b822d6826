"""Boundary heads on the decoder's features, and the gate that feeds what they found back into these features."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from nucplan.networks.blocks import ConvBlock
from nucplan.networks.heads import LogitHead


class BoundaryHead(nn.Sequential):
    """3x3 convolution, group norm, ReLU, 1x1 convolution: (B, C, H/s, W/s) to logits (B, 1, H/s, W/s).

    A third of the decoder's channels in between: whether a pixel is a boundary takes few of them, and at full
    resolution each costs as much as one of the decoder's own. Each is normalised by itself: the decoder's features
    are not negative, so in a shared group some channels are always above the mean and others always below it, where
    the ReLU leaves nothing of them.
    """

    def __init__(self, in_channels: int) -> None:
        width = max(4, in_channels // 3)
        super().__init__(ConvBlock(in_channels, width, groups=width), LogitHead(width, 1))


class BoundaryBranch(nn.Module):
    """The boundary head of one decoder stride, with or without the gate for the features there.

    Gated features are ``F * (1 + alpha * sigmoid(b))``, b being the logits at the scale itself. The form is that of
    gated convolutions (Takikawa et al. 2019, Gated-SCNN, eq. 2), with the boundary probability itself in the place of
    a learned map. ``alpha`` is a buffer, so that a checkpoint predicts with the strength that it was
    trained with.

    Parameters
    ----------
    in_channels
        Channels of the decoder's features at this stride.
    gated
        Whether the gate is there; it starts closed, with ``alpha`` = 0.
    """

    def __init__(self, in_channels: int, gated: bool) -> None:
        super().__init__()
        self.head = BoundaryHead(in_channels)
        self.register_buffer("alpha", torch.zeros(()) if gated else None)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        """(B, C, h, w) to the logits b and the gate ``1 + alpha * sigmoid(b)``, both (B, 1, h, w); None without one."""
        logits = self.head(features)
        return logits, None if self.alpha is None else 1 + self.alpha * logits.sigmoid()


def at_full_resolution(logits: Tensor, stride: int) -> Tensor:
    """Logits (B, 1, H/s, W/s), interpolated to (B, 1, H, W)."""
    if stride == 1:
        return logits
    return functional.interpolate(logits, scale_factor=stride, mode="bilinear", align_corners=False)
