from __future__ import annotations

import pytest
import torch

from nucplan.errors import NucplanError
from nucplan.networks.encoders.timm_vit import TimmViT, default_taps
from nucplan.networks.nucleus_net import NucleusNet

WIDTHS = (4, 8, 8, 8, 8)


def network(encoder: str = "vit_tiny_patch16_224", **options) -> NucleusNet:
    torch.manual_seed(0)
    options = {"encoder_depth": 2, "features_per_stage": WIDTHS} | options
    return NucleusNet(options.pop("input_channels", 3), 4, encoder, **options)


@pytest.mark.parametrize(
    "encoder",
    ["vit_tiny_patch16_224", "vit_small_patch8_224", "vit_small_patch14_dinov2", "vit_small_patch14_reg4_dinov2"],
)
@pytest.mark.parametrize("size", [(32, 32), (64, 96)])
def test_every_patch_size_gives_logits_at_full_resolution(encoder, size):
    images = torch.randn(2, 3, *size)
    assert network(encoder).maps(images).semantic.shape == (2, 4, *size)


@pytest.mark.parametrize("channels", [1, 3, 7])
def test_a_trained_from_scratch_encoder_takes_any_number_of_channels(channels):
    net = network(input_channels=channels)
    assert net.maps(torch.randn(1, channels, 32, 32)).semantic.shape == (1, 4, 32, 32)


def test_forward_gives_the_semantic_logits_of_maps():
    net, images = network().eval(), torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(net(images), net.maps(images).semantic)


def test_every_parameter_gets_a_gradient():
    net = network(encoder_depth=4)
    net(torch.randn(2, 3, 64, 64)).square().mean().backward()
    # The deepest tap is taken before the final norm; timm keeps that norm in the model.
    silent = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert all("cls_token" in n or "norm." in n and "blocks" not in n for n in silent), silent


def test_a_frozen_encoder_gets_no_gradient_and_stays_in_evaluation_mode():
    net = network(encoder_frozen=True)
    net.train()
    net(torch.randn(1, 3, 32, 32)).mean().backward()
    assert not net.encoder.training
    assert all(p.grad is None for p in net.encoder.parameters())
    assert net.stem.training


def test_a_frozen_encoder_sees_a_grey_image_three_times():
    net = network(encoder_frozen=True, input_channels=1, input_mean=[0.5], input_std=[0.25])
    grey = torch.rand(1, 1, 32, 32)
    repeated = net.encoder.vit.patch_embed((grey.expand(-1, 3, -1, -1) - 0.5) / 0.25)
    seen = []
    net.encoder.vit.patch_embed.register_forward_hook(lambda _, __, output: seen.append(output))
    net(grey)
    torch.testing.assert_close(seen[0], repeated)


def test_a_frozen_encoder_refuses_multiplex_images():
    with pytest.raises(NucplanError, match="these have 7 channels"):
        TimmViT("vit_tiny_patch16_224", 7, frozen=True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vit_gigantic", "timm knows no model"),
        ("resnet18", "no dynamic image size|no plain Vision Transformer"),
        ("vit_base_patch32_224", "patch 32"),
        ("swin_tiny_patch4_window7_224", "no dynamic image size|no plain Vision Transformer"),
    ],
)
def test_an_encoder_that_cannot_be_used_is_refused_by_name(name, message):
    with pytest.raises(NucplanError, match=message):
        TimmViT(name, 3)


@pytest.mark.parametrize(
    ("depth", "taps"), [(12, [2, 5, 8, 11]), (24, [5, 11, 17, 23]), (6, [1, 2, 3, 5]), (2, [0, 0, 1, 1])]
)
def test_taps_are_the_quarters_of_the_depth(depth, taps):
    assert default_taps(depth) == taps
    with torch.device("meta"):
        assert TimmViT("vit_tiny_patch16_224", 3, depth=depth).taps == taps


def test_taps_are_the_outputs_of_the_blocks_that_were_named():
    torch.manual_seed(0)
    encoder = TimmViT("vit_tiny_patch16_224", 3, depth=5, taps=[0, 3, 3, 4]).eval()
    seen = {}
    for index, block in enumerate(encoder.vit.blocks):
        block.register_forward_hook(lambda _, __, output, index=index: seen.update({index: output}))
    maps = encoder(torch.randn(1, 3, 32, 64))
    for block, tapped in zip([0, 3, 3, 4], maps, strict=True):
        expected = seen[block][:, encoder.vit.num_prefix_tokens :].transpose(1, 2).reshape(1, -1, 2, 4)
        torch.testing.assert_close(tapped, expected)


def test_naming_the_default_taps_changes_nothing():
    images = torch.randn(1, 3, 32, 32)
    named, default = network(encoder_depth=6, encoder_taps=default_taps(6)), network(encoder_depth=6)
    torch.testing.assert_close(named(images), default(images), rtol=0, atol=0)


@pytest.mark.parametrize("taps", [[], [0, 1, 2], [0, 1, 2, 3, 3], [0, 2, 1, 3], [-1, 0, 1, 2], [0, 1, 2, 4]])
def test_taps_that_are_not_four_blocks_in_order_are_refused(taps):
    with pytest.raises(NucplanError, match="give four from 0 to 3, ascending"), torch.device("meta"):
        TimmViT("vit_tiny_patch16_224", 3, depth=4, taps=taps)


def test_moving_the_image_by_one_stride_moves_the_output_of_the_stem_and_decoder():
    """Away from borders the convolutional path is equivariant; a wrong stride of a skip would break it."""
    net = network().eval()
    with torch.no_grad():
        for p in net.decoder.lifts.parameters():
            p.zero_()
        images = torch.randn(1, 3, 192, 192)
        moved = torch.roll(images, 16, dims=3)
        a, b = net(images), net(moved)
    inner = slice(80, 112)
    difference = (a[..., inner, inner] - b[..., inner, 96:128]).abs().mean()
    # Zero padding at the border reaches the middle through the statistics of group norm, but hardly.
    assert difference < 0.05 * a.std()
