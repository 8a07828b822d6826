"""Boundary targets cost a fraction of the loop over the nuclei, and boundary decoders at most twice the plain one."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from nucplan.instances import DECODERS, DecoderPlan, NucleusProbabilities, decode
from nucplan.targets import boundary_map, weight_band

SIDE, DIAMETER, KERNEL, BAND_KERNEL = 256, 18, 3, 5


def crowded_labels(side: int) -> np.ndarray:
    """Touching ellipses on a jittered grid."""
    rng = np.random.default_rng(0)
    labels = np.zeros((side, side), np.int32)
    cells = side // DIAMETER
    for number, cell in enumerate(np.ndindex(cells, cells), start=1):
        centre = (np.array(cell) + 0.5 + rng.uniform(-0.2, 0.2, 2)) * DIAMETER
        axes = rng.uniform(0.4, 0.55, 2) * DIAMETER
        cv2.ellipse(labels, (tuple(centre), tuple(2 * axes), rng.uniform(0, 180)), number, cv2.FILLED)
    return labels


def loop_over_nuclei(labels: np.ndarray) -> np.ndarray:
    square = np.ones((KERNEL, KERNEL), np.uint8)
    union = np.zeros(labels.shape, np.uint8)
    for nucleus in np.unique(labels)[1:]:
        union |= cv2.morphologyEx((labels == nucleus).astype(np.uint8), cv2.MORPH_GRADIENT, square)
    return union.astype(bool)


def test_targets_and_weights_are_many_times_as_fast_as_the_loop(benchmark, fastest):
    labels = crowded_labels(SIDE)
    batch = torch.from_numpy(labels)[None]

    def targets() -> torch.Tensor:
        return weight_band(boundary_map(batch, KERNEL), 3, BAND_KERNEL)

    benchmark(targets)
    ratio = fastest(lambda: loop_over_nuclei(labels), 3) / fastest(targets, 20)
    benchmark.extra_info["times_as_fast"] = ratio
    assert ratio > 20


@pytest.mark.parametrize("name", DECODERS[1:])
def test_a_boundary_decoder_takes_at_most_twice_as_long_as_the_plain_one(benchmark, fastest, name):
    labels = crowded_labels(1000)
    boundary = boundary_map(torch.from_numpy(labels)[None], KERNEL)[0].numpy()
    maps = [cv2.GaussianBlur(m.astype(np.float32), (0, 0), 1) for m in (labels == 0, labels > 0, boundary)]
    probabilities = NucleusProbabilities(np.stack(maps[:2]), maps[2])
    benchmark.pedantic(decode, (probabilities, DecoderPlan.default(name, DIAMETER)), rounds=3)
    ratio = fastest(lambda: decode(probabilities, DecoderPlan.default(name, DIAMETER)), 5) / fastest(
        lambda: decode(probabilities, DecoderPlan(DIAMETER)), 5
    )
    benchmark.extra_info["times_as_long"] = ratio
    assert ratio < 2
