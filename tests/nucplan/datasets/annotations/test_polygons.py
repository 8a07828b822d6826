"""Outlines become the pixels whose centres they surround, whatever their form, place and order."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nucplan.datasets.annotations.layers import HIDDEN, OVERLAP
from nucplan.datasets.annotations.polygons import (
    NO_POSITIONS,
    OUTSIDE,
    TOO_FEW_POINTS,
    TOO_SMALL,
    Outline,
    Stamp,
    covered,
    draw,
    refuse_other_origin,
    shared,
    stamp_of,
)
from nucplan.errors import NucplanError
from nucplan.inference.outlines import trace_outlines
from nucplan.instances import instances_from_labels

SHAPE = (12, 15)
ROWS, COLUMNS = np.indices(SHAPE)
CENTRES = shapely.points(COLUMNS.ravel() + 0.5, ROWS.ravel() + 0.5)

quarters = st.integers(-16, 80).map(lambda n: n / 4)
anywhere = st.floats(-4, 20, allow_nan=False, width=32)
masks = st.lists(arrays(bool, (5, 6)), max_size=6)
label_maps = arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 4))


def rings(coordinate: st.SearchStrategy[float], most: int) -> st.SearchStrategy[np.ndarray]:
    """Closed polygons that do not cross themselves: points around a middle, by angle."""

    def by_angle(points: list[tuple[float, float]]) -> np.ndarray:
        ring = np.array(points)
        x, y = (ring - ring.mean(0)).T
        return ring[np.argsort(np.arctan2(y, x), kind="stable")]

    return st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=most, unique=True).map(by_angle)


def square(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)


def oracle(polygon: shapely.Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Whose centres lie within, and whose lie so near to a side that rounding decides."""
    near = shapely.distance(polygon.boundary, CENTRES) < 1e-9
    return shapely.contains(polygon, CENTRES).reshape(SHAPE), near.reshape(SHAPE)


@given(st.one_of(rings(quarters, 9), rings(anywhere, 9)), st.booleans(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_pixel_is_inside_when_its_centre_is(ring: np.ndarray, backwards: bool, closed: bool):
    polygon = shapely.Polygon(ring)
    if not polygon.is_valid:
        return
    inside, near = oracle(polygon)
    given_ring = ring[::-1] if backwards else ring
    found = draw([Outline([np.vstack([given_ring, given_ring[:1]]) if closed else given_ring])], SHAPE).instances
    assert (found == 1)[~near].tolist() == inside[~near].tolist()


@given(rings(quarters, 7), rings(quarters, 7))
@settings(max_examples=30, deadline=None)
def test_inner_rings_are_holes_and_joined_rings_are_parts(first: np.ndarray, second: np.ndarray):
    polygons = shapely.Polygon(first), shapely.Polygon(second)
    if not all(polygon.is_valid for polygon in polygons):
        return
    (one, near_one), (two, near_two) = map(oracle, polygons)
    sure = ~(near_one | near_two)
    assert (covered([Outline([first, second])], SHAPE) == (one ^ two))[sure].all()
    assert (covered([Outline([first, second], joined=True)], SHAPE) == (one | two))[sure].all()


@given(st.tuples(quarters, quarters))
@settings(max_examples=30, deadline=None)
def test_polygons_that_share_sides_share_no_pixel_and_leave_none_out(middle: tuple[float, float]):
    corners = square(-4, -4, 20, 20)
    triangles = [Outline([np.array([corners[i - 1], corners[i], middle])]) for i in range(4)]
    inside = all(-4 < value < 20 for value in middle)
    drawn = draw(triangles, SHAPE)
    assert not inside or ((drawn.instances > 0).all() and OVERLAP not in drawn.remarks)


@given(label_maps)
@settings(max_examples=30, deadline=None)
def test_our_own_outlines_give_back_the_label_map(labels: np.ndarray):
    instances = instances_from_labels(labels)
    outlines = [Outline([r for polygon in polygons for r in polygon]) for _, polygons in trace_outlines(instances)]
    drawn = draw(outlines, labels.shape)
    np.testing.assert_array_equal(drawn.instances, instances.labels)
    assert not drawn.remarks
    assert not drawn.left_out


@given(st.lists(rings(quarters, 6), min_size=2, max_size=4), st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_overlap_does_not_depend_on_the_order_where_areas_differ(found: list[np.ndarray], random):
    areas = [int(covered([Outline([ring])], SHAPE).sum()) for ring in found]
    if len(set(areas)) < len(areas):
        return
    order = random.sample(range(len(found)), len(found))
    one, other = draw([Outline([r]) for r in found], SHAPE), draw([Outline([found[i]]) for i in order], SHAPE)
    back = np.array([0, *(i + 1 for i in order)])
    np.testing.assert_array_equal(one.instances, back[other.instances])
    assert one.remarks == other.remarks


def test_a_small_nucleus_on_a_large_one_survives_and_a_covered_one_is_counted():
    large, small = Outline([square(1, 1, 9, 9)], 1), Outline([square(3, 3, 5, 5)], 2)
    drawn = draw([small, large, small], SHAPE)
    assert np.bincount(drawn.instances.ravel())[1:].tolist() == [0, 60, 4]
    assert (drawn.class_of, drawn.left_out, drawn.remarks) == ({2: 1, 3: 2}, {HIDDEN: 1}, {OVERLAP: 4})


def test_what_reaches_over_the_edge_is_cut_and_ids_are_positions():
    drawn = draw([Outline([square(-3, -3, 2, 2)]), Outline([square(13, 10, 99, 99)])], SHAPE)
    assert np.argwhere(drawn.instances == 1).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert np.argwhere(drawn.instances == 2).tolist() == [[10, 13], [10, 14], [11, 13], [11, 14]]


@pytest.mark.parametrize("centred", [False, True])
def test_far_coordinates_eat_no_memory(centred: bool):
    far = [square(-4e6, -4e6, 4e6, 4e6), square(4e6, 4e6, 4.1e6, 4.1e6), square(-1e9, -1e9, 1e9, 1e9)]
    tracemalloc.start()
    drawn = draw([Outline([ring], centred=centred) for ring in far], SHAPE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (drawn.instances == 1).all()
    assert drawn.left_out == {OUTSIDE: 1, NO_POSITIONS: 1}
    assert peak < 2**20


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e9, 1e300])
def test_coordinates_that_are_no_positions_are_counted(wrong: float, centred: bool):
    ring = square(1, 1, 4, 4)
    ring[2, 0] = wrong
    drawn = draw([Outline([ring], centred=centred), Outline([square(5, 5, 7, 7)])], SHAPE)
    assert drawn.left_out == {NO_POSITIONS: 1}
    assert drawn.class_of == {2: 1}


@pytest.mark.parametrize(
    ("inside", "outside", "refused"), [(9, 3, True), (26, 3, True), (27, 3, False), (2, 2, False), (0, 1, True)]
)
def test_a_large_share_of_outlines_outside_is_refused(inside: int, outside: int, refused: bool):
    rings = [square(i % 15, i // 15, i % 15 + 1, i // 15 + 1) for i in range(inside)]
    drawn = draw([Outline([ring]) for ring in [*rings, *[square(20, 0, 22, 2)] * outside]], SHAPE)
    if refused:
        with pytest.raises(NucplanError, match="x: .* lie outside of the image"):
            refuse_other_origin(drawn, "x")
    else:
        refuse_other_origin(drawn, "x")


def test_boxes_inside_excuse_a_few_outlines_outside_and_not_many():
    one, many = (draw([Outline([square(20, 0, 22, 2)])] * count, SHAPE) for count in (1, 3))
    refuse_other_origin(one, "x", others_inside=True)
    with pytest.raises(NucplanError, match="x: 3 of 3 outlines lie outside"):
        refuse_other_origin(many, "x", others_inside=True)


@pytest.mark.parametrize(
    ("ring", "reason"),
    [
        (np.array([[1, 1], [5, 5]]), TOO_FEW_POINTS),
        (np.array([[1, 1], [5, 5], [1, 1]]), TOO_FEW_POINTS),
        (np.zeros((0, 2)), TOO_FEW_POINTS),
        (np.array([[1.5, 1.5], [4.5, 1.5], [7.5, 1.5]]), TOO_SMALL),
        (square(1.1, 1.1, 1.4, 1.4), TOO_SMALL),
        (square(15, 0, 18, 3), OUTSIDE),
        (square(-3, 2, 0, 5), OUTSIDE),
    ],
)
def test_outlines_that_hold_nothing_are_counted_by_reason(ring: np.ndarray, reason: str):
    assert draw([Outline([ring])], SHAPE).left_out == {reason: 1}
    assert draw([], SHAPE).left_out == {}


def test_outlines_through_pixel_centres_include_the_pixels_they_pass():
    ring = np.array([[2, 2], [5, 2], [5, 6], [2, 6]])
    around, through = draw([Outline([ring])], SHAPE), draw([Outline([ring], centred=True)], SHAPE)
    assert int((around.instances > 0).sum()) == 3 * 4
    assert int((through.instances > 0).sum()) == 4 * 5
    dot = draw([Outline([np.array([[4.4, 3.6]])], centred=True)], SHAPE)
    assert np.argwhere(dot.instances).tolist() == [[4, 4]]
    fractional = draw([Outline([ring + [0.4, 0.6]], centred=True)], SHAPE)
    assert fractional.instances[3:8, 2:6].all()
    assert int(fractional.instances.sum()) == 4 * 5


def test_stamps_and_outlines_share_one_map():
    stamp = Stamp(np.ones((2, 3), bool), 4, 5, class_id=2)
    drawn = draw([Outline([square(0, 0, 9, 9)]), stamp], SHAPE)
    assert np.argwhere(drawn.instances == 2).tolist() == [[r, c] for r in (4, 5) for c in (5, 6, 7)]
    assert drawn.class_of == {1: 1, 2: 2}


@given(masks)
@settings(max_examples=80, deadline=None)
def test_a_pixel_of_several_masks_goes_to_the_smallest_of_equal_ones_to_the_later(found: list[np.ndarray]):
    drawn = draw([stamp_of(mask) for mask in found], (5, 6))
    areas, overlapping = [mask.sum() for mask in found], 0
    for row, column in np.ndindex(5, 6):
        claims = [i for i, mask in enumerate(found) if mask[row, column]]
        overlapping += len(claims) > 1
        owner = min(claims, key=lambda i: (areas[i], -i), default=-1)
        assert drawn.instances[row, column] == owner + 1
    assert drawn.remarks.get(OVERLAP, 0) == overlapping


@given(arrays(bool, (5, 6)), arrays(bool, (5, 6)))
@settings(max_examples=60, deadline=None)
def test_the_shared_window_of_two_stamps_has_all_that_both_hold(one: np.ndarray, other: np.ndarray):
    both = [stamp_of(one), stamp_of(other)]
    assert np.logical_and(*shared(*both)).sum() == (one & other).sum()
    pixels, cut = shared(*both)
    pixels &= ~cut
    np.testing.assert_array_equal(covered(both[:1], (5, 6)), one & ~other)
