"""The spatial prior of CellVTA: what a ViT of stride 16 cannot see, from the image itself, in the ViT's own width."""

from __future__ import annotations

from torch import Tensor, nn

from nucplan.networks.blocks import ConvBlock


class SpatialPrior(nn.Module):
    """A small convolutional pyramid at the strides 2, 4, 8 and 16, one octave finer than ViT-Adapter's (CellVTA 2025).

    Group normalisation stands in the place of the published batch normalisation, as everywhere in nucplan: batches are
    small, and a tile must not depend on its neighbours in the batch.

    Parameters
    ----------
    in_channels
        Channels of the image.
    channels
        D of all four maps.
    width
        Channels of the finest convolutions; the coarser ones have twice and four times as many.
    """

    def __init__(self, in_channels: int, channels: int, width: int = 64) -> None:
        super().__init__()
        widths = (width, 2 * width, 4 * width, 4 * width)
        stem = (ConvBlock(in_channels, width), ConvBlock(width, width), ConvBlock(width, width))
        self.stages = nn.ModuleList([nn.Sequential(*stem, ConvBlock(width, width, stride=2))])
        for fine, coarse in zip(widths, widths[1:], strict=False):
            self.stages.append(nn.Sequential(ConvBlock(fine, fine), ConvBlock(fine, coarse, stride=2)))
        self.projections = nn.ModuleList(nn.Conv2d(w, channels, 1) for w in widths)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, C, H, W), H and W multiples of 16, to four maps (B, D, H/s, W/s), s = 2, 4, 8, 16."""
        maps, x = [], images
        for stage, projection in zip(self.stages, self.projections, strict=True):
            x = stage(x)
            maps.append(projection(x))
        return maps
