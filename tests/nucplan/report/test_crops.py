"""Crops show the densest field of the truth, and of each nucleus what became of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nucplan.metrics.outcomes import Outcome
from nucplan.metrics.overlap import overlap_table
from nucplan.metrics.panoptic import is_match
from nucplan.palette import class_colour
from nucplan.report.crops import FIELD_SIDES, Field, compare_field, densest_field, differing_field, field_side

WHOLE = Field(slice(0, 112), slice(0, 112), 0)


def touching_nuclei(labels: np.ndarray) -> dict[int, tuple[int, int]]:
    """Rounded centres of nuclei that share a 3 x 3 window with another one, pixel by pixel."""
    found = set()
    for row, column in np.ndindex(labels.shape):
        window = labels[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        ids = set(window[window > 0].tolist())
        found |= ids if len(ids) > 1 else set()
    return {i: tuple(np.argwhere(labels == i).mean(axis=0).round().astype(int)) for i in found}


@settings(max_examples=60, deadline=None)
@given(arrays(np.int32, (9, 11), elements=st.sampled_from([0, 0, 0, 1, 2, 3, 4])), st.integers(2, 12))
def test_no_field_has_more_touching_nuclei_than_the_densest(labels, side):
    centres = set(touching_nuclei(labels).values())
    field = densest_field(labels, side)
    height, width = min(side, 9), min(side, 11)

    def count(top: int, left: int) -> int:
        return sum(top <= row < top + height and left <= column < left + width for row, column in centres)

    assert (field.rows.stop - field.rows.start, field.columns.stop - field.columns.start) == (height, width)
    best = max(count(top, left) for top in range(9 - height + 1) for left in range(11 - width + 1))
    assert field.touching == count(field.rows.start, field.columns.start) == best


def matched(predicted: np.ndarray, reference: np.ndarray) -> set[int]:
    overlap = overlap_table(predicted, reference)
    return set(overlap.reference.ids[overlap.pair_reference[is_match(overlap)]].tolist())


label_maps = arrays(np.int32, (9, 11), elements=st.sampled_from([0, 0, 0, 1, 2, 3, 4]))


@settings(max_examples=60, deadline=None)
@given(label_maps, st.lists(label_maps, min_size=1, max_size=3), st.integers(2, 12))
def test_no_field_has_more_touching_nuclei_on_which_configs_differ(labels, predictions, side):
    found = [matched(predicted, labels) for predicted in predictions]
    touching = touching_nuclei(labels)
    differing = [touching[i] for i in touching if any(i in one for one in found) and not all(i in one for one in found)]
    field, count = differing_field(labels, predictions, side)
    height, width = min(side, 9), min(side, 11)

    def inside(top: int, left: int) -> int:
        return sum(top <= row < top + height and left <= column < left + width for row, column in differing)

    tops, lefts = range(9 - height + 1), range(11 - width + 1)
    assert count == inside(field.rows.start, field.columns.start)
    # Nuclei with one centre are one point of the search.
    if len(set(differing)) == len(differing):
        assert count == max(inside(top, left) for top in tops for left in lefts)
    if not differing:
        assert field == densest_field(labels, side)


def test_merges_and_splits_bear_a_letter_beside_their_colour():
    image, reference, predicted = scene()
    lettered = compare_field(image, reference, {"only": predicted}, WHOLE)[:, 12 + 2 * 460 :]
    for rows, columns in (((40, 60), (5, 45)), ((70, 100), (5, 25)), ((70, 100), (25, 45))):
        part = lettered[12 + 32 :][4 * rows[0] : 4 * rows[1], 4 * columns[0] : 4 * columns[1]]
        assert (part == 255).all(axis=2).any()
    matched_part = lettered[12 + 32 :][4 * 5 : 4 * 25, 4 * 5 : 4 * 25]
    assert not (matched_part == 255).all(axis=2).any()


def test_the_side_of_a_field_follows_the_nuclei_within_limits():
    assert field_side(13) == 104
    assert (field_side(2), field_side(200)) == FIELD_SIDES


def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A grey image and label maps in which nucleus 1 is matched, 2 and 3 are merged, 4 split, 5 missed."""
    reference = np.zeros((112, 112), np.int32)
    predicted = np.zeros_like(reference)
    reference[5:25, 5:25] = predicted[5:25, 5:25] = 1
    reference[40:60, 5:25], reference[40:60, 25:45], predicted[40:60, 5:45] = 2, 3, 7
    reference[70:100, 5:45], predicted[70:100, 5:25], predicted[70:100, 25:45] = 4, 8, 9
    reference[70:100, 60:90] = 5
    predicted[5:25, 60:90] = 12
    return np.full((112, 112, 3), 128, np.uint8), reference, predicted


def is_painted(picture: np.ndarray, outcome: int) -> np.ndarray:
    return (picture == class_colour(outcome)).all(axis=2)


def test_every_outcome_is_drawn_in_its_colour_inside_of_its_nucleus():
    image, reference, predicted = scene()
    picture = compare_field(image, reference, {"only": predicted}, WHOLE)
    # The third panel: 12 px of margin, panels of 448 px with 12 px between them, a title of 32 px.
    panel = picture[12 + 32 : 12 + 32 + 448, 12 + 2 * 460 :][:, :448]
    for outcome, labels, ids in (
        (Outcome.MATCHED, predicted, [1]),
        (Outcome.MERGED, predicted, [7]),
        (Outcome.SPLIT, predicted, [8, 9]),
        (Outcome.UNMATCHED, predicted, [12]),
        (Outcome.MISSED, reference, [5]),
    ):
        painted = is_painted(panel, outcome)
        inside = np.kron(np.isin(labels, ids), np.ones((4, 4), bool))
        assert painted.any(), outcome
        assert not (painted & ~inside).any(), outcome
    truth = picture[12 + 32 : 12 + 32 + 448, 12 + 460 :][:, :448]
    assert is_painted(truth, 1)[4 * 70 : 4 * 100, 4 * 60 : 4 * 90].any()
    plain = picture[12 + 32 : 12 + 32 + 448, 12 : 12 + 448]
    assert (plain == 128).all()


def test_a_nucleus_that_the_field_cuts_is_judged_on_the_whole_image():
    image, reference, predicted = scene()
    # Of the merge only what lies on nucleus 2 is seen: cut there, it would match.
    field = Field(slice(38, 62), slice(0, 24), 0)
    picture = compare_field(image, reference, {"only": predicted}, field)
    third = picture[12 + 32 : 12 + 32 + 448, 2 * picture.shape[1] // 3 :]
    assert is_painted(third, Outcome.MERGED).any()
    assert not is_painted(third, Outcome.MATCHED).any()


@pytest.mark.parametrize("count", [1, 2, 5])
def test_panels_stand_in_rows_of_three(count):
    image, reference, predicted = scene()
    picture = compare_field(image, reference, {f"config {k}": predicted for k in range(count)}, WHOLE)
    rows = -(-(count + 2) // 3)
    assert picture.dtype == np.uint8
    assert picture.shape[1] == 3 * 460 + 12
    assert rows * 460 < picture.shape[0] < rows * 600


def test_a_grey_16_bit_image_and_a_long_title_are_shown():
    _, reference, predicted = scene()
    image = np.linspace(0, 4000, 112 * 112).reshape(112, 112).astype(np.uint16)
    title = "a config with a name that is much longer than its panel is wide, and longer still"
    picture = compare_field(image, reference, {title: predicted}, WHOLE)
    # The title ends within its panel: the margin to its right is white.
    assert (picture[: 12 + 32, 12 + 3 * 448 + 2 * 12 :] == 255).all()
    assert (picture[12 : 12 + 32, 12 + 2 * 460 :] < 255).any()
