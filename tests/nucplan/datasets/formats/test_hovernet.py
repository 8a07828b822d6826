from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from nucplan.datasets.annotations.class_maps import CLASSLESS
from nucplan.datasets.annotations.polygons import TOO_FEW_POINTS
from nucplan.datasets.formats import hovernet
from nucplan.errors import NucplanError
from nucplan.images import read_label_map, write_image

from ..touching import CLASS_OF, assert_same_nuclei, class_map, label_map, picture

UIDS = np.array([[300], [3], [7]])
TYPES = np.array([[1], [2], [1]])


def save_mat(folder: Path, stem: str = "a", **content: object) -> Path:
    write_image(folder / "images" / f"{stem}.png", picture())
    (folder / "mat").mkdir(exist_ok=True)
    savemat(folder / "mat" / f"{stem}.mat", {"inst_map": label_map(), **content})
    return folder


def contour(mask: np.ndarray) -> list[list[int]]:
    return cv2.findContours(mask.astype(np.uint8), cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0][0][:, 0].tolist()


def predicted(**changed: object) -> dict[str, dict[str, object]]:
    """What HoVer-Net writes for the three nuclei; ``changed`` goes into the nucleus 7."""
    nuclei = {
        str(i): {
            "bbox": [[0, 0], [1, 1]],
            "centroid": [0.0, 0.0],
            "contour": contour(label_map() == i),
            "type_prob": 0.9,
            "type": class_id,
        }
        for i, class_id in CLASS_OF.items()
    }
    nuclei["7"] |= changed
    return nuclei


def save_json(folder: Path, nuclei: object, stem: str = "a") -> Path:
    write_image(folder / "images" / f"{stem}.png", picture())
    (folder / "json").mkdir(exist_ok=True)
    (folder / "json" / f"{stem}.json").write_text(json.dumps({"mag": 40, "nuc": nuclei}))
    return folder


def save_patch(path: Path, planes: int = 5) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    stacked = np.dstack([picture(), label_map(), class_map()]).astype(np.int32)
    np.save(path, stacked[..., :planes])


@pytest.mark.parametrize(
    "content",
    [
        {"inst_type": np.array([[1], [2], [1]])},
        {"inst_type": np.array([[1], [1], [2]]), "inst_uid": UIDS},
        {"inst_type": np.array([[300, 1], [3, 1], [7, 2]])},
    ],
    ids=["in the order of the ids", "by inst_uid", "rows of id and class"],
)
def test_classes_of_a_matlab_prediction_are_found_in_each_of_its_forms(tmp_path: Path, content: dict[str, object]):
    source = hovernet.read(save_mat(tmp_path, **content))
    assert source.class_names == ("class_1", "class_2")
    loaded = source.cases[0].load()
    np.testing.assert_array_equal(loaded.image, picture())
    assert_same_nuclei(loaded, label_map(), CLASS_OF)


def test_a_nucleus_that_the_prediction_does_not_list_becomes_an_area_to_ignore(tmp_path: Path):
    save_mat(tmp_path, inst_uid=np.array([[3], [7]]), inst_type=np.array([[1], [2]]))
    loaded = hovernet.read(tmp_path).cases[0].load()
    assert loaded.class_of == {3: 1, 7: 2}
    np.testing.assert_array_equal(loaded.ignored, label_map() == 300)
    assert loaded.left_out == {CLASSLESS: 1}


def test_predictions_without_classes_have_one(tmp_path: Path):
    source = hovernet.read(save_mat(tmp_path))
    assert source.class_names == ("nucleus",)
    assert_same_nuclei(source.cases[0].load(), label_map(), dict.fromkeys(CLASS_OF, 1))


def test_names_come_from_type_info(tmp_path: Path):
    save_mat(tmp_path, inst_type=np.array([[1], [2], [1]]))
    table = {"0": ["nolabe", [0, 0, 0]], "1": ["neopla", [255, 0, 0]], "2": ["inflam", [0, 255, 0]]}
    (tmp_path / "type_info.json").write_text(json.dumps(table))
    source = hovernet.read(tmp_path)
    assert source.class_names == ("neopla", "inflam")
    assert_same_nuclei(source.cases[0].load(), label_map(), CLASS_OF)


@pytest.mark.parametrize("table", [[], {"one": ["a"]}, {"1": "a"}, {"0": ["nolabe"]}])
def test_a_table_of_names_of_another_form_is_refused(tmp_path: Path, table: object):
    save_mat(tmp_path)
    (tmp_path / "type_info.json").write_text(json.dumps(table))
    with pytest.raises(NucplanError, match=r"type_info\.json must be an object such as"):
        hovernet.read(tmp_path)


def test_contours_through_the_outermost_pixels_give_the_pixels_back(tmp_path: Path):
    source = hovernet.read(save_json(tmp_path, predicted()))
    loaded = source.cases[0].load()
    assert_same_nuclei(loaded, label_map(), CLASS_OF)
    assert sorted(loaded.class_of) == [3, 7, 300]
    assert not loaded.remarks


def test_real_nuclei_come_back_from_both_predictions(tmp_path: Path, shared_data: Path):
    image = sorted((shared_data / "tnbc/images").glob("*.png"))[0]
    labels = read_label_map(shared_data / "tnbc/labels" / image.name)
    ids = np.unique(labels)[1:].tolist()
    save_mat(tmp_path / "mat", "real", inst_map=labels, inst_uid=np.array([ids]), inst_type=np.ones((len(ids), 1)))
    save_json(tmp_path / "json", {str(i): {"contour": contour(labels == i), "type": 1} for i in ids}, "real")
    for folder in ("mat", "json"):
        shutil.copy(image, tmp_path / folder / "images/real.png")
    as_mat, as_json = (hovernet.read(tmp_path / folder).cases[0].load() for folder in ("mat", "json"))
    assert_same_nuclei(as_mat, labels, dict.fromkeys(ids, 1))
    assert sorted(as_json.class_of) == ids
    # An outline tells nothing of holes.
    assert np.count_nonzero(as_json.instances != labels) < 0.01 * np.count_nonzero(labels)


def test_nuclei_of_class_0_and_without_points_are_counted(tmp_path: Path):
    nuclei = predicted(type=0) | {"20": {"contour": [], "type": 1}}
    loaded = hovernet.read(save_json(tmp_path, nuclei)).cases[0].load()
    assert loaded.left_out == {CLASSLESS: 1, TOO_FEW_POINTS: 1}
    np.testing.assert_array_equal(loaded.ignored, label_map() == 7)


def test_a_prediction_without_types_has_one_class(tmp_path: Path):
    nuclei = {i: nucleus | {"type": None} for i, nucleus in predicted().items()}
    source = hovernet.read(save_json(tmp_path, nuclei))
    assert source.class_names == ("nucleus",)
    assert_same_nuclei(source.cases[0].load(), label_map(), dict.fromkeys(CLASS_OF, 1))


@pytest.mark.parametrize("nuclei", [None, [1], {"1": 2}, {"one": {"contour": []}}, {"0": {"contour": []}}])
def test_json_without_numbered_nuclei_is_refused(tmp_path: Path, nuclei: object):
    source = hovernet.read(save_json(save_json(tmp_path, nuclei), predicted(), "b"))
    assert [case.name for case in source.cases] == ["b"]
    assert re.search(r"a\.json has (no object 'nuc'|a nucleus with the id)", source.faults[0])


@pytest.mark.parametrize("points", [None, [1, 2, 3], [["a", "b"]], [[1, float("nan")]], [[1, 10**400]]])
def test_a_contour_that_is_none_is_refused(tmp_path: Path, points: object):
    with pytest.raises(NucplanError, match=r"a\.json has a (nucleus without a 'contour'|contour with a point)"):
        hovernet.read(save_json(tmp_path, predicted(contour=points))).cases[0].load()


def test_contours_of_another_image_are_refused(tmp_path: Path):
    nuclei = {"1": {"contour": [[500, 500], [509, 500], [509, 509]], "type": 1}}
    with pytest.raises(NucplanError, match=r"a\.json: all outlines lie outside of the image"):
        hovernet.read(save_json(tmp_path, nuclei)).cases[0].load()


def test_the_pictures_may_lie_elsewhere_and_must_be_there(tmp_path: Path):
    save_mat(tmp_path / "out")
    (tmp_path / "out/images").rename(tmp_path / "pictures")
    with pytest.raises(NucplanError, match=r"images is no folder; give .* --set images=FOLDER"):
        hovernet.read(tmp_path / "out")
    source = hovernet.read(tmp_path / "out", images=str(tmp_path / "pictures"))
    assert [case.name for case in source.cases] == ["a"]


def test_a_missing_half_is_a_fault_of_its_image_alone(tmp_path: Path):
    save_mat(save_mat(tmp_path), "b")
    (tmp_path / "images/b.png").unlink()
    source = hovernet.read(tmp_path)
    assert [case.name for case in source.cases] == ["a"]
    assert "b.mat has no image of the same name" in source.faults[0]


@pytest.mark.parametrize("planes", [4, 5])
def test_training_patches_hold_picture_ids_and_perhaps_classes(tmp_path: Path, planes: int):
    for name in ("train/540x540_164x164/train_1_000", "train/540x540_164x164/train_1_001", "valid/540x540/test_1_000"):
        save_patch(tmp_path / f"{name}.npy", planes)
    source = hovernet.read(tmp_path)
    assert sorted(source.groups.items()) == [
        ("test_1_000", "test_1"),
        ("train_1_000", "train_1"),
        ("train_1_001", "train_1"),
    ]
    loaded = source.cases[0].load()
    np.testing.assert_array_equal(loaded.image, picture())
    assert_same_nuclei(loaded, label_map(), CLASS_OF if planes == 5 else dict.fromkeys(CLASS_OF, 1))


def test_patches_of_one_name_in_two_folders_are_told_apart(tmp_path: Path):
    save_patch(tmp_path / "train/image_00_000.npy")
    save_patch(tmp_path / "valid/image_00_000.npy")
    assert hovernet.read(tmp_path).groups == {
        "train_image_00_000": "train_image_00",
        "valid_image_00_000": "valid_image_00",
    }


def test_patches_of_another_form_are_refused(tmp_path: Path):
    with pytest.raises(NucplanError, match="has no folder mat or json and no .npy patches"):
        hovernet.read(tmp_path)
    save_patch(tmp_path / "a_000.npy", 3)
    assert "a_000.npy holds int32 of shape (32, 40, 3)" in hovernet.read(tmp_path).faults[0]
    save_patch(tmp_path / "a_000.npy", 4)
    (tmp_path / "type_info.json").write_text('{"1": ["a", [0, 0, 0]]}')
    with pytest.raises(NucplanError, match=r"a_000\.npy has no fifth plane"):
        hovernet.read(tmp_path).cases[0].load()
    save_patch(tmp_path / "a_000.npy")
    with pytest.raises(NucplanError, match="holds the class 2, not 0 to 1"):
        hovernet.read(tmp_path).cases[0].load()


def test_a_type_that_is_no_number_is_refused(tmp_path: Path):
    assert (
        "a.json: nucleus 7 is of the type 'tumour'"
        in hovernet.read(save_json(tmp_path, predicted(type="tumour"))).faults[0]
    )


@pytest.mark.parametrize("impossible", [300, -1])
def test_a_type_that_no_dataset_can_hold_is_told_by_its_nucleus(tmp_path: Path, impossible: int):
    save_json(tmp_path / "json", predicted(type=impossible))
    (fault,) = hovernet.read(tmp_path / "json").faults
    assert f"a.json: nucleus 7 is of the type {impossible}, not 0 to 254" in fault
    save_mat(tmp_path / "mat", inst_type=np.array([[1], [300], [2]]))
    (fault,) = hovernet.read(tmp_path / "mat").faults
    assert "a.mat: nucleus 7 is of the type 300, not 0 to 254" in fault


def test_a_damaged_prediction_is_to_be_exported_again(tmp_path: Path):
    path = save_json(tmp_path, predicted()) / "json" / "a.json"
    path.write_text(path.read_text()[:-9])
    assert re.search(r"a\.json is not valid JSON .*; predict or export it again\.", hovernet.read(tmp_path).faults[0])


def test_more_classes_than_nuclei_are_refused(tmp_path: Path):
    save_mat(tmp_path, inst_type=np.ones((5, 1)))
    assert "a.mat has 5 classes in inst_type for 3 nuclei" in hovernet.read(tmp_path).faults[0]
