"""What is listed is what a person put there: no hidden files, nothing that macOS added, whatever the case of a name."""

from __future__ import annotations

from pathlib import Path

import pytest

from nucplan.datasets.finding.files import files_below, files_in, folders_below, folders_in
from nucplan.errors import NucplanError

FILES = ("a.png", "b.PNG", "c.tif", "x/d.png", "x/y/e.png", "x/png")
CLUTTER = (".a.png", "__MACOSX/x/a.png", "__MACOSX/x/._a.png", "x/._d.png", ".cache/a.png", "x/.y/z/a.png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder that is asked for lies in a hidden one itself, which must not matter."""
    root = tmp_path / ".hidden" / "__MACOSX" / "source"
    for name in (*FILES, *CLUTTER):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "folder.png").mkdir()
    return root


def names(paths: list[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def test_files_are_found_by_the_end_of_their_names(folder: Path):
    assert names(files_below(folder, [".png"]), folder) == ["a.png", "b.PNG", "x/d.png", "x/y/e.png"]
    assert names(files_below(folder, [".tif", "d.png"]), folder) == ["c.tif", "x/d.png"]
    assert names(files_in(folder, [".png"]), folder) == ["a.png", "b.PNG"]


def test_folders_are_found_without_files(folder: Path):
    assert names(folders_below(folder), folder) == ["folder.png", "x", "x/y"]
    assert names(folders_in(folder), folder) == ["folder.png", "x"]


def test_a_link_to_nothing_is_named_and_one_to_a_file_is_a_file(folder: Path):
    (folder / "e.png").symlink_to(folder / "a.png")
    assert names(files_in(folder, [".png"]), folder) == ["a.png", "b.PNG", "e.png"]
    (folder / "a.png").unlink()
    with pytest.raises(NucplanError, match=r"e\.png is a link to .*a\.png, which is missing"):
        files_in(folder, [".png"])
