"""The data are found however deep an archive unpacks them, and never guessed between."""

from __future__ import annotations

from pathlib import Path

import pytest

from nucplan.datasets.finding.unpacked import find_root
from nucplan.errors import NucplanError


@pytest.mark.parametrize("above", ["", "set", "release/2021/set"])
@pytest.mark.parametrize(("content", "pattern"), [("rgb", "rgb"), ("Slide_01", "Slide_*"), ("train/x", "*/x")])
def test_the_data_lie_in_the_folder_or_below_it(tmp_path: Path, above: str, content: str, pattern: str):
    (tmp_path / above / content).mkdir(parents=True)
    (tmp_path / "other" / "things").mkdir(parents=True)
    assert find_root(tmp_path, "elsewhere", pattern) == tmp_path / above


def test_what_lies_deeper_in_the_data_is_part_of_them(tmp_path: Path):
    (tmp_path / "set" / "train" / "images").mkdir(parents=True)
    (tmp_path / "set" / "test" / "images").mkdir(parents=True)
    assert find_root(tmp_path, "images", "train/images") == tmp_path / "set"


def test_hidden_folders_what_macos_adds_and_files_are_no_data(tmp_path: Path):
    for name in ("__MACOSX/set/rgb", ".cache/rgb", "set/rgb", "__MACOSX/x"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "rgb").touch()
    assert find_root(tmp_path, "rgb") == tmp_path / "set"
    with pytest.raises(NucplanError, match=r"holds no \*/x; give the folder in which they lie"):
        find_root(tmp_path, "*/x")


def test_two_copies_none_and_no_folder_are_refused(tmp_path: Path):
    with pytest.raises(NucplanError, match=r"holds no rgb or rgbs; give the folder"):
        find_root(tmp_path, "rgb", "rgbs")
    for name in ("a/rgb", "b/deep/rgb"):
        (tmp_path / name).mkdir(parents=True)
    with pytest.raises(NucplanError, match=r"/a and .*/b/deep both hold rgb; give one of them"):
        find_root(tmp_path, "rgb")
    with pytest.raises(NucplanError, match="does not exist"):
        find_root(tmp_path / "nowhere", "rgb")
