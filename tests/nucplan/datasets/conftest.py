"""A small plain dataset that a test breaks in one place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nucplan.datasets.conversion import write_raw
from nucplan.datasets.raw import RawDataset
from nucplan.datasets.reservation import new_dataset
from nucplan.datasets.source import Source
from nucplan.datasets.verify import verify_raw
from nucplan.images import write_image, write_label_map
from nucplan.layout import Roots, resolve_roots

STEMS = ("a", "b", "c", "d", "e")


def small_labels() -> np.ndarray:
    """Ids 3 and 9 (a gap, on purpose) in 24 x 32 pixels."""
    labels = np.zeros((24, 32), np.int32)
    labels[2:8, 2:8], labels[10:20, 15:30] = 3, 9
    return labels


@pytest.fixture
def plain_folder(tmp_path: Path) -> Path:
    """Five RGB images with two nuclei each, classes by name, groups g0 (a, b), g1 (c), g2 (d, e)."""
    folder, rng = tmp_path / "source", np.random.default_rng(0)
    for stem in STEMS:
        write_image(folder / "images" / f"{stem}.png", rng.integers(0, 255, (24, 32, 3), np.uint8))
        write_label_map(folder / "labels" / f"{stem}.tif", small_labels())
        (folder / "classes").mkdir(exist_ok=True)
        (folder / "classes" / f"{stem}.json").write_text('{"3": "round", "9": "long"}')
    groups = dict(zip(STEMS, ("g0", "g0", "g1", "g2", "g2"), strict=True))
    (folder / "dataset.json").write_text(json.dumps({"groups": groups, "mpp": 0.5, "licence": "CC0-1.0"}))
    return folder


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    return resolve_roots(tmp_path / "root")


@pytest.fixture
def written(roots: Roots) -> Callable[[Source], RawDataset]:
    """Writes a source as dataset 9 and checks what was written."""

    def write(source: Source) -> RawDataset:
        done = write_raw(source, new_dataset(roots, 9, "Written"))
        verify_raw(done.dataset)
        return RawDataset(done.dataset)

    return write
