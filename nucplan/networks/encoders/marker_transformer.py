"""The transformer of VirTues: patches of every marker as tokens, one summary over all markers, attention in turns.

Source: Wenckstern et al. 2025 (arXiv 2501.06039) and its released configuration; modules and parameters have the names
of the released state dict. Attention is PyTorch's own, without CUDA extensions.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from nucplan.errors import NucplanError

# Block kinds: within each channel over space, at each position over channels, over both, and the summary over space.
KINDS = "hvfp"
# Those whose tokens lie at several positions; rotary positions act on these alone.
SPATIAL_KINDS = "hfp"
ROPE_BASE = 10_000.0
# Below it spatial attention has next to nothing to attend to, and features are like none that were trained.
FEWEST_TOKENS = 16


class MarkerTokens(NamedTuple):
    """What the encoder makes of (B, C, h, w) images, on the grid H = h / patch, W = w / patch.

    Attributes
    ----------
    summary : (B, D, H, W), the patch summary tokens
    channels : (B, C, D, H, W), the tokens of each channel
    intermediate : (B, D, H, W) summary tokens after chosen blocks, before the final norm
    """

    summary: Tensor
    channels: Tensor
    intermediate: tuple[Tensor, ...]


class RotaryAttention(nn.Module):
    """Multi-head self-attention, with 2-D rotary positions where they are given (Su et al. 2021, half-split)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.W_q, self.W_k, self.W_v, self.W_o = (nn.Linear(dim, dim) for _ in range(4))

    def forward(self, x: Tensor, angles: Tensor | None = None, attended: Tensor | None = None) -> Tensor:
        """(N, L, D) to (N, L, D).

        Parameters
        ----------
        angles
            (L, D / heads) of `rotary_angles`, or None for tokens without positions.
        attended
            (N, L) bool, the tokens that are looked at; None for all.
        """
        query, key, value = (self._split(layer(x)) for layer in (self.W_q, self.W_k, self.W_v))
        if angles is not None:
            query, key = rotated(query, angles), rotated(key, angles)
        mask = None
        if attended is not None:
            # A sequence in which nothing is attended would give NaN; what comes out of it is not used.
            mask = (attended | ~attended.any(1, keepdim=True))[:, None, None]
        found = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.W_o(found.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class EncoderLayer(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, dim: int, feedforward: int, heads: int) -> None:
        super().__init__()
        self.multi_head_attention = RotaryAttention(dim, heads)
        # The two dropouts of the source are never on; one keeps its place, as parameters are named by position.
        self.feedforward = nn.Sequential(
            nn.Linear(dim, feedforward), nn.GELU(), nn.Identity(), nn.Linear(feedforward, dim)
        )
        self.layernorm1, self.layernorm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(self, x: Tensor, angles: Tensor | None = None, attended: Tensor | None = None) -> Tensor:
        x = x + self.multi_head_attention(self.layernorm1(x), angles, attended)
        return x + self.feedforward(self.layernorm2(x))


class MarkerBlock(nn.Module):
    """A block that looks along one of the axes of (B, 1 + C, S, D) tokens, by its kind of `KINDS`."""

    def __init__(self, kind: str, dim: int, feedforward: int, heads: int) -> None:
        super().__init__()
        self.kind = kind
        self.encoder_layer = EncoderLayer(dim, feedforward, heads)

    def forward(self, x: Tensor, angles: Tensor | None, seen: Tensor | None) -> Tensor:
        """Tokens that are not ``seen``, (B, 1 + C, S) bool, are looked at by none and stay as they are."""
        if self.kind == "p":
            return torch.cat([self.encoder_layer(x[:, 0], angles)[:, None], x[:, 1:]], 1)
        # At one position all rotations are equal and cancel out.
        angles = angles if self.kind in SPATIAL_KINDS else None
        y, looked_at = self._sequences(x), None if seen is None else self._sequences(seen)
        if self.kind == "f" and angles is not None:
            angles = angles.repeat(x.shape[1], 1)
        y = self.encoder_layer(y, angles, looked_at)
        y = self._tokens(y, x.shape)
        return y if seen is None else torch.where(seen[..., None], y, x)

    def _sequences(self, x: Tensor) -> Tensor:
        if self.kind == "h":
            return x.flatten(0, 1)
        return x.transpose(1, 2).flatten(0, 1) if self.kind == "v" else x.flatten(1, 2)

    def _tokens(self, y: Tensor, shape: torch.Size) -> Tensor:
        if self.kind == "v":
            return y.unflatten(0, (shape[0], shape[2])).transpose(1, 2)
        return y.reshape(shape)


class MarkerTransformer(nn.Module):
    """VirTues' encoder.

    Parameters
    ----------
    dim, feedforward, heads
        Width of tokens, hidden width of the blocks, attention heads; ``dim / heads`` is a multiple of 4.
    pattern
        One letter per block: ``h`` within each channel over space, ``v`` at each position over channels, ``f`` over
        both, ``p`` of the summary over space.
    rope
        Indices of the blocks with rotary positions.
    marker_dim
        Length of a marker's embedding.
    patch
        Side of a token in pixels.
    final_norm
        Whether a LayerNorm ends it.

    Raises
    ------
    NucplanError
        If the pattern has an unknown letter, or the heads do not divide the width.
    """

    def __init__(
        self,
        dim: int = 512,
        feedforward: int = 1024,
        heads: int = 8,
        pattern: str = "hv" * 8,
        rope: Collection[int] = tuple(range(0, 16, 2)),
        marker_dim: int = 640,
        patch: int = 8,
        final_norm: bool = True,
    ) -> None:
        super().__init__()
        if not pattern or set(pattern) - set(KINDS):
            raise NucplanError(f"'{pattern}' is no pattern of blocks; give letters of {', '.join(KINDS)}.")
        if dim % (4 * heads):
            raise NucplanError(f"{heads} heads do not divide a width of {dim} into parts of 4; give other heads.")
        self.patch, self.head_dim, self.rope = patch, dim // heads, frozenset(rope)
        self.patch_encoder = nn.Linear(patch**2, dim)
        self.prior_embedding_encoder = nn.Linear(marker_dim, dim)
        self.patch_summary_token = nn.Parameter(torch.randn(dim) * 0.02)
        self.masked_token = nn.Parameter(torch.randn(dim) * 0.02)
        self.encoder = nn.ModuleList(MarkerBlock(kind, dim, feedforward, heads) for kind in pattern)
        self.layer_norm = nn.LayerNorm(dim) if final_norm else nn.Identity()

    def forward(
        self, images: Tensor, markers: Tensor, masked: Tensor | None = None, blocks: Sequence[int] = ()
    ) -> MarkerTokens:
        """Encode images that show the same number of channels; no image sees another.

        Parameters
        ----------
        images
            (B, C, h, w) float, h and w multiples of the patch.
        markers
            (C, E) or (B, C, E) float, the embedding of each channel's marker.
        masked
            (B, C, H, W) bool, patches that are hidden: they are replaced by a token and left out of attention.
        blocks
            Numbers, from 1, of the blocks whose summary tokens are asked for as well.

        Raises
        ------
        NucplanError
            If an image has fewer than 16 patches, or a side is no multiple of the patch.
        """
        grid = self._grid(images)
        x = self._tokens(images, masked) + self.prior_embedding_encoder(markers)[..., None, :]
        summary = self.patch_summary_token.expand(len(x), 1, *x.shape[2:])
        # In mixed precision layers give half of it, but what the blocks add up stays in full.
        x = torch.cat([summary, x.to(summary.dtype)], 1)
        seen = None if masked is None else functional.pad(~masked.flatten(2), (0, 0, 1, 0), value=True)
        angles = rotary_angles(*grid, self.head_dim, images.device)
        found: dict[int, Tensor] = {}
        for index, block in enumerate(self.encoder):
            x = block(x, angles if index in self.rope else None, seen)
            if index + 1 in blocks:
                found[index + 1] = _as_map(x[:, 0], grid)
        x = self.layer_norm(x)
        return MarkerTokens(_as_map(x[:, 0], grid), _as_map(x[:, 1:], grid), tuple(found[k] for k in blocks))

    def _grid(self, images: Tensor) -> tuple[int, int]:
        height, width = images.shape[2:]
        if height % self.patch or width % self.patch:
            raise NucplanError(f"Images of {height} x {width} px cannot be cut into patches of {self.patch}; pad them.")
        grid = height // self.patch, width // self.patch
        if grid[0] * grid[1] < FEWEST_TOKENS:
            raise NucplanError(
                f"An image of {height} x {width} px has {grid[0] * grid[1]} patch(es), too few for any context; give "
                f"at least {FEWEST_TOKENS}."
            )
        return grid

    def _tokens(self, images: Tensor, masked: Tensor | None) -> Tensor:
        """(B, C, h, w) to (B, C, S, D), positions row by row."""
        side = self.patch
        patches = images.unflatten(3, (-1, side)).unflatten(2, (-1, side)).transpose(3, 4).flatten(4).flatten(2, 3)
        tokens = self.patch_encoder(patches)
        return tokens if masked is None else torch.where(masked.flatten(2)[..., None], self.masked_token, tokens)


def _as_map(x: Tensor, grid: tuple[int, int]) -> Tensor:
    return x.transpose(-1, -2).unflatten(-1, grid)


def rotary_angles(rows: int, columns: int, head_dim: int, device: torch.device | None = None) -> Tensor:
    """Angles (rows * columns, head_dim) of each position: one half turns with the row, the other with the column."""
    half = head_dim // 2
    vertical, horizontal = (rotary_table(n, half, device) for n in (rows, columns))
    vertical, horizontal = vertical[:, None].expand(-1, columns, -1), horizontal.expand(rows, -1, -1)
    return torch.cat([vertical, horizontal], 2).flatten(0, 1)


def rotary_table(length: int, dim: int, device: torch.device | None = None) -> Tensor:
    """Angles (length, dim) along one axis: ``position / 10000 ** (2 j / dim)`` for j < dim / 2, twice."""
    turns = ROPE_BASE ** -(torch.arange(0, dim, 2, dtype=torch.float32, device=device) / dim)
    return (torch.arange(length, dtype=torch.float32, device=device)[:, None] * turns).repeat(1, 2)


def rotated(x: Tensor, angles: Tensor) -> Tensor:
    """(..., L, head_dim) turned by `rotary_angles`: each axis has its half, whose two halves are the pairs."""
    first, second = x.unflatten(-1, (2, 2, -1)).unbind(-2)
    turned = torch.stack([-second, first], -2).flatten(-3)
    return x * angles.cos().to(x.dtype) + turned * angles.sin().to(x.dtype)
