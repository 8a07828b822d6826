"""CellVTA around a ViT: what it leaves alone, what it changes, and where gradients go."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from nucplan.errors import NucplanError
from nucplan.networks.adapter import CellVTA
from nucplan.networks.deformable import DeformableAttention
from nucplan.networks.encoders.base import BlockwiseEncoder, Encoder
from nucplan.networks.encoders.sam import SamViT
from nucplan.networks.encoders.timm_vit import TimmViT
from nucplan.networks.nucleus_net import NucleusNet
from nucplan.networks.weights import load_encoder_weights

PLAIN, REGISTERS = "vit_tiny_patch16_224", "vit_small_patch14_reg4_dinov2"
ENCODERS = [PLAIN, "vit_small_patch8_224", REGISTERS, "sam"]


def vit(name: str = PLAIN, depth: int = 4, frozen: bool = False) -> BlockwiseEncoder:
    torch.manual_seed(0)
    if name == "sam":
        sizes = {"embed_dim": 32, "num_heads": 2, "img_size": 64}
        return SamViT("samvit_base_patch16", 3, depth=depth, frozen=frozen, **sizes)
    made = TimmViT(name, 3, depth=depth, frozen=frozen)
    for token in (made.vit.cls_token, made.vit.reg_token):
        # Nearly 0 before a training, when they would make no difference.
        if token is not None:
            nn.init.normal_(token)
    return made


def adapted(encoder: Encoder | None = None, channels: int = 3, **options) -> CellVTA:
    encoder = encoder or vit()
    torch.manual_seed(1)
    return CellVTA(encoder, channels, **{"prior_width": 8, "drop_path": 0.0, **options})


def trained_a_little(network: nn.Module) -> None:
    """Offsets and weights of points that depend on the queries; at first they do not."""
    torch.manual_seed(3)
    for layer in network.modules():
        if isinstance(layer, DeformableAttention):
            nn.init.normal_(layer.sampling_offsets.weight, std=0.1)
            nn.init.normal_(layer.attention_weights.weight, std=0.1)


def images(*size: int, seed: int = 2) -> Tensor:
    torch.manual_seed(seed)
    return torch.randn(*size)


def digest(module: nn.Module) -> str:
    """SHA-256 of all parameters and buffers, by name."""
    found = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        found.update(name.encode() + tensor.numpy().tobytes())
    return found.hexdigest()


def step(network: nn.Module, *inputs: Tensor, steps: int = 1) -> None:
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        sum(m.square().mean() for m in network(*inputs)).backward()
        optimizer.step()


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("options", [{"gamma": 0.0}, {"injection_blocks": ()}], ids=["gamma 0", "no injector"])
def test_without_injection_the_taps_are_those_of_the_plain_encoder_to_the_last_bit(name, options):
    encoder, pictures = vit(name), images(2, 3, 64, 32)
    adapter = adapted(encoder, **options).eval()
    with torch.no_grad():
        for tap, plain in zip(adapter.token_maps(pictures), encoder(pictures), strict=True):
            assert torch.equal(tap, plain)


@pytest.mark.parametrize("chosen", [1, 2, 3, 4])
def test_an_injection_changes_its_tap_and_the_deeper_ones_alone(chosen):
    encoder, pictures = vit(), images(1, 3, 32, 32)
    adapter = adapted(encoder, injection_blocks=[chosen], gamma=0.1).eval()
    with torch.no_grad():
        pairs = zip(adapter.token_maps(pictures), encoder(pictures), strict=True)
        assert [torch.equal(tap, plain) for tap, plain in pairs] == [k < chosen for k in (1, 2, 3, 4)]


def test_every_quarter_of_the_blocks_has_its_interaction():
    encoder = vit(depth=8)
    adapter = adapted(encoder).eval()
    order = []
    parts = [(f"block {k}", block) for k, block in enumerate(encoder.vit.blocks)]
    parts += [(f"injector {k}", part) for k, part in adapter.injectors.items()]
    parts += [(f"extractor {k}", part) for k, of in enumerate(adapter.extractors, 1) for part in of]
    for name, part in parts:
        part.register_forward_hook(lambda *_, name=name: order.append(name))
    adapter(images(1, 3, 32, 32))
    quarters = [[f"injector {k}", f"block {2 * k - 2}", f"block {2 * k - 1}", f"extractor {k}"] for k in (1, 2, 3, 4)]
    assert order == [*sum(quarters, []), "extractor 4", "extractor 4"]


@pytest.mark.parametrize("name", [PLAIN, REGISTERS])
def test_the_blocks_see_class_and_register_tokens(name):
    encoder, pictures = vit(name), images(1, 3, 32, 32)
    adapter, prefix = adapted(encoder, gamma=0.1).eval(), encoder.vit.num_prefix_tokens
    lengths = []
    for block in encoder.vit.blocks:
        block.register_forward_hook(lambda _, given, __: lengths.append(given[0].shape[1]))
    with torch.no_grad():
        before = adapter.token_maps(pictures)
        for token in (encoder.vit.cls_token, encoder.vit.reg_token):
            if token is not None:
                token += images(token.shape[-1])
                after = adapter.token_maps(pictures)
                assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))
                before = after
    assert set(lengths) == {prefix + 4}


@pytest.mark.parametrize("name", ENCODERS)
def test_maps_come_at_the_strides_2_to_16(name):
    adapter = adapted(vit(name, depth=2))
    assert adapter.tap_strides == (2, 4, 8, 16)
    assert adapter.stride == 16
    shapes = [tuple(found.shape) for found in adapter(images(2, 3, 32, 64))]
    assert shapes == [(2, adapter.channels, 32 // s, 64 // s) for s in adapter.tap_strides]


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_encoders_of_fewer_than_four_blocks_can_be_adapted(depth):
    adapter = adapted(vit(depth=depth))
    maps = adapter(images(1, 3, 32, 32))
    sum(found.mean() for found in maps).backward()
    assert all(block.attn.qkv.weight.grad is not None for block in adapter.plain.vit.blocks)


def test_frozen_means_frozen_while_the_adapter_learns():
    encoder = vit(frozen=True)
    adapter = adapted(encoder).train()
    before = digest(encoder), {name: p.clone() for name, p in adapter.named_parameters()}
    step(adapter, images(2, 3, 32, 32), steps=3)
    assert digest(encoder) == before[0]
    assert all(p.grad is None for p in encoder.parameters())
    own = {name: p for name, p in adapter.named_parameters() if not name.startswith("encoder.")}
    assert [name for name, p in own.items() if torch.equal(p, before[1][name])] == []


def test_gradients_pass_through_the_frozen_blocks_to_the_injectors():
    found = []
    for frozen in (True, False):
        adapter = adapted(vit(frozen=frozen), gamma=0.1)
        trained_a_little(adapter)
        # From the last tap the way goes through every block.
        adapter.token_maps(images(1, 3, 32, 32))[-1].square().mean().backward()
        found.append([p.grad for p in adapter.injectors["1"].parameters()])
    for through_frozen, through_trained in zip(*found, strict=True):
        assert through_frozen.abs().sum() > 0
        torch.testing.assert_close(through_frozen, through_trained)


def test_a_frozen_encoder_stays_in_evaluation_mode_within_the_adapter():
    adapter = adapted(vit(frozen=True)).train()
    assert adapter.training
    assert adapter.prior.training
    assert not any(module.training for module in adapter.plain.modules())
    # Its maps change with every step, so nobody may store them.
    assert not adapter.frozen


def test_a_sample_does_not_depend_on_the_others_of_its_batch():
    adapter, pictures = adapted().train(), images(3, 3, 32, 32)
    for together, alone in zip(adapter(pictures), adapter(pictures[1:2]), strict=True):
        torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-4)


def test_a_feed_forward_layer_is_left_out_at_random_in_training_alone():
    adapter, pictures = adapted(drop_path=0.5), images(1, 3, 32, 32)
    draws = [adapter(pictures)[1] for _ in range(6)]
    assert any(not torch.equal(draws[0], other) for other in draws)
    adapter.eval()
    assert torch.equal(adapter(pictures)[1], adapter(pictures)[1])


def test_around_uni_it_has_the_published_number_of_parameters():
    with torch.device("meta"):
        adapter = CellVTA(TimmViT("vit_large_patch16_224", 3, frozen=True), 3)

    def count(*modules: nn.Module) -> int:
        return sum(p.numel() for module in modules for p in module.parameters())

    # The released checkpoint has biases before its normalisation layers, and 15.5 M in its four interactions.
    assert count(adapter.prior) / 1e6 == pytest.approx(2.57, abs=0.01)
    assert count(adapter.injectors, adapter.extractors) / 1e6 == pytest.approx(15.5, abs=0.02)
    assert count(adapter.up) / 1e6 == pytest.approx(4.2, abs=0.01)
    assert adapter.injectors["1"].attention.sampling_offsets.weight.shape == (192, 1024)
    assert adapter.extractors[3][2].attention.attention_weights.weight.shape == (32, 1024)
    assert adapter.extractors[0][0].feed_forward.fc1.weight.shape == (256, 1024)
    assert adapter.taps == [5, 11, 17, 23]


@pytest.mark.parametrize("blocks", [[0], [5], [1, 1], [1, 2, 9]])
def test_interactions_that_do_not_exist_are_refused(blocks):
    with pytest.raises(NucplanError, match="give different numbers from 1 to 4"):
        adapted(injection_blocks=blocks)


class Opaque(Encoder):
    channels, tap_strides, taps = 32, (16, 16, 16, 16), [0, 1, 2, 3]

    def forward(self, images):
        raise AssertionError

    def converted(self, tensors):
        raise AssertionError


def test_an_encoder_whose_blocks_cannot_be_reached_is_refused():
    with pytest.raises(NucplanError, match="around Opaque, whose blocks .*; choose another encoder"):
        CellVTA(Opaque(), 3)


def network(**options) -> NucleusNet:
    torch.manual_seed(0)
    adapter = {"prior_width": 8, "drop_path": 0.0, **options.pop("adapter", {})}
    options = {"encoder_depth": 4, "features_per_stage": (4, 8, 8, 8, 8), "adapter": adapter} | options
    return NucleusNet(options.pop("input_channels", 3), 4, PLAIN, **options)


def test_every_parameter_of_the_adapted_network_gets_a_gradient():
    net = network(encoder_frozen=True)
    trained_a_little(net)
    net(images(2, 3, 32, 32)).square().mean().backward()
    silent = [n for n, p in net.named_parameters() if p.requires_grad and not (p.grad is not None and p.grad.any())]
    assert silent == []


@pytest.mark.parametrize("channels", [1, 7])
def test_images_of_any_number_of_channels_can_be_adapted(channels):
    net = network(input_channels=channels, encoder_frozen=channels == 1)
    assert net(images(1, channels, 32, 32)).shape == (1, 4, 32, 32)


def test_encoder_and_adapter_see_the_image_in_the_colours_of_the_pretraining():
    net, pictures = network(input_mean=[100.0, 120.0, 140.0], input_std=[10.0, 20.0, 30.0]).eval(), images(1, 3, 32, 32)
    seen = []
    for module in (net.encoder.prior, net.encoder.plain.vit.patch_embed):
        module.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    net(pictures)
    expected = (pictures - net.input_mean) / net.input_std
    assert len(seen) == 2
    for given in seen:
        torch.testing.assert_close(given, expected)


def test_pretrained_weights_go_into_the_plain_encoder(tmp_path: Path):
    source, net = vit(), network()
    save_file(source.vit.state_dict(), tmp_path / "weights.safetensors")
    load_encoder_weights(net.encoder.plain, tmp_path / "weights.safetensors")
    assert digest(net.encoder.plain) == digest(source)
