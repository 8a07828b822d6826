"""The contact sheet shows cases of all groups and both parts, where nuclei are, in the colours of their classes."""

from __future__ import annotations

import numpy as np
import pytest

from nucplan.datasets.against_record import CaseNuclei, nuclei_on_disk
from nucplan.datasets.conversion import Wishes, write_raw
from nucplan.datasets.raw import RawDataset
from nucplan.datasets.reservation import new_dataset
from nucplan.datasets.source import Annotated, Case, Source
from nucplan.images import write_image, write_label_map
from nucplan.layout import resolve_roots
from nucplan.palette import class_colour
from nucplan.report.contact_sheet import PANEL_SIDE, choose_cases, densest_window, draw_contact_sheet


def case(name: str, nuclei: int, part: str = "Tr") -> CaseNuclei:
    ids = range(1, nuclei + 1)
    return CaseNuclei(name, part, (64, 64), dict.fromkeys(ids, 9), dict.fromkeys(ids, 1))


GROUPS = {"a1": "a", "a2": "a", "a3": "a", "b1": "b", "b2": "b", "c1": "c", "t1": "t", "t2": "t"}
CASES = [case("a1", 9), case("a2", 8), case("a3", 7), case("b1", 5), case("b2", 2), case("c1", 0)]
TESTED = [case("t1", 3, "Ts"), case("t2", 4, "Ts")]


def names(chosen: list[CaseNuclei]) -> list[str]:
    return [each.name for each in chosen]


def test_groups_come_in_turn_by_density_and_last_the_sparsest_that_has_nuclei():
    assert names(choose_cases(CASES, GROUPS, 4)) == ["a1", "b1", "c1", "b2"]


def test_both_parts_are_shown():
    assert names(choose_cases(CASES + TESTED, GROUPS, 5)) == ["a1", "b1", "c1", "b2", "t2"]


def test_the_order_of_the_cases_and_the_count_beyond_them_change_nothing():
    assert choose_cases(CASES[::-1], GROUPS, 4) == choose_cases(CASES, GROUPS, 4)
    assert sorted(names(choose_cases(CASES + TESTED, GROUPS, 99))) == sorted(GROUPS)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8])
def test_as_many_as_asked_for_and_none_twice(count: int):
    chosen = names(choose_cases(CASES + TESTED, GROUPS, count))
    assert len(chosen) == len(set(chosen)) == count


def test_the_window_holds_the_nuclei():
    labels = np.zeros((300, 200), np.int32)
    labels[210:260, 120:190] = 5
    rows, columns = densest_window(labels, 100)
    assert (rows.stop - rows.start, columns.stop - columns.start) == (100, 100)
    assert (labels[rows, columns] > 0).sum() == (labels > 0).sum()
    rows, columns = densest_window(labels, 250)
    assert (rows.stop - rows.start, columns) == (250, slice(0, 200))


def raw_with(tmp_path, image: np.ndarray, ignored: np.ndarray | None = None, markers=None) -> RawDataset:
    labels = np.zeros(image.shape[:2], np.int32)
    labels[10:30, 10:30], labels[10:30, 30:50] = 4, 9
    load = lambda: Annotated(image, labels, {4: 1, 9: 2}, ignored)  # noqa: E731
    source = Source([Case("x", tmp_path / "x", load)], ("round", "long"), markers=markers)
    return RawDataset(write_raw(source, new_dataset(resolve_roots(tmp_path), 1, "One"), Wishes()).dataset)


def drawn(raw: RawDataset) -> np.ndarray:
    return draw_contact_sheet(raw, [nuclei_on_disk(raw, name, "Tr") for name in raw.cases()], 12)


# Title and legends above the panels, px.
HEAD = 150
IMAGES = {
    "RGB": (np.full((60, 80, 3), 90, np.uint8), None),
    "grey of 16 bits": (np.arange(4800, dtype=np.uint16).reshape(60, 80), None),
    "one plane": (np.full((60, 80, 1), 90, np.uint16), ("DAPI",)),
    "two planes": (np.full((60, 80, 2), 90, np.uint16), ("DAPI", "CD3")),
    "five planes": (np.full((60, 80, 5), 90, np.uint8), tuple("abcde")),
    "larger than a panel": (np.full((2000, 900, 3), 90, np.uint8), None),
}


@pytest.mark.parametrize("kind", IMAGES)
def test_outlines_of_each_class_follow_the_nuclei_in_every_kind_of_image(tmp_path, kind: str):
    image, markers = IMAGES[kind]
    raw = raw_with(tmp_path, image, markers=markers)
    picture = drawn(raw)
    panel = picture[HEAD:]
    for k in (1, 2):
        rows, columns = np.nonzero((panel == class_colour(k)).all(axis=2))
        assert rows.size > 100
        # Both nuclei are as high as they are wide, and so are their outlines.
        assert np.ptp(rows) == pytest.approx(np.ptp(columns), abs=2)
    first, second = (np.nonzero((panel == class_colour(k)).all(axis=2))[1] for k in (1, 2))
    assert first.max() < second.min()


def test_what_is_to_be_ignored_is_striped_and_nothing_else(tmp_path):
    ignored = np.zeros((60, 80), bool)
    ignored[40:, 40:] = True
    image = np.full((60, 80, 3), 90, np.uint8)
    plain, striped = (drawn(raw_with(tmp_path / str(i), image, ignored if i else None)) for i in (0, 1))
    assert striped.shape == plain.shape
    rows, columns = np.nonzero((plain[HEAD:] != striped[HEAD:]).any(axis=2))
    assert rows.size > 1000
    factor = PANEL_SIDE / 80
    assert np.ptp(columns) == pytest.approx(40 * factor, abs=2)
    assert np.ptp(rows) == pytest.approx(20 * factor, abs=2)


def test_cases_whose_long_names_differ_in_the_middle_are_told_apart(tmp_path):
    names = [f"TCGA-A2-A0CM-DX1_left-{i}_{'top-1234_bottom-3456_right-56789' * 2}" for i in (3, 4)]
    load = lambda: Annotated(np.zeros((32, 32), np.uint8), np.pad(np.ones((4, 4), np.int32), 14), {1: 1})  # noqa: E731
    pictures = []
    for place, name in enumerate(names):
        dataset = new_dataset(resolve_roots(tmp_path / str(place)), 1, "Names")
        pictures.append(drawn(RawDataset(write_raw(Source([Case(name, tmp_path, load)]), dataset).dataset)))
    assert not np.array_equal(*pictures)


def test_a_dataset_without_any_nucleus_is_drawn(tmp_path):
    one = np.pad(np.ones((4, 4), np.int32), 14)
    load = lambda: Annotated(np.zeros((32, 32), np.uint8), one, {1: 1})  # noqa: E731
    dataset = new_dataset(resolve_roots(tmp_path), 1, "None")
    raw = RawDataset(write_raw(Source([Case("x", tmp_path / "x", load)]), dataset).dataset)
    # No source without a nucleus is converted, but other tools may have made such a dataset.
    write_image(raw.classes_path("x"), np.zeros((32, 32), np.uint8))
    write_label_map(raw.instances_path("x"), np.zeros((32, 32), np.int32))
    assert drawn(raw).ndim == 3
