from __future__ import annotations

from pathlib import Path

import cc3d
import numpy as np
import pytest

from nucplan.datasets.formats import folder
from nucplan.datasets.synthetic import CLASS_NAMES, make_image, write_synthetic
from nucplan.reference import otsu_watershed


@pytest.fixture(scope="module")
def images() -> list[tuple[np.ndarray, np.ndarray, dict[int, int]]]:
    return [make_image(np.random.default_rng([3, i])) for i in range(6)]


def touching_share(instances: np.ndarray) -> float:
    """Share of the nuclei with a pixel that has another nucleus among its eight neighbours."""
    padded = np.pad(instances, 1)
    rows, cols = instances.shape
    touching: set[int] = set()
    for dy in (0, 1, 2):
        for dx in (0, 1, 2):
            other = padded[dy : dy + rows, dx : dx + cols]
            touching |= set(instances[(other != instances) & (other > 0) & (instances > 0)].tolist())
    return len(touching) / (len(np.unique(instances)) - 1)


def test_equal_seeds_give_equal_images_and_others_differ(images):
    again = make_image(np.random.default_rng([3, 0]))
    np.testing.assert_array_equal(again[0], images[0][0])
    np.testing.assert_array_equal(again[1], images[0][1])
    assert (images[1][1] != images[0][1]).any()


def test_every_nucleus_has_one_piece_and_one_class(images):
    for image, instances, classes in images:
        assert image.shape == (256, 256, 3)
        assert image.dtype == np.uint8
        assert instances.dtype == np.int32
        assert set(np.unique(instances)) - {0} == set(classes) == set(range(1, len(classes) + 1))
        pieces, count = cc3d.connected_components(instances, connectivity=8, return_N=True)
        assert count == len(classes)


def test_at_least_three_in_ten_nuclei_touch_and_all_classes_occur(images):
    assert all(touching_share(instances) >= 0.3 for _, instances, _ in images)
    assert {k for _, _, classes in images for k in classes.values()} == {1, 2, 3}


def test_size_and_number_are_those_of_nuclei_at_40x(images):
    areas = np.concatenate([np.bincount(instances.ravel())[1:] for _, instances, _ in images])
    assert 14 <= np.median(2 * np.sqrt(areas / np.pi)) <= 22
    assert all(50 <= len(classes) <= 110 for _, _, classes in images)


def test_classes_differ_in_size_more_than_in_colour(images):
    means, areas = {k: [] for k in (1, 2, 3)}, {k: [] for k in (1, 2, 3)}
    for image, instances, classes in images:
        grey = image.mean(axis=2)
        for instance, class_id in classes.items():
            means[class_id].append(grey[instances == instance].mean())
            areas[class_id].append((instances == instance).sum())
    assert np.median(areas[3]) > 1.5 * np.median(areas[1])
    spread = np.std(np.concatenate(list(means.values())))
    assert np.ptp([np.mean(m) for m in means.values()]) < 1.5 * spread


def test_the_reference_finds_nuclei_but_far_from_all(images):
    found = total = 0
    for image, instances, classes in images:
        predicted = otsu_watershed(image)
        for instance in classes:
            inside = instances == instance
            best = np.bincount(predicted[inside], minlength=2)[1:].argmax() + 1
            hit = predicted == best
            found += (hit & inside).sum() > 0.5 * (hit | inside).sum()
        total += len(classes)
    assert 0.4 < found / total < 0.85


def test_the_reference_finds_nothing_in_a_blank_image():
    assert otsu_watershed(np.full((40, 40, 3), 240, np.uint8)).max() == 0
    assert otsu_watershed(np.zeros((40, 40), np.uint8)).max() == 0


def test_the_reference_parts_two_touching_discs_on_grey():
    rows, cols = np.mgrid[:60, :80]
    image = (200 * (np.minimum(np.hypot(rows - 30, cols - 26), np.hypot(rows - 30, cols - 50)) < 13)).astype(np.uint8)
    assert otsu_watershed(image).max() == 2


def test_a_written_dataset_is_read_back_with_slides_as_groups(tmp_path: Path):
    write_synthetic(tmp_path, images=3, size=96, seed=1, images_per_slide=2)
    source = folder.read(tmp_path)
    assert source.class_names == CLASS_NAMES
    assert list(source.groups.values()) == ["slide_00", "slide_00", "slide_01"]
    annotated = source.cases[0].load()
    assert set(annotated.class_of) == set(np.unique(annotated.instances)) - {0}


def test_an_image_does_not_depend_on_how_many_are_written(tmp_path: Path):
    write_synthetic(tmp_path / "few", images=1, size=96)
    write_synthetic(tmp_path / "many", images=2, size=96)
    few, many = (tmp_path / name / "images" / "image_000.png" for name in ("few", "many"))
    assert few.read_bytes() == many.read_bytes()
