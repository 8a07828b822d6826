from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from nucplan.datasets.annotations.class_maps import CLASSLESS
from nucplan.datasets.class_selection import select_classes
from nucplan.datasets.formats import consep
from nucplan.datasets.source import NO_GROUPS_KNOWN
from nucplan.errors import NucplanError
from nucplan.images import write_image

from ..touching import CLASS_OF, assert_same_nuclei, class_map, label_map, picture


def save(folder: Path, part: str = "Train", stem: str = "train_1", **changed: object) -> Path:
    """One image with an alpha channel and the variables of the release, or those of ``changed`` (None: without)."""
    (folder / part / "Images").mkdir(parents=True, exist_ok=True)
    (folder / part / "Labels").mkdir(exist_ok=True)
    write_image(folder / part / "Overlay" / f"{stem}.png", picture(9))
    bgra = np.dstack([picture()[..., ::-1], np.full(label_map().shape, 255, np.uint8)])
    cv2.imwrite(str(folder / part / "Images" / f"{stem}.png"), bgra)
    content = {
        "inst_map": label_map().astype(float),
        "type_map": class_map().astype(float),
        "inst_type": np.array([[1.0], [2.0], [1.0]]),
        "inst_centroid": np.zeros((3, 2)),
    }
    kept = {name: value for name, value in (content | changed).items() if value is not None}
    savemat(folder / part / "Labels" / f"{stem}.mat", kept)
    return folder


@pytest.mark.parametrize("without", ["inst_type", "type_map"])
def test_classes_come_from_their_map_or_in_the_order_of_the_ids(tmp_path: Path, without: str):
    loaded = consep.read(save(tmp_path, **{without: None})).cases[0].load()
    assert_same_nuclei(loaded, label_map(), CLASS_OF)
    np.testing.assert_array_equal(loaded.image, picture())


def test_the_older_release_of_numpy_files_is_read(tmp_path: Path):
    save(tmp_path)
    (tmp_path / "Train/Labels/train_1.mat").unlink()
    np.save(tmp_path / "Train/Labels/train_1.npy", np.dstack([label_map(), class_map()]).astype(float))
    assert_same_nuclei(consep.read(tmp_path).cases[0].load(), label_map(), CLASS_OF)
    np.save(tmp_path / "Train/Labels/train_1.npy", label_map())
    with pytest.raises(NucplanError, match=r"train_1\.npy has the shape \(32, 40\)"):
        consep.read(tmp_path).cases[0].load()


def test_tiles_with_numbered_class_labels_are_refused_and_not_guessed(tmp_path: Path):
    save(
        tmp_path, inst_map=None, type_map=None, inst_type=None, instance_map=label_map(), class_labels=np.ones((1, 12))
    )
    with pytest.raises(NucplanError, match=r"train_1\.mat has no variable inst_map, only class_labels, .*instance_map"):
        consep.read(tmp_path).cases[0].load()


def test_a_missing_half_and_a_file_cut_short_are_refused_by_name(tmp_path: Path):
    save(save(tmp_path), stem="train_2")
    (tmp_path / "Train/Labels/train_2.mat").unlink()
    source = consep.read(tmp_path)
    assert [case.name for case in source.cases] == ["train_1"]
    assert "train_2.png has no annotation of the same name" in source.faults[0]
    path = tmp_path / "Train/Labels/train_1.mat"
    for length in (2000, 100, 0):
        path.write_bytes(path.read_bytes()[:length])
        with pytest.raises(NucplanError, match=r"train_1\.mat is damaged, cut short or no MATLAB file"):
            source.cases[0].load()


def test_images_are_groups_of_their_own_aloud(tmp_path: Path):
    source = consep.read(save(tmp_path))
    assert (source.groups, source.remarks[0]) == (None, NO_GROUPS_KNOWN)


def test_train_and_test_become_the_two_parts(tmp_path: Path):
    save(save(tmp_path), "Test", "test_1")
    assert [(case.name, case.part) for case in consep.read(tmp_path).cases] == [("test_1", "Ts"), ("train_1", "Tr")]


def test_the_classes_of_the_paper_can_be_asked_for_as_the_remark_says():
    names = select_classes(consep.PAPER, consep.CLASSES)
    assert names.names == ("miscellaneous", "inflammatory", "epithelial", "spindle")
    assert names.new_of == {1: 1, 2: 2, 3: 3, 4: 3, 5: 4, 6: 4, 7: 4}


def test_a_nucleus_whose_map_has_no_class_becomes_an_area_to_ignore(tmp_path: Path):
    classes = class_map()
    classes[label_map() == 7] = 0
    loaded = consep.read(save(tmp_path, type_map=classes)).cases[0].load()
    assert loaded.left_out == {CLASSLESS: 1}
    np.testing.assert_array_equal(loaded.ignored, label_map() == 7)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"inst_map": None}, "has no variable inst_map, only"),
        ({"type_map": None, "inst_type": None}, "has neither type_map nor inst_type"),
        ({"type_map": None, "inst_type": np.ones((2, 1))}, "has 2 classes in inst_type for 3 nuclei"),
        ({"type_map": class_map() * 5}, "holds the class 10, not 0 to 7"),
        ({"type_map": class_map()[1:]}, r"ids are \(32, 40\) pixels and classes \(31, 40\)"),
        ({"type_map": -class_map().astype(int)}, "negative"),
    ],
)
def test_a_file_that_is_not_as_it_should_be_is_refused(tmp_path: Path, changed: dict[str, object], message: str):
    case = consep.read(save(tmp_path, **changed)).cases[0]
    with pytest.raises(NucplanError, match=rf"train_1\.mat.*{message}"):
        case.load()
