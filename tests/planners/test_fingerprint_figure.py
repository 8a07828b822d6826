"""The figure of a fingerprint is written whole, in the promised size, whatever plan or data it is given."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from planners.fingerprint import measure
from planners.fingerprint_figure import draw, planned_lengths


def plans(**values: object) -> dict:
    return {"dataset_name": "Dataset007_Test", "nucplan": {"decisions": {n: {"value": v} for n, v in values.items()}}}


FULL = plans(
    scale=2, patch_size=[256, 256], boundary_kernel=5, weight_kernel=7, boundary_beta=3.25, tile_overlap=64,
    decoder={"name": "distance", "diameter": 36.0, "minimum_area": 0.04},
)  # fmt: skip


def test_planned_lengths_are_those_of_the_raw_pixels() -> None:
    assert planned_lengths(FULL) == pytest.approx(
        {
            "scale": 2, "diameter": 18, "smallest": 3.6, "boundary": 1, "boundary_kernel": 5, "band": 2.5,
            "band_kernel": 7, "beta": 3.25, "patch": 128, "overlap": 32,
        }
    )  # fmt: skip


@pytest.mark.parametrize("missing", ["scale", "decoder", "boundary_kernel", "patch_size", None])
def test_a_plan_that_lacks_a_decision_is_drawn_without_it(fingerprint_of, tmp_path: Path, missing: str | None) -> None:
    decisions = {n: d for n, d in FULL["nucplan"]["decisions"].items() if n != missing}
    assert set(planned_lengths({"nucplan": {"decisions": decisions}})) <= set(planned_lengths(FULL))
    draw(fingerprint_of(mpp=0.25), {"nucplan": {"decisions": decisions}}, tmp_path / "fingerprint.png")
    assert cv2.imread(str(tmp_path / "fingerprint.png")).shape == (1050, 1600, 3)


def test_a_dataset_without_gaps_or_with_many_classes_is_drawn(write_raw, fingerprint_of, discs, tmp_path: Path) -> None:
    one = discs((64, 64), [(30, 30)], 20)
    draw(measure(write_raw({"a": (np.full((64, 64), 9, np.uint8), one, one)}, classes=1)), {}, tmp_path / "one.png")
    many = fingerprint_of(counts={f"a class with a $long^ name$ {k}": 100 - k for k in range(40)})
    draw(many, FULL, tmp_path / "many.png")
    assert cv2.imread(str(tmp_path / "one.png")).shape == cv2.imread(str(tmp_path / "many.png")).shape


def test_drawing_twice_gives_the_same_file_and_leaves_no_other(fingerprint_of, tmp_path: Path) -> None:
    for name in ("one.png", "other.png"):
        draw(fingerprint_of(), FULL, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "other.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "other.png"]


def test_a_mark_moves_when_the_plan_does(fingerprint_of, tmp_path: Path) -> None:
    draw(fingerprint_of(), FULL, tmp_path / "one.png")
    for name, value in {"boundary_kernel": 7, "patch_size": [192, 192]}.items():
        changed = FULL["nucplan"]["decisions"] | {name: {"value": value}}
        draw(fingerprint_of(), {**FULL, "nucplan": {"decisions": changed}}, tmp_path / "other.png")
        assert (tmp_path / "one.png").read_bytes() != (tmp_path / "other.png").read_bytes(), name
