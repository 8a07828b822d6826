"""Deformable attention is the published one, whatever the size of its chunks, and stays small in large images."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from nucplan.errors import NucplanError
from nucplan.networks.deformable import CHUNK_BYTES, DeformableAttention, cell_centres, sample_levels, split_levels
from planners.counting import ByteCounter

GRIDS = [(6, 8), (3, 4), (2, 2)]
CELLS = sum(height * width for height, width in GRIDS)


def attention(channels: int = 32, levels: int = 3, ratio: float = 0.5, seed: int = 0) -> DeformableAttention:
    """One whose offsets and weights depend on the queries; the initial ones do not."""
    torch.manual_seed(seed)
    made = DeformableAttention(channels, heads=4, points=4, levels=levels, ratio=ratio)
    for layer in (made.sampling_offsets, made.attention_weights):
        torch.nn.init.normal_(layer.weight, std=0.5)
    return made


def inputs(queries: int = 24, channels: int = 32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(2, queries, channels), torch.rand(queries, 2), torch.randn(2, CELLS, channels)


def test_samples_are_those_of_transformers() -> None:
    reference = pytest.importorskip("transformers.models.deformable_detr.modeling_deformable_detr")
    torch.manual_seed(0)
    values, weights = torch.randn(2, CELLS, 4, 5), torch.rand(2, 9, 4, 3, 4)
    # Also far outside of the image.
    locations = torch.rand(2, 9, 4, 3, 4, 2) * 2 - 0.5
    expected = reference.MultiScaleDeformableAttention()(
        values, torch.tensor(GRIDS), GRIDS, None, locations, weights, 64
    )
    by_head = values.transpose(1, 2).flatten(0, 1)
    found = sample_levels(split_levels(by_head, GRIDS), locations, weights)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_the_whole_layer_is_that_of_transformers() -> None:
    reference = pytest.importorskip("transformers.models.deformable_detr.modeling_deformable_detr")
    ours, (queries, places, features) = attention(ratio=1.0), inputs()
    config = SimpleNamespace(d_model=32, num_feature_levels=3, disable_custom_kernels=True)
    theirs = reference.DeformableDetrMultiscaleDeformableAttention(config, num_heads=4, n_points=4)
    theirs.load_state_dict(ours.state_dict())
    expected, _ = theirs(
        queries,
        encoder_hidden_states=features,
        reference_points=places[None, :, None].expand(2, -1, 3, -1),
        spatial_shapes=torch.tensor(GRIDS),
        spatial_shapes_list=GRIDS,
    )
    torch.testing.assert_close(ours(queries, places, features, GRIDS), expected, rtol=0, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(queries=st.integers(1, 70), chunk=st.integers(1, 80), seed=st.integers(0, 3))
def test_chunks_change_no_bit(queries: int, chunk: int, seed: int) -> None:
    layer, (q, places, features) = attention(seed=seed), inputs(queries)
    with torch.no_grad():
        whole = layer(q, places, features, GRIDS, chunk=queries)
        assert torch.equal(layer(q, places, features, GRIDS, chunk=chunk), whole)


def test_gradients_flow_through_chunks() -> None:
    layer, (queries, places, features) = attention(), inputs()
    found = []
    for chunk in (None, 5):
        given_inputs = queries.clone().requires_grad_(), features.clone().requires_grad_()
        layer.zero_grad()
        layer(given_inputs[0], places, given_inputs[1], GRIDS, chunk=chunk).square().sum().backward()
        found.append([t.grad.clone() for t in (*given_inputs, *layer.parameters())])
    for whole, chunked in zip(*found, strict=True):
        assert whole.abs().sum() > 0
        torch.testing.assert_close(chunked, whole, rtol=1e-5, atol=1e-5)


def test_gradients_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    values = [torch.randn(2, 3, h, w, dtype=torch.float64, requires_grad=True) for h, w in GRIDS[:2]]
    locations = torch.rand(1, 3, 2, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(1, 3, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b, *rest: sample_levels([a, b], *rest), (*values, locations, weights))


def sampler_bytes(queries: int, cells: list[tuple[int, int]], chunk: int | None = None) -> int:
    """What the sampler of a ViT-L takes above its inputs and its output, counted on tensors without data."""
    with FakeTensorMode(), ByteCounter() as counter, torch.no_grad():
        layer = DeformableAttention(1024, levels=len(cells))
        values = torch.empty(1, layer.width, sum(height * width for height, width in cells))
        offsets = torch.empty(1, queries, layer.sampling_offsets.out_features)
        scores = torch.empty(1, queries, layer.attention_weights.out_features)
        places = torch.empty(queries, 2)
        before = counter.live
        counter.restart()
        output = layer._read(values, places, offsets, scores, cells, chunk)
        return counter.peak - before - output.nbytes


PYRAMID, TOKENS = [(256, 256), (128, 128), (64, 64)], [(64, 64)]


@pytest.mark.parametrize(("queries", "cells"), [(86016, TOKENS), (4096, PYRAMID)], ids=["extractor", "injector"])
def test_the_sampler_needs_less_than_100_mb_for_1024_pixels(queries: int, cells: list[tuple[int, int]]) -> None:
    assert sampler_bytes(queries, cells) <= 1.1 * CHUNK_BYTES < 100e6
    # All queries at once take their samples at 4 points in 512 channels of float32.
    assert sampler_bytes(queries, cells, chunk=queries) > 4 * queries * 512 * 4


def test_the_memory_of_the_sampler_does_not_grow_with_the_image() -> None:
    assert sampler_bytes(86016, TOKENS) <= 1.05 * sampler_bytes(21504, [(32, 32)])


def test_at_first_the_points_lie_in_rings_around_the_query() -> None:
    layer = DeformableAttention(32, heads=8, points=2, levels=2)
    rings = layer.sampling_offsets.bias.unflatten(0, (8, 2, 2, 2))
    neighbours = {(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1)} - {(0, 0)}
    for level in (0, 1):
        found = {tuple(int(v) for v in place) for place in rings[:, level, 0].round().tolist()}
        assert found == neighbours
        torch.testing.assert_close(rings[:, level, 1], 2 * rings[:, level, 0])


def test_the_centre_of_a_cell_reads_that_cell() -> None:
    grid = [(3, 5)]
    value = torch.arange(15.0).view(1, 1, 3, 5)
    locations = cell_centres(grid)[None, :, None, None, None]
    read = sample_levels([value], locations, torch.ones(1, 15, 1, 1, 1))
    torch.testing.assert_close(read.flatten(), value.flatten())


def test_values_that_no_number_of_heads_shares_are_refused() -> None:
    with pytest.raises(NucplanError, match="values of 9 channels among 8 heads; choose"):
        DeformableAttention(18)
