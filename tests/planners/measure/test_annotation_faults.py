"""Faults that were put into an annotation are found, and sound data are not blamed."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import label

from nucplan.images import read_image
from planners.fingerprint import measure
from planners.measure import annotation_faults, measurements
from planners.measure.annotation_faults import near_duplicates, thumbnail

label_maps = arrays(np.int32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 4))


def tissue(seed: int, side: int = 200) -> np.ndarray:
    """An RGB image of dark discs on a light ground, with noise."""
    random = np.random.default_rng(seed)
    image = random.normal(210, 6, (side, side)).astype(np.float32)
    for _ in range(60):
        centre, radius = random.integers(0, side, 2), int(random.integers(4, 10))
        cv2.circle(image, tuple(map(int, centre)), radius, float(random.uniform(60, 140)), cv2.FILLED)
    return np.clip(np.dstack([image, 0.7 * image, image]), 0, 255).astype(np.uint8)


def recompressed(image: np.ndarray) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_UNCHANGED)


COPIES = {
    "recompressed": recompressed,
    "brightened": lambda image: np.clip(1.15 * image + 8, 0, 255).astype(np.uint8),
    "rescaled": lambda image: cv2.resize(image, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA),
    "16 bits": lambda image: image.astype(np.uint16) * 257,
    "unevenly lit": lambda image: (image.T * np.linspace(0.9, 1, len(image))).T.astype(np.uint8),
}


@settings(max_examples=60, deadline=None)
@given(label_maps)
def test_pieces_are_counted_for_each_nucleus(labels: np.ndarray) -> None:
    labels = measurements.compact(labels)
    expected = [label(labels == n, np.ones((3, 3)))[1] > 1 for n in range(1, labels.max(initial=0) + 1)]
    assert annotation_faults.in_pieces(labels).tolist() == expected


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_in_another_group_is_found(name: str) -> None:
    images = [tissue(seed) for seed in range(12)]
    thumbnails = [thumbnail(image) for image in [*images, COPIES[name](images[4])]]
    assert near_duplicates(thumbnails, range(13)) == [(4, 12)]
    assert near_duplicates(thumbnails, [*range(12), 4]) == []


@pytest.mark.parametrize("folder", ["tnbc", "dsb2018_tissue", "dsb2018_fluo"])
def test_among_real_images_only_the_copy_is_found(shared_data, folder: str) -> None:
    paths = sorted((shared_data / folder / "images").glob("*.png"))
    group_of = json.loads((shared_data / folder / "dataset.json").read_text())["groups"]
    images = [read_image(path) for path in paths]
    groups = [group_of[path.stem] for path in paths]
    for copy in COPIES.values():
        thumbnails = [thumbnail(image) for image in [*images, copy(images[7])]]
        assert all(found is not None for found in thumbnails)
        assert near_duplicates(thumbnails, [*groups, "another"]) == [(7, len(images))]


def test_images_without_contrast_are_never_compared() -> None:
    rows, columns = np.indices((256, 256)) / 128 - 1
    vignette = 1 - 0.15 * (rows**2 + columns**2)
    for seed in range(4):
        noise = np.random.default_rng(seed).normal(0, 4, (256, 256))
        assert thumbnail(np.clip(220 + noise, 0, 255).astype(np.uint8)) is None
        assert thumbnail(np.clip(220 * vignette + noise, 0, 255).astype(np.uint8)) is None
    assert thumbnail(np.zeros((64, 64), np.uint8)) is None
    assert thumbnail(np.full((64, 64, 5), 700, np.uint16)) is None


def test_comparing_in_blocks_finds_what_comparing_all_at_once_does(monkeypatch: pytest.MonkeyPatch) -> None:
    thumbnails = [thumbnail(tissue(seed % 7)) for seed in range(17)]
    at_once = near_duplicates(thumbnails, range(17))
    monkeypatch.setattr(annotation_faults, "BLOCK", 5)
    assert sorted(near_duplicates(thumbnails, range(17))) == sorted(at_once)
    assert len(at_once) == sum((seed - other) % 7 == 0 for seed in range(17) for other in range(seed))
    assert len(near_duplicates(thumbnails, range(17), at_most=3)) == 3


def test_all_faults_of_a_dataset_are_counted_and_named(write_raw, discs) -> None:
    instances = 5 * discs((200, 200), [(r, c) for r in (40, 100, 160) for c in (40, 100, 160)], 24)
    instances[0:4, 80:90] = 90
    instances[0, 150:152] = 91  # what the border leaves of a nucleus is no speck
    instances[70, 70] = 71
    instances[130:134, 130:134] = instances[70:74, 130:134] = 72
    empty = np.zeros_like(instances)
    cases = {
        "a": (tissue(0), instances > 0, instances),
        "b": (tissue(1), empty, empty),
        "c": (recompressed(tissue(0)), instances > 0, instances),
        "d": (tissue(2), instances > 0, np.where(instances > 50, 0, instances)),
    }
    faults = measure(write_raw(cases, classes=1)).faults
    assert (faults["pieces"], faults["specks"], faults["border_cut"]) == (2, 2, 4)
    assert faults["empty_images"] == ["b"]
    assert faults["near_duplicates"] == [["a", "c"]]
    assert faults["examples"] == {
        "pieces": ["a: id 72", "c: id 72"],
        "border_cut": ["a: id 90", "a: id 91", "c: id 90", "c: id 91"],
        "specks": ["a: id 71", "c: id 71"],
    }


def test_images_of_one_group_are_no_duplicates(write_raw, random_case) -> None:
    cases = dict.fromkeys(("a", "b"), random_case(0))
    assert measure(write_raw(cases, groups={"a": "slide", "b": "slide"})).faults["near_duplicates"] == []
    assert measure(write_raw(cases, groups={"a": "b"})).faults["near_duplicates"] == [["a", "b"]]
