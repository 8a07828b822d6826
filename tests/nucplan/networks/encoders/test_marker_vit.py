"""VirTues at 1 um per pixel inside of a network at any other, with whatever markers an image has."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from nucplan.errors import NucplanError
from nucplan.networks.encoders.marker_vit import MarkerViT, _continued, _on_grid
from nucplan.networks.nucleus_net import NucleusNet

SMALL = {"dim": 16, "feedforward": 24, "heads": 2, "pattern": "hvhv", "marker_dim": 6}
PANEL = ["P68431", "P07766", None, "P01730", "P02533"]


def encoder(markers=PANEL, **options) -> MarkerViT:
    torch.manual_seed(0)
    made = MarkerViT("virtues", len(markers), markers=markers, **SMALL | options)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    vectors = torch.Generator().manual_seed(3)
    made.fill_table({m: torch.randn(6, generator=vectors) for m in sorted(filter(None, set(PANEL)))})
    return made.eval()


def images(count: int = 1, size: int = 128, channels: int = len(PANEL)) -> Tensor:
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("mpp", "stride"), [(0.25, 16), (0.5, 16), (0.74, 16), (0.75, 8), (1.0, 8), (1.5, 8)])
def test_maps_lie_on_the_grid_of_the_decoder(mpp, stride):
    made = encoder(mpp=mpp)
    maps = made(images(2, 64))
    assert made.stride == stride
    assert [tuple(found.shape) for found in maps] == [(2, 16, 64 // stride, 64 // stride)] * 4


def test_taps_are_a_quarter_half_and_all_of_the_blocks():
    with torch.device("meta"):
        # Numbers from 1: after blocks 4, 8, 12 and 16.
        assert [tap + 1 for tap in MarkerViT("virtues", 1, markers=["P68431"]).taps] == [4, 8, 12, 16]


def test_images_of_other_panels_in_a_batch_do_not_see_each_other():
    made, batch = encoder(), images(4)
    batch[1, 0] = batch[2, 3] = batch[3, 0] = 0
    together = made(batch)
    for number in range(4):
        alone = made(batch[number : number + 1])
        for found, wanted in zip(together, alone, strict=True):
            torch.testing.assert_close(found[number : number + 1], wanted)


def test_a_channel_of_zeros_is_as_good_as_none():
    picture = images()
    picture[:, 1] = 0
    without = encoder([PANEL[0], *PANEL[2:]])(picture[:, [0, 2, 3, 4]])
    for found, wanted in zip(encoder()(picture), without, strict=True):
        torch.testing.assert_close(found, wanted)


def test_a_channel_without_a_marker_is_not_seen():
    picture = images()
    other = picture.clone()
    other[:, 2] += 5
    assert all(torch.equal(a, b) for a, b in zip(encoder()(picture), encoder()(other), strict=True))


def test_channels_may_come_in_any_order_with_their_markers():
    picture, order = images(), [4, 2, 0, 3, 1]
    for found, wanted in zip(encoder([PANEL[k] for k in order])(picture[:, order]), encoder()(picture), strict=True):
        torch.testing.assert_close(found, wanted)


def test_an_image_without_any_marker_still_has_maps():
    assert all(found.isfinite().all() for found in encoder()(torch.zeros(2, len(PANEL), 128, 128)))


def test_at_its_own_scale_the_encoder_sees_the_blurred_image():
    made, picture = encoder(), images()
    weights = np.exp(-np.array([1, 0, 1]) / 2)
    kernel = np.outer(weights, weights) / weights.sum() ** 2
    blurred = np.stack([ndimage.convolve(plane, kernel, mode="nearest") for plane in picture[0].numpy()])
    direct = made.vit(torch.from_numpy(blurred)[None][:, made.seen], made.table, blocks=(1, 2, 3, 4)).intermediate
    for found, wanted in zip(made(picture), direct, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_an_image_at_half_the_pixel_size_gives_the_maps_of_the_same_tissue():
    smooth = torch.nn.functional.interpolate(images(size=16), 128, mode="bicubic")
    enlarged = torch.nn.functional.interpolate(smooth, 256, mode="bilinear")
    for fine, coarse in zip(encoder(mpp=0.5)(enlarged), encoder(mpp=1.0)(smooth), strict=True):
        assert fine.shape == coarse.shape
        assert torch.nn.functional.cosine_similarity(fine.flatten(), coarse.flatten(), 0) > 0.99


def test_a_small_image_is_seen_with_context():
    picture = images(size=32)
    continued = torch.from_numpy(np.pad(picture.numpy(), [(0, 0), (0, 0), (0, 96), (0, 96)], mode="reflect"))
    # Not at its end, where the blur of the one goes on in a reflection and that of the other in none.
    for found, wanted in zip(encoder()(picture), encoder()(continued), strict=True):
        assert found.shape[2:] == (4, 4)
        torch.testing.assert_close(found, wanted[..., :4, :4], atol=0.3, rtol=0.1)


@pytest.mark.parametrize(("length", "side"), [(1, 5), (2, 9), (5, 8), (5, 23), (7, 7)])
def test_continuation_is_a_reflection_repeated(length, side):
    line = np.random.default_rng(0).normal(size=(1, 1, 1, length))
    wanted = np.pad(line, [(0, 0)] * 3 + [(0, side - length)], mode="reflect" if length > 1 else "edge")
    np.testing.assert_array_equal(_continued(torch.from_numpy(line), 3, side), wanted)


def test_maps_are_sampled_where_the_cells_of_the_decoder_lie():
    # A map that tells where its own cells of 8 um lie in a field of 128 um, of which the first half is the image.
    ramp = (torch.arange(16) * 8.0 + 4).expand(1, 1, 16, 16)
    found = _on_grid(ramp, [16, 16], (0.5, 0.5))[0, 0, 0]
    wanted = (torch.arange(16) * 4.0 + 2).clamp(min=4)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(("missing", "length"), [("P01730", 6), (None, 5)])
def test_a_table_that_lacks_a_marker_is_refused(missing, length):
    vectors = {m: torch.zeros(length) for m in filter(None, PANEL) if m != missing}
    with pytest.raises(NucplanError, match="no vector of 6 numbers for"):
        MarkerViT("virtues", 5, markers=PANEL, **SMALL).fill_table(vectors)


def test_a_table_that_was_never_filled_gives_no_features():
    made = MarkerViT("virtues", 5, markers=PANEL, **SMALL)
    assert made(images())[-1].isnan().all()


@pytest.mark.parametrize("markers", [None, [], [None, None]])
def test_an_encoder_without_markers_says_to_plan_with_it(markers):
    with pytest.raises(NucplanError, match="nucplan_plan_and_preprocess DATASET --encoder virtues"):
        MarkerViT("virtues", 2, markers=markers)


def test_context_reaches_as_far_as_the_image():
    picture = images()
    other = picture.clone()
    other[:, :, -8:, -8:] += 3
    corner, moved = (encoder()(shown)[-1][..., 0, 0] for shown in (picture, other))
    assert (corner - moved).abs().max() > 1e-3


@pytest.mark.parametrize("frozen", [True, False])
def test_a_network_keeps_its_markers_in_its_checkpoint(frozen):
    options = {**SMALL, "markers": PANEL, "mpp": 0.5}
    arguments = dict(features_per_stage=[4, 4, 4, 4, 4], encoder_frozen=frozen, encoder_options=options)
    net, other = (NucleusNet(len(PANEL), 3, "virtues", **arguments) for _ in range(2))
    net.encoder.fill_table({marker: torch.randn(6) for marker in filter(None, PANEL)})
    other.load_state_dict(net.state_dict())
    picture = images(2, 64)
    torch.testing.assert_close(net.eval()(picture), other.eval()(picture))
    net.train().maps(picture).semantic.sum().backward()
    assert (net.encoder.vit.patch_encoder.weight.grad is None) == frozen
    assert not any(name == "encoder.table" for name, _ in net.named_parameters())


def test_the_blur_keeps_the_mean():
    assert math.isclose(float(encoder().blur.sum()), 1, rel_tol=1e-6)


def test_mixed_precision_gives_nearly_the_same_maps():
    # No widening of the deviations of small weights: those of a trained network are of this size.
    made, picture = encoder(), images(2)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = made(picture)
    for found, wanted in zip(mixed, made(picture), strict=True):
        assert found.dtype == torch.float32
        assert (found - wanted).abs().max() < 0.02 * wanted.abs().max()
