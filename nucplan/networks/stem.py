"""The pixel stem: what a ViT of stride 16 cannot see, from the image itself."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional

from nucplan.networks.blocks import ConvBlock


class PixelStem(nn.Module):
    """A convolutional pyramid that starts at the finest stride of ``features``.

    Where that is above 1, the pixels of a square of this side come as channels, so that none is lost (Shi et al. 2016,
    in reverse).

    Parameters
    ----------
    in_channels
        Channels of the image.
    features
        Channels at each stride, for example ``{1: 16, 2: 32, 4: 64}``; strides double.
    """

    def __init__(self, in_channels: int, features: Mapping[int, int]) -> None:
        super().__init__()
        self.stages = nn.ModuleDict()
        self.finest = min(features)
        previous = in_channels * self.finest**2
        for stride, channels in sorted(features.items()):
            first = ConvBlock(previous, channels, stride=1 if stride == self.finest else 2)
            self.stages[str(stride)] = nn.Sequential(first, ConvBlock(channels, channels))
            previous = channels

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """(B, C, H, W) to one map (B, features[s], H/s, W/s) per stride s."""
        pyramid: dict[int, Tensor] = {}
        x = images if self.finest == 1 else functional.pixel_unshuffle(images, self.finest)
        for stride, stage in self.stages.items():
            pyramid[int(stride)] = x = stage(x)
        return pyramid
