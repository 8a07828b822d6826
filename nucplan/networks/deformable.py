"""Multi-scale deformable attention (Zhu et al. 2021, Deformable DETR) in plain PyTorch: nothing has to be compiled."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from nucplan.errors import NucplanError

# Height and width of one level of a pyramid.
Grid = tuple[int, int]

# What the samples of one chunk of queries may take without gradients; with them, autograd keeps all samples anyway.
CHUNK_BYTES = 32 * 2**20


def cell_centres(grids: Sequence[Grid], device: torch.device | None = None) -> Tensor:
    """The centres of the cells of levels, one level after the other: (sum of h * w, 2) float32, x and y in (0, 1)."""
    centres = []
    for height, width in grids:
        y = (torch.arange(height, device=device, dtype=torch.float32) + 0.5) / height
        x = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) / width
        centres.append(torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).flatten(0, 1))
    return torch.cat(centres)


def split_levels(tokens: Tensor, grids: Sequence[Grid]) -> list[Tensor]:
    """(B, sum of h * w, C) to one map (B, C, h, w) per level."""
    levels = tokens.split([height * width for height, width in grids], dim=1)
    return [level.transpose(1, 2).unflatten(2, grid) for level, grid in zip(levels, grids, strict=True)]


def sample_levels(values: Sequence[Tensor], locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums of bilinear samples (Zhu et al. 2021, eq. 3); what lies outside of a level is 0.

    Parameters
    ----------
    values
        One map (B * heads, d, h, w) float32 per level, heads innermost in the first axis.
    locations
        (B, Q, heads, levels, points, 2) float32, x and y, 0 and 1 at the outer edges of the outermost cells.
    weights
        (B, Q, heads, levels, points) float32.

    Returns
    -------
    Tensor
        (B, Q, heads * d). Each query's is the same to the last bit whatever other queries come along.
    """
    batch, _, heads = weights.shape[:3]
    # (B * heads, levels, points, Q): queries innermost, so that each operation below runs along them.
    places = (2 * locations - 1).permute(0, 2, 3, 4, 1, 5).flatten(0, 1)
    weights = weights.permute(0, 2, 3, 4, 1).flatten(0, 1)
    mixed = _mixed(values[0], places[:, 0], weights[:, 0])
    for level, value in enumerate(values[1:], start=1):
        mixed += _mixed(value, places[:, level], weights[:, level])
    return mixed.unflatten(0, (batch, heads)).flatten(1, 2).transpose(1, 2)


def _mixed(value: Tensor, places: Tensor, weights: Tensor) -> Tensor:
    """One level, (N, d, h, w), at places (N, points, Q, 2) from -1 to 1 with weights (N, points, Q): (N, d, Q)."""
    samples = functional.grid_sample(value, places, mode="bilinear", padding_mode="zeros", align_corners=False)
    mixed = samples[:, :, 0] * weights[:, None, 0]
    # One product and one sum after the other: the order of a reduction would depend on the number of queries.
    for point in range(1, weights.shape[1]):
        mixed += samples[:, :, point] * weights[:, None, point]
    return mixed


class DeformableAttention(nn.Module):
    """Each query reads a few points near its own place on every level of a pyramid.

    Parameters
    ----------
    channels
        C of queries, features and output.
    heads, points, levels
        Each head reads ``points`` points on each of ``levels`` levels.
    ratio
        Width of the values, as a share of ``channels`` (ViT-Adapter, Chen et al. 2023).

    Raises
    ------
    NucplanError
        If the width of the values is no multiple of ``heads``.
    """

    def __init__(self, channels: int, heads: int = 8, points: int = 4, levels: int = 1, ratio: float = 0.5) -> None:
        super().__init__()
        self.heads, self.points, self.levels = heads, points, levels
        self.width = int(channels * ratio)
        if self.width == 0 or self.width % heads:
            raise NucplanError(
                f"Deformable attention cannot share values of {self.width} channels among {heads} heads; "
                "choose an encoder with another width."
            )
        self.sampling_offsets = nn.Linear(channels, heads * levels * points * 2)
        self.attention_weights = nn.Linear(channels, heads * levels * points)
        self.value_proj = nn.Linear(channels, self.width)
        self.output_proj = nn.Linear(self.width, channels)
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        """At first point k of head m lies k cells away in the m-th direction, and all points weigh the same."""
        angles = torch.arange(self.heads) * (2 * math.pi / self.heads)
        directions = torch.stack([angles.cos(), angles.sin()], -1)
        # On the rim of a square, as the neighbours of a cell are.
        directions = directions / directions.abs().amax(-1, keepdim=True)
        rings = directions[:, None, None] * torch.arange(1, self.points + 1)[:, None]
        self.sampling_offsets.bias.copy_(rings.expand(-1, self.levels, -1, -1).flatten())
        for layer in (self.sampling_offsets, self.attention_weights):
            layer.weight.zero_()
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
        for layer in (self.attention_weights, self.value_proj, self.output_proj):
            layer.bias.zero_()

    def forward(
        self, queries: Tensor, places: Tensor, features: Tensor, grids: Sequence[Grid], chunk: int | None = None
    ) -> Tensor:
        """Attend from every query.

        Parameters
        ----------
        queries
            (B, Q, C).
        places
            Of the queries, (Q, 2) float32, see `cell_centres`.
        features
            (B, sum of h * w, C): the levels, one after the other.
        grids
            Height and width of each level.
        chunk
            Queries at a time; the result does not depend on it. None for all of them where gradients are kept, else
            for as many as `CHUNK_BYTES` allow.

        Returns
        -------
        Tensor
            (B, Q, C).
        """
        values = self._values(features)
        offsets, scores = self.sampling_offsets(queries), self.attention_weights(queries)
        # 16-bit numbers tell places in a large image too coarsely.
        with torch.autocast(queries.device.type, enabled=False):
            read = self._read(values.float(), places, offsets.float(), scores.float(), grids, chunk)
        return self.output_proj(read)

    def _values(self, features: Tensor) -> Tensor:
        """`value_proj` of (B, N, C) as (B, width, N): maps of the levels are then views of it."""
        weight = self.value_proj.weight.expand(len(features), -1, -1)
        return torch.baddbmm(self.value_proj.bias[:, None], weight, features.transpose(1, 2))

    def chunk_of(self, batch: int) -> int:
        """Queries for whose samples `CHUNK_BYTES` are enough in a batch of this size, but at least one."""
        # The samples, a product and two sums; and per point a shift, a place before and after scaling, and weights.
        per_query = self.width * (self.points + 3) + self.heads * self.levels * self.points * 8
        return max(1, CHUNK_BYTES // (4 * batch * per_query))

    def _read(
        self,
        values: Tensor,
        places: Tensor,
        offsets: Tensor,
        scores: Tensor,
        grids: Sequence[Grid],
        chunk: int | None,
    ) -> Tensor:
        batch, queries = offsets.shape[:2]
        if chunk is None:
            chunk = queries if torch.is_grad_enabled() else self.chunk_of(batch)
        by_head = values.unflatten(1, (self.heads, -1)).flatten(0, 1).transpose(1, 2)
        levels = split_levels(by_head, grids)
        sizes = places.new_tensor([(width, height) for height, width in grids])[:, None]
        read = values.new_empty(batch, queries, self.width)
        for start in range(0, queries, chunk):
            some = slice(start, start + chunk)
            shifts = offsets[:, some].unflatten(2, (self.heads, self.levels, self.points, 2)) / sizes
            weights = scores[:, some].unflatten(2, (self.heads, -1)).softmax(-1)
            weights = weights.unflatten(3, (self.levels, self.points))
            read[:, some] = sample_levels(levels, places[some, None, None, None] + shifts, weights)
        return read
