from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from nucplan.datasets import dsb2018
from nucplan.datasets.layers import stack_masks
from nucplan.errors import NucplanError
from nucplan.images import write_image


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


def test_overlap_goes_to_the_smaller_nucleus_whatever_the_order():
    large, small = rectangle(slice(0, 8), slice(0, 8)), rectangle(slice(6, 9), slice(6, 9))
    for masks in ([large, small], [small, large]):
        instances, contested = stack_masks(masks)
        assert contested == np.count_nonzero(large & small)
        small_id = next(i for i, mask in enumerate(masks, start=1) if mask is small)
        np.testing.assert_array_equal(instances == small_id, small)
        np.testing.assert_array_equal(instances == 3 - small_id, large & ~small)


def test_masks_become_instances_of_one_class(tmp_path: Path):
    add_image(tmp_path, "a", (9, 9, 9), [rectangle(slice(0, 3), slice(0, 3)), rectangle(slice(5, 9), slice(5, 9))])
    annotated = dsb2018.read(tmp_path).cases[0].load()
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
    with pytest.raises(NucplanError, match=r"a\.png has no folder .*masks"):
        dsb2018.read(tmp_path)
