from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from nucplan.datasets.against_source import partition_difference
from nucplan.datasets.formats import nuinsseg
from nucplan.errors import NucplanError
from nucplan.images import write_image

from ..touching import label_map


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two organs; in the sums of ids an overlap of 3 and 7 would be another nucleus."""
    sums = label_map()
    sums[0:6, 5] += 7
    for organ, stem in (("human bladder", "human_bladder_01"), ("mouse fat (white)", "mouse_fat (white)_01")):
        folder = tmp_path / "data" / organ
        write_image(folder / "tissue images" / f"{stem}.png", np.full((*label_map().shape, 3), 90, np.uint8))
        for name, labels in (("label masks modify", label_map()), ("label masks", sums)):
            (folder / name).mkdir()
            tifffile.imwrite(folder / name / f"{stem}.tif", labels)
        write_image(folder / "mask binary" / f"{stem}.png", (label_map() > 0).astype(np.uint8) * 255)
    return tmp_path / "data"


def test_the_masks_that_are_no_sums_are_read_and_names_are_safe(source: Path, written):
    raw = written(nuinsseg.read(source.parent))
    assert raw.cases() == ["human_bladder_01", "mouse_fat_white__01"]
    assert raw.info.groups == {"human_bladder_01": "human bladder", "mouse_fat_white__01": "mouse fat (white)"}
    for case in raw.cases():
        assert partition_difference(raw.instances(case), label_map()) is None


@pytest.mark.parametrize("folder", ["vague areas", "vague areas/mask binary", "ambiguous area masks"])
def test_ambiguous_areas_are_ignored_where_no_nucleus_is(source: Path, written, folder: str):
    area = np.zeros(label_map().shape, np.uint8)
    area[:, 30:] = 255
    write_image(source / "human bladder" / folder / "human_bladder_01.png", area)
    if "/" in folder:
        write_image(source / "human bladder" / "vague areas" / "overlay" / "human_bladder_01.png", 255 - area)
    raw = written(nuinsseg.read(source))
    ignored = raw.classes_map("human_bladder_01") == raw.info.ignore_label
    np.testing.assert_array_equal(ignored, (area > 0) & (label_map() == 0))
    assert not (raw.classes_map("mouse_fat_white__01") == raw.info.ignore_label).any()


def test_sums_of_ids_alone_are_a_fault(source: Path):
    (source / "human bladder" / "label masks modify").rename(source / "human bladder" / "old")
    found = nuinsseg.read(source)
    assert "human bladder has no folder 'label masks modify'" in found.faults[0]
    assert [case.name for case in found.cases] == ["mouse_fat_white__01"]


def test_bad_files_are_refused_by_name(source: Path):
    organ = source / "human bladder"
    write_image(organ / "vague areas" / "human_bladder_01.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(NucplanError, match=r"vague areas/human_bladder_01\.png and its image differ in size"):
        nuinsseg.read(source).cases[0].load()
    labels = organ / "label masks modify" / "human_bladder_01.tif"
    labels.write_bytes(labels.read_bytes()[:100])
    with pytest.raises(NucplanError, match=r"human_bladder_01\.tif is damaged"):
        nuinsseg.read(source).cases[0].load()
    labels.unlink()
    assert "human_bladder_01.png has no label map" in nuinsseg.read(source).faults[0]
    with pytest.raises(NucplanError, match=r"holds no \*/tissue images"):
        nuinsseg.read(organ / "mask binary")
