"""Nuclei as instances: what they are (types), how probability maps become them (decode), and their table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
from skimage.segmentation import relabel_sequential

from nucplan.decoder_plan import DECODERS as DECODERS
from nucplan.decoder_plan import DecoderPlan, needs_boundary
from nucplan.landscapes import Landscape, landscape
from nucplan.shapes import Shapes, measure, union
from nucplan.watershed import Basins, find_basins, join_shallow

# Rows that are read at once where a full-size temporary would be of 8 bytes per pixel.
ROWS_PER_PASS = 1024


class NucleusProbabilities(NamedTuple):
    """Network output of one image, as probabilities.

    Attributes
    ----------
    semantic : (K + 1, H, W) float32 or float16, in memory or a memmap
        Softmax over background (0) and the classes 1..K.
    boundary : (H, W) float32 or float16, optional
        Probability of an outline, classes aside (`nucplan.targets.boundary_map`).
    """

    semantic: np.ndarray
    boundary: np.ndarray | None = None


@dataclass(frozen=True)
class NucleusTable:
    """One row per nucleus, in the order of the ids.

    Attributes
    ----------
    id : (N,) int32
        1..N, the values in the label map.
    class_id : (N,) int32
        1..K.
    class_probabilities : (N, K) float32
        Rows sum to 1; column k - 1 is class k.
    foreground_probability : (N,) float32
        Mean over the nucleus of the probability of not being background.
    centroid : (N, 2) float64
        Row and column in pixels; the centre of the first pixel is (0, 0).
    area : (N,) int64
        In pixels.
    bounding_box : (N, 4) int32
        row0, col0, row1, col1 in pixels, half open.
    confidence : (N,) float32, optional
        How far the networks of an ensemble agree on a nucleus (`nucplan.inference.agreement`); None for one network.
    """

    id: np.ndarray
    class_id: np.ndarray
    class_probabilities: np.ndarray
    foreground_probability: np.ndarray
    centroid: np.ndarray
    area: np.ndarray
    bounding_box: np.ndarray
    confidence: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.id)

    @property
    def probability(self) -> np.ndarray:
        """(N,) float32: mean over the nucleus of the probability of its class, background included in the rivals."""
        return self.class_probabilities.max(axis=1, initial=0) * self.foreground_probability


class Instances(NamedTuple):
    """The nuclei of one image: ``labels`` (H, W) int32 with ids 1..N without gaps and 0 background, and their table."""

    labels: np.ndarray
    table: NucleusTable


def decode(maps: NucleusProbabilities, plan: DecoderPlan) -> Instances:
    """Turn probability maps into nuclei.

    Foreground by threshold, small holes filled, touching nuclei parted on the landscape of the plan's decoder
    (`nucplan.landscapes`, `nucplan.watershed`), instances below the minimum area dropped. The class of a nucleus is
    the largest of its mean class probabilities. Ids run from 1 to N in the order of the centroids, by row, then by
    column.

    Parameters
    ----------
    maps : NucleusProbabilities
        ``semantic`` of shape (K + 1, H, W); read in bands, never copied as a whole.
    plan : DecoderPlan

    Raises
    ------
    ValueError
        If ``semantic`` is not (K + 1, H, W) with K >= 1, or the decoder needs a boundary map and there is none of
        shape (H, W).
    """
    return nuclei_of_basins(cut(maps, plan)[1], plan.neck, plan.minimum_pixels, maps.semantic)


def cut(maps: NucleusProbabilities, plan: DecoderPlan) -> tuple[Landscape, Basins]:
    """The first half of `decode`: the landscape of the plan's decoder, and the basins between its passes."""
    semantic, boundary = maps
    if semantic.ndim != 3 or len(semantic) < 2:
        raise ValueError(f"semantic has shape {semantic.shape}, not (K + 1, H, W) with at least two channels")
    if needs_boundary(plan.name) and np.shape(boundary) != semantic.shape[1:]:
        raise ValueError(f"the decoder '{plan.name}' needs a boundary map of shape {semantic.shape[1:]}")
    foreground = np.less(semantic[0], np.float32(1 - plan.foreground_threshold), order="C")
    fill_holes(foreground, plan.maximum_hole * plan.disc_area)
    found = landscape(foreground, semantic[0], boundary, plan)
    return found, find_basins(foreground, *found)


def instances_from_labels(
    labels: np.ndarray, classes: Mapping[int, int] | np.ndarray | None = None, class_count: int = 1
) -> Instances:
    """Tabulate a label map; gaps between the ids are closed, their order is kept. Foreground is certain.

    Parameters
    ----------
    labels : (H, W) integer
        Ids, 0 background.
    classes : mapping from id to class, or (H, W) integer class map, or None
        Classes are 1..K. With a map, the class probabilities are the shares of the nucleus' pixels; None makes every
        nucleus class 1.
    class_count : int
        K.

    Raises
    ------
    ValueError
        If an id has no class in 1..K.
    """
    labels, _, original = relabel_sequential(np.ascontiguousarray(labels))
    labels = labels.astype(np.int32, copy=False)
    shape = measure(labels)
    if isinstance(classes, np.ndarray):
        return Instances(labels, _table(shape, _class_shares(labels, classes, len(shape.area), class_count)))
    ids = np.asarray(original[np.arange(1, len(shape.area) + 1)])
    class_id = np.array([1 if classes is None else classes.get(int(i), 0) for i in ids], np.int64)
    if not np.isin(class_id, np.arange(1, class_count + 1)).all():
        raise ValueError(f"a nucleus has no class from 1 to {class_count}")
    return Instances(labels, _table(shape, np.eye(class_count, dtype=np.float32)[class_id - 1]))


def relabelled(instances: Instances, labels: np.ndarray) -> Instances:
    """The same nuclei in another label map, for example at another scale: measured anew, with their probabilities.

    Parameters
    ----------
    instances : Instances
    labels : (H, W) int32
        Ids of ``instances``; those that do not occur are dropped, and the gaps closed.
    """
    ids = np.unique(labels)
    ids = ids[ids > 0]
    labels = relabel_sequential(labels)[0].astype(np.int32, copy=False)
    table = instances.table
    measured = _table(measure(labels), table.class_probabilities[ids - 1], table.foreground_probability[ids - 1])
    confidence = None if table.confidence is None else table.confidence[ids - 1]
    return Instances(labels, replace(measured, confidence=confidence))


def class_ids(labels: np.ndarray, semantic: np.ndarray) -> np.ndarray:
    """Class (1..K) that `decode` gives to each nucleus of a label map, (N,) int64; ids run from 1 to N."""
    area = np.bincount(labels.ravel())[1:]
    return _mean_probabilities(labels, semantic, area)[0].argmax(axis=1) + 1


def fill_holes(foreground: np.ndarray, maximum_area: float) -> None:
    """Fill, in place, background regions of at most ``maximum_area`` pixels that do not touch the image border.

    ``foreground`` is (H, W) bool; background is 8-connected, as the foreground is 4-connected.
    """
    _, regions, boxes, _ = cv2.connectedComponentsWithStats((~foreground).view(np.uint8), connectivity=8)
    left, top, width, height, area = boxes.T
    inside = (left > 0) & (top > 0) & (left + width < foreground.shape[1]) & (top + height < foreground.shape[0])
    small = inside & (area <= maximum_area)
    # Region 0 is the foreground itself.
    small[0] = False
    if small.any():
        np.logical_or(foreground, small[regions], out=foreground)


def nuclei_of_basins(
    basins: Basins, neck: float, minimum_area: float, semantic: np.ndarray, foreground: np.ndarray | None = None
) -> Instances:
    """The second half of `decode`: basins joined by `join_basins`, with their probabilities.

    Parameters
    ----------
    basins : Basins
    neck, minimum_area : float
        See `join_basins`.
    semantic : (K + 1, H, W)
        Probabilities of background and the classes; read in bands.
    foreground : (H, W), optional
        Probability of a nucleus where a network gives it apart; default is that of all classes together.
    """
    labels, shape = join_basins(basins, neck, minimum_area)
    classes, certain = _mean_probabilities(labels, semantic, shape.area)
    if foreground is not None:
        certain = _means(labels, foreground[None], shape.area)[:, 0]
    return Instances(labels, _table(shape, classes, certain))


def join_basins(basins: Basins, neck: float, minimum_area: float) -> tuple[np.ndarray, Shapes]:
    """Join basins into nuclei, drop what is too small, number the rest by centroid.

    ``minimum_area`` is in pixels; see `nucplan.watershed.decide`. Returns the label map, (H, W) int32, and what it
    says of its nuclei.
    """
    parts = measure(basins.labels)
    group = join_shallow(basins, np.append(0, parts.area), neck, minimum_area)
    shape = union(parts, group[1:] - 1)
    kept = np.flatnonzero(shape.area >= max(1.0, minimum_area))
    order = kept[np.lexsort((shape.centroid[kept, 1], shape.centroid[kept, 0]))]
    new_id = np.zeros(len(group), np.int32)
    new_id[order + 1] = np.arange(1, len(order) + 1)
    return np.take(new_id[group], basins.labels), Shapes(*(column[order] for column in shape))


def _table(
    shape: Shapes, class_probabilities: np.ndarray, foreground_probability: np.ndarray | None = None
) -> NucleusTable:
    if foreground_probability is None:
        foreground_probability = np.ones(len(shape.area), np.float32)
    return NucleusTable(
        id=np.arange(1, len(shape.area) + 1, dtype=np.int32),
        class_id=(class_probabilities.argmax(axis=1) + 1).astype(np.int32),
        class_probabilities=class_probabilities.astype(np.float32, copy=False),
        foreground_probability=foreground_probability.astype(np.float32, copy=False),
        centroid=shape.centroid,
        area=shape.area,
        bounding_box=shape.bounding_box,
    )


def _mean_probabilities(labels: np.ndarray, semantic: np.ndarray, area: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of each class over each nucleus, rows scaled to sum 1: (N, K) float32, and of all classes together: (N,)."""
    means = _means(labels, semantic[1:], area)
    # Half precision may add up to a little more than 1.
    return _rows_to_one(means), np.minimum(means.sum(axis=1), 1)


def _means(labels: np.ndarray, maps: np.ndarray, area: np.ndarray) -> np.ndarray:
    """Mean of each of the maps (M, H, W) over each nucleus: (N, M) float64."""
    sums = np.zeros((len(maps), len(area) + 1))
    for top in range(0, labels.shape[0], ROWS_PER_PASS):
        rows = slice(top, top + ROWS_PER_PASS)
        pixels = np.flatnonzero(labels[rows])
        ids = labels[rows].ravel()[pixels].astype(np.intp)
        for sums_of_map, values in zip(sums, maps[:, rows], strict=True):
            sums_of_map += np.bincount(ids, values.ravel()[pixels], minlength=len(area) + 1)
    return sums[:, 1:].T / area[:, None]


def _class_shares(labels: np.ndarray, class_map: np.ndarray, count: int, class_count: int) -> np.ndarray:
    """Share of each class among the classified pixels of each nucleus: (N, K) float32."""
    pixels = np.flatnonzero((labels > 0) & (class_map > 0) & (class_map <= class_count))
    pairs = labels.ravel()[pixels].astype(np.int64) * class_count + class_map.ravel()[pixels] - 1
    votes = np.bincount(pairs, minlength=(count + 1) * class_count).reshape(count + 1, class_count)[1:]
    if not votes.any(axis=1).all():
        raise ValueError(f"nucleus {votes.any(axis=1).argmin() + 1} has no pixel of a class from 1 to {class_count}")
    return _rows_to_one(votes.astype(np.float64))


def _rows_to_one(weights: np.ndarray) -> np.ndarray:
    # A nucleus without any class evidence gets equal shares.
    totals = weights.sum(axis=1, keepdims=True)
    shares = np.full_like(weights, 1 / max(1, weights.shape[1]))
    return np.divide(weights, totals, out=shares, where=totals > 0).astype(np.float32)
