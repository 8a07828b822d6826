"""Images and Labels are found wherever they lie side by side, and what is missing is said of its image alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from nucplan.datasets.finding.picture_folders import find_pairs
from nucplan.errors import NucplanError


def add(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def found(folder: Path) -> list[tuple[str, str]]:
    pairs, faults = find_pairs(folder, (".mat", ".npy"))
    assert not faults
    return [(pair.name, pair.part) for pair in pairs]


def test_names_are_stems_or_begin_with_the_folder_where_stems_repeat(tmp_path: Path):
    add(tmp_path, "train/Images/a.png", "train/Labels/a.mat")
    assert found(tmp_path) == [("a", "Tr")]
    add(tmp_path, "test_same/images/a.PNG", "test_same/LABELS/a.npy")
    assert found(tmp_path) == [("test_same_a", "Ts"), ("train_a", "Tr")]


def test_parts_may_lie_below_the_folder_of_images(tmp_path: Path):
    add(tmp_path, "Images/test/x/a.tif", "Images/train/b.tif", "Labels/a.npy", "Labels/deep/b.npy")
    assert found(tmp_path) == [("a", "Ts"), ("b", "Tr")]


def test_what_macos_adds_to_a_zip_is_not_listed(tmp_path: Path):
    add(tmp_path, "Images/a.png", "Labels/a.mat", "Images/._a.png", "__MACOSX/Images/a.png", "__MACOSX/Labels/._a.mat")
    assert found(tmp_path) == [("a", "Tr")]


def test_missing_halves_and_files_of_one_stem_are_faults_of_their_images_alone(tmp_path: Path):
    add(tmp_path, "test/Images/c.png", "train/Images/a.png", "train/Images/d.png", "train/Labels/b.mat")
    add(tmp_path, "train/Images/e.png", "train/Labels/e.mat", "train/Images/f.png", "train/Labels/f.mat")
    add(tmp_path, "train/Labels/f.npy")
    pairs, faults = find_pairs(tmp_path, (".mat", ".npy"))
    assert [pair.name for pair in pairs] == ["e"]
    assert [fault.split("; ")[0].replace(f"{tmp_path}/", "") for fault in faults] == [
        "test/Images has no folder Labels beside it",
        "train/Images/a.png has no annotation of the same name",
        "train/Images/d.png has no annotation of the same name",
        "train/Labels/f.mat and train/Labels/f.npy have the same name",
        "train/Labels/b.mat has no image of the same name",
    ]


def test_other_trees_are_refused(tmp_path: Path):
    with pytest.raises(NucplanError, match="has no folder Images with pictures beside a folder Labels"):
        find_pairs(tmp_path, (".mat",))
    with pytest.raises(NucplanError, match="does not exist"):
        find_pairs(tmp_path / "nowhere", (".mat",))
