"""The blocks of CellViT's decoder, under the names that its checkpoints have."""

from __future__ import annotations

from torch import Tensor, nn


class Conv(nn.Module):
    """3x3 convolution, batch norm, ReLU: (B, in, H, W) to (B, out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)
        )

    def forward(self, features: Tensor) -> Tensor:
        return self.block(features)


class Deconv(nn.Module):
    """Upsampling by two, 3x3 convolution, batch norm, ReLU: (B, in, H, W) to (B, out, 2H, 2W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            upsampling(in_channels, out_channels),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, features: Tensor) -> Tensor:
        return self.block(features)


def upsampling(in_channels: int, out_channels: int) -> nn.ConvTranspose2d:
    """2x2 transposed convolution of stride 2: (B, in, H, W) to (B, out, 2H, 2W)."""
    return nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)
