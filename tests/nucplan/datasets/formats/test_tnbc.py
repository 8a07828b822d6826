from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from nucplan.datasets.against_source import partition_difference
from nucplan.datasets.annotations.label_files import read_pieces
from nucplan.datasets.formats import tnbc
from nucplan.errors import NucplanError
from nucplan.images import read_image, read_label_map, write_image


def add(root: Path, name: str, mask: np.ndarray, alpha: bool = True) -> None:
    """One image in the true layout: RGBA with alpha 255 or RGB, and a mask of 0 and 255."""
    patient = name[:2]
    for folder in (root / f"Slide_{patient}", root / f"GT_{patient}"):
        folder.mkdir(parents=True, exist_ok=True)
    picture = np.full((*mask.shape, 4 if alpha else 3), (30, 20, 10, 255)[: 4 if alpha else 3], np.uint8)
    cv2.imwrite(str(root / f"Slide_{patient}" / f"{name}.png"), picture)
    write_image(root / f"GT_{patient}" / f"{name}.png", (mask > 0).astype(np.uint8) * 255)


def parted() -> np.ndarray:
    """Two nuclei that a line parts, a third in one piece by its corners alone, and a speck of 3 pixels."""
    labels = np.zeros((32, 32), np.int32)
    labels[2:10, 2:8], labels[2:10, 9:15] = 1, 2
    for step in range(6):
        labels[16 + step, 4 + step] = 3
    labels[28, 28:31] = 4
    return labels


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "TNBC_NucleiSegmentation"
    add(root, "01_1", parted())
    add(root, "02_1", parted(), alpha=False)
    return root


def test_parted_nuclei_and_diagonal_ones_are_read_and_specks_counted(source: Path, written):
    expected = np.where(parted() == 4, 0, parted())
    found = tnbc.read(source)
    raw = written(found)
    assert raw.cases() == ["01_1", "02_1"]
    assert raw.info.groups == {"01_1": "01", "02_1": "02"}
    assert raw.info.licence == "CC-BY-4.0"
    for case in raw.cases():
        assert partition_difference(raw.instances(case), expected) is None
        assert raw.image(case).shape == (32, 32, 3)
        assert raw.image(case)[0, 0].tolist() == [10, 20, 30]
    assert found.cases[0].load().left_out == {tnbc.REMAINS: 1}


def test_the_folder_above_may_be_given_and_what_a_mac_left_is_skipped(source: Path):
    left = source.parent / "__MACOSX" / "Slide_01"
    left.mkdir(parents=True)
    (left / "01_9.png").write_bytes(b"none")
    (source / "__MACOSX").mkdir()
    assert [case.name for case in tnbc.read(source.parent).cases] == ["01_1", "02_1"]


@pytest.mark.parametrize(
    ("remove", "message"),
    [("GT_01/01_1.png", r"01_1\.png has no mask"), ("Slide_01/01_1.png", r"01_1\.png has no image")],
)
def test_a_missing_half_is_a_fault_of_that_image_alone(source: Path, remove: str, message: str):
    (source / remove).unlink()
    found = tnbc.read(source)
    assert re.search(message, found.faults[0])
    assert [case.name for case in found.cases] == ["02_1"]


def test_a_mask_that_is_cut_short_or_holds_ids_is_refused_by_name(source: Path):
    path = source / "GT_01" / "01_1.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(NucplanError, match=r"GT_01/01_1\.png is damaged"):
        tnbc.read(source).cases[0].load()
    write_image(path, parted().astype(np.uint8))
    with pytest.raises(NucplanError, match=r"01_1\.png holds 4 values besides 0, so it is no binary mask"):
        tnbc.read(source).cases[0].load()


def test_a_folder_without_slides_is_refused(tmp_path: Path):
    with pytest.raises(NucplanError, match=r"holds no Slide_\*"):
        tnbc.read(tmp_path)


def test_real_images_come_back_nucleus_by_nucleus(shared_data: Path, tmp_path: Path):
    for name in ("01_2", "07_3"):
        labels = read_label_map(shared_data / "tnbc" / "labels" / f"{name}.png")
        add(tmp_path, name, labels)
        picture = read_image(shared_data / "tnbc" / "images" / f"{name}.png")
        write_image(tmp_path / f"Slide_{name[:2]}" / f"{name}.png", picture)
    for case in tnbc.read(tmp_path).cases:
        expected = read_label_map(shared_data / "tnbc" / "labels" / f"{case.name}.png")
        assert partition_difference(case.load().instances, expected) is None
    # The test has teeth: with 4 neighbours some nuclei would fall apart.
    mask = (read_pieces(tmp_path / "GT_07" / "07_3.png") > 0).astype(np.uint8)
    assert cv2.connectedComponents(mask, connectivity=4)[0] != cv2.connectedComponents(mask, connectivity=8)[0]
