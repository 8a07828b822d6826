"""What the boundary parts add to a training step and to a prediction, and what mixed precision saves."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import pytest
import torch

from nucplan.losses import BoundaryLoss
from nucplan.networks.nucleus_net import NucleusNet
from nucplan.objective import BoundaryObjective, Objective
from nucplan.precision import has_bfloat16_matrices, mixed_precision

PATCH, BATCH, SCALES = 256, 2, {1: 1.0, 2: 0.5, 4: 0.25}
SUPERVISED = BoundaryObjective(3, BoundaryLoss(SCALES, 3.5), 0.2)
WEIGHTED = BoundaryObjective(3, BoundaryLoss(SCALES, 3.5), 0.2, beta=3.0, band_kernel=3)
OBJECTIVES = {"baseline": None, "boundary": SUPERVISED, "boundary_attention": WEIGHTED}
REPEATS = 7
AS_TRAINED, FLOAT32 = mixed_precision(torch.device("cpu")), nullcontext()


def network(config: str) -> NucleusNet:
    torch.manual_seed(0)
    strides = () if config == "baseline" else tuple(SCALES)
    attention = config == "boundary_attention"
    net = NucleusNet(
        3, 2, "vit_tiny_patch16_224", (24, 32, 64, 96, 128), 6, boundary_strides=strides, boundary_attention=attention
    )
    net.gate_strength = 1.0
    return net


def training_step(config: str, precision: AbstractContextManager = AS_TRAINED) -> Callable[[], None]:
    net, objective = network(config).train(), Objective(boundary=OBJECTIVES[config])
    optimizer = torch.optim.AdamW(net.parameters())
    images = torch.randn(BATCH, 3, PATCH, PATCH)
    ids = torch.randint(0, 200, (BATCH, 1, PATCH // 16, PATCH // 16), dtype=torch.int32)
    ids = ids.repeat_interleave(16, 2).repeat_interleave(16, 3)
    labels = torch.cat([ids.clamp(max=1), ids], dim=1)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        targets = objective.targets(labels)
        with precision:
            total, _ = objective(net.maps(images), targets)
        total.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 12)
        optimizer.step()

    return step


def forward_pass(config: str, precision: AbstractContextManager = AS_TRAINED) -> Callable[[], None]:
    net, images = network(config).eval(), torch.randn(BATCH, 3, PATCH, PATCH)

    def predict() -> None:
        with torch.inference_mode(), precision:
            net.maps(images)

    return predict


def ratios(calls: Mapping[str, Callable[[], None]]) -> dict[str, float]:
    """Processor time of each call as a multiple of the first one's: medians of ratios within a round."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(REPEATS + 1):
        for name, call in calls.items():
            start = time.process_time()
            call()
            times[name].append(time.process_time() - start)
    first = np.array(times[next(iter(calls))][1:])
    return {name: float(np.median(np.array(found[1:]) / first)) for name, found in times.items()}


@pytest.mark.parametrize(
    ("kind", "limits"),
    [
        (training_step, {"boundary": 1.10, "boundary_attention": 1.12}),
        (forward_pass, {"boundary": 1.15, "boundary_attention": 1.15}),
    ],
)
def test_boundary_parts_add_little(benchmark, kind, limits):
    calls = {config: kind(config) for config in OBJECTIVES}
    found = ratios(calls)
    benchmark.extra_info.update(found)
    benchmark.pedantic(calls["boundary_attention"], rounds=1)
    for config, limit in limits.items():
        assert found[config] < limit, found


@pytest.mark.skipif(not has_bfloat16_matrices(), reason="this processor computes in float32")
@pytest.mark.parametrize("kind", [training_step, forward_pass])
def test_mixed_precision_takes_at_most_four_fifths_of_the_time(benchmark, kind):
    calls = {"float32": kind("boundary_attention", FLOAT32), "mixed": kind("boundary_attention")}
    found = ratios(calls)
    benchmark.extra_info.update(found)
    benchmark.pedantic(calls["mixed"], rounds=1)
    assert found["mixed"] < 0.8, found
