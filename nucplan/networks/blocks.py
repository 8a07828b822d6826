"""The two building blocks that stem and decoder share."""

from __future__ import annotations

from torch import nn


def group_norm(channels: int, groups: int | None = None) -> nn.GroupNorm:
    """Group normalisation (Wu & He 2018): the same in training and inference, and for every batch size."""
    return nn.GroupNorm(groups or next(g for g in (8, 4, 2, 1) if channels % g == 0), channels)


class ConvBlock(nn.Sequential):
    """3x3 convolution, group norm, ReLU: (B, in, H, W) to (B, out, ceil(H / stride), ceil(W / stride))."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, groups: int | None = None) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
            group_norm(out_channels, groups),
            nn.ReLU(inplace=True),
        )


class UpBlock(nn.Sequential):
    """2x2 transposed convolution of stride 2: (B, in, H, W) to (B, out, 2H, 2W), without checkerboards."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2))
