"""The network: encoder and stem, one decoder, light heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from nucplan.errors import NucplanError
from nucplan.networks.boundary import BoundaryBranch, at_full_resolution
from nucplan.networks.decoder import SkipDecoder
from nucplan.networks.encoders.registry import build_encoder, find_card
from nucplan.networks.heads import LogitHead
from nucplan.networks.stem import PixelStem


class NucleusMaps(NamedTuple):
    """Logits of one forward pass.

    Attributes
    ----------
    semantic
        (B, K + 1, H, W): background and K classes.
    boundary
        Decoder stride -> (B, 1, H, W), finest first; empty where the network has no boundary heads.
    """

    semantic: Tensor
    boundary: Mapping[int, Tensor] = MappingProxyType({})

    def boundary_probability(self) -> Tensor:
        """Mean of the boundary probabilities of all heads, (B, 1, H, W) float32; each counts half of the finer one.

        The heads look for the same boundary and err differently: together they find more of it than the finest alone.
        """
        finest_first = [logits for _, logits in sorted(self.boundary.items())]
        weighted = [0.5**k * logits.float().sigmoid() for k, logits in enumerate(finest_first)]
        return torch.stack(weighted).sum(0) / sum(0.5**k for k in range(len(weighted)))


class NucleusNet(nn.Module):
    """ViT encoder next to a pixel stem, a shared decoder, a semantic head and, where asked for, boundary heads.

    Parameters
    ----------
    input_channels
        Channels of the image.
    num_classes
        K + 1, background included.
    encoder
        Its name (`nucplan.networks.encoders.registry`).
    encoder_depth
        Its number of blocks, or None for its own.
    encoder_frozen
        Whether the encoder is pretrained and stays as it is.
    encoder_layer_scale
        Whether its blocks scale their residuals.
    features_per_stage
        Channels at the strides 1, 2, 4, ... up to the encoder's stride; those outside of ``decoder_stride`` and the
        encoder's stride are not used.
    input_mean, input_std
        Per channel, subtracted from and divided into the images: the statistics that a pretrained encoder expects.
        None for images that come normalised.
    encoder_taps
        Indices of the four blocks that the decoder reads, ascending; None for a quarter, half, ... of the depth.
    encoder_options
        Further arguments of the encoder's family.
    adapter
        Arguments of `nucplan.networks.adapter.CellVTA`, which is built around the encoder; None for the plain one.
    channel_stem
        Arguments of `nucplan.networks.channel_stem.ChannelStem`, for images whose panels differ; None for one panel.
    decoder
        ``skip``, or ``cellvit`` for a branch of CellViT's decoder, which has published weights.
    decoder_stride
        Finest stride of stem and decoder. Above 1, its semantic head predicts all pixels of a square of this side at
        once (sub-pixel convolution, Shi et al. 2016), which saves what full resolution costs.
    boundary_strides
        Decoder strides that have a boundary head; those that this decoder does not reach are left out.
    boundary_attention
        Whether the decoder goes on from features that these heads gate.

    Raises
    ------
    NucplanError
        If ``decoder_stride`` is coarser than a map of the encoder, or is not 1 for CellViT's decoder.
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
        encoder_options: Mapping[str, Any] | None = None,
        adapter: Mapping[str, Any] | None = None,
        channel_stem: Mapping[str, Any] | None = None,
        decoder: str = "skip",
        decoder_stride: int = 1,
        boundary_strides: Sequence[int] = (),
        boundary_attention: bool = False,
    ) -> None:
        super().__init__()
        self.register_buffer("input_mean", torch.tensor(input_mean or [0.0]).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("input_std", torch.tensor(input_std or [1.0]).view(1, -1, 1, 1), persistent=False)
        self.channel_stem = None
        pixel_channels = input_channels
        if channel_stem is not None:
            from nucplan.networks.channel_stem import ChannelStem

            self.channel_stem = ChannelStem(**channel_stem)
            pixel_channels = self.channel_stem.out_channels
        self.encoder = build_encoder(
            encoder, pixel_channels, encoder_depth, encoder_frozen, encoder_layer_scale, encoder_taps, encoder_options
        )
        # What an encoder does beside its weights: markers, pixel size, positions and the like.
        self.encoder_arguments = {
            "name": encoder,
            "depth": encoder_depth,
            "layer_scale": encoder_layer_scale,
            "options": {**find_card(encoder).options, **(encoder_options or {})},
        }
        if adapter is not None:
            from nucplan.networks.adapter import CellVTA

            self.encoder = CellVTA(self.encoder, pixel_channels, **adapter)
        self.finest = decoder_stride
        _refuse_coarse(decoder, decoder_stride, self.encoder.tap_strides)
        if decoder == "cellvit":
            from nucplan.networks.cellvit.decoder import CellViTDecoder

            self.stem, features = nn.Identity(), CellViTDecoder.features(self.encoder.channels)
            self.decoder = CellViTDecoder(self.encoder.channels, self.encoder.tap_strides, pixel_channels)
        else:
            strides = [2**i for i in range(len(features_per_stage))]
            widths = zip(strides, features_per_stage, strict=True)
            features = {s: f for s, f in widths if decoder_stride <= s <= self.encoder.stride}
            self.stem = PixelStem(pixel_channels, features)
            self.decoder = SkipDecoder(self.encoder.channels, self.encoder.tap_strides, features)
        self.semantic_head = LogitHead(features[self.finest], num_classes * self.finest**2)
        self.boundary_strides = tuple(sorted(set(boundary_strides) & set(features)))
        # Last, so that the parts that all configs share start from the same random numbers.
        self.boundary_branches = nn.ModuleDict(
            {str(stride): BoundaryBranch(features[stride], boundary_attention) for stride in self.boundary_strides}
        )
        # Channels innermost: convolutions of few channels then need no copies in another layout.
        self.to(memory_format=torch.channels_last)

    @property
    def gate_strength(self) -> float:
        """Alpha of the boundary gates; 0 where there are none."""
        return max((float(b.alpha) for b in self.boundary_branches.values() if b.alpha is not None), default=0.0)

    @gate_strength.setter
    def gate_strength(self, alpha: float) -> None:
        for branch in self.boundary_branches.values():
            if branch.alpha is not None:
                branch.alpha.fill_(alpha)

    @property
    def maps_are_fixed(self) -> bool:
        """Whether `encoder_maps` depends on nothing that is trained, so that its results can be kept."""
        stem_is_in_the_way = self.channel_stem is not None and not self.encoder.takes_panels
        return self.encoder.frozen and self.encoder.plain is self.encoder and not stem_is_in_the_way

    def encoder_maps(self, images: Tensor) -> list[Tensor]:
        """What the decoder reads of the encoder for (B, C, H, W) images: four maps (B, D, H/s, W/s)."""
        images = self._normalised(images)
        return self._encoded(images, self._pixels(images))

    def maps(self, images: Tensor, encoder_maps: Sequence[Tensor] | None = None) -> NucleusMaps:
        """(B, C, H, W) float, H and W multiples of the encoder's stride, to logits at full resolution.

        ``encoder_maps`` are those of these images where they are known already; the encoder is not asked then.
        """
        images = self._normalised(images)
        boundary: dict[int, Tensor] = {}
        gates: dict[int, Tensor | None] = {}

        def refine(stride: int, features: Tensor) -> Tensor:
            if stride not in self.boundary_strides:
                return features
            logits, gate = self.boundary_branches[str(stride)](features)
            boundary[stride] = at_full_resolution(logits, stride)
            gates[stride] = gate
            # At the finest stride the semantic head alone reads the features, and applies the gate for less.
            if gate is None or stride == self.finest:
                return features
            return features * gate.to(features.dtype)

        pixels = self._pixels(images)
        if encoder_maps is None:
            encoder_maps = self._encoded(images, pixels)
        features = self.decoder(encoder_maps, self.stem(pixels), refine)
        semantic = self.semantic_head(features[self.finest], gates.get(self.finest))
        if self.finest > 1:
            semantic = functional.pixel_shuffle(semantic, self.finest)
        return NucleusMaps(semantic, dict(sorted(boundary.items())))

    def _normalised(self, images: Tensor) -> Tensor:
        images = (images - self.input_mean) / self.input_std
        return images.contiguous(memory_format=torch.channels_last)

    def _pixels(self, images: Tensor) -> Tensor:
        return images if self.channel_stem is None else self.channel_stem(images)

    def _encoded(self, images: Tensor, pixels: Tensor) -> list[Tensor]:
        return self.encoder(images if self.encoder.takes_panels else pixels)

    def forward(self, images: Tensor) -> Tensor:
        """The semantic logits (B, K + 1, H, W) alone: what stock nnU-Net inference expects of a network."""
        return self.maps(images).semantic


def _refuse_coarse(decoder: str, decoder_stride: int, tap_strides: Sequence[int]) -> None:
    if decoder == "cellvit" and decoder_stride != 1:
        raise NucplanError("CellViT's decoder ends at full resolution; leave --decoder-stride out.")
    if decoder_stride > min(tap_strides):
        raise NucplanError(
            f"The encoder's finest map has stride {min(tap_strides)}, and the decoder would end at stride "
            f"{decoder_stride}; give a smaller --decoder-stride."
        )
