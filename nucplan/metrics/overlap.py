"""The overlap table of two label maps: one pass over the pixels, then every overlap metric reads the table alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nucplan.errors import NucplanError


class Nuclei(NamedTuple):
    """The nuclei of one label map, by ascending id: ``ids (N,)``, ``areas (N,)`` px, ``centroids (N, 2)`` row, col."""

    ids: np.ndarray
    areas: np.ndarray
    centroids: np.ndarray


class Overlap(NamedTuple):
    """Sparse contingency table of a predicted and a reference label map.

    Pair ``k`` says that nucleus ``pair_predicted[k]`` (an index into ``predicted``) and nucleus ``pair_reference[k]``
    share ``intersection[k] > 0`` pixels. Pairs are sorted by reference, then by prediction; all are int64 ``(E,)``.
    """

    predicted: Nuclei
    reference: Nuclei
    pair_predicted: np.ndarray
    pair_reference: np.ndarray
    intersection: np.ndarray

    @property
    def union(self) -> np.ndarray:
        """Pixels in either nucleus of each pair, int64 ``(E,)``."""
        areas = self.predicted.areas[self.pair_predicted] + self.reference.areas[self.pair_reference]
        return areas - self.intersection

    @property
    def iou(self) -> np.ndarray:
        """Intersection over union of each pair, float64 ``(E,)``."""
        return self.intersection / self.union


def overlap_table(predicted: np.ndarray, reference: np.ndarray) -> Overlap:
    """Count which nuclei of two label maps share how many pixels.

    Neighbouring pixels nearly always carry the same two ids, so the maps are cut into horizontal runs first and only
    the runs (some percent of the pixels) are sorted. Ids need be neither contiguous nor small.

    Parameters
    ----------
    predicted, reference
        Label maps ``(H, W)`` of one size, any integer type, 0 is background.

    Raises
    ------
    NucplanError
        If the maps are not two-dimensional integer maps of one size, or an id is negative.
    """
    check_label_maps(predicted, reference)
    width = predicted.shape[1]
    flat_predicted, flat_reference = predicted.ravel(), reference.ravel()
    starts = _run_starts(flat_predicted, flat_reference, width)
    lengths = np.diff(starts, append=flat_predicted.size)
    run_predicted, run_reference = flat_predicted[starts], flat_reference[starts]
    predicted_nuclei, predicted_index = _nuclei(run_predicted, starts, lengths, predicted.shape)
    reference_nuclei, reference_index = _nuclei(run_reference, starts, lengths, predicted.shape)
    both = (run_predicted > 0) & (run_reference > 0)
    count = max(predicted_nuclei.ids.size, 1)
    codes, run_pair = _compact(reference_index[both] * count + predicted_index[both], 4 * predicted.size)
    intersection = np.bincount(run_pair, weights=lengths[both], minlength=codes.size).astype(np.int64)
    return Overlap(predicted_nuclei, reference_nuclei, codes % count, codes // count, intersection)


def check_label_maps(predicted: np.ndarray, reference: np.ndarray) -> None:
    """Refuse what is not a pair of label maps of one size; see ``overlap_table``."""
    for role, labels in (("predicted", predicted), ("reference", reference)):
        if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
            raise NucplanError(
                f"The {role} label map is {labels.dtype} of shape {labels.shape}; pass a two-dimensional integer map."
            )
        if np.issubdtype(labels.dtype, np.signedinteger) and labels.size and labels.min() < 0:
            raise NucplanError(f"The {role} label map has the id {labels.min()}; ids start at 1, 0 is background.")
    if predicted.shape != reference.shape:
        raise NucplanError(
            f"The predicted label map is {_size(predicted)} and the reference {_size(reference)} (height x width); "
            "predict on the very image that was annotated."
        )


def _size(labels: np.ndarray) -> str:
    return f"{labels.shape[0]} x {labels.shape[1]}"


def _run_starts(predicted: np.ndarray, reference: np.ndarray, width: int) -> np.ndarray:
    changed = np.empty(predicted.size, dtype=bool)
    np.not_equal(predicted[1:], predicted[:-1], out=changed[1:])
    changed[1:] |= reference[1:] != reference[:-1]
    # A run never crosses a row end, so that its centroid is known from its start and length.
    changed[::width] = True
    return np.flatnonzero(changed)


def _nuclei(
    run_ids: np.ndarray, starts: np.ndarray, lengths: np.ndarray, shape: tuple[int, int]
) -> tuple[Nuclei, np.ndarray]:
    # Returns the nuclei and, for each run, the index of its nucleus (-1 in background).
    ids, run_index = _compact(run_ids, 4 * shape[0] * shape[1])
    areas = np.bincount(run_index, weights=lengths, minlength=ids.size)
    rows, columns = np.divmod(starts, shape[1])
    row_sums = np.bincount(run_index, weights=lengths * rows, minlength=ids.size)
    column_sums = np.bincount(run_index, weights=lengths * (columns + (lengths - 1) / 2), minlength=ids.size)
    first = int(ids.size > 0 and ids[0] == 0)
    centroids = np.stack([row_sums, column_sums], axis=1)[first:] / areas[first:, None]
    return Nuclei(ids[first:].astype(np.int64), areas[first:].astype(np.int64), centroids), run_index - first


def _compact(values: np.ndarray, table_limit: int) -> tuple[np.ndarray, np.ndarray]:
    # np.unique with its inverse, through a look-up table where the values are small enough for one: five times faster.
    unique = np.unique(values)
    if unique.size == 0 or unique[-1] > table_limit:
        return unique, np.searchsorted(unique, values)
    table = np.empty(int(unique[-1]) + 1, dtype=np.int64)
    table[unique] = np.arange(unique.size)
    return unique, table[values]
