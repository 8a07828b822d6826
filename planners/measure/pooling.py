"""Statistics of images pooled over a dataset: counts of values and running sums, never pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from planners.measure import annotation_faults, measurements, neighbours, outlines
from planners.measure.image_statistics import ImageStatistics
from planners.measure.intensities import IntensityPool

DIAMETER_PERCENTS = (5, 25, 50, 75, 95)
GAP_PERCENTS = (5, 25, 50, 75, 95)
SPECK = 0.02  # of the disc of the median diameter
EXAMPLES = 5
BINS = 32


class NucleusPool:
    """Sizes, gaps, outlines and densities of all nuclei; exact, because areas and squared gaps are whole numbers."""

    def __init__(self) -> None:
        self.areas: Counter[float] = Counter()
        self._cut_areas: Counter[float] = Counter()
        self._gaps: Counter[float] = Counter()
        self._densities: Counter[float] = Counter()
        self._contact = self._outer = self._counted = self.nuclei = 0
        self._band = np.zeros(outlines.WIDEST_BAND, dtype=np.int64)

    def add(self, image: ImageStatistics) -> None:
        self.areas.update(measurements.count(image.areas[~image.cut]))
        self._cut_areas.update(measurements.count(image.areas[image.cut]))
        self._gaps.update(measurements.count(image.gaps[np.isfinite(image.gaps)]))
        self._densities.update(measurements.count(image.densities.round(1)))
        self._contact += image.contact_edges
        self._outer += image.outer_edges
        self._counted += image.counted_pixels
        self._band += image.band_pixels
        self.nuclei += len(image.areas)

    def diameters(self) -> dict[str, float]:
        """Quantiles in px; of the nuclei that the border cuts only where there are no others."""
        return diameter_quantiles(self.areas or self._cut_areas)

    def gap_quantiles(self) -> dict[str, float] | None:
        """Quantiles in px, or None where no nucleus has a neighbour."""
        if not self._gaps:
            return None
        values = measurements.quantiles(self._gaps, GAP_PERCENTS)
        return {str(percent): value for percent, value in zip(GAP_PERCENTS, values, strict=True)}

    def touching_share(self) -> float | None:
        """Share of all nuclei, or None where no nucleus has a neighbour."""
        return neighbours.touching_share(self._gaps, self.nuclei, self.diameters()["50"]) if self._gaps else None

    def contact_length_share(self) -> float:
        return outlines.contact_share(self._contact, self._outer)

    def band_share(self) -> list[float]:
        return (self._band / max(1, self._counted)).tolist()

    def density(self) -> dict[str, float]:
        values = measurements.quantiles(self._densities, (50, 99))
        return dict(zip(("median", "p99"), values, strict=True))

    def histograms(self) -> dict[str, dict[str, list[float]]]:
        """Coarse, for figures; the last bin holds all that lies beyond."""
        areas = self.areas or self._cut_areas
        diameters = Counter({float(measurements.equivalent_diameter(area)): n for area, n in areas.items()})
        made = {"diameter_px": _histogram(diameters), "nuclei_per_256x256": _histogram(self._densities)}
        # Whole bins around whole numbers: most gaps are whole.
        return made | ({"gap_px": _histogram(self._gaps, first=-0.5, whole=True)} if self._gaps else {})


class FaultPool:
    """What is worth a look in the annotation; memory grows by a thumbnail of 1 kB per image."""

    def __init__(self) -> None:
        self._counts = {"pieces": 0, "border_cut": 0}
        self._examples: dict[str, list[str]] = {"pieces": [], "border_cut": []}
        self._smallest: list[tuple[int, str, int]] = []
        self._empty: list[str] = []
        self._thumbnails: dict[str, np.ndarray] = {}

    def add(self, case: str, image: ImageStatistics) -> None:
        for fault, found in (("pieces", image.in_pieces), ("border_cut", image.cut)):
            self._counts[fault] += int(found.sum())
            room = EXAMPLES - len(self._examples[fault])
            self._examples[fault] += [_name(case, number) for number in image.ids[found][:room]]
        whole = np.flatnonzero(~image.cut)
        smallest = whole[np.argsort(image.areas[whole], kind="stable")[:EXAMPLES]]
        candidates = [(int(image.areas[n]), case, int(image.ids[n])) for n in smallest]
        self._smallest = sorted(self._smallest + candidates)[:EXAMPLES]
        if not image.ids.size:
            self._empty.append(case)
        if image.thumbnail is not None:
            self._thumbnails[case] = image.thumbnail

    def summary(self, areas: Mapping[float, int], groups: Mapping[str, str]) -> dict[str, Any]:
        """The faults; ``areas`` are those of the nuclei that the border does not cut, which may well be small."""
        speck = SPECK * measurements.quantiles(areas, (50,))[0] if areas else 0
        specks = [_name(case, number) for area, case, number in self._smallest if area < speck]
        return {
            "pieces": self._counts["pieces"],
            "specks": sum(n for area, n in areas.items() if area < speck),
            "border_cut": self._counts["border_cut"],
            "empty_images": self._empty,
            "near_duplicates": self._near_duplicates(groups),
            "examples": self._examples | {"specks": specks},
        }

    def _near_duplicates(self, groups: Mapping[str, str]) -> list[list[str]]:
        cases = list(self._thumbnails)
        # The flag keeps a group and an ungrouped case of the same name apart.
        own = [(case in groups, groups.get(case, case)) for case in cases]
        pairs = annotation_faults.near_duplicates(list(self._thumbnails.values()), own)
        return [[cases[i], cases[j]] for i, j in pairs]


def pool_intensities(everywhere: IntensityPool, in_nuclei: IntensityPool) -> dict[str, dict[str, dict[str, float]]]:
    """Channel number -> "all" and "nuclei", each with nnU-Net's keys; "all" with those of the positive values too."""
    parts = zip(everywhere.summary(), everywhere.positive_summary(), in_nuclei.summary(), strict=True)
    return {str(c): {"all": whole | positive, "nuclei": nuclei} for c, (whole, positive, nuclei) in enumerate(parts)}


def diameter_quantiles(areas: Mapping[float, int]) -> dict[str, float]:
    """Quantiles "5" to "95" of the equivalent diameter in px, from area in px -> how many."""
    values = measurements.equivalent_diameter(measurements.quantiles(areas, DIAMETER_PERCENTS))
    return {str(percent): float(value) for percent, value in zip(DIAMETER_PERCENTS, values, strict=True)}


def by_name(names: Sequence[str], counts: Iterable[int]) -> dict[str, int]:
    return {name: int(n) for name, n in zip(names, counts, strict=True)}


def _histogram(counts: Mapping[float, int], first: float = 0.0, whole: bool = False) -> dict[str, list[float]]:
    values = np.array(list(counts))
    width = (measurements.quantiles(counts, (99,))[0] - first) / (BINS - 1)
    width = np.ceil(width) if whole else max(width, 1e-3)
    edges = first + width * np.arange(BINS + 1)
    found, _ = np.histogram(np.minimum(values, edges[-1]), edges, weights=list(counts.values()))
    return {"edges": edges.round(3).tolist(), "counts": found.astype(int).tolist()}


def _name(case: str, number: int) -> str:
    return f"{case}: id {number}"
