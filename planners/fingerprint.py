"""The fingerprint: everything the rules know about a dataset, measured once, one image at a time."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from nucplan.datasets.raw import RawDataset, RawInfo
from nucplan.errors import NucplanError
from nucplan.files import file_hash, read_json, write_json
from nucplan.origin import json_hash
from nucplan.progress import Progress, silent
from planners.measure import outlines, pooling
from planners.measure.image_statistics import ImageStatistics, measure_image
from planners.measure.intensities import IntensityPool
from planners.measure.look_ahead import in_order
from planners.measure.markers import MarkerPool

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
    gap_px : quantile "5" to "95" of the background between a nucleus and its nearest neighbour, 0 where they touch;
        None where no nucleus has a neighbour
    touching_share : share of nuclei whose gap is at most about 0.06 median diameters
        (`planners.measure.neighbours`); None where no nucleus has a neighbour
    contact_length_share : share of the length of nuclear outlines that is shared with another nucleus
    band_share : entry h - 1 is the share of pixels, ignored ones left out, in the boundary map of kernel 2 h + 1
    nuclei_per_256x256 : "median" and "p99" over windows of about 256 x 256 px
    class_instances : class name -> nuclei
    class_pixels : class name, background included -> share of the pixels that are not ignored
    image_size : "median", "min" and "max" of (height, width) in px
    intensity : channel number -> {"all": ..., "nuclei": ...}, with the keys of nnU-Net's fingerprint; "all" also has
        "zero_fraction" and, of the positive values, "q99_positive" and "q999_positive"
    faults : "pieces" (nuclei in several pieces), "specks" (under 2 % of the disc of the median diameter, and whole)
        and "border_cut" as counts; "empty_images"; "near_duplicates" (pairs of cases that look the same, of different
        groups, at most 50); "examples" (fault -> up to five nuclei)
    histograms : "diameter_px", "gap_px" (where there are gaps) and "nuclei_per_256x256", each {"edges", "counts"}
    cases : case -> the same, of one image; a share of touching nuclei there is by the median diameter of the image
    markers : of multiplex images, marker -> "cases" (how many have it) and what `MarkerPool.summary` gives, in the
        order of the channels; None for grey and RGB. Images that lack a marker do not count, here and in ``intensity``
    """

    raw_signature: str
    pixels: int
    nuclei: int
    border_cut: int
    mpp: float | None
    diameter_px: dict[str, float]
    diameter_um: dict[str, float] | None
    gap_px: dict[str, float] | None
    touching_share: float | None
    contact_length_share: float
    band_share: list[float]
    nuclei_per_256x256: dict[str, float]
    class_instances: dict[str, int]
    class_pixels: dict[str, float]
    image_size: dict[str, list[int]]
    intensity: dict[str, dict[str, dict[str, float]]]
    faults: dict[str, Any]
    histograms: dict[str, dict[str, list[float]]]
    cases: dict[str, dict[str, Any]]
    markers: dict[str, dict[str, Any]] | None = None

    def diameter(self, percent: int) -> float:
        """A quantile (5, 25, 50, 75 or 95 %) of the equivalent diameter in pixels of the raw image."""
        return self.diameter_px[str(percent)]

    def band(self, half_width_px: float) -> float:
        """Share of the pixels that are at most so far from an outline, between and beyond the measured half-widths."""
        shares = [0.0, *self.band_share]
        beyond = max(0.0, half_width_px - outlines.WIDEST_BAND) * (shares[-1] - shares[-2])
        return min(1.0, float(np.interp(half_width_px, range(len(shares)), shares)) + beyond)


def measure(raw: RawDataset, progress: Progress = silent) -> Fingerprint:
    """Measure the training part; memory holds a few images at a time.

    Raises
    ------
    NucplanError
        If there is no training image, or no nucleus in any of them.
    """
    return pool(measure_images(raw, progress), raw)


def measure_images(raw: RawDataset, progress: Progress = silent) -> Iterator[tuple[str, ImageStatistics]]:
    """Cases of the training part with their measurements, in order; files are read ahead by threads.

    Raises
    ------
    NucplanError
        If there is no training image.
    """
    cases, info = raw.cases(), raw.info
    if not cases:
        raise NucplanError(f"{raw.dataset.part('images')} holds no image; put the training images there.")
    samples = max(1, SAMPLED_VALUES // (len(cases) * len(info.channel_names)))

    def measure_case(number: int) -> ImageStatistics:
        case = cases[number]
        maps = raw.image(case), raw.instances(case), raw.classes_map(case)
        return measure_image(*maps, len(info.class_names), info.ignore_label, samples, seed=number, units=info.units)

    return zip(progress(cases, "Fingerprint"), in_order(measure_case, range(len(cases))), strict=True)


def pool(images: Iterable[tuple[str, ImageStatistics]], raw: RawDataset) -> Fingerprint:
    """The fingerprint of these cases of a dataset: of all, or of some that were drawn.

    Raises
    ------
    NucplanError
        If no image has a nucleus.
    """
    info = raw.info
    channels = len(info.channel_names)
    nuclei, faults, cases = pooling.NucleusPool(), pooling.FaultPool(), {}
    everywhere, in_nuclei = IntensityPool(channels), IntensityPool(channels)
    markers = None if info.units is None else MarkerPool(info.units)
    for case, image in images:
        nuclei.add(image)
        faults.add(case, image)
        present = None if image.markers is None else image.markers.present
        everywhere.add(image.everywhere, present)
        in_nuclei.add(image.in_nuclei, present)
        if markers is not None:
            markers.add(image.markers)
        cases[case] = _record(image, info)
    if not nuclei.nuclei:
        raise NucplanError(f"{raw.dataset.part('instances')} holds no nucleus in any image; nothing can be planned.")
    diameters, mpp = nuclei.diameters(), info.mpp
    class_pixels = _add_up(record["class_pixels"] for record in cases.values())
    sizes = np.array([record["size"] for record in cases.values()])
    return Fingerprint(
        raw_signature=raw_signature(raw),
        pixels=int(sizes.prod(axis=1).sum()),
        nuclei=nuclei.nuclei,
        border_cut=sum(record["border_cut"] for record in cases.values()),
        mpp=mpp,
        diameter_px=diameters,
        diameter_um={percent: value * mpp for percent, value in diameters.items()} if mpp else None,
        gap_px=nuclei.gap_quantiles(),
        touching_share=nuclei.touching_share(),
        contact_length_share=nuclei.contact_length_share(),
        band_share=nuclei.band_share(),
        nuclei_per_256x256=nuclei.density(),
        class_instances=dict(_add_up(record["class_instances"] for record in cases.values())),
        class_pixels={name: n / max(1, class_pixels.total()) for name, n in class_pixels.items()},
        image_size={
            "median": np.median(sizes, axis=0).astype(int).tolist(),
            "min": sizes.min(axis=0).tolist(),
            "max": sizes.max(axis=0).tolist(),
        },
        intensity=pooling.pool_intensities(everywhere, in_nuclei),
        faults=faults.summary(nuclei.areas, info.groups),
        histograms=nuclei.histograms(),
        cases=cases,
        markers=None if markers is None else _markers(markers, info, cases),
    )


def _markers(pool: MarkerPool, info: RawInfo, cases: Iterable[str]) -> dict[str, dict[str, Any]]:
    absent = Counter(marker for case in cases for marker in info.absent.get(case, ()))
    total = len(list(cases))
    return {
        name: {"cases": total - absent[name], **found} for name, found in zip(info.panel, pool.summary(), strict=True)
    }


def _record(image: ImageStatistics, info: RawInfo) -> dict[str, Any]:
    nuclei = pooling.NucleusPool()
    nuclei.add(image)
    gaps = image.gaps[np.isfinite(image.gaps)]
    return {
        "size": list(image.size),
        "size_nonzero": list(image.size_nonzero),
        "nuclei": len(image.areas),
        "border_cut": int(image.cut.sum()),
        "pieces": int(image.in_pieces.sum()),
        "diameter_px": pooling.diameter_quantiles(nuclei.areas) if nuclei.areas else None,
        "gap_px": float(np.median(gaps)) if gaps.size else None,
        "nuclei_per_256x256": float(np.median(image.densities)),
        "touching_share": nuclei.touching_share(),
        "contact_length_share": nuclei.contact_length_share(),
        "class_instances": pooling.by_name(info.class_names, image.class_instances),
        "class_pixels": pooling.by_name(("background", *info.class_names), image.class_pixels),
    }


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
    stats = [(str(p.relative_to(raw.dataset.raw)), p.stat().st_size, p.stat().st_mtime_ns) for p in _files(raw)]
    return hashlib.sha256(json.dumps(stats).encode()).hexdigest()


def raw_content(raw: RawDataset, progress: Progress = silent) -> str:
    """A hash of name and content of the same files: it stays when they are copied or written again as they were."""
    files = progress(_files(raw), "Hashing")
    return json_hash([(path.relative_to(raw.dataset.raw).as_posix(), file_hash(path)) for path in files])


def _files(raw: RawDataset) -> list[Path]:
    folders = [raw.dataset.part(kind) for kind in ("images", "labels", "instances")]
    return sorted([raw.dataset.dataset_json, *(path for folder in folders for path in folder.iterdir())])


def _add_up(counts: Iterable[dict[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return total
