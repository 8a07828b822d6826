"""CellViT's decoder: skips that its branches share, and one branch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from nucplan.errors import NucplanError
from nucplan.networks.cellvit.layers import Conv, Deconv, upsampling

STRIDE = 16
Refine = Callable[[int, Tensor], Tensor]


def features(tap_channels: int) -> dict[int, int]:
    """Channels of a branch at each stride, for an encoder of ``tap_channels`` (Hörst et al. 2024, fig. 2)."""
    return {1: 64, 2: 128, 4: 256, 8: 312 if tap_channels < 512 else 512, STRIDE: tap_channels}


class SharedSkips(nn.Module):
    """The four skips, which every branch reads: the image and three taps of the encoder, each at its own stride.

    Parameters
    ----------
    tap_channels
        Channels D of the encoder's maps.
    in_channels
        Channels of the image.
    """

    def __init__(self, tap_channels: int, in_channels: int) -> None:
        super().__init__()
        width = features(tap_channels)
        first, second = (256, 128) if tap_channels < 512 else (512, 256)
        self.decoder0 = nn.Sequential(Conv(in_channels, 32), Conv(32, width[1]))
        self.decoder1 = nn.Sequential(Deconv(tap_channels, first), Deconv(first, second), Deconv(second, width[2]))
        self.decoder2 = nn.Sequential(Deconv(tap_channels, first), Deconv(first, width[4]))
        self.decoder3 = nn.Sequential(Deconv(tap_channels, width[8]))

    def skips(self, taps: Sequence[Tensor], pixels: Tensor) -> dict[int, Tensor]:
        """What a branch reads at the strides 1, 2, 4, 8 and 16.

        Parameters
        ----------
        taps
            Four maps (B, D, H/16, W/16), shallow to deep.
        pixels
            (B, C, H, W), normalised.
        """
        return {
            1: self.decoder0(pixels),
            2: self.decoder1(taps[0]),
            4: self.decoder2(taps[1]),
            8: self.decoder3(taps[2]),
            STRIDE: taps[3],
        }


class Branch(nn.Module):
    """The way up from the deepest map to full resolution.

    Parameters
    ----------
    tap_channels
        Channels D of the encoder's maps.
    out_channels
        Of the logits; None for a branch without its last layer.
    """

    def __init__(self, tap_channels: int, out_channels: int | None = None) -> None:
        super().__init__()
        width = features(tap_channels)
        deep = width[8]
        self.bottleneck_upsampler = upsampling(tap_channels, deep)
        self.decoder3_upsampler = nn.Sequential(
            Conv(2 * deep, deep), Conv(deep, deep), Conv(deep, deep), upsampling(deep, width[4])
        )
        self.decoder2_upsampler = nn.Sequential(
            Conv(2 * width[4], width[4]), Conv(width[4], width[4]), upsampling(width[4], width[2])
        )
        self.decoder1_upsampler = nn.Sequential(
            Conv(2 * width[2], width[2]), Conv(width[2], width[2]), upsampling(width[2], width[1])
        )
        head = [] if out_channels is None else [nn.Conv2d(width[1], out_channels, 1)]
        self.decoder0_header = nn.Sequential(Conv(2 * width[1], width[1]), Conv(width[1], width[1]), *head)

    def decoded(
        self, skips: Mapping[int, Tensor], refine: Refine = lambda _stride, features: features
    ) -> dict[int, Tensor]:
        """Features (B, `features`[s], H/s, W/s) at every stride s, coarse to fine, of what `SharedSkips` gives.

        ``refine`` is called with each stride and its features; the branch goes on from what it returns.
        """
        decoded = {STRIDE: refine(STRIDE, skips[STRIDE])}
        x = self.bottleneck_upsampler(decoded[STRIDE])
        stages = {8: self.decoder3_upsampler, 4: self.decoder2_upsampler, 2: self.decoder1_upsampler}
        for stride, (*convolutions, up) in stages.items():
            decoded[stride] = refine(stride, _merged(skips[stride], x, convolutions))
            x = up(decoded[stride])
        decoded[1] = refine(1, _merged(skips[1], x, self.decoder0_header[:2]))
        return decoded

    def forward(self, skips: Mapping[int, Tensor]) -> Tensor:
        """Logits (B, out, H, W), of the size of the skip at stride 1."""
        return self.decoder0_header[2](self.decoded(skips)[1])


def _merged(skip: Tensor, x: Tensor, convolutions: Sequence[nn.Module]) -> Tensor:
    if x.shape[2:] != skip.shape[2:]:
        # Tokens of 14 px come up by 16: only the skip of the image has its size.
        x = functional.interpolate(x, skip.shape[2:], mode="bilinear")
    x = torch.cat([skip, x], 1)
    for convolution in convolutions:
        x = convolution(x)
    return x


class CellViTDecoder(SharedSkips):
    """One branch of CellViT without its last layer, in place of `nucplan.networks.decoder.SkipDecoder`.

    It takes 37 of the 110 GMACs of CellViT-256's three branches at 256 px, and can start from published weights
    (`nucplan.networks.cellvit.start`): its parts have their names.

    Parameters
    ----------
    tap_channels
        Channels D of the four maps.
    tap_strides
        Stride of each map as it comes.
    in_channels
        Channels of the image.

    Raises
    ------
    NucplanError
        If a map comes at another stride than 16.
    """

    def __init__(self, tap_channels: int, tap_strides: Sequence[int], in_channels: int) -> None:
        if set(tap_strides) != {STRIDE}:
            come = ", ".join(map(str, tap_strides))
            raise NucplanError(
                f"CellViT's decoder reads maps of stride {STRIDE}, this encoder's have {come}; leave --with-decoder "
                "out, or take another encoder or config."
            )
        super().__init__(tap_channels, in_channels)
        self.nuclei_type_maps_decoder = Branch(tap_channels)

    @staticmethod
    def features(tap_channels: int) -> dict[int, int]:
        """Channels at each stride."""
        return features(tap_channels)

    def forward(
        self, taps: Sequence[Tensor], pixels: Tensor, refine: Refine = lambda _stride, features: features
    ) -> dict[int, Tensor]:
        """Features (B, `features`[s], H/s, W/s) at every stride s, coarse to fine.

        Parameters
        ----------
        taps
            Four maps (B, D, H/16, W/16), shallow to deep.
        pixels
            The image (B, C, H, W).
        refine
            Called with each stride and its features; the decoder goes on from what it returns.
        """
        return self.nuclei_type_maps_decoder.decoded(self.skips(taps, pixels), refine)
