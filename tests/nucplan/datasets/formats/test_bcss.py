from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nucplan.datasets.checks import checked
from nucplan.datasets.formats import bcss
from nucplan.errors import NucplanError
from nucplan.images import write_image

TRAIN, TEST = "TCGA-A1-A0SK-DX1_xmin45749_ymin25055_MPP-0.2500", "TCGA-E2-A14N-DX1_xmin21383_ymin66838_MPP-0.2500"


def codes() -> np.ndarray:
    """Two pieces of tumour that a stripe of stroma parts, tumour that hangs on by a corner, and nothing at the top."""
    pixels = np.zeros((20, 24), np.uint8)
    pixels[4:16] = 1
    pixels[4:16, 10:12] = 2
    pixels[16:20, 12:] = 21
    pixels[16:18, 9] = 2
    return pixels


@pytest.fixture(params=["images", "0_Public-data-Amgad2019_0.25MPP/rgbs_colorNormalized"])
def source(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    images = tmp_path / request.param
    for stem in (TRAIN, TEST):
        write_image(images / f"{stem}.png", np.full((20, 24, 3), 50, np.uint8))
        write_image(images.parent / "masks" / f"{stem}.png", codes())
    return tmp_path


def masks(source: Path) -> Path:
    return next(source.rglob("masks"))


def test_regions_are_pieces_of_a_class_and_outside_is_ignored(source: Path, written):
    found = bcss.read(source)
    raw = written(found)
    assert (raw.cases("Tr"), raw.cases("Ts")) == ([TRAIN], [TEST])
    assert raw.info.groups == {TRAIN: "TCGA-A1-A0SK", TEST: "TCGA-E2-A14N"}
    assert (raw.info.mpp, raw.info.class_names[0], raw.info.class_names[19]) == (0.25, "tumor", "other")
    instances, classes = raw.instances(TRAIN), raw.classes_map(TRAIN)
    # Without code 7, later codes move up by one.
    expected = np.where(codes() == 0, raw.info.ignore_label, codes() - (codes() > 7))
    np.testing.assert_array_equal(classes, expected)
    assert {(i, c) for i, c in zip(instances.flat, classes.flat, strict=True) if i} == {(1, 1), (2, 1), (3, 2), (4, 20)}
    assert instances[17, 9] == instances[4, 10], "a piece that meets at a corner is the same region"


def test_excluded_pixels_are_ignored_unless_asked_for_and_undetermined_ones_are_a_class(source: Path):
    pixels = np.where(codes() == 2, 7, np.where(codes() == 21, 15, codes())).astype(np.uint8)
    write_image(masks(source) / f"{TRAIN}.png", pixels)
    found = bcss.read(source)
    annotated = found.cases[0].load()
    np.testing.assert_array_equal(annotated.ignored, (pixels == 0) | (pixels == 7))
    assert {found.class_names[k - 1] for k in annotated.class_of.values()} == {"tumor", "undetermined"}
    found = bcss.read(source, exclude="class")
    annotated = found.cases[0].load()
    np.testing.assert_array_equal(annotated.ignored, pixels == 0)
    assert {found.class_names[k - 1] for k in annotated.class_of.values()} == {"tumor", "exclude", "undetermined"}


def test_the_hospitals_of_the_paper_can_be_trained_on(source: Path):
    assert {case.part for case in bcss.read(source, test="none").cases} == {"Tr"}


def test_pixel_sizes_that_differ_are_none(source: Path):
    for path in source.rglob(f"{TEST}.png"):
        path.rename(path.with_name(path.name.replace("0.2500", "0.5000")))
    assert bcss.read(source).mpp is None


def test_a_mask_of_another_size_is_refused_by_name(source: Path):
    write_image(masks(source) / f"{TRAIN}.png", codes()[:-1])
    found = bcss.read(source)
    with pytest.raises(NucplanError, match=r"TCGA-A1-A0SK.*\.png is 20 x 24 pixels and its label map 19 x 24"):
        checked(found.cases[0], found)


def test_bad_sources_are_refused_by_name(source: Path):
    path = masks(source) / f"{TRAIN}.png"
    write_image(path, np.where(codes() == 21, 22, codes()).astype(np.uint8))
    with pytest.raises(NucplanError, match=r"TCGA-A1-A0SK.*\.png has the code 22, but codes are 0 to 21"):
        bcss.read(source).cases[0].load()
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(NucplanError, match=r"masks/TCGA-A1-A0SK.*\.png is damaged"):
        bcss.read(source).cases[0].load()
    path.unlink()
    assert "has no mask" in bcss.read(source).faults[0]
    masks(source).rename(masks(source).with_name("mask"))
    with pytest.raises(NucplanError, match="has no folder 'masks'"):
        bcss.read(source)
