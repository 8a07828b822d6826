"""Why touching nuclei were parted or not: the decisions of `nucplan.instances.decode`, with the numbers behind them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from nucplan.decoder_plan import DecoderPlan
from nucplan.instances import NucleusProbabilities, cut, join_basins
from nucplan.watershed import decide, find_contacts, highest_of_each_pair


class Frame(NamedTuple):
    """Where maps lie in an image: the edges, in pixels of the image, of the rectangle that they cover."""

    top: float
    bottom: float
    left: float
    right: float


@dataclass(frozen=True)
class SplitTable:
    """One row per pair of touching basins, in the order in which they were decided: highest pass first.

    Attributes
    ----------
    nuclei : (M, 2) int32
        Ids of the nuclei on both sides; the same where they were joined, 0 where a nucleus was dropped as too small.
    position : (M, 2) float64
        Row and column of the pass in pixels; the centre of the first pixel is (0, 0).
    pass_height, lower_peak : (M,) float32
        On the landscape of the decoder; distances are in pixels of the maps.
    decision : (M,) str
        Values of `nucplan.watershed.Decision`.
    neck : float
        Threshold of the plan: nuclei are joined where the ratio is above it.
    """

    nuclei: np.ndarray
    position: np.ndarray
    pass_height: np.ndarray
    lower_peak: np.ndarray
    decision: np.ndarray
    neck: float

    def __len__(self) -> int:
        return len(self.decision)

    @property
    def ratio(self) -> np.ndarray:
        """(M,) float32: height of the pass as a share of the lower peak, the number that decides."""
        return self.pass_height / self.lower_peak


class SplitDecisions(NamedTuple):
    """What the decoder saw and did.

    Attributes
    ----------
    heights : (H, W) float32
        The landscape of the decoder.
    seeds : (H, W) int32
        Regions above 0.
    basins : (H, W) int32
        The foreground cut at every pass; ids above 0, with gaps.
    nuclei : (H, W) int32
        What the basins were joined to: the label map of `decode`.
    table : SplitTable
    decoder : str
        Its name.
    """

    heights: np.ndarray
    seeds: np.ndarray
    basins: np.ndarray
    nuclei: np.ndarray
    table: SplitTable
    decoder: str


class BoundaryExplanation(NamedTuple):
    """Why the nuclei of an image were parted or not.

    Attributes
    ----------
    boundary : (h, w) float16 or float32
        Weighted mean P of the probabilities P_s of the heads (`NucleusMaps.boundary_probability`), at the scale of the
        maps.
    gate_strength : float
        Alpha of the gates; 0 where there are none. The gate of stride s is 1 + alpha P_s, hence 1 + alpha P is the
        mean of the gates, weighted as P is.
    decisions : SplitDecisions
        Maps at their scale, the table in ids and pixels of the image.
    frame : Frame
        Where the maps lie in the image.
    """

    boundary: np.ndarray
    gate_strength: float
    decisions: SplitDecisions
    frame: Frame


def explain(maps: NucleusProbabilities, plan: DecoderPlan) -> SplitDecisions:
    """Decode maps by the steps of `nucplan.instances.decode`, and keep what it decides by.

    Raises
    ------
    ValueError
        As `decode` does.
    """
    landscape, basins = cut(maps, plan)
    nuclei, _ = join_basins(basins, plan.neck, plan.minimum_pixels)
    passes = highest_of_each_pair(find_contacts(basins))
    areas = np.bincount(basins.labels.ravel(), minlength=len(basins.peaks))
    decided = decide(passes, basins.peaks, areas, plan.neck, plan.minimum_pixels)
    position = np.stack(np.divmod(passes.pixels, nuclei.shape[1]), axis=-1).mean(axis=0)
    table = SplitTable(
        nuclei.ravel()[passes.pixels.T], position, passes.height, decided.lower_peak, decided.decision, plan.neck
    )
    return SplitDecisions(landscape.heights, landscape.seeds, basins.labels, nuclei, table, plan.name)


def in_image(decisions: SplitDecisions, labels: np.ndarray, frame: Frame) -> SplitDecisions:
    """The decisions with their table in ids and pixels of an image, which may have another size than the maps.

    Parameters
    ----------
    decisions : SplitDecisions
    labels : (H, W) int32
        The same nuclei in the image, ids 1..N.
    frame : Frame
        Where the maps lie in the image.
    """
    origin = np.array([frame.top, frame.left])
    extent = np.array([frame.bottom, frame.right]) - origin
    position = origin + (decisions.table.position + 0.5) * extent / decisions.nuclei.shape - 0.5
    final = _final_ids(decisions.nuclei, labels, frame)
    table = replace(decisions.table, nuclei=final[decisions.table.nuclei], position=position)
    return decisions._replace(table=table)


def _final_ids(nuclei: np.ndarray, labels: np.ndarray, frame: Frame) -> np.ndarray:
    """For each id in the maps its id in the image, (N + 1,) int32; 0 for what has no pixel there."""
    rows, map_rows = _pixels_in_common(labels.shape[0], nuclei.shape[0], frame.top, frame.bottom)
    columns, map_columns = _pixels_in_common(labels.shape[1], nuclei.shape[1], frame.left, frame.right)
    here, there = labels[np.ix_(rows, columns)], nuclei[np.ix_(map_rows, map_columns)]
    both = (here > 0) & (there > 0)
    pairs, votes = np.unique(here[both].astype(np.int64) << 32 | there[both], return_counts=True)
    # Of several values for one place the last one stays: that with most pixels.
    pairs = pairs[np.argsort(votes, kind="stable")]
    source = np.zeros(int(labels.max(initial=0)) + 1, np.int64)
    source[pairs >> 32] = pairs & 0xFFFFFFFF
    final = np.zeros(int(nuclei.max(initial=0)) + 1, np.int32)
    final[source] = np.arange(len(source))
    final[0] = 0
    return final


def _pixels_in_common(length: int, map_length: int, start: float, stop: float) -> tuple[np.ndarray, np.ndarray]:
    """Along one axis: the pixels of an image that maps from ``start`` to ``stop`` cover, and theirs at these places."""
    centres = np.arange(length) + 0.5
    pixels = np.flatnonzero((centres >= start) & (centres < stop))
    places = (centres[pixels] - start) * map_length / (stop - start)
    return pixels, np.minimum(places.astype(np.intp), map_length - 1)
