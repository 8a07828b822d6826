from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from nucplan.datasets.against_source import partition_difference
from nucplan.datasets.checks import checked
from nucplan.datasets.formats import cryonuseg
from nucplan.errors import NucplanError

from ..touching import label_map

STEM = "Human_AdrenalGland_01"
AGAIN, OTHER = "Annotator 1 (biologist second round of manual marks up)", "Annotator 2 (bioinformatician)"
FOLDERS = {
    "biologist": "Annotator 1 (biologist)",
    "biologist-again": f"{AGAIN}/{AGAIN}",
    "bioinformatician": f"{OTHER}/{OTHER}",
}


def annotation(annotator: str) -> np.ndarray:
    return np.roll(label_map(), list(FOLDERS).index(annotator), axis=0)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "tissue images").mkdir()
    tifffile.imwrite(tmp_path / "tissue images" / f"{STEM}.tif", np.full((*label_map().shape, 3), 9, np.uint8))
    for annotator, folder in FOLDERS.items():
        (tmp_path / folder / "label masks modify").mkdir(parents=True)
        tifffile.imwrite(tmp_path / folder / "label masks modify" / f"{STEM}.tif", annotation(annotator))
    return tmp_path


@pytest.mark.parametrize("annotator", FOLDERS)
def test_each_annotator_is_found_in_his_own_folder(source: Path, written, annotator: str):
    raw = written(cryonuseg.read(source, annotator=annotator))
    assert raw.cases() == [STEM]
    assert partition_difference(raw.instances(STEM), annotation(annotator)) is None
    assert "NC" in raw.info.licence


def test_the_first_annotator_is_the_default():
    (option,) = cryonuseg.FORMAT.options
    assert option.default in option.values == tuple(FOLDERS)


def test_what_is_missing_is_named(source: Path):
    labels = source / "Annotator 1 (biologist)" / "label masks modify"
    (labels / f"{STEM}.tif").rename(labels / "Other.tif")
    faults = cryonuseg.read(source).faults
    assert "Human_AdrenalGland_01.tif has no label map" in faults[0]
    assert "Other.tif has no image" in faults[1]
    labels.rename(labels.with_name("label masks"))
    with pytest.raises(NucplanError, match="has no folder 'label masks modify'"):
        cryonuseg.read(source)
    (source / "tissue images").rename(source / "tissue")
    with pytest.raises(NucplanError, match="holds no tissue images"):
        cryonuseg.read(source)


def test_a_mask_of_another_size_is_refused_by_name(source: Path):
    tifffile.imwrite(source / FOLDERS["biologist"] / "label masks modify" / f"{STEM}.tif", label_map()[:-1])
    found = cryonuseg.read(source)
    with pytest.raises(NucplanError, match=rf"{STEM}\.tif is 32 x 40 pixels and its label map 31 x 40"):
        checked(found.cases[0], found)


def test_a_truncated_label_map_is_refused_by_name(source: Path):
    path = source / "Annotator 1 (biologist)" / "label masks modify" / f"{STEM}.tif"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(NucplanError, match=r"01\.tif is damaged"):
        cryonuseg.read(source).cases[0].load()
