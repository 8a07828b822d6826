"""nucplan_verify says that a dataset is what its source is, or what differs first; and it draws it."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nucplan.cli import convert
from nucplan.cli.verify import main
from nucplan.datasets.raw import RawDataset
from nucplan.datasets.synthetic import write_synthetic
from nucplan.images import read_image, read_label_map, write_image, write_label_map
from nucplan.layout import find_dataset, resolve_roots


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source, and a root with it as dataset 1, whole, and as dataset 2, in tiles."""
    folder = tmp_path_factory.mktemp("converted")
    write_synthetic(folder / "source", images=4, size=64, images_per_slide=2)
    root = ["--root", str(folder / "root")]
    assert convert.main(["folder", str(folder / "source"), "1", "Whole", "--test-split", "0.5", *root]) == 0
    tiles = ["--tile", "40", "--overlap", "8"]
    assert convert.main(["folder", str(folder / "source"), "2", "Tiles", *tiles, *root]) == 0
    return folder


@pytest.fixture
def folder(converted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy that a test may change; the current folder is an empty one."""
    shutil.copytree(converted, tmp_path / "copy")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for record in (tmp_path / "copy").rglob("conversion.json"):
        content = json.loads(record.read_text())
        content["source"] = str(tmp_path / "copy" / "source")
        record.write_text(json.dumps(content))
    return tmp_path / "copy"


def verify(folder: Path, *arguments: str) -> int:
    return main([*arguments, "--root", str(folder / "root")])


def raw_of(folder: Path, dataset_id: int) -> RawDataset:
    return RawDataset(find_dataset(resolve_roots(folder / "root"), dataset_id))


def test_a_conversion_agrees_with_its_record_and_its_source(folder: Path, capsys: pytest.CaptureFixture):
    assert verify(folder, "1") == 0
    said = capsys.readouterr().out
    ids = [read_label_map(path).max() for path in (folder / "source" / "labels").iterdir()]
    assert f"{sum(ids)} nuclei of 4 images\n" in said
    assert "every pixel and nucleus of 4 images is the same" in said
    assert [path.name for path in Path.cwd().iterdir()] == ["Dataset001_Whole_contact_sheet.png"]


def test_nuclei_that_tiles_cut_count_once(folder: Path, capsys: pytest.CaptureFixture):
    assert verify(folder, "2") == 0
    said = capsys.readouterr().out
    nuclei = sum(int(read_label_map(path).max()) for path in (folder / "source" / "labels").iterdir())
    raw = raw_of(folder, 2)
    pieces = sum(int(raw.instances(case).max()) for case in raw.cases())
    assert pieces > nuclei
    assert f"{nuclei} nuclei of 4 images, which tiles cut into {pieces}\n" in said
    assert "every pixel and nucleus of 4 images is the same" in said


def test_ids_may_be_others_as_long_as_the_nuclei_are_the_same(folder: Path):
    raw = raw_of(folder, 1)
    path = raw.instances_path(raw.cases()[0])
    instances = read_label_map(path)
    write_label_map(path, np.where(instances > 0, instances.max() + 1 - instances, 0))
    assert verify(folder, "1") == 2
    (raw.dataset.raw / "nuclei.csv").write_text(_rows_after_reversal(raw))
    assert verify(folder, "1") == 0


def _rows_after_reversal(raw: RawDataset) -> str:
    case = raw.cases()[0]
    rows = list(csv.reader((raw.dataset.raw / "nuclei.csv").open()))
    highest = max(int(row[1]) for row in rows if row[0] == case)
    for row in rows:
        if row[0] == case:
            row[1] = str(highest + 1 - int(row[1]))
    return "\n".join(",".join(row) for row in rows)


def _change_map(path: Path, change: Callable[[np.ndarray], None]) -> None:
    labels = read_label_map(path)
    change(labels)
    write_label_map(path, labels)


def _in_both(raw: RawDataset, change: Callable[[np.ndarray, np.ndarray], None]) -> None:
    case = raw.cases()[0]
    instances, classes = raw.instances(case), raw.classes_map(case)
    change(instances, classes)
    write_label_map(raw.instances_path(case), instances)
    write_image(raw.classes_path(case), classes)


def _lose_one(instances: np.ndarray, classes: np.ndarray) -> None:
    classes[instances == 3] = 0
    instances[instances == 3] = 0


def _other_class(instances: np.ndarray, classes: np.ndarray) -> None:
    classes[instances == 3] = 1 + classes[instances == 3][0] % 2


def _lose_pixel(instances: np.ndarray, classes: np.ndarray) -> None:
    row, column = np.argwhere(instances == 3)[0]
    instances[row, column] = classes[row, column] = 0


def _edit_record(raw: RawDataset, change: Callable[[dict], None]) -> None:
    path = raw.dataset.raw / "conversion.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def _one_more(content: dict) -> None:
    content["images"]["image_000"]["nuclei"] += 1
    content["nuclei"] += 1


def _forget_image(content: dict) -> None:
    content["nuclei"] -= content["images"].pop("image_000")["nuclei"]


def _row_twice(raw: RawDataset, place: int) -> None:
    path = raw.dataset.raw / "nuclei.csv"
    rows = path.read_text().splitlines()
    rows.insert(place, rows[4])
    path.write_text("\n".join(rows))


CHANGED = {
    "a nucleus is gone": (lambda raw: _in_both(raw, _lose_one), r"has \d+ nuclei, nuclei.csv has \d+ of it: 3 is not"),
    "a class is another": (lambda raw: _in_both(raw, _other_class), r"nucleus 3 is \w+, nuclei.csv says \w+"),
    "a pixel is gone": (lambda raw: _in_both(raw, _lose_pixel), r"nucleus 3 has \d+ pixels, nuclei.csv says \d+"),
    "a count is wrong": (
        lambda raw: _edit_record(raw, _one_more),
        r"image_000 of the source gave \d+ nuclei by conversion.json, but \d+ by nuclei.csv",
    ),
    "a total is wrong": (
        lambda raw: _edit_record(raw, lambda c: c.update(nuclei=c["nuclei"] + 1)),
        r"conversion.json: 'nuclei' is not what its images add up to",
    ),
    "a row is doubled": (lambda raw: _row_twice(raw, 5), r"nuclei.csv lists nucleus 4 of image_000 twice"),
    "a row is doubled elsewhere": (
        lambda raw: _row_twice(raw, 10**9),
        r"nuclei.csv lists nucleus 4 of image_000 twice",
    ),
    "an image is not recorded": (
        lambda raw: _edit_record(raw, _forget_image),
        r"case image_000 is not in conversion.json",
    ),
    "the record is no record": (lambda raw: _edit_record(raw, lambda c: c.pop("images")), r"is not a record"),
    "the table is gone": (lambda raw: (raw.dataset.raw / "nuclei.csv").unlink(), r"nuclei.csv is missing"),
    "the table is cut": (
        lambda raw: (raw.dataset.raw / "nuclei.csv").write_text("case,id\n"),
        r"nuclei.csv is damaged",
    ),
}


@pytest.mark.parametrize("case", CHANGED)
def test_what_differs_from_the_record_is_said_with_code_2(folder: Path, capsys: pytest.CaptureFixture, case: str):
    change, message = CHANGED[case]
    change(raw_of(folder, 1))
    code = verify(folder, "1")
    error = capsys.readouterr().err
    assert (code, error.count("\n")) == (2, 1)
    assert re.search(message, error), error


def _source_label(folder: Path, change: Callable[[np.ndarray], None]) -> None:
    _change_map(next((folder / "source" / "labels").glob("image_001.*")), change)


def _source_pixel(folder: Path) -> None:
    path = next((folder / "source" / "images").glob("image_001.*"))
    image = read_image(path)
    image[0, 0] ^= 1
    write_image(path, image)


SOURCE_CHANGED = {
    "one pixel of an image": (_source_pixel, "in the case image_001.*, its image has other pixels"),
    "a nucleus lost a pixel": (
        lambda f: _source_label(f, lambda m: m.__setitem__(tuple(np.argwhere(m == 1)[0]), 0)),
        r"in the case image_001.* covers pixels that are background there",
    ),
    "an image is gone": (
        lambda f: [path.unlink() for path in (f / "source").glob("*/image_001.*")],
        "no longer has the image image_001",
    ),
}


@pytest.mark.parametrize("dataset", ["1", "2"])
@pytest.mark.parametrize("case", SOURCE_CHANGED)
def test_what_differs_from_the_source_is_said_with_code_2(
    folder: Path, capsys: pytest.CaptureFixture, case: str, dataset: str
):
    change, message = SOURCE_CHANGED[case]
    change(folder)
    assert verify(folder, dataset) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(message, error), error


def test_a_source_that_was_moved_is_said_to_be_so_and_found_with_its_option(
    folder: Path, capsys: pytest.CaptureFixture
):
    (folder / "source").rename(folder / "moved")
    assert verify(folder, "1") == 0
    said = capsys.readouterr().out
    assert "not compared with the source" in said
    assert "--source FOLDER" in said
    assert verify(folder, "1", "--source", str(folder / "moved")) == 0
    assert "every pixel and nucleus" in capsys.readouterr().out


def test_a_dataset_made_by_hand_is_checked_without_a_record_and_says_so(
    folder: Path, capsys: pytest.CaptureFixture, assert_refused: Callable
):
    raw = raw_of(folder, 1)
    for record in ("conversion.json", "nuclei.csv"):
        (raw.dataset.raw / record).unlink()
    assert verify(folder, "1") == 0
    assert "there is no conversion.json" in capsys.readouterr().out
    assert_refused(verify(folder, "1", "--source", str(folder / "source")), "no conversion.json")


def test_the_picture_is_there_although_something_differs(folder: Path):
    _source_pixel(folder)
    assert verify(folder, "1", "--output", "seen.jpg") == 2
    assert read_image("seen.jpg").shape[2] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["9"], "Dataset '9' does not exist"),
        (["1", "--images", "0"], "ask for 1 or more"),
        (["1", "--output", "sheet.pdf"], "neither PNG nor JPEG"),
        (["1", "--source", "nowhere"], "nowhere does not exist"),
    ],
)
def test_bad_input_is_refused(folder: Path, assert_refused: Callable, arguments: list[str], message: str):
    assert_refused(verify(folder, *arguments), message)
