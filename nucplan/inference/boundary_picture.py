"""A picture of why nuclei were parted: the nuclei, the boundary, the gate, and the decisions on the landscape."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from nucplan.explanation import BoundaryExplanation, Frame, SplitDecisions
from nucplan.inference.overlay import as_rgb, legend, paint_outlines
from nucplan.inference.panels import FONT, FONT_SCALE, key, panel, sheet
from nucplan.inference.split_numbers import place_numbers, write_number
from nucplan.instances import Instances
from nucplan.watershed import Decision

# Panels are enlarged, at most eight times, to about the first of these sides, and reduced to the second.
READABLE_SIDE, LARGEST_SIDE, LARGEST_FACTOR = 1100, 2000, 8
# Room for titles and keys, also where the image is narrow.
NARROWEST_PANEL = 560
CUT, JOINED, SEED, RIM = (255, 140, 0), (90, 200, 255), (60, 220, 90), (95, 95, 125)
# The highest grey of a landscape, darker than what is drawn on it.
WHITE = 190
MAP_COLOURS = cv2.COLORMAP_INFERNO


def draw_boundary_picture(
    image: np.ndarray, instances: Instances, class_names: Sequence[str], explanation: BoundaryExplanation
) -> np.ndarray:
    """Four panels, two by two: the outlines on the image, the boundary probability, the gate, the split decisions.

    Boundary and gate are means over the strides of the heads, weighted as `NucleusMaps.boundary_probability` weights
    them; each stride of the network has its own.

    Parameters
    ----------
    image : (H, W) or (H, W, C)
    instances : Instances
        At the size of the image.
    class_names : sequence of str
        Names of the classes 1..K.
    explanation : BoundaryExplanation
        Its table in pixels of the image.

    Returns
    -------
    (H', W', 3) uint8 RGB; a panel is at most 2000 px a side, whatever the size of the image.
    """
    if image.shape[:2] != instances.labels.shape:
        raise ValueError(f"image {image.shape[:2]} and label map {instances.labels.shape} differ in size")
    factor = panel_factor(image.shape[:2])
    return sheet(
        [
            _nuclei_panel(image, instances, class_names, factor),
            _boundary_panel(explanation, image.shape[:2], factor),
            _gate_panel(explanation, image.shape[:2], factor),
            _splits_panel(explanation, image.shape[:2], factor),
        ],
        columns=2,
    )


def panel_factor(shape: tuple[int, int]) -> float:
    """How much larger than the image a panel is: a whole number from 1, or a fraction below 1."""
    side = max(shape)
    return min(LARGEST_SIDE / side, float(np.clip(round(READABLE_SIDE / side), 1, LARGEST_FACTOR)))


def _nuclei_panel(image: np.ndarray, instances: Instances, class_names: Sequence[str], factor: float) -> np.ndarray:
    size = _size(image.shape[:2], factor)
    channels = image if image.ndim == 2 else image[..., :3]
    picture = as_rgb(cv2.resize(channels, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC))
    labels = cv2.resize(instances.labels, size, interpolation=cv2.INTER_NEAREST)
    paint_outlines(picture, labels, instances.table.class_id)
    counts = np.bincount(instances.table.class_id, minlength=len(class_names) + 1)[1:]
    shown = f"enlarged {factor:g} times" if factor > 1 else f"reduced {1 / factor:.3g} times" if factor < 1 else "1 : 1"
    return panel(f"1  Nuclei that were found ({shown})", picture, legend(class_names, counts, _key_width(picture)))


def _boundary_panel(explanation: BoundaryExplanation, shape: tuple[int, int], factor: float) -> np.ndarray:
    picture = _coloured(_boundary(explanation, shape, factor))
    return panel("2  Boundary probability P, weighted mean of the heads", picture, _bar("0", "1", _key_width(picture)))


def _boundary(explanation: BoundaryExplanation, shape: tuple[int, int], factor: float) -> np.ndarray:
    return _on_panel(explanation.boundary.astype(np.float32), explanation.frame, shape, factor)


def _gate_panel(explanation: BoundaryExplanation, shape: tuple[int, int], factor: float) -> np.ndarray:
    alpha = explanation.gate_strength
    if alpha == 0:
        width, height = _size(shape, factor)
        picture = np.full((height, width, 3), 225, np.uint8)
        return panel("3  Gate: no gate in this config", picture, key([], _key_width(picture)))
    # The mean of the gates 1 + alpha P_s; from 1 to its highest value it has the colours of the boundary.
    picture = _coloured(_boundary(explanation, shape, factor))
    title = f"3  Gate on the features, weighted mean over the strides: 1 + {alpha:.2f} P"
    return panel(title, picture, _bar("1", f"{1 + alpha:.2f}", _key_width(picture)))


def _splits_panel(explanation: BoundaryExplanation, shape: tuple[int, int], factor: float) -> np.ndarray:
    decisions, table = explanation.decisions, explanation.decisions.table
    picture = _landscape_picture(decisions, explanation.frame, shape, factor)
    places = place_numbers(table, factor, picture.shape[:2])
    for row, box in places.items():
        write_number(picture, table, row, box, CUT if table.decision[row] == Decision.KEPT else JOINED)
    kept = int((table.decision == Decision.KEPT).sum())
    entries = [
        ("seed", SEED),
        (f"parted: {kept}", CUT),
        (f"joined: {len(table) - kept}", JOINED),
        (f"height 0 to {_highest(decisions):.3g}: black to grey", None),
        (f"number: height at the pass / lower peak; joined above the neck, {table.neck:g}", None),
        (f"{len(places)} of {len(table)} numbers shown, the closest decisions first", None),
    ]
    if (table.decision == Decision.JOINED_TOO_SMALL).any():
        entries.append(("small: joined for its size", None))
    title = f"4  Split decisions on the landscape of the decoder '{decisions.decoder}'"
    return panel(title, picture, key(entries, _key_width(picture)))


def _landscape_picture(decisions: SplitDecisions, frame: Frame, shape: tuple[int, int], factor: float) -> np.ndarray:
    basins, nuclei = (_on_panel(labels, frame, shape, factor) for labels in (decisions.basins, decisions.nuclei))
    heights = _on_panel(decisions.heights, frame, shape, factor) / _highest(decisions)
    # A power below 1 keeps small nuclei visible beside a large one.
    grey = np.where(basins > 0, WHITE * heights.clip(0, 1) ** 0.7, 0)
    picture = cv2.cvtColor(grey.astype(np.uint8), cv2.COLOR_GRAY2RGB)
    seeds = _on_panel(_widened(decisions.seeds > 0, _extent(frame, factor)), frame, shape, factor)
    picture[_rims(nuclei)] = RIM
    picture[_rims(seeds)] = SEED
    kept, joined = _cuts(basins, nuclei)
    picture[joined], picture[kept] = JOINED, CUT
    return picture


def _widened(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask (h, w) as uint8 of which no pixel falls between those of a picture of this height and width."""
    reach = [math.ceil(of_mask / of_picture) for of_mask, of_picture in zip(mask.shape, size, strict=True)]
    # Up and to the left, where the nearest pixel of the picture is taken.
    return cv2.dilate(mask.view(np.uint8), np.ones(reach, np.uint8), anchor=(0, 0))


def _highest(decisions: SplitDecisions) -> float:
    # Outside of the foreground a landscape means nothing.
    return max(float(decisions.heights.max(initial=0, where=decisions.basins > 0)), 1e-6)


def _rims(labels: np.ndarray) -> np.ndarray:
    inside = (labels > 0).view(np.uint8)
    return (inside > 0) & (cv2.erode(inside, np.ones((3, 3), np.uint8)) == 0)


def _cuts(basins: np.ndarray, nuclei: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels where basins meet, (H, W) bool: of different nuclei, and of one."""
    kept, joined = np.zeros(basins.shape, bool), np.zeros(basins.shape, bool)
    for a, b in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        meet = (basins[a] != basins[b]) & (basins[a] > 0) & (basins[b] > 0)
        same = nuclei[a] == nuclei[b]
        for side in (a, b):
            kept[side] |= meet & ~same
            joined[side] |= meet & same
    return kept, joined


def _on_panel(values: np.ndarray, frame: Frame, shape: tuple[int, int], factor: float) -> np.ndarray:
    """A map (h, w) enlarged or reduced to its place in a panel, 0 around it; ids and masks stay what they are."""
    width, height = _size(shape, factor)
    top, left = round(frame.top * factor), round(frame.left * factor)
    rows, columns = _extent(frame, factor)
    whole = np.zeros((height, width), values.dtype)
    smooth = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    interpolation = smooth if values.dtype == np.float32 else cv2.INTER_NEAREST
    resized = cv2.resize(values, (columns, rows), interpolation=interpolation)
    whole[top : top + rows, left : left + columns] = resized
    return whole


def _extent(frame: Frame, factor: float) -> tuple[int, int]:
    """Height and width of a frame in a panel."""
    top, bottom, left, right = (round(edge * factor) for edge in frame)
    return max(1, bottom - top), max(1, right - left)


def _size(shape: tuple[int, int], factor: float) -> tuple[int, int]:
    """Width and height of a panel."""
    return max(1, round(shape[1] * factor)), max(1, round(shape[0] * factor))


def _key_width(picture: np.ndarray) -> int:
    return max(NARROWEST_PANEL, picture.shape[1])


def _coloured(share: np.ndarray) -> np.ndarray:
    """0 to 1 as colours, (H, W, 3) uint8 RGB."""
    levels = (np.clip(share, 0, 1) * 255).round().astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(levels, MAP_COLOURS), cv2.COLOR_BGR2RGB)


def _bar(lowest: str, highest: str, width: int) -> np.ndarray:
    """A colour bar with what its ends stand for."""
    strip = key([(lowest, None)], width)
    start = 18 + cv2.getTextSize(lowest, FONT, FONT_SCALE, 1)[0][0]
    ramp = np.broadcast_to(np.linspace(0, 1, 256, dtype=np.float32), (14, 256))
    strip[7:21, start : start + 256] = _coloured(ramp)
    strip[:, start + 256 :] = key([(highest, None)], width - start - 256)
    return strip
