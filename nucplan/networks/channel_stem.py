"""A stem for images whose panels differ: one small network sees every marker alone, and maxima join them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class ChannelStem(nn.Module):
    """Any number of channels, in any order, to a picture of a few.

    The idea is InstanSeg's ChannelNet (Goldsborough et al. 2024, arXiv 2408.15954): a U-Net of three levels runs over
    each channel with shared weights, and after every block the maximum over the channels goes into the next one
    beside their own features. A channel that is 0 everywhere is absent and has no part in any maximum, so that adding
    one changes nothing, and neither does another order.

    There is no normalisation in between: it would raise the noise of a marker that a tile does not show to the height
    of a signal.

    Parameters
    ----------
    features
        Filters of the three levels.
    out_channels
        Channels of the picture.
    identities
        Number of markers that have a learned scale and shift of the features of the first block (FiLM, Perez et al.
        2018), by position; the network can tell them apart then, as types of cells need, and their order counts. 0
        for none. They start without an effect.
    """

    def __init__(self, features: Sequence[int] = (8, 16, 32), out_channels: int = 3, identities: int = 0) -> None:
        super().__init__()
        fine, middle, coarse = features
        self.out_channels = out_channels
        self.first = SharedBlock(1, 0, fine)
        self.down = SharedBlock(fine, fine, middle)
        self.bottom = SharedBlock(middle, middle, coarse)
        self.up = SharedBlock(coarse + middle, coarse + middle, middle)
        self.last = SharedBlock(middle + fine, middle + fine, fine)
        self.mix = nn.Conv2d(fine, out_channels, 1)
        self.identity = nn.Parameter(torch.zeros(2, identities, fine)) if identities else None

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W), H and W multiples of 4, to (B, out_channels, H, W)."""
        present = (images != 0).flatten(2).any(2)
        fine = self.first(images.unsqueeze(2), None, present, self.identity)
        middle = self.down(_halved(fine), _halved_common(fine), present)
        coarse = self.bottom(_halved(middle), _halved_common(middle), present)
        middle = self.up(*_joined(coarse, middle), present)
        fine = self.last(*_joined(middle, fine), present)
        return self.mix(fine.amax(1))


class SharedBlock(nn.Module):
    """3x3 convolution of each channel's own features and of what all have in common, ReLU.

    A convolution of both, concatenated, is the sum of one of each; that of the common part is done once per image.
    """

    def __init__(self, own: int, common: int, out: int) -> None:
        super().__init__()
        self.own = nn.Conv2d(own, out, 3, padding=1)
        self.common = nn.Conv2d(common, out, 3, padding=1, bias=False) if common else None

    def forward(self, own: Tensor, common: Tensor | None, present: Tensor, identity: Tensor | None = None) -> Tensor:
        """(B, C, own, H, W) and (B, common, H, W) to (B, C, out, H, W), not negative; 0 for channels not ``present``.

        ``identity`` (2, C, out) scales (around 1) and shifts the features of each channel before the ReLU.
        """
        batch, channels = own.shape[:2]
        found = self.own(own.flatten(0, 1)).unflatten(0, (batch, channels))
        if common is not None:
            found = found + self.common(common).unsqueeze(1)
        if identity is not None:
            scale, shift = identity[..., None, None]
            found = found * (1 + scale) + shift
        # What is 0 after a ReLU never decides a maximum.
        return functional.relu(found) * present[:, :, None, None, None]


def _halved(features: Tensor) -> Tensor:
    return functional.max_pool2d(features.flatten(0, 1), 2).unflatten(0, features.shape[:2])


def _halved_common(features: Tensor) -> Tensor:
    return functional.max_pool2d(features.amax(1), 2)


def _joined(coarse: Tensor, fine: Tensor) -> tuple[Tensor, Tensor]:
    """Both levels at the finer one, (B, C, own, H, W), and their maxima over the channels."""
    enlarged = functional.interpolate(coarse.flatten(0, 1), scale_factor=2).unflatten(0, coarse.shape[:2])
    own = torch.cat([enlarged, fine], dim=2)
    return own, own.amax(1)
