"""Boundary heads and gates: what they see, what they change, and that a closed gate changes nothing at all."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from nucplan.losses import BoundaryLoss
from nucplan.networks.boundary import BoundaryBranch, BoundaryHead, at_full_resolution
from nucplan.networks.heads import LogitHead
from nucplan.networks.nucleus_net import NucleusNet
from nucplan.objective import BoundaryObjective, Objective

STRIDES = (4, 1, 2)


def network(seed: int = 0, strides: tuple[int, ...] = STRIDES, attention: bool = False, alpha: float = 0) -> NucleusNet:
    torch.manual_seed(seed)
    net = NucleusNet(
        3, 4, "vit_tiny_patch16_224", (4, 8, 8, 8, 8), 2, boundary_strides=strides, boundary_attention=attention
    )
    net.gate_strength = alpha
    return net


def patch(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 6, (2, 1, 8, 8), generator=generator).repeat_interleave(4, 2).repeat_interleave(4, 3)
    return torch.randn(2, 3, 32, 32, generator=generator), torch.cat([ids.clamp(max=3), ids], dim=1)


def total_of(net: NucleusNet) -> Tensor:
    images, labels = patch()
    objective = Objective(
        boundary=BoundaryObjective(3, BoundaryLoss({1: 1.0, 2: 0.5, 4: 0.25}, 3.0), 0.2, beta=3.0, band_kernel=3)
    )
    total, _ = objective(net.maps(images), objective.targets(labels))
    return total


def test_a_gate_of_strength_zero_changes_no_bit_of_loss_or_gradient():
    weighted, attending = network(), network(attention=True)
    losses = [total_of(net) for net in (weighted, attending)]
    assert torch.equal(*losses)
    for loss in losses:
        loss.backward()
    found = dict(attending.named_parameters())
    for name, parameter in weighted.named_parameters():
        assert torch.equal(parameter, found[name]), name
        assert (parameter.grad is None) == (found[name].grad is None), name
        assert parameter.grad is None or torch.equal(parameter.grad, found[name].grad), name


def test_an_open_gate_changes_the_classes():
    images, _ = patch()
    assert not torch.equal(network()(images), network(attention=True, alpha=1.0)(images))


@pytest.mark.parametrize("alpha", [0.5, 2.0])
def test_the_gate_is_one_plus_alpha_times_the_boundary_probability(alpha):
    branch, features = BoundaryBranch(6, gated=True), torch.randn(2, 6, 5, 7)
    branch.alpha.fill_(alpha)
    logits, gate = branch(features)
    assert torch.equal(logits, branch.head(features))
    torch.testing.assert_close(gate, 1 + alpha / (1 + torch.exp(-logits)))


def test_the_gate_in_the_last_layer_is_that_of_its_features():
    head, features, gate = LogitHead(6, 3), torch.randn(2, 6, 5, 7), 1 + torch.rand(2, 1, 5, 7)
    torch.nn.init.normal_(head.bias)
    torch.testing.assert_close(head(features, gate), head(features * gate))


@pytest.mark.parametrize("stride", STRIDES)
def test_the_classes_are_those_of_features_multiplied_by_the_gate(stride):
    images, _ = patch()
    net = network(attention=True)
    net.boundary_branches[str(stride)].alpha.fill_(1.0)
    by_hand = network(attention=True)

    def multiply(_module: nn.Module, _inputs: tuple, features: Tensor) -> Tensor:
        logits = by_hand.boundary_branches[str(stride)].head(features)
        return features * (1 + logits.sigmoid())

    by_hand.decoder.merges[str(stride)].register_forward_hook(multiply)
    torch.testing.assert_close(net(images), by_hand(images))


def test_the_gradient_of_the_classes_reaches_every_boundary_head_through_its_gate():
    images, _ = patch()
    for attention in (False, True):
        net = network(attention=attention, alpha=1.0)
        net(images).square().sum().backward()
        reached = [p.grad is not None and bool(p.grad.any()) for p in net.boundary_branches.parameters()]
        assert all(reached) if attention else not any(reached)


def test_the_decoder_goes_on_from_the_refined_features_at_every_gated_stride():
    images, _ = patch()
    plain = network(attention=True)
    for stride in STRIDES:
        gated = network(attention=True)
        gated.boundary_branches[str(stride)].alpha.fill_(1.0)
        assert not torch.equal(plain(images), gated(images))
        # What lies before it on the way up is untouched.
        for coarser in (s for s in STRIDES if s >= stride):
            assert torch.equal(plain.maps(images).boundary[coarser], gated.maps(images).boundary[coarser])


def test_every_head_gives_logits_at_full_resolution_finest_first():
    images, _ = patch()
    maps = network().maps(images)
    assert list(maps.boundary) == [1, 2, 4]
    assert all(logits.shape == (2, 1, 32, 32) for logits in maps.boundary.values())
    assert network(strides=()).maps(images).boundary == {}


def test_a_coarse_cell_stands_for_the_middle_of_its_pixels():
    logits = torch.arange(4.0).view(1, 1, 1, 4)
    assert torch.equal(at_full_resolution(logits, 1), logits)
    expected = torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0])
    assert torch.equal(at_full_resolution(logits, 2)[0, 0, 0], expected)


def test_a_head_is_convolution_norm_relu_and_projection():
    kinds = [type(module).__name__ for module in BoundaryHead(24).modules() if not list(module.children())]
    assert kinds == ["Conv2d", "GroupNorm", "ReLU", "LogitHead"]


def test_all_configs_of_a_seed_share_the_first_weights_of_shared_parts():
    heads, none = network().state_dict(), network(strides=()).state_dict()
    assert set(none) < set(heads)
    assert all(torch.equal(none[name], heads[name]) for name in none)


def test_a_stride_that_the_decoder_does_not_reach_has_no_head():
    torch.manual_seed(0)
    net = NucleusNet(3, 2, "vit_small_patch8_224", (4, 8, 8, 8, 8), 2, boundary_strides=(4, 8, 16))
    assert net.boundary_strides == (4, 8)


def test_the_strength_of_the_gate_travels_with_the_weights():
    there = network(attention=True, alpha=0.75)
    here = network(attention=True)
    here.load_state_dict(there.state_dict())
    assert here.gate_strength == 0.75
    assert network().gate_strength == 0


def test_no_hidden_unit_of_a_head_is_dead_on_features_that_are_never_negative():
    torch.manual_seed(0)
    features = torch.rand(1, 64, 32, 32) * 0.5 + 2 * torch.rand(1, 64, 1, 1)
    hidden = BoundaryHead(64)[0](features)
    fires = (hidden > 0).float().mean((0, 2, 3))
    assert ((fires > 0.2) & (fires < 0.8)).all()
