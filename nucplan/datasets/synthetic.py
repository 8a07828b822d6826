"""Synthetic H&E: three kinds of nuclei that touch and overlap, in tissue that is not easy to threshold.

The kinds differ in size, shape and chromatin, hardly in colour: `lymphocyte` (small, round, coarse dense clumps),
`fibroblast` (a long, bent spindle with fine grain) and `epithelial` (large and vesicular, with a dark membrane and
nucleoli). Drawn at the scale of about 0.25 microns per pixel.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np

from nucplan.datasets.synthetic_shapes import EPITHELIAL, LYMPHOCYTE, Placed, place_nuclei
from nucplan.datasets.synthetic_stain import Stain, develop, draw_stain, smooth_noise, stroma, vary
from nucplan.files import write_json
from nucplan.images import write_image, write_label_map

CLASS_NAMES = ("lymphocyte", "fibroblast", "epithelial")


def make_image(
    rng: np.random.Generator, size: int = 256, stain: Stain | None = None
) -> tuple[np.ndarray, np.ndarray, dict[int, int]]:
    """Draw one image.

    Parameters
    ----------
    rng : source of all randomness
    size : height and width in pixels
    stain : the slide's look; drawn anew when None

    Returns
    -------
    image : (size, size, 3) uint8 RGB
    instances : (size, size) int32, ids 1..N; where two nuclei overlap, the upper one
    classes : instance id to class, 1 to 3 as in ``CLASS_NAMES``
    """
    stain = vary(stain or draw_stain(rng), rng)
    angle = rng.uniform(0, np.pi)
    placed, instances = place_nuclei(rng, size, angle)
    hematoxylin, eosin = stroma(rng, size, angle, stain)
    _draw_cytoplasm(hematoxylin, eosin, placed, rng)
    clumps, grain = smooth_noise(rng, size, 3.2), smooth_noise(rng, size, 1.7)
    for one in placed:
        _draw_nucleus(hematoxylin[one.window], one, clumps[one.window], grain[one.window], rng)
    classes = {i: one.nucleus.class_id for i, one in enumerate(placed, start=1)}
    return develop(hematoxylin, eosin, stain, rng), instances, classes


def write_synthetic(
    folder: str | os.PathLike,
    images: int,
    size: int = 256,
    seed: int = 0,
    images_per_slide: int = 4,
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> None:
    """Write a dataset in the layout that ``nucplan_convert folder`` reads: images, labels, classes, dataset.json.

    Consecutive images share a slide (``groups``) and its stain. Image n depends on ``seed`` and n alone.
    """
    folder = Path(folder)
    groups = {}
    for index in track(range(images)):
        stem, slide = f"image_{index:03d}", index // images_per_slide
        stain = draw_stain(np.random.default_rng([seed, 0, slide]))
        image, instances, classes = make_image(np.random.default_rng([seed, 1, index]), size, stain)
        write_image(folder / "images" / f"{stem}.png", image)
        write_label_map(folder / "labels" / f"{stem}.tif", instances)
        write_json(folder / "classes" / f"{stem}.json", classes)
        groups[stem] = f"slide_{slide:02d}"
    description = {"name": "synthetic", "mpp": 0.25, "licence": "CC0-1.0", "source": "drawn by nucplan"}
    classes = {str(i): name for i, name in enumerate(CLASS_NAMES, start=1)}
    write_json(folder / "dataset.json", description | {"classes": classes, "groups": groups})


def _draw_cytoplasm(hematoxylin: np.ndarray, eosin: np.ndarray, placed: list[Placed], rng: np.random.Generator) -> None:
    """Pink to purple cytoplasm around epithelial nuclei; it takes the contrast from their outlines."""
    cells = np.zeros_like(eosin)
    for one in placed:
        nucleus = one.nucleus
        if nucleus.class_id == EPITHELIAL:
            axes = tuple(round(1.7 * axis) for axis in nucleus.semi_axes)
            centre = (round(nucleus.col), round(nucleus.row))
            cv2.ellipse(cells, centre, axes, np.degrees(nucleus.angle), 0, 360, 1.0, -1, cv2.LINE_AA)
    cells = cv2.GaussianBlur(cells, (0, 0), 3.0)
    eosin += rng.uniform(0.05, 0.3) * cells
    hematoxylin += rng.uniform(0.05, 0.25) * cells


def _draw_nucleus(
    hematoxylin: np.ndarray, one: Placed, clumps: np.ndarray, grain: np.ndarray, rng: np.random.Generator
) -> None:
    """Add one nucleus to its window of the hematoxylin map, in place.

    What lies below shows through, so an overlap is darker; a thin pale gap often follows the outline.
    """
    chromatin = _chromatin(one, clumps, grain, rng) * _density(rng)
    cover = np.clip(one.distance + 0.5, 0, 1)
    halo = np.clip(1 - np.abs(one.distance + 1.2) / 1.4, 0, 1) * rng.choice((0.25, 0.6))
    blur = rng.uniform(0.2, 0.7) if rng.random() < 0.8 else rng.uniform(1.0, 2.0)
    drawn = cv2.GaussianBlur(cover * chromatin, (0, 0), blur)
    hematoxylin *= (1 - 0.5 * cover) * (1 - halo)
    hematoxylin += drawn


def _density(rng: np.random.Generator) -> float:
    """Strength of the stain in one nucleus; some nuclei are ghosts that hardly differ from their surroundings."""
    return float(np.exp(rng.normal(0, 0.16)) * (rng.uniform(0.45, 0.65) if rng.random() < 0.1 else 1.0))


def _chromatin(one: Placed, clumps: np.ndarray, grain: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Hematoxylin inside the nucleus, in units of stain: what tells the kinds apart."""
    if one.nucleus.class_id == LYMPHOCYTE:
        return np.clip(1.1 + 0.35 * clumps, 0.5, 1.9)
    if one.nucleus.class_id != EPITHELIAL:
        return np.clip(0.95 + 0.12 * grain, 0.5, 1.5)
    membrane = np.exp(-np.square((one.distance - 1.0) / 1.1))
    patches = 0.4 * np.clip(clumps - 0.6, 0, 1.5)
    return np.clip(0.62 + 0.5 * membrane + patches + 0.9 * _nucleoli(one, rng), 0.3, 1.7)


def _nucleoli(one: Placed, rng: np.random.Generator) -> np.ndarray:
    """One to three dark round spots, away from the membrane."""
    spots = np.zeros_like(one.distance)
    rows, cols = np.nonzero(one.distance > 3)
    for index in rng.integers(0, len(rows), rng.integers(1, 4)) if len(rows) else ():
        y = np.arange(spots.shape[0], dtype=np.float32)[:, None] - rows[index]
        x = np.arange(spots.shape[1], dtype=np.float32)[None, :] - cols[index]
        spots = np.maximum(spots, np.exp(-(y * y + x * x) / np.float32(2 * rng.uniform(1.0, 1.7) ** 2)))
    return spots
