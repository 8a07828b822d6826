"""What is left out, skipped and counted is written down; what is refused leaves nothing behind."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nucplan.datasets.conversion import Wishes, write_raw
from nucplan.datasets.raw import RawDataset
from nucplan.datasets.record import ImageRecord, Record, read_nuclei, read_record
from nucplan.datasets.reservation import new_dataset
from nucplan.datasets.source import Annotated, Case, Source
from nucplan.datasets.tiling import Tiling
from nucplan.datasets.verify import verify_raw
from nucplan.errors import NucplanError
from nucplan.layout import Roots


def labels() -> np.ndarray:
    made = np.zeros((12, 16), np.int32)
    made[1:4, 1:5], made[6:9, 2:9], made[2:5, 10:14] = 3, 8, 5
    return made


def good(shape: tuple[int, ...] = (), dtype: type = np.uint8) -> Annotated:
    image = np.arange(12 * 16 * int(np.prod(shape)), dtype=np.uint32).reshape(12, 16, *shape)
    return Annotated(image.astype(dtype), labels(), {3: 1, 8: 2, 5: 3}, None, {"hidden": 2}, {"contested pixels": 7})


def bad() -> Annotated:
    raise NucplanError("images/b.png is damaged; copy it again.")


def source(*loads: Callable[[], Annotated], **more: object) -> Source:
    cases = [Case(name, Path(f"images/{name}.png"), load) for name, load in zip("abcdef", loads, strict=False)]
    return Source(cases, ("tumour", "stroma", "dead"), **more)


def nothing_in(roots: Roots) -> bool:
    return not roots.raw.exists() or list(roots.raw.iterdir()) == []


def test_the_record_says_what_came_from_each_image_and_what_was_left_out(roots: Roots):
    record = Record("/data/mine", "folder", {"classes": "tumour,dead"})
    dataset = new_dataset(roots, 1, "One")
    write_raw(source(good, good), dataset, Wishes(classes="tumour,dead", tiling=Tiling(10)), record=record)
    verify_raw(dataset)
    content = json.loads((dataset.raw / "conversion.json").read_text())
    assert (content["format"], content["source"], content["options"]["classes"]) == (
        "folder",
        "/data/mine",
        "tumour,dead",
    )
    assert content["nuclei"] == 4
    assert content["left_out"] == {"hidden": 4, "of the class stroma, which --classes leaves out": 2}
    assert content["remarks"] == {"contested pixels": 14}
    assert content["skipped"] == []
    assert content["images"]["a"]["nuclei"] == 2
    assert content["images"]["a"]["cases"] == [f"a_y{y:05d}_x{x:05d}" for y in (0, 2) for x in (0, 6)]
    assert read_record(dataset.raw) == record
    rows = dict(read_nuclei(dataset.raw))
    assert {row.source_id for found in rows.values() for row in found} == {3, 5}
    assert {row.class_name for found in rows.values() for row in found} == {"tumour", "dead"}


def test_a_row_for_every_nucleus_of_the_dataset_and_no_other(roots: Roots):
    dataset = write_raw(source(good, good), new_dataset(roots, 1, "One")).dataset
    raw = RawDataset(dataset)
    columns = ("case", "id", "class", "area_px", "source_id")
    with open(dataset.raw / "nuclei.csv", newline="") as handle:
        rows = [tuple(row[column] for column in columns) for row in csv.DictReader(handle)]
    expected = []
    for case in raw.cases():
        instances, classes = raw.instances(case), raw.classes_map(case)
        for i in range(1, instances.max() + 1):
            where = instances == i
            name = raw.info.class_names[classes[where][0] - 1]
            expected.append((case, str(i), name, str(where.sum()), str(labels()[where][0])))
    assert rows == expected


def without_nucleus() -> Annotated:
    return Annotated(np.zeros((12, 16), np.uint8), np.zeros((12, 16), np.int32), {})


def test_images_without_a_nucleus_are_counted(roots: Roots):
    done = write_raw(source(good, without_nucleus, without_nucleus), new_dataset(roots, 1, "One"))
    content = json.loads((done.dataset.raw / "conversion.json").read_text())
    assert content["remarks"]["images without a nucleus"] == 2


def test_a_class_of_a_reserved_name_can_be_renamed(roots: Roots):
    reserved = Source(source(good).cases, ("background", "stroma", "dead"))
    dataset = new_dataset(roots, 1, "One")
    with pytest.raises(NucplanError, match="rename them with --classes new=old"):
        write_raw(reserved, dataset)
    write_raw(reserved, dataset, Wishes(classes="stroma,rest=*"))
    assert RawDataset(dataset).info.class_names == ("stroma", "rest")


def test_skip_bad_lists_what_it_skips_and_goes_on(roots: Roots):
    faulty = source(good, bad, good, faults=("masks/x.png has no image; add it.",))
    done = write_raw(faulty, new_dataset(roots, 1, "One"), Wishes(skip_bad=True))
    verify_raw(done.dataset)
    assert RawDataset(done.dataset).cases() == ["a", "c"]
    assert set(RawDataset(done.dataset).info.groups) == {"a", "c"}
    assert read_record(done.dataset.raw).skipped == [
        "masks/x.png has no image; add it.",
        "images/b.png is damaged; copy it again.",
    ]
    assert list(read_record(done.dataset.raw).images) == ["a", "c"]


def test_an_image_that_is_skipped_does_not_decide_what_the_others_must_be(roots: Roots):
    def too_many() -> Annotated:
        ids = np.arange(1, 40_001, dtype=np.int32).reshape(200, 200)
        return Annotated(np.zeros((200, 200), np.uint8), ids, dict.fromkeys(range(1, 40_001), 1))

    done = write_raw(source(too_many, lambda: good((3,))), new_dataset(roots, 1, "One"), Wishes(skip_bad=True))
    verify_raw(done.dataset)
    assert RawDataset(done.dataset).cases() == ["b"]


def no_disk() -> Annotated:
    raise OSError(28, "No space left on device")


def interrupted() -> Annotated:
    raise KeyboardInterrupt


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("last", [no_disk, interrupted])
def test_a_fault_that_is_not_of_an_image_ends_it_and_leaves_nothing(roots: Roots, last: Callable, skip: bool):
    with pytest.raises((OSError, KeyboardInterrupt)):
        write_raw(source(good, last), new_dataset(roots, 1, "One"), Wishes(skip_bad=skip))
    assert nothing_in(roots)


REFUSED = {
    "the second image": (source(good, bad), Wishes(), "b.png is damaged"),
    "a fault of the list": (source(good, faults=("x.png has no image; add it.",)), Wishes(), "x.png has no image"),
    "all images, though skipped": (
        source(bad, bad),
        Wishes(skip_bad=True),
        "can be trained on; the first fault: .*b.png",
    ),
    "no nucleus at all": (source(without_nucleus, without_nucleus), Wishes(), "No image of the source has a nucleus"),
    "an unknown class": (source(good), Wishes(classes="tumor"), "no class 'tumor'"),
    "a reserved class": (source(good), Wishes(classes="ignore=tumour"), "'background' or 'ignore'"),
    "a test part alone": (
        Source([Case("a", Path("a.png"), good, "Ts")], ("tumour", "stroma", "dead")),
        Wishes(),
        "all are of the test part",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_leaves_nothing_behind(roots: Roots, case: str):
    refused, wishes, message = REFUSED[case]
    with pytest.raises(NucplanError, match=message):
        write_raw(refused, new_dataset(roots, 1, "One"), wishes)
    assert nothing_in(roots)


def test_a_tile_never_overwrites_the_case_of_its_name(roots: Roots):
    def small() -> Annotated:
        return Annotated(np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.int32), {})

    cases = [Case("a", Path("a.png"), good), Case("a_y00000_x00000", Path("b.png"), small)]
    with pytest.raises(NucplanError, match=r"b\.png gives a second case of the name 'a_y00000_x00000'"):
        write_raw(Source(cases, ("x", "y", "z")), new_dataset(roots, 1, "One"), Wishes(tiling=Tiling(8)))
    assert nothing_in(roots)


def test_areas_to_ignore_are_the_highest_label_and_pass_the_checks(roots: Roots):
    ignored = np.zeros((12, 16), bool)
    ignored[:8] = True
    load = lambda: good()._replace(ignored=ignored)  # noqa: E731
    dataset = write_raw(source(load, good), new_dataset(roots, 1, "One"), Wishes(classes="tumour,rest=*")).dataset
    verify_raw(dataset)
    raw = RawDataset(dataset)
    assert raw.info.class_names == ("tumour", "rest")
    assert raw.info.ignore_label == 3
    np.testing.assert_array_equal(raw.ignored("a"), ignored & (labels() == 0))
    assert not raw.ignored("b").any()
    assert raw.instances("a").max() == 3


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("planes", [1, 2, 3, 11])
def test_planes_are_files_of_their_own_and_are_read_back_in_order(roots: Roots, planes: int, dtype: type):
    markers = tuple(f"marker {i}" for i in range(planes))
    made = good((planes,), dtype)
    dataset = write_raw(source(lambda: made, markers=markers, mpp=0.5), new_dataset(roots, 1, "One")).dataset
    verify_raw(dataset)
    raw = RawDataset(dataset)
    assert [path.name for path in raw.image_paths("a")] == [f"a_{i:04d}.png" for i in range(planes)]
    assert raw.info.channel_names == raw.info.markers == markers
    found = raw.image("a")
    assert found.dtype == dtype
    np.testing.assert_array_equal(np.atleast_3d(found), made.image)


def test_multiplex_and_grey_do_not_mix(roots: Roots):
    with pytest.raises(NucplanError, match=r"b\.png has 1 planes, but there are 2 markers"):
        write_raw(source(lambda: good((2,)), good, markers=("x", "y")), new_dataset(roots, 1, "One"))
    assert nothing_in(roots)


def test_totals_are_those_of_all_images():
    images = {"a": ImageRecord(3, {"hidden": 1}, {}), "b": ImageRecord(2, {"hidden": 4, "outside": 1}, {"x": 2})}
    record = Record("", "", {}, images)
    assert record.total("left_out") == {"hidden": 5, "outside": 1}
    assert record.total("remarks") == {"x": 2}
