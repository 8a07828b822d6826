"""All that the fingerprint needs to know of one image, small enough to keep for every image of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from planners.measure import annotation_faults, measurements, neighbours, outlines
from planners.measure.intensities import Intensities, measure_intensities
from planners.measure.markers import MarkerCounts, measure_markers


@dataclass(frozen=True)
class ImageStatistics:
    """Measurements of one image with N nuclei of K classes; nuclei are in the order of their ids.

    Attributes
    ----------
    size, size_nonzero : (height, width) in px, of the image and of its crop to what is not black
    ids : (N,) int64, as in the file
    areas : (N,) int64 in px
    cut : (N,) bool, whether the image border cuts the nucleus
    gaps : (N,) float64 in px to the nearest neighbour, infinite where there is none (`neighbours.gaps`)
    in_pieces : (N,) bool, whether the nucleus has several pieces
    contact_edges, outer_edges : pixel edges between two nuclei, and between a nucleus and background
    counted_pixels : pixels that are not ignored
    band_pixels : (8,) int64, of these in the boundary map of half-width 1 to 8 px
    densities : (windows,) float64, nuclei per 256 x 256 px
    class_instances : (K,) int64
    class_pixels : (K + 1,) int64, background first
    everywhere, in_nuclei : intensities of all pixels, and of nuclear ones
    thumbnail : (1024,) int8, or None for an image without contrast
    markers : of multiplex images; None for grey and RGB
    """

    size: tuple[int, int]
    size_nonzero: tuple[int, int]
    ids: np.ndarray
    areas: np.ndarray
    cut: np.ndarray
    gaps: np.ndarray
    in_pieces: np.ndarray
    contact_edges: int
    outer_edges: int
    counted_pixels: int
    band_pixels: np.ndarray
    densities: np.ndarray
    class_instances: np.ndarray
    class_pixels: np.ndarray
    everywhere: Intensities
    in_nuclei: Intensities
    thumbnail: np.ndarray | None
    markers: MarkerCounts | None = None


def measure_image(
    image: np.ndarray,
    instances: np.ndarray,
    class_map: np.ndarray,
    classes: int,
    ignore_label: int | None,
    samples: int,
    seed: int = 0,
    units: Sequence[float] | None = None,
) -> ImageStatistics:
    """Measure one image.

    Parameters
    ----------
    image : (H, W) or (H, W, C), uint8 or uint16
    instances : (H, W) int32
        Ids may have gaps; 0 is background.
    class_map : (H, W) uint8
        0 is background, 1 to ``classes``, or ``ignore_label``.
    samples
        Pixels that are kept for percentiles, of the whole image and of the nuclei.
    seed
        Decides which.
    units
        Intensity of one count of each marker of multiplex images; None for grey and RGB.
    """
    labels = measurements.compact(instances)
    pixels = image.reshape(labels.size, -1)
    random = np.random.default_rng(seed)
    counted = np.ones(labels.shape, dtype=bool) if ignore_label is None else class_map != ignore_label
    contact, outer = outlines.outline_edges(labels)
    instance_classes = measurements.instance_classes(labels, class_map)
    return ImageStatistics(
        size=labels.shape,
        size_nonzero=measurements.nonzero_size(image),
        ids=measurements.instance_ids(instances),
        areas=measurements.areas(labels),
        cut=measurements.cut_by_border(labels),
        gaps=neighbours.gaps(labels),
        in_pieces=annotation_faults.in_pieces(labels),
        contact_edges=contact,
        outer_edges=outer,
        counted_pixels=int(np.count_nonzero(counted)),
        band_pixels=outlines.band_pixels(labels, counted),
        densities=measurements.window_densities(labels),
        class_instances=np.bincount(instance_classes, minlength=classes + 1)[1 : classes + 1],
        class_pixels=np.bincount(class_map.ravel(), minlength=classes + 1)[: classes + 1],
        everywhere=measure_intensities(pixels, samples, random),
        in_nuclei=measure_intensities(pixels[np.flatnonzero(labels)], samples, random),
        thumbnail=annotation_faults.thumbnail(image),
        markers=None if units is None else measure_markers(np.atleast_3d(image), units),
    )
