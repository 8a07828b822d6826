from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from nucplan.datasets.formats import cellvit
from nucplan.errors import NucplanError
from nucplan.files import read_json
from nucplan.images import read_label_map, write_image

from ..touching import CLASS_OF, Intruder, assert_same_nuclei, class_map, label_map, picture


def content() -> dict[str, object]:
    return {"inst_map": label_map(), "type_map": class_map().astype(np.int32)}


def save(folder: Path, part: str = "train", stem: str = "a", labels: object = None) -> Path:
    write_image(folder / part / "images" / f"{stem}.png", picture())
    (folder / part / "labels").mkdir(exist_ok=True)
    np.save(folder / part / "labels" / f"{stem}.npy", content() if labels is None else labels, allow_pickle=True)
    (folder / "label_map.yaml").write_text('1: "tumour"\n2: stroma\n')
    (folder / "splits/fold_0").mkdir(parents=True, exist_ok=True)
    (folder / "splits/fold_0/train.csv").write_text(f"{stem}\n")
    return folder


def test_dictionaries_of_two_maps_become_annotated_images(tmp_path: Path):
    source = cellvit.read(save(save(tmp_path), "test", "b"))
    assert source.class_names == ("tumour", "stroma")
    assert [(case.name, case.part) for case in source.cases] == [("b", "Ts"), ("a", "Tr")]
    loaded = source.cases[1].load()
    np.testing.assert_array_equal(loaded.image, picture())
    assert_same_nuclei(loaded, label_map(), CLASS_OF)


def test_a_background_class_and_numbers_without_a_name_are_understood(tmp_path: Path):
    save(tmp_path)
    (tmp_path / "label_map.yaml").write_text("{0: background, 2: stroma}")
    assert cellvit.read(tmp_path).class_names == ("class_1", "stroma")


def test_a_pickle_that_would_run_code_is_refused_unless_trusted(tmp_path: Path):
    labels = content() | {"more": Intruder(tmp_path / "made")}
    save(tmp_path, labels=labels)
    with pytest.raises(NucplanError, match=r"a\.npy holds a pickle that wants to run .* --trust"):
        cellvit.read(tmp_path).cases[0].load()
    assert not (tmp_path / "made").exists()
    assert_same_nuclei(cellvit.read(tmp_path, trust=True).cases[0].load(), label_map(), CLASS_OF)
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"inst_map": label_map()}, "has no array 'type_map', only inst_map"),
        ({"inst_map": None, "type_map": class_map()}, "has no array 'inst_map'"),
        (label_map(), "holds no dictionary of inst_map and type_map"),
        ({"inst_map": label_map(), "type_map": class_map() + 1}, "holds the class 3, not 0 to 2"),
        ({"inst_map": label_map(), "type_map": class_map()[:5]}, "export it again"),
    ],
)
def test_other_content_is_refused(tmp_path: Path, labels: object, message: str):
    case = cellvit.read(save(tmp_path, labels=labels)).cases[0]
    with pytest.raises(NucplanError, match=rf"a\.npy.*{message}"):
        case.load()


def test_a_file_cut_short_is_refused(tmp_path: Path):
    path = save(tmp_path) / "train/labels/a.npy"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(NucplanError, match=r"a\.npy is damaged or cut short"):
        cellvit.read(tmp_path).cases[0].load()


def test_real_nuclei_come_back_as_they_were(tmp_path: Path, shared_data: Path):
    image = sorted((shared_data / "tnbc/images").glob("*.png"))[0]
    labels = read_label_map(shared_data / "tnbc/labels" / image.name)
    class_of = {int(i): c for i, c in read_json(shared_data / "tnbc/classes" / f"{image.stem}.json").items()}
    save(tmp_path, stem="real", labels={"inst_map": labels, "type_map": class_map(labels, class_of)})
    (tmp_path / "label_map.yaml").write_text("{1: a, 2: b, 3: c, 4: d}")
    shutil.copy(image, tmp_path / "train/images/real.png")
    assert_same_nuclei(cellvit.read(tmp_path).cases[0].load(), labels, class_of)


@pytest.mark.parametrize("text", ["[a, b]", "{a: 1}", "{0: background}", "{1: [", "{-1: a}"])
def test_names_that_cannot_be_read_are_refused(tmp_path: Path, text: str):
    (save(tmp_path) / "label_map.yaml").write_text(text)
    with pytest.raises(NucplanError, match=r"label_map\.yaml (must map|is no readable YAML)") as refusal:
        cellvit.read(tmp_path)
    assert "\n" not in str(refusal.value)


def test_missing_names_and_lists_of_points_are_refused(tmp_path: Path):
    (save(tmp_path) / "label_map.yaml").unlink()
    with pytest.raises(NucplanError, match=r"label_map\.yaml is missing; write one"):
        cellvit.read(tmp_path)
    save(tmp_path)
    (tmp_path / "train/labels/a.npy").rename(tmp_path / "train/labels/a.csv")
    assert "a.png has no annotation" in cellvit.read(tmp_path).faults[0]
