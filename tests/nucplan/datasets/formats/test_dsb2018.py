from __future__ import annotations

import re
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest

from nucplan.datasets.against_source import partition_difference
from nucplan.datasets.annotations.layers import OVERLAP
from nucplan.datasets.conversion import Wishes, write_raw
from nucplan.datasets.formats import dsb2018
from nucplan.datasets.reservation import new_dataset
from nucplan.datasets.source import NO_GROUPS_KNOWN
from nucplan.errors import NucplanError
from nucplan.images import read_image, read_label_map, write_image
from nucplan.layout import Roots


def add_image(folder: Path, name: str, colour: tuple[int, int, int], masks: list[np.ndarray]) -> None:
    (folder / name / "images").mkdir(parents=True)
    (folder / name / "masks").mkdir()
    bgra = np.full((10, 12, 4), (*colour, 255), np.uint8)
    cv2.imwrite(str(folder / name / "images" / f"{name}.png"), bgra)
    for index, mask in enumerate(masks):
        write_image(folder / name / "masks" / f"{index}.png", mask.astype(np.uint8) * 255)


def rectangle(rows: slice, cols: slice) -> np.ndarray:
    mask = np.zeros((10, 12), bool)
    mask[rows, cols] = True
    return mask


def test_a_dataset_without_colour_gets_one_channel_and_one_with_colour_keeps_three(tmp_path: Path):
    add_image(tmp_path, "a", (9, 9, 9), [])
    assert dsb2018.read(tmp_path).cases[0].load().image.shape == (10, 12)
    add_image(tmp_path, "b", (9, 9, 30), [])
    assert [case.load().image.shape for case in dsb2018.read(tmp_path).cases] == [(10, 12, 3)] * 2
    write_image(tmp_path / "a" / "images" / "a.png", np.full((10, 12), 9, np.uint8))
    np.testing.assert_array_equal(dsb2018.read(tmp_path).cases[0].load().image, np.full((10, 12, 3), 9))


def test_overlap_goes_to_the_smaller_nucleus_whatever_the_order(tmp_path: Path):
    large, small = rectangle(slice(0, 8), slice(0, 8)), rectangle(slice(6, 9), slice(6, 9))
    add_image(tmp_path, "a", (9, 9, 9), [large, small])
    add_image(tmp_path, "b", (9, 9, 9), [small, large])
    for case, small_id in zip(dsb2018.read(tmp_path).cases, (2, 1), strict=True):
        annotated = case.load()
        assert annotated.remarks == {OVERLAP: np.count_nonzero(large & small)}
        np.testing.assert_array_equal(annotated.instances == small_id, small)
        np.testing.assert_array_equal(annotated.instances == 3 - small_id, large & ~small)


def test_hundreds_of_masks_do_not_fill_the_memory(tmp_path: Path):
    masks = []
    for i in range(60):
        masks.append(np.zeros((300, 400), bool))
        masks[-1][4 * i : 4 * i + 4, 5 * i : 5 * i + 6] = True
    add_image(tmp_path, "a", (9, 9, 9), masks)
    write_image(tmp_path / "a" / "images" / "a.png", np.full((300, 400, 3), 9, np.uint8))
    case = dsb2018.read(tmp_path).cases[0]
    tracemalloc.start()
    assert len(case.load().class_of) == 60
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60 * 300 * 400 / 2


def test_masks_become_instances_of_one_class(tmp_path: Path):
    add_image(tmp_path, "a", (9, 9, 9), [rectangle(slice(0, 3), slice(0, 3)), rectangle(slice(5, 9), slice(5, 9))])
    source = dsb2018.read(tmp_path)
    assert source.remarks == (NO_GROUPS_KNOWN,)
    annotated = source.cases[0].load()
    assert annotated.class_of == {1: 1, 2: 1}
    assert np.bincount(annotated.instances.ravel()).tolist() == [120 - 9 - 16, 9, 16]


def test_the_look_at_all_images_is_tracked_and_ends_at_the_first_colour(tmp_path: Path):
    for name, red in (("a", 9), ("b", 30), ("c", 9)):
        add_image(tmp_path, name, (9, 9, red), [])
    seen = []

    def track(items):
        for item in items:
            seen.append(item.stem)
            yield item

    dsb2018.read(tmp_path, track)
    assert seen == ["a", "b"]


def test_missing_parts_are_refused_by_name(tmp_path: Path):
    with pytest.raises(NucplanError, match="has no image folder"):
        dsb2018.read(tmp_path)
    add_image(tmp_path, "a", (9, 9, 9), [np.zeros((9, 12))])
    with pytest.raises(NucplanError, match=r"0\.png and its image differ in size"):
        dsb2018.read(tmp_path).cases[0].load()
    (tmp_path / "a" / "masks" / "0.png").unlink()
    (tmp_path / "a" / "masks").rmdir()
    assert re.search(r"a\.png has no folder .*masks", dsb2018.read(tmp_path).faults[0])


def runs_of(mask: np.ndarray) -> str:
    """Starts (from 1) and lengths down the columns, by the definition: one pixel at a time."""
    runs: list[list[int]] = []
    for position, inside in enumerate(mask.T.ravel().tolist(), start=1):
        if inside and runs and sum(runs[-1]) == position:
            runs[-1][1] += 1
        elif inside:
            runs.append([position, 1])
    return " ".join(f"{start} {length}" for start, length in runs)


@pytest.fixture
def stage1(tmp_path: Path) -> Path:
    """An image to train on, and one to test on with two nuclei that touch, at the first pixel and over columns."""
    nuclei = [rectangle(slice(0, 3), slice(0, 3)), rectangle(slice(0, 5), slice(3, 6))]
    add_image(tmp_path / "stage1_train", "a", (9, 9, 9), nuclei)
    add_image(tmp_path / "stage1_test", "b", (9, 9, 9), [])
    (tmp_path / "stage1_test" / "b" / "masks").rmdir()
    lines = [f"b,{runs_of(mask)},10,12,Public" for mask in nuclei]
    (tmp_path / "stage1_solution.csv").write_text("\n".join(["ImageId,EncodedPixels,Height,Width,Usage", *lines]))
    return tmp_path


def test_run_lengths_make_the_test_part(stage1: Path, written):
    raw = written(dsb2018.read(stage1))
    assert (raw.cases("Tr"), raw.cases("Ts")) == (["a"], ["b"])
    assert raw.instances("b", "Ts")[0, 0] > 0
    assert partition_difference(raw.instances("b", "Ts"), raw.instances("a")) is None


def test_an_empty_line_is_an_image_without_nuclei(stage1: Path):
    (stage1 / "stage1_solution.csv").write_text("ImageId,EncodedPixels\nb,\n")
    assert dsb2018.read(stage1).cases[1].load().class_of == {}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("ImageId,EncodedPixels\nb,0 3\n", "runs '0 3' outside of an image"),
        ("ImageId,EncodedPixels\nb,118 4\n", "runs '118 4' outside of an image"),
        ("ImageId,EncodedPixels\nb,1 2 3\n", "no pairs of numbers"),
        ("ImageId,EncodedPixels\nb,1 x\n", "no pairs of numbers"),
        ("Image,Pixels\nb,1 2\n", "needs a first line with the columns ImageId and EncodedPixels"),
    ],
)
def test_run_lengths_that_are_none_are_refused_by_name(stage1: Path, lines: str, message: str):
    (stage1 / "stage1_solution.csv").write_text(lines)
    with pytest.raises(NucplanError, match=rf"stage1_solution\.csv .*{message}"):
        dsb2018.read(stage1).cases[1].load()


def test_without_a_solution_or_a_line_in_it_test_images_are_left_out_aloud(stage1: Path):
    (stage1 / "stage1_solution.csv").write_text("ImageId,EncodedPixels\nc,1 2\n")
    source = dsb2018.read(stage1)
    assert re.search(r"b\.png has no line in .*stage1_solution\.csv", source.faults[0])
    (stage1 / "stage1_solution.csv").unlink()
    source = dsb2018.read(stage1)
    assert [case.name for case in source.cases] == ["a"]
    assert "stage1_test was left out" in source.remarks[-1]


def test_real_images_come_back_nucleus_by_nucleus(shared_data: Path, tmp_path: Path):
    real = shared_data / "dsb2018_tissue"
    for path in sorted((real / "images").iterdir())[:2]:
        labels = read_label_map(real / "labels" / path.name)
        (tmp_path / path.stem / "masks").mkdir(parents=True)
        bgra = cv2.cvtColor(read_image(path), cv2.COLOR_RGB2BGRA)
        (tmp_path / path.stem / "images").mkdir()
        cv2.imwrite(str(tmp_path / path.stem / "images" / path.name), bgra)
        for instance in np.unique(labels[labels > 0]):
            mask = (labels == instance).astype(np.uint8) * 255
            cv2.imwrite(str(tmp_path / path.stem / "masks" / f"{instance:x}-1.png"), mask)
    for case in dsb2018.read(tmp_path).cases:
        found = case.load()
        assert partition_difference(found.instances, read_label_map(real / "labels" / f"{case.name}.png")) is None
        np.testing.assert_array_equal(found.image, read_image(real / "images" / f"{case.name}.png"))


def test_a_damaged_image_does_not_stop_the_others(tmp_path: Path, roots: Roots):
    for name in "ab":
        add_image(tmp_path, name, (9, 9, 9), [rectangle(slice(0, 3), slice(0, 3))])
    path = tmp_path / "a" / "images" / "a.png"
    path.write_bytes(path.read_bytes()[:40])
    done = write_raw(dsb2018.read(tmp_path), new_dataset(roots, 1, "One"), Wishes(skip_bad=True))
    assert list(done.record.images) == ["b"]
    assert "a.png is damaged" in done.record.skipped[0]
