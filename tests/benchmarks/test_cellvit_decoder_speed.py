"""What one shared decoder saves against CellViT-256's three branches on the same encoder, and what cached skips do."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from nucplan.networks.cellvit.model import CellViT
from nucplan.networks.cellvit.shape import shape_of
from nucplan.networks.nucleus_net import NucleusNet

SIDE, ROUNDS = 256, 6
# As the planner widens the decoder on a CPU and on a GPU.
WIDTHS = {"cpu": (24, 32, 64, 96, 128), "gpu": (32, 64, 128, 256, 320)}


class UncachedCellViT(CellViT):
    """With the skips of the published code: each branch computes its own."""

    def branches(self, taps: list[Tensor], pixels: Tensor) -> list[Tensor]:
        branches = self.nuclei_binary_map_decoder, self.hv_map_decoder, self.nuclei_type_maps_decoder
        return [branch(self.skips(taps, pixels)) for branch in branches]


@pytest.fixture(scope="module")
def cellvit(cellvit_files) -> UncachedCellViT:
    sizes, _ = cellvit_files.PUBLISHED["CellViT256"]
    tensors = {name: torch.empty(s, device="meta") for name, s in cellvit_files.shapes_of(sizes).items()}
    model = UncachedCellViT(shape_of(tensors, "CellViT256", {}))
    return model.to(memory_format=torch.channels_last).eval()


@pytest.fixture(scope="module")
def networks() -> dict[str, NucleusNet]:
    """Ours on the encoder of CellViT-256, with the boundary heads of the default config."""
    heads = {"boundary_strides": (1, 2, 4), "boundary_attention": True}
    made = {plan: NucleusNet(3, 6, "vit_small_patch16_224", widths, **heads) for plan, widths in WIDTHS.items()}
    made["one branch"] = NucleusNet(3, 6, "vit_small_patch16_224", (), decoder="cellvit", **heads)
    return {name: network.eval() for name, network in made.items()}


@pytest.fixture(scope="module")
@torch.inference_mode()
def seconds(networks, cellvit) -> dict[str, float]:
    """Processor time of the fastest of some calls, all in turn; ``decoder`` is all but the encoder."""
    images = torch.rand(1, 3, SIDE, SIDE).contiguous(memory_format=torch.channels_last)
    pixels = (images - cellvit.input_mean) / cellvit.input_std
    taps, _ = cellvit.encoder(pixels)
    calls: dict[str, Callable[[], object]] = {
        "CellViT-256": lambda: cellvit.branches(cellvit.encoder(pixels)[0], pixels),
        "CellViT-256, cached skips": lambda: cellvit.maps(images),
        "CellViT-256, decoder": lambda: cellvit.branches(taps, pixels),
    }
    for name, network in networks.items():
        calls[name] = partial(network.maps, images)
        calls[f"{name}, decoder"] = partial(network.maps, images, network.encoder_maps(images))
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            start = time.process_time()
            call()
            times[name].append(time.process_time() - start)
    return {name: min(found) for name, found in times.items()}


def compare(benchmark, seconds: dict[str, float], slow: str, fast: str, factor: float) -> None:
    ratio = seconds[slow] / seconds[fast]
    benchmark.extra_info.update(seconds | {"ratio": ratio})
    benchmark.pedantic(lambda: None, rounds=1)
    assert ratio >= factor, seconds


@pytest.mark.parametrize("plan", WIDTHS)
@pytest.mark.parametrize("slow", ["CellViT-256", "CellViT-256, cached skips"])
def test_the_whole_network_is_twice_as_fast_as_three_branches(benchmark, seconds, slow, plan):
    compare(benchmark, seconds, slow, plan, 2)


@pytest.mark.parametrize("name", [*WIDTHS, "one branch"])
def test_the_decoder_is_twice_as_fast_as_three_branches(benchmark, seconds, name):
    compare(benchmark, seconds, "CellViT-256, decoder", f"{name}, decoder", 2)


def test_skips_that_are_computed_once_save_a_tenth(benchmark, seconds):
    compare(benchmark, seconds, "CellViT-256", "CellViT-256, cached skips", 1.1)
