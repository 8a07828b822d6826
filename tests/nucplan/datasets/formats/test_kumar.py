from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy.io import savemat

from nucplan.datasets.formats import kumar
from nucplan.errors import NucplanError

from ..touching import CLASS_OF, assert_same_nuclei, label_map, picture

ONE_CLASS = dict.fromkeys(CLASS_OF, 1)


def save(image: Path, labels: Path) -> None:
    for path in (image, labels):
        path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(image, picture(), photometric="rgb")
    ids = label_map().astype(float)
    savemat(labels, {"inst_map": ids}) if labels.suffix == ".mat" else np.save(labels, ids)


@pytest.mark.parametrize("suffix", [".mat", ".npy"])
def test_both_test_sets_become_the_test_part(tmp_path: Path, suffix: str):
    for part in ("train", "test_same", "test_diff"):
        save(tmp_path / part / "Images" / f"TCGA-{part}.tif", tmp_path / part / "Labels" / f"TCGA-{part}{suffix}")
    source = kumar.read(tmp_path)
    assert {case.name: case.part for case in source.cases} == {
        "TCGA-train": "Tr",
        "TCGA-test_same": "Ts",
        "TCGA-test_diff": "Ts",
    }
    loaded = source.cases[0].load()
    np.testing.assert_array_equal(loaded.image, picture())
    assert_same_nuclei(loaded, label_map(), ONE_CLASS)
    assert (source.mpp, source.licence) == (None, "CC-BY-NC-SA-4.0")


def test_images_of_one_patient_are_one_group(tmp_path: Path):
    for stem in ("TCGA-18-5592-01Z-00-DX1", "TCGA-18-5592-01Z-00-DX2", "other"):
        save(tmp_path / "train/Images" / f"{stem}.tif", tmp_path / "train/Labels" / f"{stem}.mat")
    assert list(kumar.read(tmp_path).groups.values()) == ["TCGA-18-5592", "TCGA-18-5592", "other"]


def test_the_older_tree_with_parts_below_the_images_is_read(tmp_path: Path):
    for part in ("train", "test/same_tissue", "test/diff_tissue"):
        stem = part.replace("/", "-")
        save(tmp_path / "Images" / part / f"{stem}.tif", tmp_path / "Labels" / f"{stem}.npy")
    source = kumar.read(tmp_path)
    assert {case.name: case.part for case in source.cases} == {
        "train": "Tr",
        "test-same_tissue": "Ts",
        "test-diff_tissue": "Ts",
    }
    assert_same_nuclei(source.cases[2].load(), label_map(), ONE_CLASS)


def test_an_array_cut_short_is_refused(tmp_path: Path):
    path = tmp_path / "Labels/a.npy"
    save(tmp_path / "Images/a.tif", path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(NucplanError, match=r"a\.npy is damaged or cut short"):
        kumar.read(tmp_path).cases[0].load()
