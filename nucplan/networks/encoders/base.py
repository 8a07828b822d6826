"""What every encoder offers to the network, to the loader of weights and to the cache of features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping

from torch import Tensor, nn

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
        """The tensors of a weights file under the names and in the forms of ``body``.

        They come out of their containers, but with all prefixes. What the file holds beside the encoder keeps its name.
        """

    def sources(self, tensors: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """For ``names`` of ``body``: the names under which a file with these tensors has, or should have, each."""
        return {name: (name,) for name in names}

    def dispensable(self, name: str) -> bool:
        """Whether a tensor that ``body`` has no place for may be left out, as a classifier or a mask token may."""
        last = name.rpartition(".")[2]
        return last == "mask_token" or name.startswith((*HEADS, *CELLVIT_DECODER))

    def freeze(self) -> None:
        """Train it no more."""
        self.frozen = True
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Encoder:
        return super().train(mode and not self.frozen)
