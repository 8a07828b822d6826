"""Nuclei become horizontal and vertical maps and come back from them, whatever else the image shows."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucplan.hv import HVMaps, HVPlan, decode_hv, falls, hv_targets
from nucplan.images import read_label_map
from nucplan.metrics.image import overlap_table
from nucplan.metrics.panoptic import panoptic_counts

PLAN = HVPlan.for_mpp(0.25)
seeds = st.integers(0, 2**32 - 1)


def crowd(seed: int, side: int = 160, diameter: float = 18, nuclei: int = 60) -> np.ndarray:
    """Ellipses of many sizes, most of them touching, some cut by the border; later ones cover earlier ones."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((side, side), np.int32)
    for number in range(1, nuclei + 1):
        axes = rng.uniform(0.35, 0.65, 2) * diameter
        centre = rng.uniform(0, side, 2)
        # One that would cover most of another one is left out.
        mask = np.zeros(labels.shape, np.uint8)
        cv2.ellipse(mask, (tuple(centre), tuple(2 * axes), rng.uniform(0, 180)), 1, cv2.FILLED)
        if (labels[mask > 0] > 0).mean() < 0.15:
            labels[(mask > 0) & (labels == 0)] = number
    return labels


def oracle(labels: np.ndarray, classes: int = 1) -> HVMaps:
    """What a perfect network says; the class of a nucleus is its id modulo the classes."""
    class_map = np.where(labels > 0, labels % classes + 1, 0)
    types = np.stack([class_map == k for k in range(classes + 1)]).astype(np.float32)
    return HVMaps((labels > 0).astype(np.float32), hv_targets(labels), types)


def pooled_pq(label_maps: list[np.ndarray], plan: HVPlan = PLAN) -> float:
    counts = [panoptic_counts(overlap_table(decode_hv(oracle(one), plan).labels, one)) for one in label_maps]
    return sum(counts[1:], counts[0]).pq


def nuclei_within(labels: np.ndarray, box: tuple[slice, slice], margin: int) -> set[bytes]:
    """The masks, as they lie in the box, of the connected clumps that stay away from its rim."""
    part = labels[box]
    inner = np.zeros(part.shape, bool)
    inner[margin:-margin, margin:-margin] = True
    clumps = cv2.connectedComponents((part > 0).view(np.uint8), connectivity=8)[1]
    at_rim = np.unique(clumps[~inner])
    return {(part == i).tobytes() for i in np.unique(part[~np.isin(clumps, at_rim)]) if i > 0}


@given(st.lists(st.lists(st.integers(0, 4), min_size=7, max_size=7), min_size=1, max_size=6))
def test_targets_are_distances_to_the_centre_over_those_of_the_outermost_pixels(rows):
    labels = np.array(rows) * 3
    expected = np.zeros((2, *labels.shape))
    for number in set(labels.ravel()) - {0}:
        where = np.nonzero(labels == number)
        for target, position in zip(expected, where[::-1], strict=True):
            away = position - position.mean()
            reach = np.where(away < 0, -away.min(), away.max())
            target[where] = np.divide(away, reach, out=np.zeros(len(away)), where=reach > 1e-6)
    found = hv_targets(labels)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_mirrored_and_transposed_nuclei_have_mirrored_and_transposed_maps(seed):
    labels = crowd(seed, side=60)
    horizontal, vertical = hv_targets(labels)
    for turn, expected in (
        (np.fliplr, (-horizontal, vertical)),
        (np.flipud, (horizontal, -vertical)),
        (np.transpose, (vertical, horizontal)),
    ):
        np.testing.assert_allclose(hv_targets(turn(labels)), [turn(target) for target in expected], atol=1e-5)


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_other_ids_are_the_same_nuclei(seed):
    labels = crowd(seed, side=80)
    names = np.append(0, np.random.default_rng(seed).permutation(500)[: labels.max()] + 1)
    np.testing.assert_array_equal(hv_targets(names[labels]), hv_targets(labels))


@pytest.mark.parametrize(("diameter", "mpp"), [(18, 0.25), (30, 0.25), (9, 0.5)])
def test_crowds_come_back_from_their_targets(diameter, mpp):
    scenes = [crowd(seed, side=10 * diameter, diameter=diameter) for seed in range(5)]
    assert pooled_pq(scenes, HVPlan.for_mpp(mpp)) > 0.98


@pytest.mark.parametrize("name", ["tnbc", "dsb2018_tissue", "dsb2018_fluo"])
def test_real_nuclei_come_back_from_their_targets(shared_data: Path, name):
    files = sorted((shared_data / name / "labels").glob("*.png"))
    assert pooled_pq([read_label_map(path) for path in files[::4]]) > 0.98


@settings(max_examples=15, deadline=None)
@given(seeds, st.tuples(*[st.integers(0, 60)] * 2))
def test_a_crop_has_the_nuclei_of_the_whole_image_but_at_its_rim(seed, corner):
    maps = oracle(crowd(seed, nuclei=45))
    box = tuple(slice(start, start + 100) for start in corner)
    whole = decode_hv(maps, PLAN).labels
    crop = decode_hv(HVMaps(*(one[..., *box] for one in maps)), PLAN).labels
    margin = PLAN.kernel // 2 + PLAN.opening
    assert nuclei_within(whole, box, margin) == nuclei_within(crop, (np.s_[:], np.s_[:]), margin)


@settings(max_examples=10, deadline=None)
@given(seeds, st.floats(1, 50))
def test_a_loud_nucleus_far_away_changes_nothing(seed, loudness):
    labels = crowd(seed, nuclei=40)
    wide = np.zeros((160, 240), np.int32)
    wide[:, :160] = labels
    cv2.circle(wide, (210, 80), 4, 99, cv2.FILLED)
    maps, quiet = oracle(wide), oracle(wide * (wide != 99))
    # Falls of a network that is less than sure: a scale between the extremes of the image would make more of them.
    for one in (maps, quiet):
        one.hv[:, :, :160] *= 0.3
    maps.hv[:, wide == 99] *= loudness
    found, alone = decode_hv(maps, PLAN).labels, decode_hv(quiet, PLAN).labels
    assert nuclei_within(found, (np.s_[:], np.s_[:195]), 1) == nuclei_within(alone, (np.s_[:], np.s_[:195]), 1)
    assert found[80, 210] > 0


def test_touching_nuclei_are_parted_where_the_maps_fall_and_nowhere_else():
    labels = np.zeros((40, 60), np.int32)
    labels[10:30, 10:30], labels[10:30, 30:50] = 1, 2
    np.testing.assert_array_equal(decode_hv(oracle(labels), PLAN).labels, labels)
    one = (labels > 0).astype(np.int32)
    np.testing.assert_array_equal(decode_hv(oracle(one), PLAN).labels, one)


@pytest.mark.parametrize(("axis", "turn"), [(0, np.asarray), (1, np.transpose)])
def test_the_fall_between_two_nuclei_is_one_and_a_rise_is_none(axis, turn):
    hv = np.zeros((2, 30, 30), np.float32)
    hv[axis] = turn(np.broadcast_to(np.where(np.arange(30) < 15, 1.0, -1.0), (30, 30)))
    everywhere = np.ones((30, 30), bool)
    found = turn(falls(hv, everywhere, PLAN.kernel))
    np.testing.assert_allclose(found[:, 14:16], 1, rtol=1e-5)
    assert found[:, :10].max() < 1e-6
    assert falls(-hv, everywhere, PLAN.kernel).max() < 1e-6


def test_a_region_without_marker_is_a_nucleus_of_its_own():
    labels = np.zeros((30, 30), np.int32)
    labels[10:13, 10:14] = 1
    maps = oracle(labels)
    maps.hv[:] = np.where(np.indices((30, 30)).sum(0) % 2, 1, -1) * (labels > 0)
    maps.hv[0, 10:13, 10:12], maps.hv[0, 10:13, 12:14] = 5, -5
    np.testing.assert_array_equal(decode_hv(maps, PLAN).labels, labels)


def test_the_class_is_the_mean_over_the_nucleus_without_background():
    labels = np.zeros((30, 30), np.int32)
    labels[5:25, 5:25] = 1
    types = np.zeros((4, 30, 30), np.float32)
    # Three quarters of the pixels say background; the second class leads by a little in one quarter.
    types[:, :, :20], types[:, :, 20:] = (
        np.array([0.7, 0.2, 0.1, 0])[:, None, None],
        np.reshape([0, 0, 1, 0], (4, 1, 1)),
    )
    foreground = np.where(labels > 0, 0.9, 0.1).astype(np.float32)
    table = decode_hv(HVMaps(foreground, hv_targets(labels), types), PLAN).table
    assert table.class_id.tolist() == [2]
    np.testing.assert_allclose(table.class_probabilities, [[0.15 / 0.475, 0.325 / 0.475, 0]], rtol=1e-5)
    np.testing.assert_allclose(table.foreground_probability, [0.9], rtol=1e-5)


def test_every_nucleus_has_its_own_class():
    labels = crowd(3)
    found = decode_hv(oracle(labels, classes=4), PLAN)
    middle = np.round(found.table.centroid).astype(int)
    true = labels[tuple(middle.T)]
    assert (true > 0).mean() > 0.9
    assert (found.table.class_id == true % 4 + 1)[true > 0].mean() > 0.95


def test_half_precision_finds_the_same_nuclei():
    maps = oracle(crowd(5), classes=3)
    single, half = decode_hv(maps, PLAN), decode_hv(HVMaps(*(one.astype(np.float16) for one in maps)), PLAN)
    assert (single.labels != half.labels).mean() < 1e-3
    assert len(single.table) == len(half.table)


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (3, 2), (40, 50)])
@pytest.mark.parametrize("full", [False, True])
def test_images_without_nuclei_and_images_that_are_one_are_decoded(shape, full):
    labels = np.full(shape, int(full), np.int32)
    found = decode_hv(oracle(labels), PLAN)
    expected = full and labels.size >= PLAN.minimum_area
    assert len(found.table) == expected
    np.testing.assert_array_equal(found.labels, labels * expected)


def test_what_is_below_the_minimum_area_is_no_nucleus():
    labels = np.zeros((30, 30), np.int32)
    labels[5, 5:14], labels[20, 5:15] = 1, 2
    np.testing.assert_array_equal(decode_hv(oracle(labels), PLAN).labels > 0, labels == 2)
    labels[15, 20] = 3
    assert len(decode_hv(oracle(labels), HVPlan(minimum_area=1)).table) == 3


def test_small_holes_are_filled_and_large_ones_are_not():
    labels = np.zeros((40, 60), np.int32)
    labels[5:35, 5:55] = 1
    pierced = labels.copy()
    pierced[15:18, 15:18], pierced[15:22, 35:42] = 0, 0
    found = decode_hv(oracle(pierced), PLAN).labels
    pierced[15:18, 15:18] = 1
    np.testing.assert_array_equal(found > 0, pierced > 0)


def test_lengths_follow_the_pixel_size():
    plans = [HVPlan.for_mpp(mpp) for mpp in (0.125, 0.25, 0.5, 2)]
    assert [(plan.kernel, plan.minimum_area) for plan in plans] == [(17, 40), (9, 10), (5, 3), (3, 1)]


def test_very_small_pixels_are_decoded():
    plan = HVPlan.for_mpp(0.02)
    assert plan.kernel == 31
    assert len(decode_hv(oracle(crowd(0, diameter=40, nuclei=5)), plan).table) > 0


@pytest.mark.parametrize(
    "shapes",
    [((5, 6), (2, 6, 5), (2, 5, 6)), ((5, 6), (3, 5, 6), (2, 5, 6)), ((5, 6), (2, 5, 6), (1, 5, 6))],
)
def test_maps_that_do_not_fit_are_refused(shapes):
    with pytest.raises(ValueError, match="are not"):
        decode_hv(HVMaps(*(np.zeros(shape, np.float32) for shape in shapes)), PLAN)
