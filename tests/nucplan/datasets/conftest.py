"""A small plain dataset that a test breaks in one place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nucplan.datasets.conversion import new_dataset, write_raw
from nucplan.datasets.raw import RawDataset
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
def touching() -> np.ndarray:
    """Ids 1 (at the corner) and 2 side by side, 3 that meets 2 at a corner only, and 300 after a gap; 32 x 40."""
    labels = np.zeros((32, 40), np.uint16)
    labels[0:6, 0:6], labels[0:6, 6:12], labels[6:10, 12:16], labels[20:30, 20:39] = 1, 2, 3, 300
    return labels


@pytest.fixture
def same_partition() -> Callable[[np.ndarray, np.ndarray], None]:
    """Asserts that two label maps draw the same instances, whatever their ids."""

    def compare(found: np.ndarray, expected: np.ndarray) -> None:
        assert found.shape == expected.shape
        pairs = np.unique(np.stack([found.ravel(), expected.ravel()]), axis=1)
        np.testing.assert_array_equal(pairs[0] == 0, pairs[1] == 0)
        assert len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]

    return compare


@pytest.fixture
def written(roots: Roots) -> Callable[[Source], RawDataset]:
    """Writes a source as dataset 9 and checks what was written."""

    def write(source: Source) -> RawDataset:
        done = write_raw(source, new_dataset(roots, 9, "Written"))
        verify_raw(done.dataset)
        return RawDataset(done.dataset)

    return write
