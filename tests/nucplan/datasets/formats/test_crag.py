from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nucplan.datasets.against_source import partition_difference
from nucplan.datasets.checks import checked
from nucplan.datasets.formats import crag
from nucplan.errors import NucplanError
from nucplan.images import write_image

from ..touching import label_map


def add(folder: Path, stem: str, labels: np.ndarray, annotation: str = "Annotation") -> None:
    write_image(folder / "Images" / f"{stem}.png", np.full((*labels.shape, 3), 80, np.uint8))
    write_image(folder / annotation / f"{stem}.png", labels.astype(np.uint8))
    write_image(folder / "Overlay" / f"{stem}.png", np.zeros((*labels.shape, 3), np.uint8))


@pytest.fixture
def glands() -> np.ndarray:
    return np.where(label_map() == 300, 200, label_map())


@pytest.mark.parametrize(("part", "annotation"), [("valid", "Annotation"), ("test", "Annotations")])
def test_gland_ids_are_read_and_the_second_part_is_the_test_part(
    tmp_path: Path, written, glands: np.ndarray, part: str, annotation: str
):
    add(tmp_path / "CRAG" / "train", "train_1", glands, annotation)
    add(tmp_path / "CRAG" / part, "test_1", glands, annotation)
    raw = written(crag.read(tmp_path))
    assert (raw.cases("Tr"), raw.cases("Ts")) == (["train_1"], ["test_1"])
    assert raw.info.class_names == ("gland",)
    assert partition_difference(raw.instances("train_1"), glands) is None


def test_with_three_parts_only_the_last_is_the_test_part(tmp_path: Path, glands: np.ndarray):
    for part in ("train", "valid", "test"):
        add(tmp_path / part, f"{part}_1", glands)
    assert [case.part for case in crag.read(tmp_path).cases] == ["Tr", "Tr", "Ts"]


def test_one_gland_in_two_pieces_stays_one(tmp_path: Path):
    labels = np.zeros((16, 16), np.uint8)
    labels[2:5, 2:5] = labels[9:12, 9:12] = 1
    add(tmp_path / "train", "train_1", labels)
    assert crag.read(tmp_path).cases[0].load().class_of == {1: 1}


def test_a_mask_of_another_size_is_refused_by_name(tmp_path: Path, glands: np.ndarray):
    add(tmp_path / "train", "train_1", glands)
    write_image(tmp_path / "train" / "Annotation" / "train_1.png", glands[:-1].astype(np.uint8))
    source = crag.read(tmp_path)
    with pytest.raises(NucplanError, match=r"train_1\.png is 32 x 40 pixels and its label map 31 x 40"):
        checked(source.cases[0], source)


def test_bad_sources_are_refused_by_name(tmp_path: Path, glands: np.ndarray):
    with pytest.raises(NucplanError, match="holds no train/Images"):
        crag.read(tmp_path)
    add(tmp_path / "train", "train_1", glands)
    path = tmp_path / "train" / "Annotation" / "train_1.png"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(NucplanError, match=r"Annotation/train_1\.png is damaged"):
        crag.read(tmp_path).cases[0].load()
    path.unlink()
    assert "train_1.png has no label map" in crag.read(tmp_path).faults[0]
    path.parent.rmdir()
    with pytest.raises(NucplanError, match="train has no folder 'Annotation'"):
        crag.read(tmp_path)
