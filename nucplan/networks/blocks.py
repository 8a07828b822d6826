"""The two building blocks that stem and decoder share."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GroupNorm(nn.GroupNorm):
    """Group normalisation (Wu & He 2018): the same in training and inference, and for every batch size.

    Parameters
    ----------
    channels
        Of the features (B, channels, H, W).
    groups
        Divides ``channels``; None for the largest of 8, 4, 2 and 1 that does.
    """

    def __init__(self, channels: int, groups: int | None = None) -> None:
        super().__init__(groups or next(g for g in (8, 4, 2, 1) if channels % g == 0), channels)

    def forward(self, features: Tensor) -> Tensor:
        innermost_is_slow = torch.is_grad_enabled() or self.num_groups == self.num_channels
        if features.dtype is torch.bfloat16 and features.device.type == "cpu" and innermost_is_slow:
            # With channels innermost, torch takes 4 times as long for groups of one, and for gradients 5 to 25 times.
            normed = super().forward(features.contiguous())
            return normed.contiguous(memory_format=torch.channels_last)
        return super().forward(features)


class ConvBlock(nn.Sequential):
    """3x3 convolution, group norm, ReLU: (B, in, H, W) to (B, out, ceil(H / stride), ceil(W / stride))."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, groups: int | None = None) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
            GroupNorm(out_channels, groups),
            nn.ReLU(inplace=True),
        )


class UpBlock(nn.Sequential):
    """2x2 transposed convolution of stride 2: (B, in, H, W) to (B, out, 2H, 2W), without checkerboards."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2))
