"""CellVTA (2025): an adapter that shows a ViT, block by block, what its patches are too coarse for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from nucplan.errors import NucplanError
from nucplan.networks.blocks import GroupNorm, UpBlock
from nucplan.networks.decoder import TAP_STRIDES
from nucplan.networks.deformable import Grid, split_levels
from nucplan.networks.encoders.base import BlockwiseEncoder, Encoder
from nucplan.networks.interaction import Extractor, Injector
from nucplan.networks.spatial_prior import SpatialPrior

INTERACTIONS = (1, 2, 3, 4)


class CellVTA(Encoder):
    """A ViT within an adapter: its tokens read a pyramid of the image, and the pyramid reads its tokens.

    Interaction k of four runs the blocks from the tap before up to tap k: an injector changes the patch tokens, the
    blocks follow, and an extractor changes the pyramid; two more extractors follow the last. Class and register tokens
    stay inside the blocks, as they were when the ViT was pretrained; the released code of CellVTA takes them out. The
    maps are those of the pyramid plus the ViT's taps, interpolated, each in group normalisation (`SpatialPrior` says
    why not the published batch normalisation).

    A frozen ViT gets no gradient into its weights and stays in evaluation mode, but gradients pass through its blocks
    to the injectors. The adapter itself is never `frozen`: its maps change with every step, so they cannot be stored.

    Parameters
    ----------
    encoder
        The ViT. Taps that repeat, as those of fewer than four blocks do, make interactions without blocks.
    in_channels
        Channels of the image.
    injection_blocks
        Interactions that have an injector, of 1 to 4; without any, the ViT is the plain one.
    gamma
        What the strength of the injectors starts from; with 0 the taps are the plain ViT's to the last bit.
    drop_path
        Probability with which an extractor's feed-forward layer is left out in training.
    prior_width
        Channels of the finest convolutions of the pyramid.

    Raises
    ------
    NucplanError
        If the encoder cannot be run block by block, or ``injection_blocks`` are not different numbers from 1 to 4.
    """

    tap_strides = TAP_STRIDES

    def __init__(
        self,
        encoder: Encoder,
        in_channels: int,
        injection_blocks: Sequence[int] = INTERACTIONS,
        gamma: float = 1e-5,
        drop_path: float = 0.4,
        prior_width: int = 64,
    ) -> None:
        super().__init__()
        if not isinstance(encoder, BlockwiseEncoder):
            raise NucplanError(
                f"CellVTA cannot be built around {type(encoder).__name__}, whose blocks nothing can come between; "
                "choose another encoder, or a config without adapter."
            )
        self.injection_blocks = _checked(injection_blocks)
        self.encoder = encoder
        self.channels = width = encoder.channels
        self.taps = encoder.taps
        self.prior = SpatialPrior(in_channels, width, prior_width)
        self.level_embedding = nn.Parameter(torch.randn(3, width))
        self.injectors = nn.ModuleDict({str(k): Injector(width, 3, gamma) for k in self.injection_blocks})
        self.extractors = nn.ModuleList(
            nn.ModuleList(Extractor(width, drop_path) for _ in range(3 if k == INTERACTIONS[-1] else 1))
            for k in INTERACTIONS
        )
        self.up = UpBlock(width, width)
        self.norms = nn.ModuleList(GroupNorm(width) for _ in TAP_STRIDES)

    @property
    def plain(self) -> Encoder:
        return self.encoder

    @property
    def body(self) -> nn.Module:
        return self.encoder.body

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, C, H, W) float, H and W multiples of 16, to four maps (B, D, H/s, W/s), s = 2, 4, 8, 16."""
        taps, pyramid = self._interact(images)
        pyramid[0] = pyramid[0] + self.up(pyramid[1])
        maps = []
        for norm, tap, level in zip(self.norms, taps, pyramid, strict=True):
            tap = functional.interpolate(tap, level.shape[2:], mode="bilinear", align_corners=False)
            maps.append(norm(level + tap))
        return maps

    def token_maps(self, images: Tensor) -> list[Tensor]:
        """The ViT's own taps as its injectors leave them, (B, D, h, w) on the grid of its tokens."""
        return self._interact(images)[0]

    def _interact(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The taps (B, D, h, w) and the pyramid (B, D, H/s, W/s) after the four interactions."""
        finest, *coarser = self.prior(images)
        grids: list[Grid] = [(level.shape[2], level.shape[3]) for level in coarser]
        pyramid = torch.cat(
            [c.flatten(2).transpose(1, 2) + e for c, e in zip(coarser, self.level_embedding, strict=True)], 1
        )
        tokens, taps, first = self.encoder.embed(images), [], 0
        for k, (tap, extractors) in enumerate(zip(self.taps, self.extractors, strict=True), start=1):
            if k in self.injection_blocks:
                injector = self.injectors[str(k)]
                tokens = tokens._replace(patches=injector(tokens.patches, pyramid, grids))
            tokens = self.encoder.run_blocks(tokens, first, tap + 1)
            for extractor in extractors:
                pyramid = extractor(pyramid, grids, tokens.patches)
            taps.append(tokens.patches.movedim(-1, 1))
            first = tap + 1
        return taps, [finest, *split_levels(pyramid, grids)]

    def sources(self, tensors: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, tuple[str, ...]]:
        return self.encoder.sources(tensors, names)

    def converted(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return self.encoder.converted(tensors)

    def prefix(self, tensors: Mapping[str, Tensor]) -> str:
        return self.encoder.prefix(tensors)

    def consulted(self, tensors: Mapping[str, Tensor]) -> set[str]:
        return self.encoder.consulted(tensors)

    def dispensable(self, name: str) -> bool:
        return self.encoder.dispensable(name)


def _checked(injection_blocks: Sequence[int]) -> tuple[int, ...]:
    if len(set(injection_blocks)) < len(injection_blocks) or not set(injection_blocks) <= set(INTERACTIONS):
        raise NucplanError(
            f"The adapter cannot inject into the interactions {list(injection_blocks)}; "
            "give different numbers from 1 to 4."
        )
    return tuple(sorted(injection_blocks))
