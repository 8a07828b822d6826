from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from nucplan.datasets.annotations.class_maps import PIXELLESS
from nucplan.datasets.formats import lizard
from nucplan.datasets.source import NO_GROUPS_KNOWN
from nucplan.errors import NucplanError
from nucplan.images import write_image

from ..touching import CLASS_OF, assert_same_nuclei, label_map, picture

LABELS = Path("lizard_labels/Lizard_Labels/Labels")


def save(folder: Path, stem: str = "consep_1", ids: tuple[int, ...] = (300, 3, 7), **changed: object) -> Path:
    """An image whose table of nuclei is not in the order of the ids."""
    write_image(folder / "lizard_images1/Lizard_Images1" / f"{stem}.png", picture())
    (folder / LABELS).mkdir(parents=True, exist_ok=True)
    content = {
        "inst_map": label_map().astype(float),
        "id": np.array(ids)[:, None],
        "class": np.array([CLASS_OF.get(i, 6) for i in ids])[:, None],
        "bbox": np.zeros((len(ids), 4)),
        "centroid": np.zeros((len(ids), 2)),
    }
    savemat(folder / LABELS / f"{stem}.mat", {k: v for k, v in (content | changed).items() if v is not None})
    return folder


def test_classes_are_found_by_the_array_of_ids_and_not_by_order(tmp_path: Path):
    source = lizard.read(save(tmp_path))
    assert source.remarks == (NO_GROUPS_KNOWN,)
    loaded = source.cases[0].load()
    np.testing.assert_array_equal(loaded.image, picture())
    assert_same_nuclei(loaded, label_map(), CLASS_OF)


def test_one_nucleus_alone_is_read(tmp_path: Path):
    single = np.where(label_map() == 7, 7, 0)
    loaded = lizard.read(save(tmp_path, ids=(7,), inst_map=single)).cases[0].load()
    assert_same_nuclei(loaded, single, {7: 2})


def test_an_image_without_nuclei_is_read(tmp_path: Path):
    empty = np.zeros((0, 0))
    save(tmp_path, inst_map=np.zeros_like(label_map()), id=empty, **{"class": empty})
    assert lizard.read(tmp_path).cases[0].load().class_of == {}


def test_entries_of_the_table_without_pixels_are_counted(tmp_path: Path):
    loaded = lizard.read(save(tmp_path, ids=(300, 3, 99, 7))).cases[0].load()
    assert_same_nuclei(loaded, label_map(), CLASS_OF)
    assert loaded.left_out == {PIXELLESS: 1}


def test_images_of_a_split_become_the_test_part(tmp_path: Path):
    save(save(tmp_path, "consep_1"), "dpath_2")
    info = tmp_path / "lizard_labels/Lizard_Labels/info.csv"
    info.write_text("Filename,Source,Split\nconsep_1,consep,1\ndpath_2,dpath,3\n")
    assert [case.part for case in lizard.read(tmp_path).cases] == ["Tr", "Tr"]
    assert [case.part for case in lizard.read(tmp_path, split="3").cases] == ["Tr", "Ts"]
    with pytest.raises(NucplanError, match="has no image of the Split 2"):
        lizard.read(tmp_path, split="2")
    info.unlink()
    with pytest.raises(NucplanError, match=r"has no info\.csv"):
        lizard.read(tmp_path, split="1")


def test_a_missing_half_is_a_fault_of_its_image_alone(tmp_path: Path):
    save(save(tmp_path, "consep_1"), "dpath_2")
    (tmp_path / LABELS / "dpath_2.mat").unlink()
    source = lizard.read(tmp_path)
    assert [case.name for case in source.cases] == ["consep_1"]
    assert [fault.split(";")[0].rpartition("/")[2] for fault in source.faults] == [
        "dpath_2.png has no annotation of the same name"
    ]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"class": None}, "has no variable class"),
        ({"inst_map": None}, "has no variable inst_map, only bbox, centroid, class, id"),
        ({"class": np.ones((2, 1))}, "lists 3 ids, 3 of them different, and 2 classes"),
        ({"id": np.array([[3], [3], [7]])}, "lists 3 ids, 2 of them different"),
        ({"id": np.array([[12], [3], [8]])}, "has the nucleus 7 in inst_map, but not in id"),
        ({"inst_map": label_map() + 0.5}, "fractional ids"),
        ({"inst_map": np.zeros((2, 3, 4))}, r"shape \(2, 3, 4\), not one \(height, width\)"),
    ],
)
def test_a_file_that_is_not_as_it_should_be_is_refused(tmp_path: Path, changed: dict[str, object], message: str):
    case = lizard.read(save(tmp_path, **changed)).cases[0]
    with pytest.raises(NucplanError, match=rf"consep_1\.mat.*{message}"):
        case.load()


def test_a_folder_without_annotations_is_refused(tmp_path: Path):
    write_image(tmp_path / "consep_1.png", picture())
    with pytest.raises(NucplanError, match=r"holds no annotations \(\.mat\); unpack both parts"):
        lizard.read(tmp_path)
