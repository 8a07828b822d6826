"""One U-shaped decoder over the token maps of a ViT and a pixel pyramid, shared by all heads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce

import torch
from torch import Tensor, nn

from nucplan.networks.blocks import ConvBlock, UpBlock

TAP_STRIDES = (2, 4, 8, 16)


class SkipDecoder(nn.Module):
    """Lifts each ViT tap to its own stride and merges it there with the pixel pyramid on the way up.

    The layout is CellViT's (Hörst et al. 2024, fig. 2): the deeper the tap, the coarser its skip. Its three branches
    with their skips computed three times are one shared branch here; its ablation has the shared decoder at equal
    mPQ for a third of the cost.

    Parameters
    ----------
    tap_channels
        Channels D of the four maps.
    tap_strides
        Stride of each map as it comes: 8 or 16 for those of a plain ViT. It is lifted to its own of `TAP_STRIDES`
        where that is finer.
    features
        Channels at each stride from the finest, at most the finest of ``tap_strides``, to the coarsest of these; the
        pixel pyramid has the same.
    """

    def __init__(self, tap_channels: int, tap_strides: Sequence[int], features: Mapping[int, int]) -> None:
        super().__init__()
        own = (max(stride, min(features)) for stride in TAP_STRIDES)
        self.tap_strides = [min(pair) for pair in zip(own, tap_strides, strict=True)]
        self.lifts = nn.ModuleList(
            _lift(tap_channels, come, stride, features)
            for come, stride in zip(tap_strides, self.tap_strides, strict=True)
        )
        strides = sorted(features, reverse=True)
        self.ups = nn.ModuleDict(
            {
                str(fine): UpBlock(features[coarse], features[fine])
                for coarse, fine in zip(strides, strides[1:], strict=False)
            }
        )
        self.merges = nn.ModuleDict()
        for stride in strides:
            width = features[stride]
            self.merges[str(stride)] = nn.Sequential(ConvBlock(width, width), ConvBlock(width, width))

    def forward(
        self,
        taps: Sequence[Tensor],
        pyramid: Mapping[int, Tensor],
        refine: Callable[[int, Tensor], Tensor] = lambda _stride, features: features,
    ) -> dict[int, Tensor]:
        """Merge from coarse to fine.

        Parameters
        ----------
        taps
            Four maps (B, D, H/s, W/s), shallow to deep.
        pyramid
            One map (B, features[s], H/s, W/s) per stride s.
        refine
            Called with each stride and its features; the decoder goes on from what it returns. Heads plug in here.

        Returns
        -------
        dict
            The decoder's features (B, features[s], H/s, W/s) at every stride s, coarse to fine.
        """
        decoded: dict[int, Tensor] = {}
        x = None
        for key, merge in self.merges.items():
            stride = int(key)
            parts = [pyramid[stride]]
            parts += [lift(tap) for lift, tap, s in zip(self.lifts, taps, self.tap_strides, strict=True) if s == stride]
            if x is not None:
                parts.append(self.ups[key](x))
            # A sum, not CellViT's concatenation: half the cost at full resolution, where most of it is.
            decoded[stride] = x = refine(stride, merge(reduce(torch.add, parts)))
        return decoded


def _lift(tap_channels: int, tap_stride: int, stride: int, features: Mapping[int, int]) -> nn.Sequential:
    # The 1x1 projection comes first: a transposed convolution of all D channels would cost more than the rest.
    width = features[stride]
    layers: list[nn.Module] = [nn.Conv2d(tap_channels, width, 1)]
    while stride < tap_stride:
        layers += [UpBlock(width, width), ConvBlock(width, width)]
        stride *= 2
    return nn.Sequential(*layers)
