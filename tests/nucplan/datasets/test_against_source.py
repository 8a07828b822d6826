"""What differs first between a dataset and its source is named; other ids of the same nuclei are no difference."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nucplan.datasets.against_source import differences_from_source, partition_difference
from nucplan.datasets.conversion import Wishes, write_raw
from nucplan.datasets.raw import RawDataset
from nucplan.datasets.record import Record
from nucplan.datasets.reservation import new_dataset
from nucplan.datasets.source import Annotated, Case, Source
from nucplan.datasets.tiling import Tiling
from nucplan.errors import NucplanError
from nucplan.layout import Roots

label_maps = arrays(np.int32, (5, 6), elements=st.integers(0, 4))


def partition(labels: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(labels == i).tolist()) for i in np.unique(labels) if i}


@given(label_maps, st.permutations([7, 1, 900, 4]))
@settings(max_examples=60, deadline=None)
def test_other_ids_are_no_difference(labels, ids):
    assert partition_difference(np.array([0, *ids])[labels], labels) is None


@given(label_maps, label_maps)
@settings(max_examples=200, deadline=None)
def test_there_is_a_difference_exactly_where_the_sets_of_pixels_differ(found, expected):
    assert (partition_difference(found, expected) is None) == (partition(found) == partition(expected))


@given(label_maps, st.integers(0, 29), st.integers(0, 4))
@settings(max_examples=200, deadline=None)
def test_one_pixel_is_enough(labels, place, value):
    changed = labels.copy()
    changed.flat[place] = value
    assert (partition_difference(changed, labels) is None) == (partition(changed) == partition(labels))


def two_nuclei() -> np.ndarray:
    labels = np.zeros((10, 20), np.int32)
    labels[2:6, 2:8], labels[2:6, 8:14] = 1, 2
    return labels


WORDS = {
    "merged": (
        lambda m: m.__setitem__(m == 2, 1),
        r"nucleus 1 \(24 pixels around row 4, column 4\) and nucleus 2 .*one",
    ),
    "split": (lambda m: m.__setitem__((slice(2, 6), slice(2, 4)), 3), r"nucleus 1 .* is in 2 pieces"),
    "missing": (lambda m: m.__setitem__(m == 2, 0), r"nucleus 2 .* is missing"),
    "new": (lambda m: m.__setitem__((9, 9), 3), r"nucleus 3 \(1 pixel around row 9, column 9\) covers"),
    "smaller": (lambda m: m.__setitem__((2, 2), 0), r"nucleus 1 .* has lost pixels"),
    "larger": (lambda m: m.__setitem__((1, 2), 1), r"nucleus 1 .* covers pixels that are background"),
}


@pytest.mark.parametrize("case", WORDS)
def test_the_difference_is_named(case: str):
    change, message = WORDS[case]
    found = two_nuclei()
    change(found)
    assert re.search(message, partition_difference(found, two_nuclei()) or "")


IGNORED = np.zeros((10, 20), bool)
IGNORED[8:] = True
GOOD = Annotated(np.zeros((10, 20, 3), np.uint8), two_nuclei(), {1: 1, 2: 2}, IGNORED)


def source_of(**cases: Annotated) -> Source:
    listed = [Case(name, Path(f"{name}.png"), lambda given=given: given) for name, given in cases.items()]
    return Source(listed, ("round", "long"), groups=dict.fromkeys(cases, "g"))


def other_id(labels: np.ndarray) -> np.ndarray:
    return np.where(labels == 1, 50, labels)


def in_test_part(source: Source) -> Source:
    return replace(source, cases=[*source.cases[:1], replace(source.cases[1], part="Ts")])


OTHER = {
    "nothing": (source_of(a=GOOD, b=GOOD), None),
    "ids alone": (source_of(a=GOOD, b=GOOD._replace(instances=other_id(two_nuclei()), class_of={50: 1, 2: 2})), None),
    "a class": (
        source_of(a=GOOD, b=GOOD._replace(class_of={1: 1, 2: 1})),
        r"in the case b.*, nucleus 2 .* is round there, long here",
    ),
    "an area to ignore": (
        source_of(a=GOOD, b=GOOD._replace(ignored=None)),
        r"in the case b.*, the areas to ignore differ by \d+ pixels",
    ),
    "a pixel": (
        source_of(a=GOOD, b=GOOD._replace(image=GOOD.image + 1)),
        "in the case b.*, its image has other pixels",
    ),
    "a size": (
        source_of(a=GOOD, b=GOOD._replace(image=GOOD.image[:9], instances=two_nuclei()[:9], ignored=IGNORED[:9])),
        "the image b gives the cases|in the case b, its image has the shape",
    ),
    "a group": (
        replace(source_of(a=GOOD, b=GOOD), groups={"a": "g", "b": "h"}),
        "in the case b.*, its group is g, there",
    ),
    "a part": (
        in_test_part(source_of(a=GOOD, b=GOOD)),
        "in the case b.*, it is in imagesTr, there it belongs to imagesTs",
    ),
    "the classes": (replace(source_of(a=GOOD, b=GOOD), class_names=("x", "y")), "the source gives the classes x, y"),
    "the pixel size": (replace(source_of(a=GOOD, b=GOOD), mpp=0.5), "the pixel size here: not known, there: 0.5"),
    "the licence": (replace(source_of(a=GOOD, b=GOOD), licence="CC0"), "the licence here: not known, there: CC0"),
    "the markers": (
        replace(source_of(a=GOOD, b=GOOD), markers=("x", "y", "z")),
        "the markers here: not known, there: x, y, z",
    ),
    "an image more": (source_of(a=GOOD, b=GOOD, c=GOOD), "lacks 1 image of the source, of which c is the first"),
    "an image less": (source_of(a=GOOD), "no longer has the image b"),
}


@pytest.mark.parametrize("tile", [None, 7])
@pytest.mark.parametrize("case", OTHER)
def test_what_became_different_in_the_source_is_named(roots: Roots, case: str, tile: int | None):
    record = Record("", "", {"tile": tile, "overlap": 2})
    tiling = None if tile is None else Tiling(tile, 2)
    before = source_of(a=GOOD, b=GOOD)
    dataset = write_raw(before, new_dataset(roots, 1, "One"), Wishes(tiling=tiling), record=record).dataset
    after, message = OTHER[case]
    found = list(differences_from_source(RawDataset(dataset), after, record))
    assert bool(found) == bool(message)
    assert not message or re.search(message, found[0]), found


def test_images_that_were_skipped_are_not_missed(roots: Roots):
    def damaged() -> Annotated:
        raise NucplanError("b.png is damaged; copy it again.")

    source = source_of(a=GOOD, b=GOOD)
    source.cases[1] = replace(source.cases[1], load=damaged)
    record = Record("", "", {})
    dataset = write_raw(source, new_dataset(roots, 1, "One"), Wishes(skip_bad=True), record=record).dataset
    assert list(differences_from_source(RawDataset(dataset), source, record)) == []
    # A fault that names no image excuses the lack of none.
    record.skipped_images.clear()
    assert "lacks 1 image of the source, of which b" in next(
        differences_from_source(RawDataset(dataset), source, record)
    )


def test_a_pixel_size_that_was_given_is_not_that_of_the_source(roots: Roots):
    source, record = replace(source_of(a=GOOD), mpp=0.25), Record("", "", {"mpp": 0.5})
    dataset = write_raw(replace(source, mpp=0.5), new_dataset(roots, 1, "One"), record=record).dataset
    assert list(differences_from_source(RawDataset(dataset), source, record)) == []
    record.options["mpp"] = 1.0
    assert list(differences_from_source(RawDataset(dataset), source, record)) == [
        "the pixel size here: 0.5, by --mpp: 1.0"
    ]
