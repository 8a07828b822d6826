"""All decoders keep the same promises; those that see a boundary part what it parts, at every size."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.draw import disk, ellipse
from skimage.measure import label

from nucplan.instances import DECODERS, DecoderPlan, NucleusProbabilities, decode, fill_holes
from nucplan.targets import boundary_map

quick = settings(max_examples=15, deadline=None)
seeds = st.integers(0, 2**32 - 1)
all_decoders = pytest.mark.parametrize("name", DECODERS)
with_boundary = pytest.mark.parametrize("name", DECODERS[1:])
blurs = pytest.mark.parametrize("blur", [0, 1])


def maps_of(labels: np.ndarray, kernel: int = 3, blur: float = 0) -> NucleusProbabilities:
    """The targets of a label map as probabilities."""
    boundary = boundary_map(torch.from_numpy(labels)[None], kernel)[0].numpy()
    maps = np.stack([labels == 0, labels > 0, boundary]).astype(np.float32)
    if blur:
        maps = np.stack([cv2.GaussianBlur(m, (0, 0), blur) for m in maps])
    return NucleusProbabilities(maps[:2], maps[2])


def random_maps(seed: int, shape: tuple[int, int] = (80, 90), class_count: int = 2) -> NucleusProbabilities:
    """Smooth random maps: what a network may say, and worse."""
    rng = np.random.default_rng(seed)
    noise = [cv2.GaussianBlur(rng.standard_normal(shape).astype(np.float32), (0, 0), 4) for _ in range(class_count + 1)]
    weights = np.exp(np.stack(noise) * 30)
    boundary = cv2.GaussianBlur(rng.standard_normal(shape).astype(np.float32), (0, 0), 1.5)
    return NucleusProbabilities((weights / weights.sum(axis=0)).astype(np.float32), 1 / (1 + np.exp(-10 * boundary)))


def row_of_discs(radius: float, overlap: float, count: int = 2) -> np.ndarray:
    """Discs in a row; each begins ``overlap`` of a diameter before the one before it ends."""
    step = 2 * radius * (1 - overlap)
    labels = np.zeros((int(4 * radius), int(step * (count - 1) + 4 * radius)), np.int32)
    for number in range(count, 0, -1):
        centre = 2 * radius - 0.5, 2 * radius + (number - 1) * step - 0.5
        labels[disk(centre, radius, shape=labels.shape)] = number
    return labels


def match(found: np.ndarray, truth: np.ndarray) -> float:
    """The lowest intersection over union of a nucleus with the one that it overlaps most."""
    worst = 1.0
    for nucleus in range(1, truth.max() + 1):
        mask = truth == nucleus
        other = found == np.bincount(found[mask]).argmax()
        worst = min(worst, (mask & other).sum() / (mask | other).sum())
    return worst


@with_boundary
@blurs
@pytest.mark.parametrize("radius", [6, 9, 20])
@pytest.mark.parametrize("overlap", [0.1, 0.3])
def test_touching_discs_with_a_boundary_between_them_come_apart_where_it_lies(name, blur, radius, overlap):
    truth = row_of_discs(radius, overlap, count=3)
    found = decode(maps_of(truth, blur=blur), DecoderPlan.default(name, 2 * radius)).labels
    assert found.max() == 3
    assert match(found, truth) > 0.8


@with_boundary
@blurs
def test_a_boundary_parts_what_no_outline_would(name, blur):
    # A square cut in two: the foreground has neither a neck nor two peaks.
    truth = np.zeros((40, 50), np.int32)
    truth[10:30, 10:25], truth[10:30, 25:40] = 1, 2
    plan = DecoderPlan.default(name, 18)
    assert match(decode(maps_of(truth, blur=blur), plan).labels, truth) > 0.9
    whole = decode(maps_of(np.minimum(truth, 1), blur=blur), plan)
    assert len(whole.table) == 1


@with_boundary
def test_a_thin_slanted_nucleus_stays_in_one_piece(name):
    # Its inside is a diagonal line of single pixels.
    truth = np.pad(cv2.dilate(np.eye(30, dtype=np.uint8), np.ones((3, 3), np.uint8)).astype(np.int32), 5)
    assert len(decode(maps_of(truth), DecoderPlan.default(name, 8)).table) == 1


@with_boundary
def test_specks_where_the_boundary_is_interrupted_are_no_nuclei(name):
    truth = np.zeros((60, 60), np.int32)
    truth[10:50, 10:50] = 1
    maps = maps_of(truth, kernel=13)
    maps.boundary[12, 12:48:6] = maps.boundary[12:48:6, 47] = 0
    assert len(decode(maps, DecoderPlan.default(name, 24)).table) == 1


@with_boundary
@pytest.mark.parametrize("axes", [(6, 13), (4, 12), (9, 30)])
def test_a_long_nucleus_stays_in_one_piece(name, axes):
    truth = np.zeros((50, 80), np.int32)
    truth[ellipse(25, 40, *axes, rotation=0.3)] = 1
    assert len(decode(maps_of(truth, blur=1), DecoderPlan.default(name, 18)).table) == 1


@all_decoders
@pytest.mark.parametrize("scale", [2, 3])
def test_enlarged_maps_with_an_enlarged_diameter_give_the_enlarged_nuclei(name, scale):
    truth = np.concatenate([np.pad(row_of_discs(r, 0.2, 3), ((0, 44 - 4 * r), (0, 3 * (11 - r)))) for r in (8, 11)], 1)
    maps = maps_of(truth, blur=1)
    enlarged = NucleusProbabilities(
        maps.semantic.repeat(scale, 1).repeat(scale, 2), maps.boundary.repeat(scale, 0).repeat(scale, 1)
    )
    one = decode(maps, DecoderPlan.default(name, 18))
    other = decode(enlarged, DecoderPlan.default(name, 18 * scale))
    assert len(one.table) == len(other.table) == 6
    assert match(other.labels, one.labels.repeat(scale, 0).repeat(scale, 1)) > 0.9


@all_decoders
@blurs
def test_a_nucleus_without_an_inside_is_rescued(name, blur):
    truth = np.zeros((60, 60), np.int32)
    truth[disk((30, 25), 12)] = 1
    truth[3:6, 50:53] = 2
    plan = replace(DecoderPlan.default(name, 18), minimum_area=0.01)
    assert decode(maps_of(truth, kernel=5, blur=blur), plan).labels.max() == 2


@with_boundary
@pytest.mark.parametrize("side", [4, 6])
def test_a_small_nucleus_beside_a_large_one_is_not_swallowed(name, side):
    truth = np.zeros((60, 60), np.int32)
    truth[disk((30, 25), 12)] = 1
    truth[30 - side // 2 :, 37:][:side, :side] = 2
    plan = replace(DecoderPlan.default(name, 12), minimum_area=0.01)
    assert match(decode(maps_of(truth), plan).labels, truth) > 0.5


@all_decoders
def test_nothing_in_the_maps_gives_no_nuclei(name):
    maps = maps_of(np.zeros((20, 30), np.int32))
    assert decode(maps, DecoderPlan.default(name, 10)).labels.max() == 0
    zeros = NucleusProbabilities(maps.semantic, np.ones((20, 30), np.float32))
    assert decode(zeros, DecoderPlan.default(name, 10)).labels.max() == 0


# Without any boundary the seeds of "boundary" are whole components: that is what it is told.
@pytest.mark.parametrize(("name", "value"), [("boundary", 1), *product(("tempered", "interior"), (0, 1))])
def test_where_the_boundary_says_the_same_all_over_the_outline_decides(name, value):
    foreground = np.zeros((40, 90), bool)
    # A shallow waist, then two discs that hardly touch.
    foreground[12:28, 5:45] = True
    foreground[[12, 27], 24:26] = False
    foreground[disk((20, 60), 8.6)] = foreground[disk((20, 76), 8.6)] = True
    semantic = np.stack([~foreground, foreground]).astype(np.float32)
    maps = NucleusProbabilities(semantic, np.full(foreground.shape, value, np.float32))
    found = decode(maps, DecoderPlan.default(name, 18)).labels
    assert len(np.unique(found[20, [14, 34]])) == 1
    assert len(np.unique(found[20, [60, 76]])) == 2
    assert np.array_equal(found > 0, foreground)


def test_a_nucleus_that_is_all_boundary_is_found_by_its_outline():
    truth = np.zeros((50, 60), np.int32)
    truth[disk((25, 20), 12)] = 1
    truth[disk((25, 37), 6)] = 2
    maps = maps_of(truth)
    maps.boundary[truth == 2] = 1
    assert match(decode(maps, DecoderPlan.default("boundary", 18)).labels, truth) > 0.6


@all_decoders
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (40, 30)])
@pytest.mark.parametrize("value", [0, 1])
def test_a_map_that_is_all_foreground_is_one_nucleus(name, shape, value):
    semantic = np.stack([np.zeros(shape, np.float32), np.ones(shape, np.float32)])
    maps = NucleusProbabilities(semantic, np.full(shape, value, np.float32))
    assert len(decode(maps, DecoderPlan.default(name, max(shape))).table) == 1


@all_decoders
@given(seed=seeds)
@quick
def test_instances_cover_the_foreground_in_connected_pieces_that_are_large_enough(name, seed):
    maps, plan = random_maps(seed), DecoderPlan.default(name, 12)
    labels, table = decode(maps, plan)
    foreground = maps.semantic[0] < np.float32(1 - plan.foreground_threshold)
    fill_holes(foreground, plan.maximum_hole * plan.disc_area)
    components = label(foreground, connectivity=1)
    large = np.bincount(components.ravel()) >= plan.minimum_area * plan.disc_area
    large[0] = False
    assert np.array_equal(labels > 0, large[components])
    assert (table.area >= plan.minimum_area * plan.disc_area).all()
    assert all(label(labels == i, connectivity=1).max() == 1 for i in table.id)


@all_decoders
@given(seed=seeds, class_count=st.integers(1, 3))
@quick
def test_ids_and_classes_are_those_of_any_decoder(name, seed, class_count):
    maps = random_maps(seed, class_count=class_count)
    labels, table = decode(maps, DecoderPlan.default(name, 10))
    assert labels.dtype == np.int32
    assert np.array_equal(np.unique(labels[labels > 0]), table.id)
    assert np.array_equal(np.lexsort((table.centroid[:, 1], table.centroid[:, 0])), np.arange(len(table)))
    for row, nucleus in enumerate(table.id):
        means = maps.semantic[1:, labels == nucleus].mean(axis=1, dtype=np.float64)
        np.testing.assert_allclose(table.class_probabilities[row], means / means.sum(), atol=1e-5)


@with_boundary
@given(seed=seeds)
@quick
def test_half_precision_and_memmaps_give_what_float32_gives(name, seed, tmp_path_factory):
    half = [m.astype(np.float16) for m in random_maps(seed)]
    files = [tmp_path_factory.mktemp("maps") / f"{kind}.npy" for kind in ("semantic", "boundary")]
    for file, content in zip(files, half, strict=True):
        np.save(file, content)
    plan = DecoderPlan.default(name, 11)
    whole = decode(NucleusProbabilities(*(m.astype(np.float32) for m in half)), plan).labels
    for maps in (half, [np.load(file, mmap_mode="r") for file in files]):
        assert np.array_equal(decode(NucleusProbabilities(*maps), plan).labels, whole)


@with_boundary
def test_maps_are_left_as_they_are(name):
    maps = random_maps(3)
    kept = [m.copy() for m in maps]
    decode(maps, DecoderPlan.default(name, 12))
    assert all(np.array_equal(a, b) for a, b in zip(maps, kept, strict=True))


@with_boundary
@pytest.mark.parametrize("boundary", [None, np.zeros((5, 4), np.float32)])
def test_a_decoder_that_needs_the_boundary_refuses_to_go_without(name, boundary):
    semantic = np.zeros((2, 5, 5), np.float32)
    with pytest.raises(ValueError, match=f"'{name}' needs a boundary map"):
        decode(NucleusProbabilities(semantic, boundary), DecoderPlan.default(name, 10))
