"""Tiny raw datasets written by hand, so that these tests stand apart from the converters."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from nucplan.datasets.raw import RawDataset
from nucplan.layout import Dataset, activate, resolve_roots
from planners.fingerprint import Fingerprint


@pytest.fixture(autouse=True)
def _own_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(variable, "unset")  # remembered, so that what `activate` sets is undone afterwards


@pytest.fixture
def write_raw(tmp_path: Path, _own_roots: None) -> Callable[..., RawDataset]:
    """A writer of raw datasets: ``write_raw({case: (image, classes, instances)}, classes=2, mpp=None, ...)``."""

    def write(
        cases: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
        classes: int = 2,
        mpp: float | None = None,
        ignore: bool = False,
        groups: Mapping[str, str] | None = None,
    ) -> RawDataset:
        roots = resolve_roots(tmp_path / "root")
        activate(roots)
        dataset = Dataset(roots, "Dataset007_Test")
        for kind in ("images", "labels", "instances"):
            dataset.part(kind).mkdir(parents=True, exist_ok=True)
        for case, (image, class_map, instances) in cases.items():
            cv2.imwrite(str(dataset.part("images") / f"{case}_0000.png"), image)
            cv2.imwrite(str(dataset.part("labels") / f"{case}.png"), class_map.astype(np.uint8))
            tifffile.imwrite(dataset.part("instances") / f"{case}.tif", instances.astype(np.uint32), compression="zlib")
        names = ["background", *(f"class{k}" for k in range(1, classes + 1)), *(["ignore"] if ignore else [])]
        channels = 3 if image.ndim == 3 else 1
        content = {
            "channel_names": {str(c): name for c, name in enumerate("RGB"[:channels])},
            "labels": {name: value for value, name in enumerate(names)},
            "numTraining": len(cases),
            "file_ending": ".png",
            "overwrite_image_reader_writer": "NaturalImage2DIO",
            "nuclei": {"mpp": mpp, "groups": groups or {case: case for case in cases}},
        }
        dataset.dataset_json.write_text(json.dumps(content))
        return RawDataset(dataset)

    return write


def _discs(shape: tuple[int, int], centres: list[tuple[float, float]], diameter: float) -> np.ndarray:
    """An instance map (H, W) int32 of discs with ids 1..N."""
    rows, columns = np.indices(shape)
    labels = np.zeros(shape, np.int32)
    for number, (row, column) in enumerate(centres, start=1):
        labels[(rows - row) ** 2 + (columns - column) ** 2 <= (diameter / 2) ** 2] = number
    return labels


def _random_case(seed: int, size: int = 64, margin: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An RGB image with four discs, ids 3, 6, 9, 12 and classes 1 and 2; a black margin of some rows on request."""
    random = np.random.default_rng(seed)
    image = random.integers(1, 255, (size, size, 3), dtype=np.uint8)
    image[:margin] = 0
    step = size / 4
    instances = _discs((size, size), [(step, step), (step, 3 * step), (3 * step, step), (3 * step, 3 * step)], 12) * 3
    instances[:margin] = 0
    return image, np.where(instances > 6, 2, np.minimum(instances, 1)), instances


@pytest.fixture(scope="session")
def discs() -> Callable[..., np.ndarray]:
    """``discs(shape, centres, diameter)``, see `_discs`."""
    return _discs


@pytest.fixture(scope="session")
def random_case() -> Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """``random_case(seed, size, margin)``, see `_random_case`."""
    return _random_case


@pytest.fixture(scope="session")
def fingerprint_of() -> Callable[..., Fingerprint]:
    """``fingerprint_of(d25=..., ...)``: a fingerprint with these statistics and plain values elsewhere."""

    def make(
        d25: float = 14,
        d50: float = 18,
        d95: float = 30,
        pixels: int = 20 * 256 * 256,
        counts: Mapping[str, int] | None = None,
        d5: float | None = None,
        touching_share: float | None = 0.4,
        band_share: Sequence[float] = (0.06, 0.12, 0.17, 0.21, 0.25, 0.28, 0.31, 0.33),
        mpp: float | None = None,
        density_p99: float = 60.0,
        side: int = 256,
    ) -> Fingerprint:
        nuclear = dict.fromkeys(("mean", "median", "std", "min", "max", "percentile_00_5", "percentile_99_5"), 1.0)
        everywhere = nuclear | {"zero_fraction": 0.0, "q99_positive": 1.0, "q999_positive": 1.0}
        counts = dict(counts or {"nucleus": 100})
        diameters = {"5": d25 / 2 if d5 is None else d5, "25": d25, "50": d50, "75": (d50 + d95) / 2, "95": d95}
        bars = {"edges": [0.0, 10.0, 20.0, 30.0], "counts": [1, 2, 1]}
        no_faults = {"pieces": 0, "specks": 0, "border_cut": 0, "empty_images": [], "near_duplicates": []}
        return Fingerprint(
            raw_signature="", pixels=pixels, nuclei=sum(counts.values()), border_cut=0, mpp=mpp,
            diameter_px=diameters, diameter_um={name: mpp * d for name, d in diameters.items()} if mpp else None,
            gap_px={"5": 0.0, "25": 0.0, "50": 2.0, "75": 6.0, "95": 20.0}, touching_share=touching_share,
            contact_length_share=0.05, band_share=list(band_share),
            nuclei_per_256x256={"median": 20.0, "p99": density_p99}, class_instances=counts,
            class_pixels={"background": 0.8}, image_size=dict.fromkeys(("median", "min", "max"), [side, side]),
            intensity={"0": {"all": everywhere, "nuclei": nuclear}},
            faults=no_faults | {"examples": {"pieces": [], "specks": [], "border_cut": []}},
            histograms=dict.fromkeys(("diameter_px", "gap_px", "nuclei_per_256x256"), bars),
            cases={"a": {"size": [256, 256], "size_nonzero": [256, 256]}},
        )  # fmt: skip

    return make
