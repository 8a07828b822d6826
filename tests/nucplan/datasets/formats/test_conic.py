from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nucplan.datasets.annotations.class_maps import CLASSLESS
from nucplan.datasets.annotations.layers import MIXED
from nucplan.datasets.formats import conic
from nucplan.errors import NucplanError

from ..touching import CLASS_OF, assert_same_nuclei, class_map, label_map, picture

NAMES = ("consep_1-0000", "consep_1-0001", "glas_31-0000")


def labels(classes: np.ndarray | None = None) -> np.ndarray:
    return np.stack([label_map(), class_map() if classes is None else classes], -1).astype(np.uint16)


def save(folder: Path, last: np.ndarray | None = None) -> Path:
    np.save(folder / "images.npy", np.stack([picture(i) for i in range(3)]))
    np.save(folder / "labels.npy", np.stack([labels(), labels(), labels() if last is None else last]))
    (folder / "patch_info.csv").write_text("patch_info\n" + "\n".join(NAMES) + "\n")
    (folder / "counts.csv").write_text(
        "neutrophil,epithelial,lymphocyte,plasma,eosinophil,connective\n" + "0,0,0,0,0,0\n" * 3
    )
    return folder


def test_patches_become_images_and_their_source_image_the_group(tmp_path: Path):
    source = conic.read(save(tmp_path))
    assert tuple(case.name for case in source.cases) == NAMES
    assert source.groups == {NAMES[0]: "consep_1", NAMES[1]: "consep_1", NAMES[2]: "glas_31"}
    loaded = source.cases[1].load()
    np.testing.assert_array_equal(loaded.image, picture(1))
    assert_same_nuclei(loaded, label_map(), CLASS_OF)


def test_the_class_of_a_nucleus_is_that_of_most_of_its_pixels(tmp_path: Path):
    classes = class_map()
    classes[0:2, 0:6] = 4
    loaded = conic.read(save(tmp_path, labels(classes))).cases[2].load()
    assert_same_nuclei(loaded, label_map(), CLASS_OF)
    assert loaded.remarks == {MIXED: 1}


def test_a_nucleus_without_a_class_becomes_an_area_to_ignore(tmp_path: Path):
    classes = class_map()
    classes[label_map() == 7] = 0
    loaded = conic.read(save(tmp_path, labels(classes))).cases[2].load()
    assert_same_nuclei(loaded, np.where(label_map() == 7, 0, label_map()), {3: 1, 300: 1})
    np.testing.assert_array_equal(loaded.ignored, label_map() == 7)
    assert loaded.left_out == {CLASSLESS: 1}


def test_an_unknown_class_is_refused_by_image(tmp_path: Path):
    classes = class_map()
    classes[label_map() == 7] = 7
    source = conic.read(save(tmp_path, labels(classes)))
    source.cases[1].load()
    with pytest.raises(NucplanError, match=r"labels\.npy\[2\] holds the class 7, not 0 to 6"):
        source.cases[2].load()


def test_missing_cut_or_disagreeing_files_are_refused(tmp_path: Path):
    content = (save(tmp_path) / "labels.npy").read_bytes()
    (tmp_path / "labels.npy").write_bytes(content[:-1])
    with pytest.raises(NucplanError, match=r"labels\.npy is damaged or cut short"):
        conic.read(tmp_path)
    (tmp_path / "labels.npy").unlink()
    with pytest.raises(NucplanError, match=r"labels\.npy is missing"):
        conic.read(tmp_path)
    save(tmp_path)
    (tmp_path / "patch_info.csv").write_text("patch_info\nconsep_1-0000\n")
    with pytest.raises(NucplanError, match=r"patch_info\.csv names 1 patches of 3"):
        conic.read(tmp_path)
    (tmp_path / "patch_info.csv").write_text("name\nconsep_1-0000\n")
    with pytest.raises(NucplanError, match=r"patch_info\.csv has no column patch_info"):
        conic.read(tmp_path)
    (tmp_path / "patch_info.csv").unlink()
    with pytest.raises(NucplanError, match=r"patch_info\.csv is missing; .* overlap"):
        conic.read(tmp_path)


def test_the_arrays_may_lie_in_a_folder_below(tmp_path: Path):
    (tmp_path / "conic" / "data").mkdir(parents=True)
    save(tmp_path / "conic" / "data")
    assert len(conic.read(tmp_path).cases) == 3
    with pytest.raises(NucplanError, match=r"holds no images\.npy; give the folder in which they lie"):
        (tmp_path / "empty").mkdir()
        conic.read(tmp_path / "empty")
