"""Images are told from what Cellpose writes beside them by the ends of their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from nucplan.datasets.finding.cellpose_names import SEGMENTATION, Names

WRITTEN = (
    "a_masks.tif",
    "a_cp_masks.png",
    "a_seg.npy",
    "a_flows.tif",
    "a_cp_flows.tif",
    "a_outlines.png",
    "a_cp_dP.tif",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.tif", ".b.tif", "notes.txt", *WRITTEN):
        (tmp_path / name).touch()
    return tmp_path


def test_what_cellpose_writes_is_no_image(folder: Path):
    assert Names("_masks", "").images_in(folder) == [folder / "a.tif"]


def test_masks_are_looked_for_in_the_order_of_trust(folder: Path):
    for mask in WRITTEN[:3]:
        assert Names("_masks", "").masks_of(folder / "a.tif") == folder / mask
        (folder / mask).unlink()
    assert Names("_masks", "").masks_of(folder / "a.tif") is None


def test_the_own_file_of_cellpose_can_be_asked_for(folder: Path):
    assert Names(SEGMENTATION, "").masks_of(folder / "a.tif") == folder / "a_seg.npy"


def test_ends_of_ones_own_are_understood_in_upper_case_too(tmp_path: Path):
    for name in ("x_Img.png", "x_Nuclei.png", "y_Nuclei.png", "z_Nuclei.png", "z.png"):
        (tmp_path / name).touch()
    names = Names("_Nuclei", "_Img")
    assert names.images_in(tmp_path) == [tmp_path / "x_Img.png"]
    assert names.masks_of(tmp_path / "x_Img.png") == tmp_path / "x_Nuclei.png"
    found = [fault.split(" has no image ")[0] for fault in names.orphans(tmp_path, names.images_in(tmp_path))]
    assert found == [str(tmp_path / "y_Nuclei.png"), str(tmp_path / "z_Nuclei.png")]


def test_masks_without_an_image_are_one_sentence_each(folder: Path):
    (folder / "a.tif").unlink()
    names = Names("_masks", "")
    assert len(names.orphans(folder, names.images_in(folder))) == 3
