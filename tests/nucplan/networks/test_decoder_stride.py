"""A decoder that ends above stride 1 still predicts every pixel."""

from __future__ import annotations

import pytest
import torch

from nucplan.errors import NucplanError
from nucplan.networks.nucleus_net import NucleusNet


def network(decoder_stride: int, encoder: str = "vit_tiny_patch16_224", **options) -> NucleusNet:
    torch.manual_seed(0)
    options = {"encoder_depth": 2, "boundary_strides": [1, 2, 4], "boundary_attention": True} | options
    return NucleusNet(3, 4, encoder, (4, 8, 8, 8, 8), decoder_stride=decoder_stride, **options)


@pytest.mark.parametrize("encoder", ["vit_tiny_patch16_224", "vit_small_patch8_224"])
@pytest.mark.parametrize(("stride", "heads"), [(1, [1, 2, 4]), (2, [2, 4]), (4, [4])])
def test_logits_have_full_resolution_and_heads_begin_at_the_finest_stride(encoder, stride, heads) -> None:
    maps = network(stride, encoder).maps(torch.randn(2, 3, 32, 64))
    assert maps.semantic.shape == (2, 4, 32, 64)
    assert list(maps.boundary) == heads
    assert all(logits.shape == (2, 1, 32, 64) for logits in maps.boundary.values())


@pytest.mark.parametrize("stride", [2, 4])
def test_every_pixel_of_the_image_and_of_the_logits_counts_by_itself(stride) -> None:
    net, images = network(stride).eval(), torch.randn(1, 3, 32, 32, requires_grad=True)
    logits = net(images)
    assert (torch.autograd.grad(logits.square().sum(), images)[0] != 0).all()
    square = logits[0, 0, :stride, :stride]
    assert len(square.flatten().unique()) == stride**2


def test_encoder_maps_that_are_given_lead_to_the_logits_of_those_that_are_computed() -> None:
    net, images = network(2).eval(), torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(net.maps(images, net.encoder_maps(images)).semantic, net.maps(images).semantic)


def test_a_decoder_that_ends_above_the_maps_of_the_encoder_is_refused() -> None:
    with pytest.raises(NucplanError, match="--decoder-stride"):
        network(16, "vit_small_patch8_224")


def test_cellvits_decoder_has_one_resolution() -> None:
    with pytest.raises(NucplanError, match="full resolution"):
        network(2, decoder="cellvit")
