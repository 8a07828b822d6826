"""What every encoder offers to the network, to the loader of weights and to the cache of features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nucplan.networks.encoders.dialects import dialect_of

# What weights files hold beside an encoder: heads of its pretraining and its published tasks.
HEADS = ("head.", "fc_head.", "dino_head.", "ibot_head.", "pooler.", "classifier.", "classifier_head.")
# CellViT's decoder (Hörst et al. 2024) and its variant with one branch.
CELLVIT_DECODER = (
    "decoder0.", "decoder1.", "decoder2.", "decoder3.",
    "nuclei_binary_map_decoder.", "hv_map_decoder.", "nuclei_type_maps_decoder.",
)  # fmt: skip


class Encoder(nn.Module, ABC):
    """From an image to four maps, shallow to deep.

    Attributes
    ----------
    channels
        D of the maps.
    tap_strides
        Stride of each of the four maps, ascending.
    taps
        Indices of the four blocks that the maps come from, ascending, repeats allowed.
    frozen
        Never trained: without gradients and always in evaluation mode.
    takes_panels
        Whether it looks at markers by their identity, so that no stem may mix them before it.
    body
        The module that pretrained weights fill.
    """

    channels: int
    tap_strides: tuple[int, int, int, int]
    taps: list[int]
    frozen: bool = False
    takes_panels: bool = False
    body: nn.Module

    @property
    def stride(self) -> int:
        """The coarsest stride; sides of images are multiples of it."""
        return self.tap_strides[-1]

    @property
    def plain(self) -> Encoder:
        """The encoder without what is built around it (see `nucplan.networks.adapter`)."""
        return self

    @abstractmethod
    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, C, H, W) float, H and W multiples of the stride, to maps (B, D, H/s, W/s), s by ``tap_strides``."""

    @abstractmethod
    def converted(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Of the tensors of a weights file those that fill ``body``, under its names and in its forms.

        They come out of their containers, but with all prefixes.
        """

    def sources(self, tensors: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """For ``names`` of ``body``: the names under which a file with these tensors has, or should have, each."""
        return {name: (name,) for name in names}

    def prefix(self, tensors: Mapping[str, Tensor]) -> str:
        """What stands before the encoder's names in a file with these tensors."""
        return dialect_of(tensors).prefix

    def consulted(self, tensors: Mapping[str, Tensor]) -> set[str]:
        """Names of tensors that tell how the encoder is built and fill nothing in it."""
        return set()

    def dispensable(self, name: str) -> bool:
        """Whether a tensor that ``body`` has no place for may be left out, as a classifier or a mask token may.

        ``name`` comes without what the file wraps it in.
        """
        last = name.rpartition(".")[2]
        return last == "mask_token" or name.startswith((*HEADS, *CELLVIT_DECODER))

    def freeze(self) -> None:
        """Train it no more."""
        self.frozen = True
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Encoder:
        return super().train(mode and not self.frozen)


class Tokens(NamedTuple):
    """What the blocks of a ViT work on.

    Attributes
    ----------
    prefix
        (B, P, D): class and register tokens; P is 0 where there are none.
    patches
        (B, h, w, D).
    """

    prefix: Tensor
    patches: Tensor


class BlockwiseEncoder(Encoder):
    """An encoder whose tokens can be changed between its blocks (see `nucplan.networks.adapter`).

    `embed` and `run_blocks` do not turn gradients off: those of a frozen encoder pass through its blocks, and stop at
    its weights.
    """

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, C, H, W) float, H and W multiples of the stride, to four maps (B, D, H/stride, W/stride)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            tokens, maps = self.embed(images), []
            # Where one block is tapped twice, the range between is empty.
            for first, last in pairwise([0, *(tap + 1 for tap in self.taps)]):
                tokens = self.run_blocks(tokens, first, last)
                maps.append(tokens.patches.permute(0, 3, 1, 2))
        return maps

    @abstractmethod
    def embed(self, images: Tensor) -> Tokens:
        """The tokens before the first block, of (B, C, H, W) float, H and W multiples of the stride."""

    @abstractmethod
    def run_blocks(self, tokens: Tokens, first: int, last: int) -> Tokens:
        """The tokens after the blocks from ``first`` to ``last - 1``; none of them is an empty range."""
