from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy.io import savemat

from nucplan.datasets.formats import cpm17, kumar
from nucplan.datasets.source import NO_GROUPS_KNOWN
from nucplan.errors import NucplanError
from nucplan.images import write_image

from ..touching import CLASS_OF, assert_same_nuclei, label_map, picture

ONE_CLASS = dict.fromkeys(CLASS_OF, 1)


def save(folder: Path, stem: str, suffix: str = ".png", labels: str = ".mat") -> Path:
    """``Images`` and ``Labels`` in ``folder``, as the repacked sets have them."""
    (folder / "Images").mkdir(parents=True, exist_ok=True)
    (folder / "Labels").mkdir(exist_ok=True)
    image = folder / "Images" / f"{stem}{suffix}"
    write_image(image, picture()) if suffix == ".png" else tifffile.imwrite(image, picture(), photometric="rgb")
    if labels == ".mat":
        savemat(folder / "Labels" / f"{stem}.mat", {"inst_map": label_map().astype(float)})
    else:
        np.save(folder / "Labels" / f"{stem}.npy", label_map().astype(float))
    return folder


def test_cpm17_has_the_same_stems_in_both_parts_and_names_tell_them_apart(tmp_path: Path):
    save(tmp_path / "cpm17/train", "image_00")
    save(tmp_path / "cpm17/test", "image_00")
    source = cpm17.read(tmp_path)
    assert [(case.name, case.part) for case in source.cases] == [("test_image_00", "Ts"), ("train_image_00", "Tr")]
    for case in source.cases:
        loaded = case.load()
        np.testing.assert_array_equal(loaded.image, picture())
        assert_same_nuclei(loaded, label_map(), ONE_CLASS)


def test_cpm15_has_one_part(tmp_path: Path):
    source = cpm17.read(save(save(tmp_path, "01"), "02"))
    assert [(case.name, case.part) for case in source.cases] == [("01", "Tr"), ("02", "Tr")]
    assert source.remarks == (NO_GROUPS_KNOWN,)


@pytest.mark.parametrize("labels", [".mat", ".npy"])
def test_both_test_sets_of_kumar_become_the_test_part(tmp_path: Path, labels: str):
    for part in ("train", "test_same", "test_diff"):
        save(tmp_path / part, f"TCGA-{part}", ".tif", labels)
    source = kumar.read(tmp_path)
    assert {case.name: case.part for case in source.cases} == {
        "TCGA-train": "Tr",
        "TCGA-test_same": "Ts",
        "TCGA-test_diff": "Ts",
    }
    loaded = source.cases[0].load()
    np.testing.assert_array_equal(loaded.image, picture())
    assert_same_nuclei(loaded, label_map(), ONE_CLASS)


def test_the_older_tree_of_kumar_with_parts_below_the_images_is_read(tmp_path: Path):
    (tmp_path / "Labels").mkdir()
    for part in ("train", "test/same_tissue", "test/diff_tissue"):
        stem = part.replace("/", "-")
        (tmp_path / "Images" / part).mkdir(parents=True)
        tifffile.imwrite(tmp_path / "Images" / part / f"{stem}.tif", picture(), photometric="rgb")
        np.save(tmp_path / "Labels" / f"{stem}.npy", label_map())
    source = kumar.read(tmp_path)
    assert {case.name: case.part for case in source.cases} == {
        "train": "Tr",
        "test-same_tissue": "Ts",
        "test-diff_tissue": "Ts",
    }
    assert_same_nuclei(source.cases[2].load(), label_map(), ONE_CLASS)


def test_missing_halves_are_faults_of_their_images_alone(tmp_path: Path):
    save(save(tmp_path / "train", "a"), "b")
    save(tmp_path / "test", "c")
    (tmp_path / "train/Labels/a.mat").unlink()
    (tmp_path / "train/Images/b.png").rename(tmp_path / "train/Images/d.png")
    (tmp_path / "test/Labels/c.mat").unlink()
    (tmp_path / "test/Labels").rmdir()
    source = cpm17.read(tmp_path)
    assert not source.cases
    found = [fault.split("; ")[0].replace(str(tmp_path), "") for fault in source.faults]
    assert found == [
        "/test/Images has no folder Labels beside it",
        "/train/Images/a.png has no annotation of the same stem",
        "/train/Images/d.png has no annotation of the same stem",
        "/train/Labels/b.mat has no image of the same stem",
    ]


def test_other_trees_and_two_files_of_one_stem_are_refused(tmp_path: Path):
    with pytest.raises(NucplanError, match="has no folder Images with pictures beside a folder Labels"):
        kumar.read(tmp_path)
    save(save(tmp_path, "a"), "a", labels=".npy")
    with pytest.raises(NucplanError, match=r"a\.npy and .*a\.mat have the same stem"):
        kumar.read(tmp_path)
    with pytest.raises(NucplanError, match="does not exist"):
        kumar.read(tmp_path / "nowhere")


def test_what_macos_adds_to_a_zip_is_not_read(tmp_path: Path):
    save(tmp_path / "train", "a")
    (tmp_path / "__MACOSX/train/Images").mkdir(parents=True)
    (tmp_path / "__MACOSX/train/Images/._a.png").write_bytes(b"x")
    (tmp_path / "train/Images/._a.png").write_bytes(b"x")
    source = kumar.read(tmp_path)
    assert [case.name for case in source.cases] == ["a"]
    assert not source.faults


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (label_map()[None], r"shape \(1, 32, 40\)"),
        (label_map() + 0.25, "fractional"),
        (np.array([{"a": 1}]), "holds Python objects"),
    ],
)
def test_arrays_that_are_no_label_maps_are_refused(tmp_path: Path, array: np.ndarray, message: str):
    save(tmp_path, "a", labels=".npy")
    np.save(tmp_path / "Labels/a.npy", array)
    with pytest.raises(NucplanError, match=rf"a\.npy.*{message}"):
        kumar.read(tmp_path).cases[0].load()


def test_an_array_cut_short_is_refused(tmp_path: Path):
    path = save(tmp_path, "a", labels=".npy") / "Labels/a.npy"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(NucplanError, match=r"a\.npy is damaged or cut short"):
        kumar.read(tmp_path).cases[0].load()
