"""Dense fields enlarged, side by side: the image, the truth, and what several configs made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from nucplan.inference.overlay import as_rgb, legend, paint_outlines
from nucplan.inference.panels import FONT, FONT_SCALE, key, panel, sheet
from nucplan.metrics.boundary import CONTACT_RADIUS_PX, contact_pixels, filterable
from nucplan.metrics.image import without_ignored
from nucplan.metrics.outcomes import Outcome, missed, predicted_outcomes
from nucplan.metrics.overlap import Nuclei, overlap_table
from nucplan.metrics.panoptic import is_match

# A field holds some eight nuclei a side, within limits that a panel shows well.
FIELD_DIAMETERS = 8
FIELD_SIDES = 96, 128
PANEL_SIDE = 448
COLUMNS = 3
LINE_WIDTH = 3
LETTERS = {Outcome.SPLIT: "S", Outcome.MERGED: "M"}
NAMES = [outcome.name.lower() + (f" ({LETTERS[outcome]})" if outcome in LETTERS else "") for outcome in Outcome]


class Field(NamedTuple):
    """A part of an image, in pixels, and how many nuclei with their centre in it touch another one."""

    rows: slice
    columns: slice
    touching: int


def field_side(diameter: float) -> int:
    """Side of a field, px, for nuclei of this median diameter in px."""
    return int(np.clip(round(FIELD_DIAMETERS * diameter), *FIELD_SIDES))


def densest_field(reference: np.ndarray, side: int) -> Field:
    """The field of ``side`` px with the most touching nuclei; predictions play no part in the choice.

    Parameters
    ----------
    reference : (H, W) int label map
        Nuclei touch where they are neighbours or leave a gap of one pixel. A smaller image is taken whole.
    """
    nuclei = overlap_table(reference, reference).reference
    touching = _touching(reference, nuclei)
    return _field_with_most(touching.astype(np.float64), touching, reference.shape, nuclei, side)


def differing_field(reference: np.ndarray, predictions: Sequence[np.ndarray], side: int) -> tuple[Field, int]:
    """The field of ``side`` px with the most touching nuclei on which the predictions differ, and how many these are.

    They differ on a nucleus that some match (IoU above one half) and others do not. Where no touching nucleus is such
    a one, the densest field.

    Parameters
    ----------
    reference : (H, W) int label map
    predictions : sequence of (H, W) int label maps
    """
    nuclei = overlap_table(reference, reference).reference
    touching = _touching(reference, nuclei)
    found = np.array([_matched(predicted, reference) for predicted in predictions])
    differs = touching & found.any(axis=0) & ~found.all(axis=0)
    # The density decides among fields that differ equally.
    weights = differs * (touching.sum() + 1.0) + touching
    field = _field_with_most(weights, touching, reference.shape, nuclei, side)
    rows, columns = nuclei.centroids.round().astype(int).T
    inside = (field.rows.start <= rows) & (rows < field.rows.stop)
    inside &= (field.columns.start <= columns) & (columns < field.columns.stop)
    return field, int((differs & inside).sum())


def _touching(reference: np.ndarray, nuclei: Nuclei) -> np.ndarray:
    """Which nuclei touch another one, (N,) bool."""
    contact = contact_pixels(filterable(reference, nuclei.ids), CONTACT_RADIUS_PX)
    # A gap of one pixel is itself the contact: the nuclei are those in its window.
    window = np.ones((2 * CONTACT_RADIUS_PX + 1,) * 2, np.uint8)
    return np.isin(nuclei.ids, reference[cv2.dilate(contact.view(np.uint8), window) > 0])


def _matched(predicted: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Which nuclei of the reference have a match, (N,) bool."""
    overlap = overlap_table(predicted, reference)
    matched = np.zeros(overlap.reference.ids.size, bool)
    matched[overlap.pair_reference[is_match(overlap)]] = True
    return matched


def _field_with_most(
    weights: np.ndarray, touching: np.ndarray, shape: tuple[int, ...], nuclei: Nuclei, side: int
) -> Field:
    """The field whose nuclei, by their centres, weigh most, (N,) float64."""
    centres = tuple(nuclei.centroids.round().astype(int).T)
    height, width = np.minimum(side, shape)
    inside = _window_sums(weights, centres, shape, height, width)
    top, left = np.unravel_index(inside.argmax(), inside.shape)
    count = _window_sums(touching.astype(np.float64), centres, shape, height, width)[top, left]
    return Field(slice(int(top), int(top + height)), slice(int(left), int(left + width)), round(count))


def _window_sums(weights: np.ndarray, centres: tuple, shape: tuple[int, ...], height: int, width: int) -> np.ndarray:
    """Sum of the weights in every window of (height, width), by its top left corner."""
    points = np.zeros(shape)
    np.maximum.at(points, centres, weights)
    sums = cv2.integral(points)
    return sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]


def compare_field(
    image: np.ndarray,
    reference: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    field: Field,
    ignore: np.ndarray | None = None,
) -> np.ndarray:
    """Draw one field: the image, the truth and each prediction, with titles above and outcomes below.

    What became of a nucleus (`nucplan.metrics.outcomes`) is judged on the whole image, so the edge of the field cuts
    nothing; counted below a panel is what it shows.

    Parameters
    ----------
    image : (H, W) or (H, W, C)
    reference : (H, W) int label map
    predictions : mapping of title to (H, W) int label map
    field : Field
    ignore : (H, W) bool, optional
        Where nothing is known: what the metrics leave out there is not drawn.

    Returns
    -------
    (H', W', 3) uint8 RGB
    """
    if ignore is not None:
        predictions = {name: without_ignored(labels, reference, ignore)[0] for name, labels in predictions.items()}
        reference = np.where(ignore, 0, reference)
    tissue = _enlarged(as_rgb(image)[field.rows, field.columns], cv2.INTER_CUBIC)
    panels = [panel("image", tissue, key([], tissue.shape[1])), _truth_panel(tissue, reference, field)]
    panels += [_prediction_panel(title, tissue, labels, reference, field) for title, labels in predictions.items()]
    return sheet(panels, COLUMNS)


def _truth_panel(tissue: np.ndarray, reference: np.ndarray, field: Field) -> np.ndarray:
    nuclei = overlap_table(reference, reference).reference
    annotated = np.ones(nuclei.ids.size, np.int64)
    painted = tissue.copy()
    count = _paint(painted, reference, nuclei.ids, annotated, field)
    return panel("truth", painted, legend(["annotated"], count[1:2], painted.shape[1]))


def _prediction_panel(
    title: str, tissue: np.ndarray, predicted: np.ndarray, reference: np.ndarray, field: Field
) -> np.ndarray:
    overlap = overlap_table(predicted, reference)
    painted = tissue.copy()
    lost = overlap.reference.ids[missed(overlap)]
    counts = _paint(painted, reference, lost, np.full(lost.size, int(Outcome.MISSED)), field)
    outcomes = predicted_outcomes(overlap)
    counts += _paint(painted, predicted, overlap.predicted.ids, outcomes, field)
    _write_letters(painted, predicted, overlap.predicted, outcomes, field)
    return panel(title, painted, legend(NAMES, counts[1:], painted.shape[1]))


def _paint(picture: np.ndarray, labels: np.ndarray, ids: np.ndarray, outcomes: np.ndarray, field: Field) -> np.ndarray:
    """Outline the nuclei ``ids`` of a field, in place; how many of each outcome it shows, (6,)."""
    # Nuclei that are not to be drawn become background.
    number = np.zeros(int(labels.max()) + 1, np.int32)
    number[ids] = np.arange(1, ids.size + 1)
    shown = number[labels[field.rows, field.columns]]
    paint_outlines(picture, _enlarged(shown, cv2.INTER_NEAREST), outcomes, LINE_WIDTH)
    visible = np.unique(shown[shown > 0]) - 1
    return np.bincount(outcomes[visible], minlength=len(Outcome) + 1)


def _write_letters(
    picture: np.ndarray, predicted: np.ndarray, nuclei: Nuclei, outcomes: np.ndarray, field: Field
) -> None:
    """Write, in place, a letter on each merge and split of a field: colour is not the only sign of them."""
    shown = predicted[field.rows, field.columns]
    factor = picture.shape[0] / shown.shape[0]
    for outcome, letter in LETTERS.items():
        for nucleus in nuclei.ids[outcomes == outcome]:
            pixels = np.argwhere(shown == nucleus)
            if not pixels.size:
                continue
            row, column = (factor * (pixels.mean(axis=0) + 0.5)).round().astype(int)
            place = int(column) - 6, int(row) + 7
            # White on black is read on light and on dark tissue.
            cv2.putText(picture, letter, place, FONT, FONT_SCALE, (0, 0, 0), 4, cv2.LINE_AA)
            cv2.putText(picture, letter, place, FONT, FONT_SCALE, (255, 255, 255), 1, cv2.LINE_AA)


def _enlarged(field: np.ndarray, interpolation: int) -> np.ndarray:
    factor = max(1, round(PANEL_SIDE / max(field.shape[:2])))
    return cv2.resize(field, None, fx=factor, fy=factor, interpolation=interpolation)
