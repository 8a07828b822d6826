from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.io import savemat

from nucplan.datasets.formats import cpm17
from nucplan.images import write_image

from ..touching import CLASS_OF, assert_same_nuclei, label_map, picture


def save(folder: Path, stem: str) -> None:
    write_image(folder / "Images" / f"{stem}.png", picture())
    (folder / "Labels").mkdir(exist_ok=True)
    savemat(folder / "Labels" / f"{stem}.mat", {"inst_map": label_map().astype(float)})


def test_train_and_test_have_the_same_stems_and_names_tell_them_apart(tmp_path: Path):
    save(tmp_path / "cpm17/train", "image_00")
    save(tmp_path / "cpm17/test", "image_00")
    source = cpm17.read(tmp_path)
    assert [(case.name, case.part) for case in source.cases] == [("test_image_00", "Ts"), ("train_image_00", "Tr")]
    for case in source.cases:
        loaded = case.load()
        np.testing.assert_array_equal(loaded.image, picture())
        assert_same_nuclei(loaded, label_map(), dict.fromkeys(CLASS_OF, 1))


def test_cpm15_has_one_part(tmp_path: Path):
    for stem in ("01", "02"):
        save(tmp_path, stem)
    assert [(case.name, case.part) for case in cpm17.read(tmp_path).cases] == [("01", "Tr"), ("02", "Tr")]


def test_a_missing_half_is_a_fault_of_its_image_alone(tmp_path: Path):
    for stem in ("01", "02"):
        save(tmp_path, stem)
    (tmp_path / "Labels/01.mat").unlink()
    source = cpm17.read(tmp_path)
    assert [case.name for case in source.cases] == ["02"]
    assert "01.png has no annotation of the same name" in source.faults[0]
