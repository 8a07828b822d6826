"""The fingerprint recovers what synthetic datasets were made with."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nucplan.errors import NucplanError
from planners.fingerprint import load_or_measure, measure, nnunet_fingerprint


def grid_case(discs, diameter: float, pairs: int, singles: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Discs in a 256 x 256 image: pairs with one pixel between them, and singles far from everything."""
    cells = [(32 + 64 * (k // 4), 24 + 64 * (k % 4)) for k in range(pairs + singles)]
    centres = []
    for k, (row, column) in enumerate(cells):
        centres.append((row, column))
        if k < pairs:
            centres.append((row, column + 2 * int(diameter / 2) + 2))
    instances = discs((256, 256), centres, diameter)
    return np.full((256, 256, 3), 100, np.uint8), (instances > 0).astype(int), instances


@pytest.mark.parametrize("diameter", [8, 14, 22])
def test_known_discs_are_recovered(write_raw, discs, diameter: int) -> None:
    raw = write_raw({case: grid_case(discs, diameter, 4, 8) for case in "ab"}, classes=1, mpp=0.5)
    found = measure(raw)
    assert found.diameter(50) == pytest.approx(diameter, rel=0.05)
    assert found.diameter_um["50"] == pytest.approx(diameter * 0.5, rel=0.05)
    assert found.touching_share == pytest.approx(8 / 16)
    assert found.nuclei_per_256x256["median"] == pytest.approx(16)
    assert found.class_instances == {"class1": 32}


def test_a_gap_of_two_pixels_is_no_contact_unless_the_pixels_are_small(write_raw) -> None:
    labels = np.zeros((64, 64), np.int32)
    labels[20:30, 10:20], labels[20:30, 22:32] = 1, 2
    case = {"a": (np.full((64, 64, 3), 9, np.uint8), labels > 0, labels)}
    assert measure(write_raw(case, classes=1)).touching_share == 0
    assert measure(write_raw(case, classes=1, mpp=0.125)).touching_share == 1


def test_nuclei_cut_by_the_border_do_not_shrink_the_diameter(write_raw, discs) -> None:
    instances = discs((96, 96), [(48, 48), (0, 20), (0, 70), (95, 40)], 20)
    found = measure(write_raw({"a": (np.full((96, 96), 50, np.uint8), instances > 0, instances)}, classes=1))
    assert (found.nuclei, found.border_cut) == (4, 3)
    assert found.diameter(5) == pytest.approx(20, rel=0.05)


def test_ignored_pixels_count_for_no_class(write_raw, random_case) -> None:
    image, classes, instances = random_case(0)
    classes = classes.copy()
    classes[:4] = 3
    found = measure(write_raw({"a": (image, classes, instances)}, ignore=True))
    assert set(found.class_pixels) == {"background", "class1", "class2"}
    assert sum(found.class_pixels.values()) == pytest.approx(1)
    assert found.class_instances == {"class1": 2, "class2": 2}


def test_an_image_without_nuclei_is_accepted_and_a_dataset_without_any_refused(write_raw, random_case) -> None:
    image, empty = random_case(0)[0], np.zeros((64, 64), int)
    assert measure(write_raw({"a": random_case(1), "b": (image, empty, empty)})).cases["b"]["nuclei"] == 0
    with pytest.raises(NucplanError, match="no nucleus"):
        measure(write_raw({"a": (image, empty, empty), "b": (image, empty, empty)}))


def test_the_stored_fingerprint_is_reused_until_a_raw_file_changes(write_raw, random_case) -> None:
    raw = write_raw({"a": random_case(0), "b": random_case(1)})
    first = load_or_measure(raw)
    assert load_or_measure(raw, progress=lambda *_: pytest.fail("measured again")) == first
    write_raw({"a": random_case(0), "b": random_case(2, size=80)})
    assert load_or_measure(raw).pixels == 64**2 + 80**2


def test_the_nnunet_fingerprint_has_what_nnunet_reads(write_raw, random_case) -> None:
    raw = write_raw({"a": random_case(0, margin=8), "b": random_case(1)})
    fingerprint = load_or_measure(raw)
    stored = json.loads((raw.dataset.preprocessed / "dataset_fingerprint.json").read_text())
    assert stored == nnunet_fingerprint(fingerprint)
    assert stored["shapes_after_crop"] == [[1, 56, 64], [1, 64, 64]]
    assert stored["spacings"][0] == [999, 1, 1]
    assert set(stored["foreground_intensity_properties_per_channel"]) == {"0", "1", "2"}


def test_nnunet_measures_the_same_crop_and_intensities(write_raw, random_case) -> None:
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
    from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO

    raw = write_raw({"a": random_case(0, margin=8)})
    ours = nnunet_fingerprint(measure(raw))
    shape, spacing, _, statistics, kept = DatasetFingerprintExtractor.analyze_case(
        [str(raw.image_path("a"))], str(raw.classes_path("a")), NaturalImage2DIO, 1000
    )
    assert ours["shapes_after_crop"] == [list(shape)]
    assert ours["spacings"] == [list(spacing)]
    assert ours["median_relative_size_after_cropping"] == pytest.approx(kept)
    for channel, theirs in enumerate(statistics):
        found = ours["foreground_intensity_properties_per_channel"][str(channel)]
        assert found["mean"] == pytest.approx(theirs["mean"], rel=1e-5)
        assert (found["min"], found["max"]) == (theirs["min"], theirs["max"])
