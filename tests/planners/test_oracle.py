"""The oracle goes the way of training and prediction, there and back, and its sample is small and always the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.draw import disk, ellipse

from nucplan.images import read_label_map
from nucplan.instances import DECODERS, DecoderPlan
from planners import oracle
from planners.oracle import Ceiling, ceilings, core_border_ceiling, fixed_40x, sample_labels

DIAMETER = 16


def field(seed: int, side: int = 128, diameter: float = DIAMETER, density: float = 0.8) -> np.ndarray:
    """Ellipses on a jittered grid, many of them touching; ids with gaps."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((side, side), np.int32)
    cells = int(side / diameter)
    for number, cell in enumerate(np.ndindex(cells, cells), start=1):
        centre = (np.array(cell) + 0.5 + rng.uniform(-0.1, 0.1, 2)) * diameter
        axes = diameter / 2 * rng.uniform(0.8, 1.1, 2)
        if rng.random() < density:
            labels[ellipse(*centre, *axes, shape=labels.shape, rotation=rng.uniform(0, 3))] = 3 * number
    return labels


def default_plans(diameter: float) -> dict[str, DecoderPlan]:
    return {name: DecoderPlan.default(name, diameter) for name in DECODERS}


@given(st.integers(0, 50), st.integers(0, 3))
@settings(max_examples=8, deadline=None)
def test_labels_are_enlarged_as_the_preprocessor_does_and_come_back_as_they_were(seed, cut):
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape

    labels = field(seed, 64)[cut:, : 64 - 2 * cut]
    enlarged = oracle._enlarged(labels, 2)
    theirs = resample_data_or_seg_to_shape(
        labels[None, None].astype(np.int16), (1, *enlarged.shape), [1, 1, 1], [1, 0.5, 0.5], is_seg=True, order=0
    )
    assert np.array_equal(enlarged, theirs[0, 0])
    assert np.array_equal(oracle._at_size(enlarged, labels.shape), labels)


@pytest.mark.parametrize("scale", [1, 2])
def test_touching_nuclei_come_back_where_the_boundary_parts_them(scale):
    found = ceilings([field(0), field(1)], scale, 3, default_plans(scale * DIAMETER))
    assert list(found) == list(DECODERS)
    for name in DECODERS[1:]:
        assert found[name].clean > 0.97
        assert found[name].clean >= found[name].blurred - 0.01 > 0.9


def test_the_ceiling_is_pooled_over_the_images_and_one_where_there_is_nothing_to_lose():
    empty, plans = np.zeros((40, 40), np.int32), default_plans(DIAMETER)
    assert (
        set(ceilings([empty], 1, 3, plans).values()) == {Ceiling(1.0, 1.0)} == set(ceilings([], 1, 3, plans).values())
    )
    assert core_border_ceiling([empty], 2) == core_border_ceiling([], 1) == Ceiling(1.0, 1.0)
    # The only nucleus of an image is below the minimum area, of three in all: 2 x 2 / (2 x 2 + 1).
    large, speck = empty.copy(), empty.copy()
    large[disk((20, 10), 7)], large[disk((20, 30), 7)] = 1, 2
    speck[3, 3] = 9
    assert ceilings([large, speck, empty], 1, 3, {"any": DecoderPlan.default("boundary", 14)})["any"].clean == 0.8


def test_a_decoder_that_takes_nuclei_for_too_large_loses_them():
    plan = DecoderPlan.default("boundary", DIAMETER)
    found = ceilings([field(2)], 1, 3, {"right": plan, "wrong": replace(plan, diameter=5 * DIAMETER)})
    assert found["right"].clean > 0.97 > found["wrong"].clean


@pytest.mark.parametrize("name", DECODERS[1:])
def test_constants_for_40x_hold_at_40x_and_not_at_a_third_of_the_size(name):
    # Nuclei of 6 px have an inside of 4 px, and seeds 6 px apart do not fit them.
    small = field(5, diameter=6)
    planned = ceilings([small], 2, 3, {name: DecoderPlan.default(name, 12)})[name]
    assert fixed_40x([field(5, side=160, diameter=20)], name).clean > 0.97
    assert planned.clean > fixed_40x([small], name).clean + 0.02


@pytest.mark.parametrize("scale", [1, 2])
def test_core_and_border_labels_have_a_ceiling_too(scale):
    found = core_border_ceiling([field(3), field(4)], scale)
    assert 0.9 < found.blurred <= found.clean <= 1


def write_cases(write_raw, instances: dict[str, np.ndarray]):
    images = {case: np.full((*labels.shape, 3), 9, np.uint8) for case, labels in instances.items()}
    return write_raw({case: (images[case], labels > 0, labels) for case, labels in instances.items()}, classes=1)


def test_the_sample_is_bounded_spread_over_the_cases_and_always_the_same(write_raw):
    raw = write_cases(write_raw, {f"case{n:02d}": field(n, 64) * (n != 29) for n in range(30)})
    sample = sample_labels(raw, raw.cases())
    assert len(sample) == 23  # the last case is drawn, and empty
    assert all(np.array_equal(a, b) for a, b in zip(sample, sample_labels(raw, raw.cases()[::-1]), strict=True))
    assert all(np.array_equal(np.unique(labels), np.arange(labels.max() + 1)) for labels in sample)
    for scale in (1, 2):
        bounded = sample_labels(raw, raw.cases(), scale, pixels=24 * 40 * 40)
        assert sum(labels.size for labels in bounded) * scale**2 <= 24 * 40 * 40
    assert sample_labels(raw, ["case29"]) == sample_labels(raw, []) == []


def test_a_large_image_is_sampled_where_its_nuclei_are_densest(write_raw):
    labels = np.zeros((700, 900), np.int32)
    labels[disk((30, 30), 8)] = 1
    dense = field(8, 112)
    labels[580:692, 780:892] = np.where(dense > 0, dense + 1, 0)
    (window,) = sample_labels(write_cases(write_raw, {"large": labels}), ["large"])
    assert window.shape == (512, 512)
    assert window.max() == len(np.unique(dense)) - 1


def test_nuclei_that_the_window_leaves_for_the_larger_part_are_left_out(write_raw):
    labels = np.zeros((60, 120), np.int32)
    for number, column in enumerate((10, 30, 62, 80), start=1):
        labels[20:30, column - 5 : column + 5] = number
    labels[40:50, 10:20] = 5
    # Of two windows of 60 px the first holds more; the third nucleus reaches three columns into it.
    (window,) = sample_labels(write_cases(write_raw, {"case": labels}), ["case"], pixels=60 * 60)
    assert window.shape == (60, 60)
    assert np.bincount(window.ravel())[1:].tolist() == [100, 100, 100]


@pytest.mark.parametrize("name", ["dsb2018_tissue", "tnbc"])
def test_annotated_nuclei_of_real_images_survive_every_boundary_decoder(shared_data, name):
    labels = [read_label_map(path) for path in sorted((shared_data / name / "labels").glob("*.png"))[:40:8]]
    found = ceilings(labels, 1, 3, default_plans(20))
    assert min(found[decoder].clean for decoder in DECODERS[1:]) > 0.95
    assert found["boundary"].clean > 0.97
