from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nucplan.inference.tiles import (
    blended_maps,
    gaussian_window,
    mirrored,
    predict_probabilities,
    tile_side,
    tile_starts,
)
from nucplan.networks.nucleus_net import NucleusMaps

CPU = torch.device("cpu")


class Pointwise(nn.Module):
    """Logits that depend on each pixel alone, so that tiling must change nothing."""

    def __init__(self, scale: float = 1.0, boundary_strides: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.scale, self.boundary_strides = scale, boundary_strides
        self.largest_batch = 0

    def maps(self, images: torch.Tensor) -> NucleusMaps:
        self.largest_batch = max(self.largest_batch, len(images))
        semantic = torch.cat([images * self.scale, -images[:, :1], images[:, 1:] ** 2], 1)
        return NucleusMaps(semantic, {stride: stride * self.scale * images[:, :1] for stride in self.boundary_strides})


def softmax_of(image: np.ndarray, scale: float = 1.0) -> np.ndarray:
    return Pointwise(scale).maps(torch.from_numpy(image)[None]).semantic.softmax(1)[0].numpy()


def random_image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, height, width)).astype(np.float32)


@given(st.integers(1, 500), st.integers(8, 64), st.data())
def test_tiles_cover_everything_with_the_overlap(length, tile, data):
    overlap = data.draw(st.integers(0, tile - 1))
    starts = tile_starts(length, tile, overlap)
    assert starts[0] == 0
    assert starts == sorted(set(starts))
    if length > tile:
        assert starts[-1] + tile == length
        assert all(a + tile - b >= overlap for a, b in zip(starts, starts[1:], strict=False))


@settings(max_examples=15, deadline=None)
@given(
    st.integers(3, 70),
    st.integers(3, 70),
    st.sampled_from([(16, 4), (16, 8), (32, 12)]),
    st.booleans(),
    st.integers(1, 5),
)
def test_a_pointwise_network_gives_the_untiled_result(height, width, tiling, mirror, batch):
    image = random_image(height, width)
    tile, overlap = tiling
    found = predict_probabilities(Pointwise(), image, tile, overlap, batch, CPU, mirror)
    assert found.semantic.dtype == np.float16
    assert found.boundary is None
    np.testing.assert_allclose(found.semantic, softmax_of(image), atol=2e-3)


def test_the_boundary_is_the_mean_over_heads_of_which_the_finer_count_twice():
    image = random_image(20, 40)
    found = predict_probabilities(Pointwise(2, (1, 4)), image, 16, 8, 3, CPU)
    heads = [weight * torch.from_numpy(stride * 2 * image[0]).sigmoid() for stride, weight in ((1, 2), (4, 1))]
    np.testing.assert_allclose(found.boundary, torch.stack(heads).sum(0) / 3, atol=2e-3)
    np.testing.assert_allclose(found.semantic, softmax_of(image, 2), atol=2e-3)


def test_no_forward_pass_holds_more_tiles_than_asked_for():
    network = Pointwise()
    predict_probabilities(network, np.zeros((2, 30, 300), np.float32), 16, 8, 4, CPU)
    assert network.largest_batch == 4


def test_mirroring_averages_a_network_that_prefers_one_side():
    class Sided(nn.Module):
        def maps(self, images):
            ramp = torch.linspace(-1, 1, images.shape[-1]).expand(len(images), 1, *images.shape[2:])
            return NucleusMaps(torch.cat([ramp, -ramp], 1))

    image = np.zeros((1, 16, 16), np.float32)
    plain = predict_probabilities(Sided(), image, 16, 8, 1, CPU).semantic
    mirrored = predict_probabilities(Sided(), image, 16, 8, 1, CPU, mirror=True).semantic
    assert abs(plain[0, 0, 0] - 0.5) > 0.2
    np.testing.assert_allclose(mirrored, 0.5, atol=1e-3)


@pytest.mark.parametrize("tile", [16, 128])
def test_the_window_is_positive_and_highest_in_the_middle(tile):
    window = gaussian_window(tile)
    assert window.min() > 0
    assert window[tile // 2, tile // 2] == window.max()
    np.testing.assert_array_equal(window, window.T)


def test_where_two_tiles_overlap_their_shares_are_the_same_in_every_row():
    window = gaussian_window(16).astype(np.float64)
    left, right = window[:, 4:], window[:, :-4]
    shares = left / (left + right)
    np.testing.assert_allclose(shares, np.broadcast_to(shares[8], shares.shape), rtol=1e-5)


@given(st.integers(1, 5000), st.integers(1, 60), st.integers(0, 60))
def test_even_tiles_are_as_few_as_the_largest_would_be_and_no_larger_than_they_need_be(length, largest, overlap):
    largest, overlap = 16 * (largest + 4), min(overlap, 63)
    side = tile_side(length, largest, overlap, 16)
    assert 0 < side <= largest
    assert side % 16 == 0
    count = len(tile_starts(length, largest, overlap))
    assert len(tile_starts(length, side, overlap)) == count
    assert side < 32 or side == largest or count * (side - 16 - overlap) + overlap < length


@settings(max_examples=15, deadline=None)
@given(st.integers(3, 70), st.integers(3, 70), st.sampled_from([(16, 32), (48, 16), (80, 80)]), st.integers(1, 4))
def test_maps_of_any_number_are_blended_from_tiles_of_any_shape(height, width, tile, batch):
    image = np.random.default_rng(0).integers(0, 256, (2, height, width), dtype=np.uint8)

    def forward(images):
        assert images.shape[2:] == tile
        assert images.dtype == torch.uint8
        return torch.cat([images / 255, -images / 255, images[:, :1] / 510], 1)

    found = blended_maps(forward, image, tile, 8, batch, CPU)
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, forward_of(image), atol=1e-3)


def forward_of(image: np.ndarray) -> np.ndarray:
    return np.concatenate([image / 255, -image / 255, image[:1] / 510])


def test_a_map_that_points_along_an_axis_changes_its_sign_with_it():
    def slope(images):
        padded = torch.nn.functional.pad(images, (1, 1, 1, 1), mode="replicate")
        along = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]
        down = padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
        return torch.cat([images, along, down], 1)

    images = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 1, 7, 9)))
    expected = slope(images)
    torch.testing.assert_close(mirrored(slope, images, {3: 1, 2: 2}), expected)
    assert not torch.allclose(mirrored(slope, images, {3: 2, 2: 1}), expected)
    assert not torch.allclose(mirrored(slope, images), expected)
