"""Four panels of the right size, in which numbers are where one can read them."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucplan.explanation import BoundaryExplanation, Frame, SplitTable, explain
from nucplan.inference.boundary_picture import (
    CUT,
    JOINED,
    LARGEST_SIDE,
    SEED,
    draw_boundary_picture,
    panel_factor,
)
from nucplan.inference.panels import GAP, LINE_HEIGHT, TITLE_HEIGHT
from nucplan.inference.split_numbers import place_numbers
from nucplan.instances import DecoderPlan, Instances, NucleusProbabilities, decode
from nucplan.watershed import Decision


def scene(shape: tuple[int, int] = (80, 100), alpha: float = 1.0) -> tuple[np.ndarray, Instances, BoundaryExplanation]:
    """Two pairs of discs on an image of this shape: one that is parted, and one so much overlapping that it is not."""
    foreground = np.zeros(shape, np.uint8)
    for centre in ((20, 20), (38, 20), (25, 55), (32, 55)):
        cv2.circle(foreground, centre, 10, 1, cv2.FILLED)
    boundary = np.zeros(shape, np.float16)
    boundary[12:29, 29] = 0.9
    maps = NucleusProbabilities(np.stack([1 - foreground, foreground]).astype(np.float32), boundary)
    plan = DecoderPlan(20, seed_spacing=0.1, smoothing=0)
    frame = Frame(0, shape[0], 0, shape[1])
    instances = decode(maps, plan)
    return (
        np.full((*shape, 3), 90, np.uint8),
        instances,
        BoundaryExplanation(boundary, alpha, explain(maps, plan), frame),
    )


def panels_of(picture: np.ndarray, shape: tuple[int, int]) -> list[np.ndarray]:
    """The four panels without their titles and keys; the keys of the first two have one line."""
    height, width = (round(side * panel_factor(shape)) for side in shape)
    first = GAP + TITLE_HEIGHT
    second = first + height + LINE_HEIGHT + GAP + TITLE_HEIGHT
    corners = [(top, left) for top in (first, second) for left in (GAP, 2 * GAP + width)]
    return [picture[top : top + height, left : left + width] for top, left in corners]


def has(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((picture == colour).all(axis=-1).any())


def table_of(position: np.ndarray, ratio: np.ndarray, neck: float = 0.6) -> SplitTable:
    count = len(ratio)
    decision = np.where(ratio > neck, Decision.JOINED, Decision.KEPT).astype(np.str_)
    ones = np.ones(count, np.float32)
    return SplitTable(np.zeros((count, 2), np.int32), position, ratio.astype(np.float32), ones, decision, neck)


def test_the_picture_shows_the_image_the_boundary_and_the_decisions():
    image, instances, explanation = scene()
    assert set(explanation.decisions.table.decision) == {Decision.KEPT, Decision.JOINED}
    picture = draw_boundary_picture(image, instances, ["nucleus"], explanation)
    assert picture.dtype == np.uint8
    factor = panel_factor(image.shape[:2])
    tissue, boundary, _, _ = panels_of(picture, image.shape[:2])
    assert (tissue[-1] == 90).all()
    brightness = boundary.sum(axis=-1)
    row, column = np.unravel_index(brightness.argmax(), brightness.shape)
    assert column // factor == 29
    assert 12 <= row // factor <= 28
    assert all(has(picture, colour) for colour in (CUT, JOINED, SEED))


def test_cuts_and_seeds_lie_where_they_were_made():
    image, instances, explanation = scene()
    picture = draw_boundary_picture(image, instances, ["nucleus"], explanation)
    factor, last = panel_factor(image.shape[:2]), panels_of(picture, image.shape[:2])[3]
    for colour, top, bottom in ((CUT, 9, 31), (JOINED, 44, 66), (SEED, 9, 66)):
        rows, columns = np.nonzero((last == colour).all(axis=-1)) // np.int64(factor)
        assert top <= rows.min() <= rows.max() <= bottom
        assert 9 <= columns.min() <= columns.max() <= 49
    # The number stands to the right of the cut, in the same colour.
    assert 28 <= np.flatnonzero((last == CUT).all(axis=-1).any(axis=0))[0] // factor <= 30


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_a_config_without_a_gate_is_told(alpha):
    image, instances, explanation = scene(alpha=alpha)
    picture = draw_boundary_picture(image, instances, ["nucleus"], explanation)
    gate = panels_of(picture, image.shape[:2])[2]
    assert (np.ptp(gate, axis=(0, 1)) > 0).any() == (alpha > 0)


def test_the_gate_opens_where_the_boundary_is():
    image, instances, explanation = scene(alpha=0.5)
    gate = panels_of(draw_boundary_picture(image, instances, ["nucleus"], explanation), image.shape[:2])[2]
    brightness, factor = gate.sum(axis=-1), panel_factor(image.shape[:2])
    row, column = np.unravel_index(brightness.argmax(), brightness.shape)
    assert column // factor == 29
    assert 12 <= row // factor <= 28
    assert np.median(brightness) == brightness.min()


@given(st.integers(1900, 7000), st.sampled_from([0.5, 1, 2]), st.lists(st.integers(0, 59), min_size=1, max_size=4))
@settings(max_examples=20, deadline=None)
def test_no_seed_is_lost_in_a_reduced_picture(width, maps_per_pixel, columns):
    """Seeds of one pixel at the right end of maps of another size than the image."""
    image, instances, explanation = scene((60, width))
    seeds = np.zeros((round(60 * maps_per_pixel), round(width * maps_per_pixel)), np.int32)
    where = {len(seeds[0]) - 1 - 12 * column for column in columns}
    seeds[-1, list(where)] = 1
    shown = explanation.decisions._replace(
        seeds=seeds, **{name: np.zeros_like(seeds) for name in ("basins", "nuclei")}, heights=seeds.astype(np.float32)
    )
    picture = draw_boundary_picture(image, instances, ["nucleus"], explanation._replace(decisions=shown))
    # The last panel has a key of several lines below it, but none above.
    shows_seed = (panels_of(picture, (60, width))[3] == SEED).all(axis=-1).any(axis=0)
    panel_pixels_per_map_pixel = len(shows_seed) / len(seeds[0])
    for column in where:
        distance = np.flatnonzero(shows_seed) + 0.5 - (column + 0.5) * panel_pixels_per_map_pixel
        assert np.abs(distance).min() <= max(1, panel_pixels_per_map_pixel)


@pytest.mark.parametrize("shape", [(80, 100), (90, 60), (70, 900)])
def test_each_panel_has_the_size_of_the_enlarged_image(shape):
    image, instances, explanation = scene(shape)
    picture = draw_boundary_picture(image, instances, ["nucleus"], explanation)
    height, width = (round(side * panel_factor(shape)) for side in shape)
    assert picture.shape[0] > 2 * height
    assert picture.shape[1] >= 2 * width + 3 * GAP
    assert max(height, width) >= 720


@pytest.mark.parametrize(("side", "factor"), [(10, 8), (100, 8), (256, 4), (512, 2), (1000, 1), (1900, 1), (4000, 0.5)])
def test_small_images_are_enlarged_and_large_ones_reduced(side, factor):
    assert panel_factor((side // 2, side)) == factor
    assert max(1, side * panel_factor((side, side))) <= LARGEST_SIDE


def test_a_large_image_makes_a_picture_of_bounded_size():
    image, instances, explanation = scene((120, 6000))
    picture = draw_boundary_picture(image, instances, ["nucleus"], explanation)
    assert picture.shape[1] == 2 * LARGEST_SIDE + 3 * GAP


def test_where_maps_cover_a_part_of_the_image_they_are_drawn_there():
    image, instances, explanation = scene()
    whole = np.pad(instances.labels, ((40, 0), (60, 0)))
    moved = explanation._replace(frame=Frame(40, 120, 60, 160))
    picture = draw_boundary_picture(
        np.pad(image, ((40, 0), (60, 0), (0, 0))), instances._replace(labels=whole), ["nucleus"], moved
    )
    brightness = panels_of(picture, whole.shape)[1].sum(axis=-1)
    factor = panel_factor(whole.shape)
    row, column = np.unravel_index(brightness.argmax(), brightness.shape)
    assert column // factor == 60 + 29
    assert 40 + 12 <= row // factor <= 40 + 28


@given(st.integers(0, 2**32 - 1), st.integers(0, 200), st.sampled_from([0.4, 1, 3]))
@settings(max_examples=25, deadline=None)
def test_numbers_lie_inside_and_never_over_each_other(seed, count, factor):
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(20, 300)), int(rng.integers(20, 300)))
    panel = round(shape[0] * factor), round(shape[1] * factor)
    table = table_of(rng.random((count, 2)) * shape, rng.random(count) * 1.2)
    boxes = place_numbers(table, factor, panel)
    for left, top, right, bottom in boxes.values():
        assert 0 <= left < right <= panel[1]
        assert 0 <= top < bottom <= panel[0]
    for (l0, t0, r0, b0), (l1, t1, r1, b1) in combinations(boxes.values(), 2):
        assert r0 <= l1 or r1 <= l0 or b0 <= t1 or b1 <= t0


def test_of_decisions_at_one_place_the_closest_are_shown():
    ratio = np.array([0.1, 0.59, 0.9, 0.62, 0.3, 0.2])
    table = table_of(np.full((6, 2), 50.0), ratio)
    shown = place_numbers(table, 4, (400, 400))
    assert set(shown) == {1, 3}


def test_what_no_number_decided_has_none():
    table = table_of(np.array([[20.0, 20], [60, 60]]), np.array([0.1, 0.9]))
    around = replace(table, decision=np.full(2, Decision.JOINED_AROUND))
    assert len(place_numbers(table, 4, (400, 400))) == 2
    assert place_numbers(around, 4, (400, 400)) == {}


def test_an_image_of_another_size_is_refused():
    image, instances, explanation = scene()
    with pytest.raises(ValueError, match="differ in size"):
        draw_boundary_picture(image[:9], instances, ["nucleus"], explanation)
