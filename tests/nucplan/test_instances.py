"""Decoding finds the nuclei that are there, whatever their number, size, place and type of number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.draw import disk, ellipse
from skimage.measure import label, regionprops

from nucplan.instances import (
    DecoderPlan,
    NucleusProbabilities,
    decode,
    fill_holes,
    instances_from_labels,
    relabelled,
)

quick = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def maps_of(foreground: np.ndarray, class_map: np.ndarray | None = None, class_count: int = 1) -> NucleusProbabilities:
    classes = foreground.astype(int) if class_map is None else class_map * foreground
    return NucleusProbabilities(np.stack([classes == k for k in range(class_count + 1)]).astype(np.float32))


def soft_maps(rng: np.random.Generator, shape: tuple[int, int], class_count: int) -> NucleusProbabilities:
    """Random smooth softmax maps: blobs of all shapes, many of them touching."""
    import cv2

    noise = [cv2.GaussianBlur(rng.standard_normal(shape).astype(np.float32), (0, 0), 4) for _ in range(class_count + 1)]
    logits = np.stack(noise) * 30
    weights = np.exp(logits - logits.max(axis=0))
    return NucleusProbabilities((weights / weights.sum(axis=0)).astype(np.float32))


def separate_discs(rng: np.random.Generator, cell: int = 24, cells: int = 5) -> np.ndarray:
    """One disc, or none, in each cell of a grid, never touching another; the outer ones may be cut by the border."""
    labels = np.zeros((cell * cells, cell * cells), np.int32)
    for number, (row, column) in enumerate(np.ndindex(cells, cells), start=1):
        radius = rng.uniform(5, 9)
        shift = rng.uniform(-1.5, 1.5, 2)
        if rng.random() < 0.8:
            labels[disk((row * cell + 12 + shift[0], column * cell + 12 + shift[1]), radius)] = number
    return labels[int(rng.integers(0, 14)) :, int(rng.integers(0, 14)) :]


def touching_pairs(scale: int = 1) -> np.ndarray:
    """Foreground of four pairs of overlapping discs, at various angles, drawn at a multiple of the size."""
    foreground = np.zeros((120 * scale, 120 * scale), bool)
    for number, (row, column) in enumerate([(30, 30), (30, 90), (90, 30), (90, 90)]):
        angle = 0.3 + 0.7 * number
        for side in (-1, 1):
            centre = row + side * 8 * np.sin(angle), column + side * 8 * np.cos(angle)
            foreground[disk((centre[0] * scale, centre[1] * scale), 9.6 * scale)] = True
    return foreground


@given(seeds)
@quick
def test_separate_discs_are_recovered_exactly(seed):
    truth = separate_discs(np.random.default_rng(seed))
    plan = DecoderPlan(diameter=14, minimum_area=0)
    found = decode(maps_of(truth > 0), plan).labels
    pairs = {(int(a), int(b)) for a, b in zip(truth.flat, found.flat, strict=True)}
    assert len(pairs) == len(np.unique(truth)) == len(np.unique(found))


@given(seeds)
@quick
def test_the_foreground_is_covered_and_no_instance_is_below_the_minimum_area(seed):
    maps = soft_maps(np.random.default_rng(seed), (90, 110), 2)
    plan = DecoderPlan(diameter=12)
    found = decode(maps, plan)
    foreground = maps.semantic[0] < np.float32(1 - plan.foreground_threshold)
    fill_holes(foreground, plan.maximum_hole * plan.disc_area)
    components = label(foreground, connectivity=1)
    large = np.bincount(components.ravel()) >= plan.minimum_area * plan.disc_area
    large[0] = False
    assert np.array_equal(found.labels > 0, large[components])
    assert (found.table.area >= plan.minimum_area * plan.disc_area).all()


@given(seeds)
@quick
def test_every_instance_is_one_connected_region_of_one_component(seed):
    found = decode(soft_maps(np.random.default_rng(seed), (90, 110), 2), DecoderPlan(diameter=12)).labels
    assert all(label(found == i, connectivity=1).max() == 1 for i in range(1, found.max() + 1))


@given(seeds)
@quick
def test_ids_are_contiguous_in_the_order_of_the_centroids(seed):
    labels, table = decode(soft_maps(np.random.default_rng(seed), (80, 100), 3), DecoderPlan(diameter=10))
    assert labels.dtype == np.int32
    assert np.array_equal(np.unique(labels[labels > 0]), table.id)
    order = np.lexsort((table.centroid[:, 1], table.centroid[:, 0]))
    assert np.array_equal(order, np.arange(len(table)))


@given(seeds, st.integers(1, 4))
@quick
def test_class_probabilities_are_the_means_over_the_mask(seed, class_count):
    maps = soft_maps(np.random.default_rng(seed), (60, 70), class_count)
    labels, table = decode(maps, DecoderPlan(diameter=10))
    for row, nucleus in enumerate(table.id):
        means = maps.semantic[1:, labels == nucleus].mean(axis=1, dtype=np.float64)
        np.testing.assert_allclose(table.class_probabilities[row], means / means.sum(), atol=1e-5)
        assert table.class_id[row] == table.class_probabilities[row].argmax() + 1
        foreground = 1 - maps.semantic[0, labels == nucleus].mean(dtype=np.float64)
        np.testing.assert_allclose(table.foreground_probability[row], foreground, atol=1e-5)
        np.testing.assert_allclose(table.probability[row], means.max(), atol=1e-5)


def test_class_probabilities_do_not_depend_on_the_bands(monkeypatch):
    maps = soft_maps(np.random.default_rng(5), (70, 60), 3)
    whole = decode(maps, DecoderPlan(10)).table.class_probabilities
    monkeypatch.setattr("nucplan.instances.ROWS_PER_PASS", 7)
    np.testing.assert_allclose(decode(maps, DecoderPlan(10)).table.class_probabilities, whole, atol=1e-6)


@given(seeds)
@quick
def test_the_table_agrees_with_regionprops(seed):
    labels, table = decode(soft_maps(np.random.default_rng(seed), (75, 90), 2), DecoderPlan(diameter=9))
    reference = regionprops(labels)
    assert np.array_equal(table.area, [r.area for r in reference])
    assert np.array_equal(table.bounding_box, np.array([r.bbox for r in reference]).reshape(-1, 4))
    np.testing.assert_allclose(table.centroid, np.array([r.centroid for r in reference]).reshape(-1, 2), atol=1e-4)


def test_touching_discs_are_parted_and_an_ellipse_is_not():
    foreground = touching_pairs()
    assert len(decode(maps_of(foreground), DecoderPlan(diameter=19)).table) == 8
    lone = np.zeros((60, 90), bool)
    lone[ellipse(30, 45, 9, 32)] = True
    assert len(decode(maps_of(lone), DecoderPlan(diameter=19)).table) == 1


@pytest.mark.parametrize("scale", [2, 3])
def test_an_enlarged_map_with_an_enlarged_diameter_gives_as_many_nuclei(scale):
    for draw in (touching_pairs(), separate_discs(np.random.default_rng(3)) > 0):
        enlarged = np.kron(draw, np.ones((scale, scale), bool))
        one = decode(maps_of(draw), DecoderPlan(diameter=17))
        other = decode(maps_of(enlarged), DecoderPlan(diameter=17 * scale))
        assert len(one.table) == len(other.table)


@given(seeds, st.sampled_from([0, 1]))
@quick
def test_a_flipped_map_gives_the_flipped_nuclei_up_to_contact_pixels(seed, axis):
    # The watershed breaks ties in raster order: pixels of contacts may change sides, nuclei may not come or go.
    rng = np.random.default_rng(seed)
    foreground = np.roll(touching_pairs(), rng.integers(-15, 15, 2), axis=(0, 1))
    straight = decode(maps_of(foreground), DecoderPlan(19)).labels
    flipped = np.flip(decode(maps_of(np.flip(foreground, axis)), DecoderPlan(19)).labels, axis)
    assert straight.max() == flipped.max()
    overlap = np.zeros((straight.max() + 1, straight.max() + 1))
    np.add.at(overlap, (straight, flipped), 1)
    assert overlap[1:, 1:].max(axis=1).sum() >= 0.97 * (straight > 0).sum()


@given(seed=seeds)
@quick
def test_half_precision_and_memmaps_give_what_float32_gives(seed, tmp_path_factory):
    half = soft_maps(np.random.default_rng(seed), (64, 64), 2).semantic.astype(np.float16)
    path = tmp_path_factory.mktemp("maps") / "semantic.npy"
    np.save(path, half)
    full = decode(NucleusProbabilities(half.astype(np.float32)), DecoderPlan(10, foreground_threshold=0.37))
    for other in (half, np.load(path, mmap_mode="r")):
        found = decode(NucleusProbabilities(other), DecoderPlan(10, foreground_threshold=0.37))
        assert np.array_equal(found.labels, full.labels)
        assert np.array_equal(found.table.class_probabilities, full.table.class_probabilities)


def test_an_empty_map_gives_an_empty_table_of_the_right_types():
    labels, table = decode(maps_of(np.zeros((20, 30), bool), class_count=3), DecoderPlan(10))
    assert labels.shape == (20, 30)
    assert not labels.any()
    columns = [name for name in vars(table) if name != "confidence"]
    shapes = {name: (getattr(table, name).shape, getattr(table, name).dtype.name) for name in columns}
    assert shapes == {
        "id": ((0,), "int32"),
        "class_id": ((0,), "int32"),
        "class_probabilities": ((0, 3), "float32"),
        "foreground_probability": ((0,), "float32"),
        "centroid": ((0, 2), "float64"),
        "area": ((0,), "int64"),
        "bounding_box": ((0, 4), "int32"),
    }
    filled = decode(maps_of(np.ones((20, 30), bool)), DecoderPlan(10)).table
    assert {name: getattr(filled, name).dtype for name in columns} == {
        name: getattr(table, name).dtype for name in columns
    }


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (40, 30)])
def test_a_map_that_is_all_foreground_is_one_nucleus(shape):
    assert decode(maps_of(np.ones(shape, bool)), DecoderPlan(1)).table.area.tolist() == [shape[0] * shape[1]]


@pytest.mark.parametrize("centre", [(0, 20), (39, 20), (20, 0), (20, 39), (1, 1), (-3, 20)])
def test_a_nucleus_that_the_border_cuts_is_kept_whole(centre):
    foreground = np.zeros((40, 40), bool)
    foreground[disk(centre, 8, shape=foreground.shape)] = True
    assert decode(maps_of(foreground), DecoderPlan(16)).table.area.tolist() == [foreground.sum()]


def test_nuclei_too_small_for_a_seed_of_their_own_survive_beside_a_large_one():
    foreground = np.zeros((40, 60), bool)
    foreground[disk((20, 20), 12)] = True
    foreground[18:22, 34:37] = True
    assert sorted(decode(maps_of(foreground), DecoderPlan(12)).table.area.tolist())[0] == 12


def test_small_holes_are_filled_and_holes_at_the_border_or_large_ones_are_not():
    foreground = np.ones((40, 40), bool)
    foreground[10:12, 10:12] = foreground[20:30, 20:30] = foreground[0:2, 5] = False
    fill_holes(foreground, 10)
    assert (~foreground).sum() == 102
    assert foreground[10:12, 10:12].all()


def test_gaps_between_ids_are_closed_and_classes_follow_their_nuclei():
    labels = np.array([[7, 7, 0], [0, 0, 3], [40, 0, 3]], np.uint32)
    found = instances_from_labels(labels, {3: 2, 7: 1, 40: 3}, class_count=3)
    assert np.array_equal(found.labels, [[2, 2, 0], [0, 0, 1], [3, 0, 1]])
    assert found.table.class_id.tolist() == [2, 1, 3]
    by_map = instances_from_labels(labels, np.array([[1, 1, 0], [0, 0, 2], [3, 0, 1]]), class_count=3)
    assert by_map.table.class_probabilities.tolist() == [[0.5, 0.5, 0], [1, 0, 0], [0, 0, 1]]
    assert by_map.table.foreground_probability.tolist() == found.table.foreground_probability.tolist() == [1, 1, 1]


def test_nuclei_in_another_label_map_keep_their_probabilities():
    instances = decode(soft_maps(np.random.default_rng(2), (60, 70), 2), DecoderPlan(diameter=10))
    dropped = np.where(instances.labels == 2, 0, instances.labels).repeat(2, axis=0)
    kept = np.delete(np.arange(len(instances.table)), 1)
    found = relabelled(instances, dropped)
    for column in ("class_probabilities", "foreground_probability"):
        np.testing.assert_array_equal(getattr(found.table, column), getattr(instances.table, column)[kept])
    np.testing.assert_array_equal(found.table.area, 2 * instances.table.area[kept])


@pytest.mark.parametrize("classes", [{1: 1}, {1: 1, 2: 3}, np.array([[1, 0]])])
def test_a_nucleus_without_a_valid_class_is_refused(classes):
    with pytest.raises(ValueError, match="class from 1 to 2"):
        instances_from_labels(np.array([[1, 2]]), classes, class_count=2)


def test_maps_of_a_wrong_shape_are_refused():
    with pytest.raises(ValueError, match="at least two channels"):
        decode(NucleusProbabilities(np.zeros((1, 5, 5), np.float32)), DecoderPlan(10))
    with pytest.raises(ValueError, match="boundary map of shape"):
        decode(NucleusProbabilities(np.zeros((2, 5, 5), np.float32)), DecoderPlan(10, "boundary"))
