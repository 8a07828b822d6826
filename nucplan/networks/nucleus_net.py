"""The network: encoder and stem, one decoder, light heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nucplan.networks.decoder import SkipDecoder
from nucplan.networks.encoders.timm_vit import TimmViT
from nucplan.networks.stem import PixelStem


class NucleusMaps(NamedTuple):
    """Logits of one forward pass.

    Attributes
    ----------
    semantic
        (B, K + 1, H, W): background and K classes.
    """

    semantic: Tensor


class LogitHead(nn.Conv2d):
    """1x1 convolution to logits, multiplied by ``gain``.

    Adam moves a weight by at most the learning rate per step, so a few hundred steps at 5e-4 cannot make a plain head
    confident; the gain is a larger step for this layer alone. Weights start smaller by it, so the first logits are
    as usual.
    """

    gain = 8.0

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1)
        with torch.no_grad():
            self.weight /= self.gain
            self.bias.zero_()

    def forward(self, features: Tensor) -> Tensor:
        return self.gain * super().forward(features)


class NucleusNet(nn.Module):
    """ViT encoder next to a pixel stem, a shared decoder and a semantic head.

    Parameters
    ----------
    input_channels
        Channels of the image.
    num_classes
        K + 1, background included.
    encoder
        The timm name of the ViT.
    encoder_depth
        Its number of blocks, or None for its own.
    encoder_frozen
        Whether the encoder is pretrained and stays as it is.
    encoder_layer_scale
        Whether its blocks scale their residuals.
    features_per_stage
        Channels at the strides 1, 2, 4, ... up to the encoder's stride; further ones are not used.
    input_mean, input_std
        Per channel, subtracted from and divided into the images: the statistics that a pretrained encoder expects.
        None for images that come normalised.
    encoder_taps
        Indices of the four blocks that the decoder reads, ascending; None for a quarter, half, ... of the depth.
    """

    def __init__(
        self,
        input_channels: int,
        num_classes: int,
        encoder: str,
        features_per_stage: Sequence[int],
        encoder_depth: int | None = None,
        encoder_frozen: bool = False,
        encoder_layer_scale: bool = False,
        input_mean: Sequence[float] | None = None,
        input_std: Sequence[float] | None = None,
        encoder_taps: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("input_mean", torch.tensor(input_mean or [0.0]).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("input_std", torch.tensor(input_std or [1.0]).view(1, -1, 1, 1), persistent=False)
        self.encoder = TimmViT(
            encoder, input_channels, encoder_depth, encoder_frozen, encoder_layer_scale, encoder_taps
        )
        strides = [2**i for i in range(len(features_per_stage))]
        features = {s: f for s, f in zip(strides, features_per_stage, strict=True) if s <= self.encoder.stride}
        self.stem = PixelStem(input_channels, features)
        self.decoder = SkipDecoder(self.encoder.channels, self.encoder.stride, features)
        self.semantic_head = LogitHead(features[1], num_classes)

    def maps(self, images: Tensor) -> NucleusMaps:
        """(B, C, H, W) float, H and W multiples of the encoder's stride, to logits at full resolution."""
        images = (images - self.input_mean) / self.input_std
        features = self.decoder(self.encoder(images), self.stem(images))
        return NucleusMaps(semantic=self.semantic_head(features[1]))

    def forward(self, images: Tensor) -> Tensor:
        """The semantic logits (B, K + 1, H, W) alone: what stock nnU-Net inference expects of a network."""
        return self.maps(images).semantic
