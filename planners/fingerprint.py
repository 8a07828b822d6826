"""The fingerprint: everything the rules know about a dataset, measured once, one image at a time."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from nucplan.datasets.raw import RawDataset
from nucplan.errors import NucplanError
from nucplan.files import read_json, write_json
from nucplan.progress import Progress, silent
from planners import measurements

PERCENTS = (5, 25, 50, 75, 95)
SAMPLED_VALUES = 4_000_000  # intensities kept for percentiles, over all images and channels


@dataclass(frozen=True)
class Fingerprint:
    """Statistics of the training part of a dataset.

    Attributes
    ----------
    raw_signature : changes when a file of the training part does (see `raw_signature`)
    pixels, nuclei, border_cut : totals over all images; border-cut nuclei are in ``nuclei``, not in the diameters
    mpp : microns per pixel, or None
    diameter_px, diameter_um : quantile "5" to "95" of the equivalent diameter; um is None without ``mpp``
    nuclei_per_256x256 : "median" and "p99" over windows of about 256 x 256 px
    touching_share : share of nuclei with another one within max(1 px, 0.25 um) of background
    class_instances : class name -> nuclei
    class_pixels : class name, background included -> share of the pixels that are not ignored
    image_size : "median", "min" and "max" of (height, width) in px
    intensity : channel number -> {"all": ..., "nuclei": ...}, with the keys of nnU-Net's fingerprint
    cases : case -> the same, of one image
    """

    raw_signature: str
    pixels: int
    nuclei: int
    border_cut: int
    mpp: float | None
    diameter_px: dict[str, float]
    diameter_um: dict[str, float] | None
    nuclei_per_256x256: dict[str, float]
    touching_share: float
    class_instances: dict[str, int]
    class_pixels: dict[str, float]
    image_size: dict[str, list[int]]
    intensity: dict[str, dict[str, dict[str, float]]]
    cases: dict[str, dict[str, Any]]

    def diameter(self, percent: int) -> float:
        """A quantile (5, 25, 50, 75 or 95 %) of the equivalent diameter in pixels of the raw image."""
        return self.diameter_px[str(percent)]


class _Pool:
    """What is gathered over the images: counts of integers and running sums, never pixels."""

    def __init__(self, channels: int, samples_per_image: int) -> None:
        self.areas: Counter[float] = Counter()
        self.cut_areas: Counter[float] = Counter()
        self.densities: Counter[float] = Counter()
        self.touching = 0
        self.everywhere = measurements.IntensityStatistics(channels, samples_per_image)
        self.in_nuclei = measurements.IntensityStatistics(channels, samples_per_image)
        self.cases: dict[str, dict[str, Any]] = {}

    def add(self, case: str, image: np.ndarray, labels: np.ndarray, class_map: np.ndarray, raw: RawDataset) -> None:
        labels = measurements.compact(labels)
        areas, cut = measurements.areas(labels), measurements.cut_by_border(labels)
        near = measurements.touching(labels, _touching_gap(raw.info.mpp))
        densities = measurements.window_densities(labels)
        self.areas += measurements.count(areas[~cut])
        self.cut_areas += measurements.count(areas[cut])
        self.densities += measurements.count(densities.round(1))
        self.touching += int(near.sum())
        self._add_intensities(image, labels)
        self.cases[case] = {
            "size": list(labels.shape),
            "size_nonzero": _nonzero_size(image),
            "nuclei": len(areas),
            "border_cut": int(cut.sum()),
            "diameter_px": _diameters(measurements.count(areas[~cut])) if not cut.all() else None,
            "nuclei_per_256x256": float(np.median(densities)),
            "touching_share": float(near.mean()) if near.size else None,
            "class_instances": _per_class(measurements.instance_classes(labels, class_map), raw, first=1),
            "class_pixels": _per_class(class_map, raw, first=0),
        }

    def _add_intensities(self, image: np.ndarray, labels: np.ndarray) -> None:
        random = np.random.default_rng(len(self.cases))
        pixels = image.reshape(labels.size, -1)
        self.everywhere.add(pixels, random)
        self.in_nuclei.add(pixels[labels.ravel() > 0], random)


def measure(raw: RawDataset, progress: Progress = silent) -> Fingerprint:
    """Measure the training part; memory holds one image at a time.

    Raises
    ------
    NucplanError
        If there is no training image, or no nucleus in any of them.
    """
    cases, channels = raw.cases(), raw.info.channel_names
    if not cases:
        raise NucplanError(f"{raw.dataset.part('images')} holds no image; put the training images there.")
    pool = _Pool(len(channels), max(1, SAMPLED_VALUES // (len(cases) * len(channels))))
    for case in progress(cases, "Fingerprint"):
        pool.add(case, raw.image(case), raw.instances(case), raw.classes_map(case), raw)
    if not pool.areas and not pool.cut_areas:
        raise NucplanError(f"{raw.dataset.part('instances')} holds no nucleus in any image; nothing can be planned.")
    return _summarise(pool, raw)


def _summarise(pool: _Pool, raw: RawDataset) -> Fingerprint:
    records = pool.cases.values()
    nuclei = sum(record["nuclei"] for record in records)
    diameters = _diameters(pool.areas or pool.cut_areas)
    mpp = raw.info.mpp
    sizes = np.array([record["size"] for record in records])
    class_pixels = _add_up(record["class_pixels"] for record in records)
    density = measurements.quantiles(pool.densities, (50, 99))
    everywhere, in_nuclei = pool.everywhere.summary(), pool.in_nuclei.summary()
    return Fingerprint(
        raw_signature=raw_signature(raw),
        pixels=int(sizes.prod(axis=1).sum()),
        nuclei=nuclei,
        border_cut=sum(record["border_cut"] for record in records),
        mpp=mpp,
        diameter_px=diameters,
        diameter_um={percent: value * mpp for percent, value in diameters.items()} if mpp else None,
        nuclei_per_256x256=dict(zip(("median", "p99"), density, strict=True)),
        touching_share=pool.touching / nuclei,
        class_instances=dict(_add_up(record["class_instances"] for record in records)),
        class_pixels={name: n / max(1, class_pixels.total()) for name, n in class_pixels.items()},
        image_size={
            "median": np.median(sizes, axis=0).astype(int).tolist(),
            "min": sizes.min(axis=0).tolist(),
            "max": sizes.max(axis=0).tolist(),
        },
        intensity={str(c): {"all": everywhere[c], "nuclei": in_nuclei[c]} for c in range(len(everywhere))},
        cases=pool.cases,
    )


def load_or_measure(raw: RawDataset, progress: Progress = silent) -> Fingerprint:
    """The stored fingerprint where the raw files are still those it was measured on, else a new one, stored.

    The file in nnU-Net's own format, which its trainers copy, is written beside it.
    """
    path = raw.dataset.fingerprint
    if path.is_file():
        content = read_json(path)
        known = {field.name for field in fields(Fingerprint)}
        if set(content) == known and content["raw_signature"] == raw_signature(raw):
            return Fingerprint(**content)
    fingerprint = measure(raw, progress)
    write_json(raw.dataset.preprocessed / "dataset_fingerprint.json", nnunet_fingerprint(fingerprint))
    write_json(path, asdict(fingerprint))
    return fingerprint


def nnunet_fingerprint(fingerprint: Fingerprint) -> dict[str, Any]:
    """The content of nnU-Net's ``dataset_fingerprint.json``; a 2-D image is one slice of thickness 999 there."""
    records = list(fingerprint.cases.values())
    kept = [np.prod(record["size_nonzero"]) / np.prod(record["size"]) for record in records]
    return {
        "spacings": [[999.0, 1.0, 1.0]] * len(records),
        "shapes_after_crop": [[1, *record["size_nonzero"]] for record in records],
        "foreground_intensity_properties_per_channel": {
            channel: values["nuclei"] for channel, values in fingerprint.intensity.items()
        },
        "median_relative_size_after_cropping": float(np.median(kept)),
    }


def raw_signature(raw: RawDataset) -> str:
    """A hash of name, size and modification time of ``dataset.json`` and every file of the training part."""
    folders = [raw.dataset.part(kind) for kind in ("images", "labels", "instances")]
    files = [raw.dataset.dataset_json, *(path for folder in folders for path in folder.iterdir())]
    stats = [(str(p.relative_to(raw.dataset.raw)), p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(files)]
    return hashlib.sha256(json.dumps(stats).encode()).hexdigest()


def _touching_gap(mpp: float | None) -> float:
    return max(1.0, 0.25 / mpp) if mpp else 1.0


def _diameters(areas: Counter[float]) -> dict[str, float]:
    values = measurements.equivalent_diameter(measurements.quantiles(areas, PERCENTS))
    return {str(percent): float(value) for percent, value in zip(PERCENTS, values, strict=True)}


def _per_class(classes: np.ndarray, raw: RawDataset, first: int) -> dict[str, int]:
    # The ignore label is the highest one, so it lies behind the named classes and falls away.
    names = ("background", *raw.info.class_names)[first:]
    counts = np.bincount(classes.ravel(), minlength=first + len(names))[first:]
    return {name: int(n) for name, n in zip(names, counts, strict=False)}


def _add_up(counts: Iterable[dict[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return total


def _nonzero_size(image: np.ndarray) -> list[int]:
    # What nnU-Net's crop to the nonzero box leaves: rows and columns from the first to the last that is not black.
    occupied = image.reshape(*image.shape[:2], -1).any(axis=-1)
    if not occupied.any():
        return list(occupied.shape)
    lines = [np.flatnonzero(occupied.any(axis=axis)) for axis in (1, 0)]
    return [int(line[-1] - line[0]) + 1 for line in lines]
