"""The fingerprint recovers what synthetic datasets were made with."""

from __future__ import annotations

import json
import time
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucplan.errors import NucplanError
from nucplan.images import read_image, read_label_map
from planners import fingerprint as module
from planners.fingerprint import load_or_measure, measure, measure_images, nnunet_fingerprint, pool


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
    # Half of the nuclei have one pixel between them.
    assert found.touching_share == pytest.approx(8 / 16 * np.clip(1.5 - 1 / (0.06 * found.diameter(50)), 0, 1))
    assert min(found.gap_px.values()) == 1
    assert found.nuclei_per_256x256["median"] == pytest.approx(16)
    assert found.class_instances == {"class1": 32}


@pytest.mark.parametrize(("side", "gap", "touching"), [(10, 2, 0), (60, 2, 1), (50, 6, 0), (10, 0, 1), (50, 0, 1)])
def test_whether_a_gap_is_a_contact_depends_on_the_size_of_the_nuclei(
    write_raw, side: int, gap: int, touching: int
) -> None:
    labels = np.zeros((80, 150), np.int32)
    labels[10 : 10 + side, 10 : 10 + side], labels[10 : 10 + side, 10 + side + gap :][:, :side] = 1, 2
    case = {"a": (np.full((80, 150, 3), 9, np.uint8), labels > 0, labels)}
    for mpp in (None, 0.125):
        assert measure(write_raw(case, classes=1, mpp=mpp)).touching_share == touching


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


def test_ignored_pixels_are_in_no_band(write_raw) -> None:
    labels = np.zeros((40, 60), np.int32)
    labels[:, :30] = 1
    classes = (labels > 0).astype(int)
    classes[20:, 20:40] = 2
    found = measure(write_raw({"a": (np.full((40, 60), 9, np.uint8), classes, labels)}, classes=1, ignore=True))
    counted, near_the_edge = 40 * 60 - 20 * 20, 20
    assert found.band_share == pytest.approx([2 * h * near_the_edge / counted for h in range(1, 9)])


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(0, 0.4), min_size=8, max_size=8).map(lambda steps: np.minimum(1, np.cumsum(steps)).tolist()),
    st.floats(0, 30),
    st.floats(0, 30),
)
def test_the_band_is_measured_at_whole_widths_and_rises_between_them(fingerprint_of, shares, one, other) -> None:
    found = fingerprint_of(band_share=shares)
    assert [found.band(h) for h in range(9)] == pytest.approx([0, *shares])
    assert found.band(2.5) == pytest.approx((shares[1] + shares[2]) / 2)
    assert found.band(10) == pytest.approx(min(1, shares[7] + 2 * (shares[7] - shares[6])))
    assert found.band(min(one, other)) <= found.band(max(one, other)) <= 1


def test_pooled_statistics_are_those_of_all_nuclei_together(write_raw, random_case, discs) -> None:
    def case(diameter: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        instances = discs((90, 90), [(20, 20), (20, 25 + diameter), (60, 45)], diameter)
        return np.full((90, 90, 3), 100, np.uint8), (instances > 0).astype(int), instances

    alone = [measure(write_raw({"a": case(d)}, classes=1)) for d in (10, 20)]
    together = measure(write_raw({"a": case(10), "b": case(20)}, classes=1))
    assert together.band_share == pytest.approx(np.mean([found.band_share for found in alone], axis=0))
    assert together.nuclei == sum(found.nuclei for found in alone)
    assert together.diameter(5) == alone[0].diameter(50)
    assert together.diameter(95) == alone[1].diameter(50)
    assert sum(together.histograms["diameter_px"]["counts"]) == sum(together.histograms["gap_px"]["counts"]) == 6


def test_pooling_the_kept_statistics_equals_measuring_the_files(write_raw, random_case) -> None:
    raw = write_raw({case: random_case(seed) for seed, case in enumerate("abcd")})
    kept = list(measure_images(raw))
    assert pool(kept, raw) == pool(iter(kept), raw) == measure(raw)
    half = pool(kept[1:3], raw)
    assert set(half.cases) == {"b", "c"}
    assert half.pixels == 2 * 64**2


def test_the_order_in_which_threads_finish_changes_nothing(write_raw, random_case, monkeypatch) -> None:
    raw = write_raw({f"case{seed}": random_case(seed) for seed in range(6)})
    expected, original = measure(raw), module.measure_image

    def slow_at_first(*maps, seed: int, **others):
        time.sleep(0.02 * (5 - seed))
        return original(*maps, seed=seed, **others)

    monkeypatch.setattr(module, "measure_image", slow_at_first)
    monkeypatch.setattr("planners.measure.look_ahead.usable_cores", lambda: 4)
    found = measure(raw)
    assert found == expected
    assert list(found.cases) == list(expected.cases)


def test_a_fingerprint_survives_json(write_raw, random_case) -> None:
    found = measure(write_raw({"a": random_case(0), "b": random_case(1)}, mpp=0.5))
    assert json.loads(json.dumps(asdict(found))) == asdict(found)


def test_one_nucleus_has_no_neighbours(write_raw, discs) -> None:
    one = discs((64, 64), [(30, 30)], 20)
    found = measure(
        write_raw(
            {"a": (np.full((64, 64), 9, np.uint8), one, one), "b": (np.full((64, 64), 9, np.uint8), one, one)},
            classes=1,
        )
    )
    assert (found.gap_px, found.touching_share) == (None, None)
    assert found.cases["a"]["gap_px"] is found.cases["a"]["touching_share"] is None
    assert found.contact_length_share == 0
    assert "gap_px" not in found.histograms


def test_a_nucleus_that_fills_the_image_has_no_outline(write_raw) -> None:
    full = np.ones((32, 48), np.int32)
    found = measure(write_raw({"a": (np.full((32, 48), 9, np.uint8), full, full)}, classes=1))
    assert (found.nuclei, found.border_cut, found.band_share) == (1, 1, [0.0] * 8)
    assert found.diameter(50) == pytest.approx(np.sqrt(4 * 32 * 48 / np.pi))
    assert found.faults["specks"] == 0


def test_nuclei_that_are_all_cut_by_the_border_still_have_a_size(write_raw) -> None:
    labels = np.zeros((40, 40), np.int32)
    labels[:10, :10], labels[:10, 12:22], labels[30:, 5:15] = 1, 2, 3
    found = measure(write_raw({"a": (np.full((40, 40), 9, np.uint8), labels > 0, labels)}, classes=1))
    assert (found.nuclei, found.border_cut) == (3, 3)
    assert found.diameter(50) == pytest.approx(np.sqrt(400 / np.pi))
    assert found.cases["a"]["diameter_px"] is None
    assert found.cases["a"]["touching_share"] == found.touching_share


def test_ids_with_gaps_change_nothing_but_the_names(write_raw, random_case) -> None:
    image, classes, instances = random_case(0)
    plain, far = (measure(write_raw({"a": (image, classes, ids)})) for ids in (instances // 3, instances * 1000))
    skipped = {"raw_signature": "", "faults": {}}
    assert asdict(plain) | skipped == asdict(far) | skipped


# The annotators of tnbc left a pixel between nuclei that touch.
@pytest.mark.parametrize(("folder", "touching", "nearest"), [("tnbc", 0.15, 1), ("dsb2018_tissue", 0.4, 0)])
def test_real_annotations_have_the_contacts_that_are_in_them(
    write_raw, shared_data, folder: str, touching: float, nearest: float
) -> None:
    cases = {}
    for path in sorted((shared_data / folder / "labels").glob("*.png"))[:12]:
        labels = read_label_map(path)
        cases[path.stem] = read_image(path.parents[1] / "images" / path.name), labels > 0, labels
    found = measure(write_raw(cases, classes=1))
    assert found.gap_px["5"] == nearest
    assert (found.contact_length_share > 0) == (nearest == 0)
    assert found.touching_share == pytest.approx(touching, abs=0.1)


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
