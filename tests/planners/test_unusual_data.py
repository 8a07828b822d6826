"""Datasets at the edge of what can be planned: a plan that says so, or one sentence that refuses."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from nucplan.cli.plan_and_preprocess import main
from planners.fingerprint import measure
from planners.oracle import sample_labels
from planners.planner import decide
from planners.rules import Limits

SQUARE = np.s_[20:34, 20:34]


def case_of(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    image = np.where(labels[..., None] > 0, 90, 220) + np.arange(3)
    return image.astype(np.uint8), (labels > 0).astype(np.uint8), labels


def empty() -> np.ndarray:
    return np.zeros((96, 96), np.int32)


def one_nucleus() -> np.ndarray:
    labels = empty()
    labels[SQUARE] = 1
    return labels


def run(raw, *options: str) -> int:
    root = raw.dataset.roots.raw.parent
    return main([str(raw.dataset.id), "--root", str(root), "--device", "cpu", *options])


def planned(raw) -> dict:
    labels = sample_labels(raw, raw.cases())
    return decide(measure(raw), Limits("cpu", 16, 2), labels, {})


def assert_refused(raw, capsys, *words: str) -> None:
    assert run(raw) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error.rpartition("nucplan_plan_and_preprocess:")[2]
    assert all(word in error for word in words)
    assert not raw.dataset.plans().exists()
    assert not raw.dataset.splits.exists()


def test_no_nucleus_anywhere_is_refused(write_raw, capsys) -> None:
    assert_refused(write_raw({"a": case_of(empty()), "b": case_of(empty())}, classes=1), capsys, "no nucleus")


def test_one_image_is_refused_because_none_can_be_held_out(write_raw, capsys) -> None:
    assert_refused(write_raw({"a": case_of(one_nucleus())}, classes=1), capsys, "1 training image(s)", "held out")


def test_one_patient_is_refused_because_none_can_be_held_out(write_raw, capsys) -> None:
    cases = {name: case_of(one_nucleus()) for name in "abcdef"}
    raw = write_raw(cases, classes=1, groups=dict.fromkeys(cases, "patient"))
    assert_refused(raw, capsys, "one group", "'groups' in dataset.json")


def test_one_nucleus_in_all_is_planned_without_a_weight(write_raw) -> None:
    decisions = planned(write_raw({"a": case_of(one_nucleus()), "b": case_of(empty())}, classes=1))
    assert decisions["boundary_beta"].value == 0
    assert "no contacts" in decisions["boundary_beta"].because
    assert decisions["oracle_ceiling"].value == 1


def test_wildly_mixed_sizes_keep_the_small_nuclei(write_raw, discs) -> None:
    labels = discs((256, 256), [(60, 60), (60, 180), (180, 120)], 90)
    small = discs((256, 256), [(r, c) for r in (8, 120, 248) for c in (8, 128, 248)], 9)
    labels = np.where(small > 0, small + 3, labels)
    decisions = planned(write_raw({"a": case_of(labels), "b": case_of(labels)}, classes=1))
    assert decisions["decoder"].value["minimum_area"] * np.pi / 4 * decisions["decoder"].value["diameter"] ** 2 < 60
    assert decisions["oracle_ceiling"].value >= 0.97


def test_a_missing_pixel_size_changes_nothing_but_the_micrometres(write_raw, random_case) -> None:
    cases = {name: random_case(seed) for seed, name in enumerate("ab")}
    without, with_size = (planned(write_raw(cases, mpp=mpp)) for mpp in (None, 0.5))
    assert {name: d.value for name, d in without.items()} == {name: d.value for name, d in with_size.items()}


@pytest.mark.parametrize("classes", [1, 3])
def test_a_dataset_of_one_used_class_is_planned(write_raw, classes: int) -> None:
    raw = write_raw({name: case_of(one_nucleus()) for name in "abcde"}, classes=classes)
    assert run(raw) == 0
    plans = json.loads(raw.dataset.plans().read_text())
    assert 0 < plans["nucplan"]["decisions"]["oversampling"]["value"] <= 1
    assert (raw.dataset.preprocessed / "fingerprint.png").is_file()


def test_multiplex_images_of_many_channels_are_planned(write_raw, random_case) -> None:
    raw = write_raw({name: (image[..., 0], *maps) for name, (image, *maps) in grey_cases(random_case)})
    content = json.loads(raw.dataset.dataset_json.read_text())
    content["channel_names"] = {str(c): f"marker{c}" for c in range(6)}
    raw.dataset.dataset_json.write_text(json.dumps(content))
    for first in raw.dataset.part("images").glob("*_0000.png"):
        for channel in range(1, 6):
            shutil.copy(first, first.with_name(first.name.replace("_0000", f"_{channel:04d}")))
    assert run(raw) == 0
    plans = json.loads(raw.dataset.plans().read_text())
    assert plans["configurations"]["2d"]["normalization_schemes"] == ["ZScoreNormalization"] * 6


def grey_cases(random_case):
    return [(name, random_case(seed)) for seed, name in enumerate("abcde")]


def test_nuclei_larger_than_a_usual_window_are_in_the_sample(write_raw) -> None:
    labels = np.zeros((300, 300), np.int32)
    labels[20:280, 20:280] = 1
    raw = write_raw({name: case_of(labels) for name in "ab"}, classes=1)
    sample = sample_labels(raw, raw.cases(), diameter=measure(raw).diameter(95), pixels=2 * 100 * 100)
    assert sum(window.max() for window in sample) >= 1


def test_planning_again_writes_the_same_file(write_raw, random_case) -> None:
    raw = write_raw({name: random_case(seed) for seed, name in enumerate("abcde")})
    assert run(raw) == 0
    first = raw.dataset.plans().read_bytes()
    raw.dataset.fingerprint.unlink()
    assert run(raw) == 0
    assert raw.dataset.plans().read_bytes() == first
