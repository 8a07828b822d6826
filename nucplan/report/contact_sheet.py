"""A contact sheet of a raw dataset: some cases with their outlines and classes, for a person to see that all is right.

Which cases it shows, and which part of a large one, follows from the data alone: the same dataset gives the same
picture.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import zip_longest
from textwrap import wrap

import cv2
import numpy as np

from nucplan.datasets.against_record import CaseNuclei
from nucplan.datasets.raw import RawDataset, RawInfo
from nucplan.inference.overlay import DIMMED, PLANE_COLOURS, as_rgb, paint_outlines, with_nuclei
from nucplan.inference.panels import key, panel, sheet
from nucplan.palette import class_colour

COLUMNS = 4
PANEL_SIDE = 460
# An image is shown whole where that makes a nucleus of median size at least so wide, px, else a part of it enlarged.
SMALLEST_NUCLEUS, ENLARGED_NUCLEUS = 14, 20
# Characters that a panel is wide enough for.
LONGEST_NAME, LONGEST_LINE, LONGEST_GROUP = 40, 48, 24
# The share of the pictures that the test part gets, where there is one.
TEST_SHARE = 4
STRIPE_PERIOD, STRIPE_WIDTH = 12, 2


def choose_cases(cases: Sequence[CaseNuclei], groups: dict[str, str], count: int) -> list[CaseNuclei]:
    """``count`` cases: from each group in turn the densest, last the sparsest that has nuclei; both parts.

    The test part gets a quarter of them. Cases of one density come by name.
    """
    chosen = []
    test = [case for case in cases if case.part == "Ts"]
    train = [case for case in cases if case.part == "Tr"]
    of_test = min(len(test), max(count // TEST_SHARE, count - len(train), int(count > 1)))
    for part, places in ((train, count - of_test), (test, of_test)):
        order = _group_by_group(sorted(part, key=_density_order), groups)
        with_nuclei = [case for case in part if case.area]
        picked = order[:places]
        if with_nuclei and places > 1 and len(order) > places:
            sparsest = max(with_nuclei, key=_density_order)
            picked = [case for case in order if case is not sparsest][: places - 1] + [sparsest]
        chosen += picked
    return chosen


def _density_order(case: CaseNuclei) -> tuple[float, str]:
    return -len(case.area) / (case.shape[0] * case.shape[1]), case.name


def _group_by_group(cases: Sequence[CaseNuclei], groups: dict[str, str]) -> list[CaseNuclei]:
    """The first of each group, then the second of each, and so on."""
    members: dict[str, list[CaseNuclei]] = {}
    for case in cases:
        members.setdefault(groups.get(case.name, case.name), []).append(case)
    return [case for turn in zip_longest(*members.values()) for case in turn if case is not None]


def draw_contact_sheet(raw: RawDataset, cases: Sequence[CaseNuclei], count: int) -> np.ndarray:
    """Draw up to ``count`` of the cases of a dataset, which has at least one.

    Returns
    -------
    (H, W, 3) uint8 RGB
    """
    areas = np.concatenate([list(case.area.values()) for case in cases]) if cases else np.zeros(0)
    # As wide as a disc of the median area.
    diameter = 2 * float(np.sqrt(np.median(areas) / np.pi)) if areas.size else float(ENLARGED_NUCLEUS)
    chosen = choose_cases(cases, raw.info.groups, count)
    panels = [_case_panel(raw, case, diameter) for case in chosen]
    pictures = sheet(panels, min(COLUMNS, len(panels)))
    return np.concatenate([_head(raw, cases, pictures.shape[1]), pictures])


def _head(raw: RawDataset, cases: Sequence[CaseNuclei], width: int) -> np.ndarray:
    """What the dataset is, and the colour and number of nuclei of each class."""
    info = raw.info
    counts = Counter(k for case in cases for k in case.class_of.values())
    licence = f"licence: {info.licence or 'not stated by the source'}"
    mpp = f"microns per pixel: {f'{info.mpp:g}' if info.mpp else 'not known'}"
    lines = [(line, None) for line in (mpp, *wrap(licence, LONGEST_LINE * width // PANEL_SIDE))]
    classes = [(f"{name}: {counts[k]:,}", class_colour(k)) for k, name in enumerate(info.class_names, start=1)]
    striped = [("striped: to be ignored", None)] if info.ignore_label is not None else []
    title = f"{raw.dataset.folder_name}: {len(cases):,} images, {counts.total():,} nuclei"
    below = np.concatenate([key(lines, width), key([*classes, *striped], width), _planes_key(info, width)])
    return panel(title, below, np.zeros((0, width, 3), np.uint8))


def _planes_key(info: RawInfo, width: int) -> np.ndarray:
    """Which planes of multiplex images are shown, and in which colour; nothing for grey and RGB."""
    if not info.markers:
        return np.zeros((0, width, 3), np.uint8)
    planes = zip((info.markers[i] for i in _shown_planes(info)), PLANE_COLOURS.items(), strict=False)
    shown = [(f"{name} ({colour})", rgb) for name, (colour, rgb) in planes]
    hidden = len(info.markers) - len(shown)
    return key([("planes:", None), *shown, *([(f"and {hidden} more, not shown", None)] if hidden else [])], width)


def _shown_planes(info: RawInfo) -> list[int]:
    """The three markers that most images have, of the nuclei among them; among equals the first."""
    lacking = Counter(marker for markers in info.absent.values() for marker in markers)
    ranked = sorted(range(len(info.markers)), key=lambda i: lacking[info.markers[i]])
    return with_nuclei(ranked, info.markers)


def _case_panel(raw: RawDataset, case: CaseNuclei, diameter: float) -> np.ndarray:
    """``diameter`` is that of the median nucleus of the dataset, px."""
    instances = raw.instances(case.name, case.part)
    whole = PANEL_SIDE * diameter >= SMALLEST_NUCLEUS * max(case.shape)
    side = max(case.shape) if whole else max(1, round(PANEL_SIDE * diameter / ENLARGED_NUCLEUS))
    rows, columns = densest_window(instances, side)
    factor = PANEL_SIDE / max(rows.stop - rows.start, columns.stop - columns.start)
    picture = _resized(_shown(raw, case)[rows, columns], factor)
    ignored = raw.ignored(case.name, case.part)
    if ignored is not None:
        _paint_stripes(picture, _resized(ignored[rows, columns].astype(np.uint8), factor, exact=True) > 0)
    ids, labels = np.unique(np.append(instances[rows, columns], 0), return_inverse=True)
    labels = labels[:-1].reshape(instances[rows, columns].shape).astype(np.int32)
    classes = np.array([case.class_of[i] for i in ids[1:].tolist()], np.int64)
    paint_outlines(picture, _resized(labels, factor, exact=True), classes, 2)
    return panel(_shortened(case.name, LONGEST_NAME), picture, key(_facts(raw, case, rows, columns), PANEL_SIDE))


def _shown(raw: RawDataset, case: CaseNuclei) -> np.ndarray:
    """The image of a case as (H, W, 3) uint8."""
    image, coloured = raw.image(case.name, case.part), not raw.info.markers
    if coloured and image.ndim == 3:
        return as_rgb(image)
    if raw.info.markers and image.ndim == 3:
        image = image[..., _shown_planes(raw.info)]
    return (as_rgb(image) * DIMMED).astype(np.uint8)


def _facts(raw: RawDataset, case: CaseNuclei, rows: slice, columns: slice) -> list[tuple[str, None]]:
    height, width = rows.stop - rows.start, columns.stop - columns.start
    # What tells long names apart may be in their middle, which the title leaves out.
    facts = wrap(case.name, LONGEST_LINE) if len(case.name) > LONGEST_NAME else []
    facts += ["test" if case.part == "Ts" else "train", f"{len(case.area):,} nuclei"]
    if (group := raw.info.groups.get(case.name, case.name)) != case.name:
        facts.append(f"group {_shortened(group, LONGEST_GROUP)}")
    if (height, width) != tuple(case.shape):
        facts.append(f"rows {rows.start}-{rows.stop}, columns {columns.start}-{columns.stop}")
    return [(fact, None) for fact in facts]


def densest_window(instances: np.ndarray, side: int) -> tuple[slice, slice]:
    """The window of ``side`` px with the most pixels of nuclei in a label map (H, W), cut to the image."""
    height, width = (min(side, length) for length in instances.shape)
    sums = cv2.integral((instances > 0).astype(np.uint8))
    inside = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    top, left = (int(i) for i in np.unravel_index(inside.argmax(), inside.shape))
    return slice(top, top + height), slice(left, left + width)


def _resized(pixels: np.ndarray, factor: float, exact: bool = False) -> np.ndarray:
    size = tuple(max(1, round(length * factor)) for length in pixels.shape[1::-1])
    smooth = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return cv2.resize(pixels, size, interpolation=cv2.INTER_NEAREST_EXACT if exact else smooth)


def _paint_stripes(picture: np.ndarray, ignored: np.ndarray) -> None:
    """Stripe, in place, what is to be ignored: white beside black is seen on tissue and on dark fields."""
    rows, columns = np.nonzero(ignored)
    place = (rows + columns) % STRIPE_PERIOD
    for start, shade in ((0, 255), (STRIPE_WIDTH, 0)):
        inside = (place >= start) & (place < start + STRIPE_WIDTH)
        picture[rows[inside], columns[inside]] = shade


def _shortened(text: str, longest: int) -> str:
    """The beginning and the end of a long text."""
    half = (longest - 3) // 2
    return text if len(text) <= longest else f"{text[:half]}...{text[-half:]}"
