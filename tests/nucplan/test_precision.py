"""Where mixed precision is switched on, and that it moves the maps of a network by little."""

from __future__ import annotations

import pytest
import torch

from nucplan.networks.blocks import GroupNorm
from nucplan.networks.nucleus_net import NucleusNet
from nucplan.precision import has_bfloat16_matrices, mixed_precision

CPU = torch.device("cpu")
bfloat16 = torch.autocast("cpu", torch.bfloat16)


@pytest.mark.parametrize(
    ("capabilities", "there"), [({"amx_bf16": True}, True), ({"amx_bf16": False}, False), ({}, False)]
)
def test_a_processor_computes_in_bfloat16_only_where_it_multiplies_matrices_of_it(monkeypatch, capabilities, there):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert has_bfloat16_matrices() is there
    with mixed_precision(CPU):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype is (torch.bfloat16 if there else torch.float32)


def test_a_torch_that_does_not_tell_its_capabilities_computes_in_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not has_bfloat16_matrices()


def test_logits_are_float32_under_mixed_precision_and_close_to_those_without():
    torch.manual_seed(0)
    net = NucleusNet(
        3, 4, "vit_tiny_patch16_224", (8, 8, 8, 8, 8), 2, boundary_strides=(1, 2), boundary_attention=True
    ).eval()
    net.gate_strength = 1.0
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        exact = net.maps(images)
        with bfloat16:
            mixed = net.maps(images)
    assert mixed.semantic.dtype is torch.float32
    assert {logits.dtype for logits in mixed.boundary.values()} == {torch.float32}
    assert not torch.equal(mixed.semantic, exact.semantic)
    assert (mixed.semantic.softmax(1) - exact.semantic.softmax(1)).abs().max() < 0.02
    assert (mixed.boundary_probability() - exact.boundary_probability()).abs().max() < 0.02


@pytest.mark.parametrize("groups", [1, 4, 8])
def test_group_norm_in_bfloat16_has_the_output_and_the_gradients_of_float32(groups):
    generator = torch.Generator().manual_seed(groups)
    features = torch.randn(2, 8, 6, 10, generator=generator).to(torch.bfloat16)
    upstream = torch.randn(2, 8, 6, 10, generator=generator).to(torch.bfloat16)
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        torch.manual_seed(0)
        norm = GroupNorm(8, groups)
        x = features.to(dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
        y = norm(x)
        assert y.is_contiguous(memory_format=torch.channels_last)
        found[dtype] = [y, *torch.autograd.grad(y, [x, norm.weight, norm.bias], upstream.to(dtype))]
    for exact, mixed in zip(found[torch.float32], found[torch.bfloat16], strict=True):
        torch.testing.assert_close(mixed.float(), exact, rtol=0.02, atol=0.02 * exact.detach().abs().max().item())
