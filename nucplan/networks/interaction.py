"""How CellVTA's pyramid and the tokens of a ViT read each other (ViT-Adapter, Chen et al. 2023, fig. 4)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from nucplan.networks.deformable import DeformableAttention, Grid, cell_centres, split_levels

# LayerNorm's of ViTs.
EPSILON = 1e-6


class Injector(nn.Module):
    """Patch tokens read the pyramid, ``x + gamma * attention(x, pyramid)``.

    Parameters
    ----------
    channels
        D of tokens and pyramid.
    levels
        Of the pyramid.
    gamma
        What the learned strength of each channel starts from; with 0 the tokens stay as they are.
    """

    def __init__(self, channels: int, levels: int, gamma: float) -> None:
        super().__init__()
        self.query_norm = nn.LayerNorm(channels, eps=EPSILON)
        self.feature_norm = nn.LayerNorm(channels, eps=EPSILON)
        self.attention = DeformableAttention(channels, levels=levels)
        self.gamma = nn.Parameter(torch.full((channels,), gamma))

    def forward(self, patches: Tensor, pyramid: Tensor, grids: Sequence[Grid]) -> Tensor:
        """(B, h, w, D) and (B, sum of h_l * w_l, D) to (B, h, w, D)."""
        grid = patches.shape[1], patches.shape[2]
        places = cell_centres([grid], patches.device)
        queries = self.query_norm(patches.flatten(1, 2))
        read = self.attention(queries, places, self.feature_norm(pyramid), grids)
        return patches + (self.gamma * read).unflatten(1, grid)


class ConvFeedForward(nn.Module):
    """A feed-forward layer with a depth-wise 3x3 convolution on each level between its two linear ones."""

    def __init__(self, channels: int, ratio: float = 0.25) -> None:
        super().__init__()
        hidden = int(channels * ratio)
        self.fc1 = nn.Linear(channels, hidden)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, pyramid: Tensor, grids: Sequence[Grid]) -> Tensor:
        """(B, sum of h_l * w_l, D) to the same shape."""
        levels = [self.depthwise(level) for level in split_levels(self.fc1(pyramid), grids)]
        hidden = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], 1)
        return self.fc2(functional.gelu(hidden))


class Extractor(nn.Module):
    """The pyramid reads the patch tokens; a feed-forward layer follows, which a training leaves out at random.

    Parameters
    ----------
    channels
        D of tokens and pyramid.
    drop_path
        Probability with which a sample of the batch goes without the feed-forward layer (Huang et al. 2016).
    """

    def __init__(self, channels: int, drop_path: float) -> None:
        super().__init__()
        from timm.layers import DropPath

        self.query_norm = nn.LayerNorm(channels, eps=EPSILON)
        self.feature_norm = nn.LayerNorm(channels, eps=EPSILON)
        self.attention = DeformableAttention(channels)
        self.feed_forward_norm = nn.LayerNorm(channels, eps=EPSILON)
        self.feed_forward = ConvFeedForward(channels)
        self.drop_path = DropPath(drop_path)

    def forward(self, pyramid: Tensor, grids: Sequence[Grid], patches: Tensor) -> Tensor:
        """(B, sum of h_l * w_l, D) and (B, h, w, D) to the shape of the first."""
        places = cell_centres(grids, pyramid.device)
        tokens = self.feature_norm(patches.flatten(1, 2))
        grid = patches.shape[1], patches.shape[2]
        pyramid = pyramid + self.attention(self.query_norm(pyramid), places, tokens, [grid])
        return pyramid + self.drop_path(self.feed_forward(self.feed_forward_norm(pyramid), grids))
