"""What one shared decoder saves against CellViT-256's three branches on the same encoder, and what cached skips do."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from nucplan.networks.cellvit.model import CellViT
from nucplan.networks.cellvit.shape import shape_of
from nucplan.networks.nucleus_net import NucleusNet

SIDE, REPEATS = 256, 5
# As the planner widens the decoder on a CPU and on a GPU.
WIDTHS = {"cpu": (24, 32, 64, 96, 128), "gpu": (32, 64, 128, 256, 256)}


class UncachedCellViT(CellViT):
    """With the skips of the published code: each branch computes its own."""

    def branches(self, taps: list[Tensor], pixels: Tensor) -> list[Tensor]:
        branches = self.nuclei_binary_map_decoder, self.hv_map_decoder, self.nuclei_type_maps_decoder
        return [branch(self.skips(taps, pixels)) for branch in branches]


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(1, 3, SIDE, SIDE).contiguous(memory_format=torch.channels_last)


@pytest.fixture(scope="module")
def cellvit(cellvit_files) -> UncachedCellViT:
    sizes, _ = cellvit_files.PUBLISHED["CellViT256"]
    tensors = {name: torch.empty(s, device="meta") for name, s in cellvit_files.shapes_of(sizes).items()}
    model = UncachedCellViT(shape_of(tensors, "CellViT256", {}))
    return model.to(memory_format=torch.channels_last).eval()


def network(widths: tuple[int, ...]) -> NucleusNet:
    return NucleusNet(3, 6, "vit_small_patch16_224", widths, boundary_strides=(1, 2, 4), boundary_attention=True).eval()


def uncached(model: UncachedCellViT, images: Tensor) -> None:
    pixels = (images - model.input_mean) / model.input_std
    model.branches(model.encoder(pixels)[0], pixels)


@torch.inference_mode()
def seconds(calls: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Median of the processor time of each call, the calls in turn; the first round warms up."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(REPEATS + 1):
        for name, call in calls.items():
            start = time.process_time()
            call()
            times[name].append(time.process_time() - start)
    return {name: float(np.median(found[1:])) for name, found in times.items()}


@pytest.mark.parametrize("plan", WIDTHS)
def test_a_shared_decoder_is_twice_as_fast_as_three_branches(benchmark, cellvit, images, plan):
    ours = network(WIDTHS[plan])
    maps = ours.encoder_maps(images)
    taps, _ = cellvit.encoder(images)
    found = seconds(
        {
            "ours": lambda: ours.maps(images),
            "CellViT-256": lambda: uncached(cellvit, images),
            "CellViT-256 with cached skips": lambda: cellvit.maps(images),
            "our decoder": lambda: ours.maps(images, maps),
            "CellViT's decoder": lambda: cellvit.branches(taps, images),
        }
    )
    benchmark.extra_info.update(found)
    benchmark.pedantic(lambda: None, rounds=1)
    assert found["CellViT-256 with cached skips"] > 2 * found["ours"], found
    assert found["CellViT's decoder"] > 2 * found["our decoder"], found


def test_one_branch_of_cellvit_is_twice_as_fast_as_three(benchmark, cellvit, images):
    taps, _ = cellvit.encoder(images)
    ours = NucleusNet(3, 6, "vit_small_patch16_224", (), decoder="cellvit").eval()
    found = seconds(
        {"one": lambda: ours.maps(images, taps), "three": lambda: cellvit.branches(taps, images)},
    )
    benchmark.extra_info.update(found)
    benchmark.pedantic(lambda: None, rounds=1)
    assert found["three"] > 2 * found["one"], found


def test_cached_skips_save_time(benchmark, cellvit, images):
    found = seconds({"cached": lambda: cellvit.maps(images), "anew": lambda: uncached(cellvit, images)})
    benchmark.extra_info.update(found)
    benchmark.pedantic(lambda: None, rounds=1)
    assert found["anew"] > 1.1 * found["cached"], found
