"""What holds for whole plans: they follow the tissue and not the pixel, and half of the images plan the same."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from planners import rules
from planners.fingerprint import Fingerprint, measure, measure_images, pool
from planners.planner import decide
from planners.rules import Limits

CPU = Limits("cpu", 16, cores=2)


def crowd(seed: int, diameter: float, side: int = 256, spread: float = 0.2) -> np.ndarray:
    """Ellipses scattered in clumps, (side, side) int32; a later one gives way to an earlier one, so some touch."""
    random = np.random.default_rng(seed)
    labels = np.zeros((side, side), np.int32)
    count = int(0.25 * side**2 / diameter**2)
    clumps = random.uniform(0, side, (max(2, count // 8), 2))
    for number in range(1, count + 1):
        centre = clumps[random.integers(len(clumps))] + random.normal(0, 2.5 * diameter, 2)
        size = diameter * np.exp(random.normal(0, spread))
        axes = size / 2 * np.array([1.15, 1 / 1.15])
        ellipse = np.zeros(labels.shape, np.uint8)
        box = (tuple(map(float, centre)), tuple(map(float, 2 * axes)), float(random.uniform(0, 180)))
        cv2.ellipse(ellipse, box, 1, -1)
        inside = (ellipse > 0) & (labels == 0)
        # What is left of a nucleus that an earlier one covers would be a fault, not a nucleus.
        if inside.sum() > 0.7 * (ellipse > 0).sum() and cv2.connectedComponents(inside.view(np.uint8))[0] == 2:
            labels[inside] = number
    return labels


def case_of(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    image = np.where(labels[..., None] > 0, 90, 220) + np.arange(3)
    return image.astype(np.uint8), (labels > 0).astype(np.uint8), labels


def enlarged(labels: np.ndarray) -> np.ndarray:
    return labels.repeat(2, axis=0).repeat(2, axis=1)


def planned(raw, limits=CPU) -> dict:
    labels = [raw.instances(case) for case in raw.cases()]
    return decide(measure(raw), limits, labels, {})


@pytest.mark.parametrize("diameter", [7.5, 13, 20])
def test_twice_the_resolution_at_half_the_pixel_size_gives_the_same_plan(write_raw, diameter) -> None:
    maps = {f"case{seed}": crowd(seed, diameter) for seed in range(4)}
    coarse = planned(write_raw({name: case_of(m) for name, m in maps.items()}, classes=1, mpp=0.5))
    fine = planned(write_raw({name: case_of(enlarged(m)) for name, m in maps.items()}, classes=1, mpp=0.25))
    assert coarse["decoder"].value["name"] == fine["decoder"].value["name"]
    assert coarse["boundary_beta"].value == pytest.approx(fine["boundary_beta"].value, abs=0.05)
    grid = 0.5
    for name, length in lengths_um(coarse, 0.5).items():
        if coarse[name].limit is None and fine[name].limit is None:
            assert length == pytest.approx(lengths_um(fine, 0.25)[name], abs=grid), name


def test_patches_show_as_much_tissue_within_the_multiple_that_networks_need(fingerprint_of) -> None:
    for d50 in np.linspace(10, 19, 19):
        coarse = rules.useful_patch(fingerprint_of(d50=d50, side=4000), 1)
        fine = rules.useful_patch(fingerprint_of(d50=2 * d50, side=4000), 1)
        assert abs(coarse - fine / 2) <= rules.PATCH_MULTIPLE


def lengths_um(decisions, mpp: float) -> dict[str, float]:
    """Every length of a plan in micrometres, by decision."""
    value = {name: decision.value for name, decision in decisions.items()}
    pixel = mpp / value["scale"]
    inner, outer = value["boundary_kernel"] // 2, value["boundary_kernel"] // 2 + value["weight_kernel"] // 2
    return {
        "boundary_kernel": inner * pixel,
        "weight_kernel": outer * pixel,
        "tile_overlap": value["tile_overlap"] * pixel,
        "decoder": value["decoder"]["diameter"] * pixel,
        "foreground_decoder": value["foreground_decoder"]["diameter"] * pixel,
    }


def boundary_numbers(statistics: Fingerprint) -> list[float]:
    """beta, k and k_w as the rules have them."""
    upsampling = rules.scale(statistics).value
    kernel = rules.boundary_kernel(statistics, upsampling).value
    widened = rules.weight_kernel(statistics, upsampling, kernel).value
    beta = rules.boundary_beta(statistics, upsampling, rules.band_half_width(statistics, upsampling)).value
    return [beta, kernel, widened]


def test_half_of_the_images_plan_the_same_weight_and_kernels(write_raw) -> None:
    raw = write_raw({f"case{seed:02d}": case_of(crowd(seed, 16)) for seed in range(24)}, classes=1)
    statistics = list(measure_images(raw))
    whole = boundary_numbers(pool(statistics, raw))
    random = np.random.default_rng(0)
    betas, kernels = [], []
    for _ in range(10):
        drawn = sorted(random.choice(len(statistics), len(statistics) // 2, replace=False))
        beta, *kernel = boundary_numbers(pool([statistics[k] for k in drawn], raw))
        betas.append(beta)
        kernels.append(kernel)
    assert np.std(betas) <= 0.12
    assert sum(kernel != whole[1:] for kernel in kernels) <= 1
