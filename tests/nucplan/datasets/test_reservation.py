"""Two conversions never make two datasets of one id, and what was made only to find that out is removed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from nucplan.datasets.conversion import write_raw
from nucplan.datasets.reservation import new_dataset, reserved
from nucplan.datasets.source import Annotated, Case, Source
from nucplan.errors import NucplanError
from nucplan.layout import Roots


@pytest.mark.parametrize("name", ["One", "Other"])
def test_an_id_that_another_process_converts_is_refused_under_any_name(roots: Roots, name: str):
    # A second lock in this process is as foreign to the first as one of another process.
    with (
        reserved(new_dataset(roots, 1, "One")),
        pytest.raises(NucplanError, match="id 1 is being converted by another process; wait for it or choose"),
        reserved(new_dataset(roots, 1, name)),
    ):
        pass


def test_another_id_is_free_meanwhile(roots: Roots):
    with reserved(new_dataset(roots, 1, "One")), reserved(new_dataset(roots, 2, "Two")):
        pass


@pytest.mark.parametrize("error", [NucplanError("no"), KeyboardInterrupt(), None])
def test_nothing_is_left_of_it_however_it_ends(roots: Roots, error: BaseException | None):
    try:
        with reserved(new_dataset(roots, 1, "One")):
            assert list(roots.raw.iterdir())
            if error:
                raise error
    except (NucplanError, KeyboardInterrupt):
        pass
    assert not roots.raw.parent.exists()
    with reserved(new_dataset(roots, 1, "One")):
        pass


def test_the_file_of_a_holder_is_not_removed_by_who_is_refused(roots: Roots):
    roots.raw.mkdir(parents=True)
    path = roots.raw / ".Dataset001.lock"
    with FileLock(path):
        with pytest.raises(NucplanError, match="another process"), reserved(new_dataset(roots, 1, "One")):
            pass
        assert path.exists()


def test_an_id_that_was_taken_since_it_was_looked_for_is_refused(roots: Roots):
    dataset = new_dataset(roots, 1, "One")
    (roots.preprocessed / "Dataset001_Other").mkdir(parents=True)
    with pytest.raises(NucplanError, match="is taken by Dataset001_Other"), reserved(dataset):
        pass


def test_an_id_that_was_taken_while_images_were_read_is_refused(roots: Roots):
    labels = np.pad(np.ones((2, 2), np.int32), 3)

    def load() -> Annotated:
        (roots.raw / "Dataset001_Other").mkdir()
        return Annotated(np.zeros(labels.shape, np.uint8), labels, {1: 1})

    source = Source([Case("a", Path("a.png"), load)])
    with pytest.raises(NucplanError, match="is taken by Dataset001_Other"):
        write_raw(source, new_dataset(roots, 1, "One"))
    assert [path.name for path in roots.raw.iterdir()] == ["Dataset001_Other"]


def test_a_root_that_is_a_file_is_refused(roots: Roots, tmp_path: Path):
    (tmp_path / "file").touch()
    dataset = new_dataset(replace(roots, raw=tmp_path / "file"), 1, "One")
    with pytest.raises(NucplanError, match="file cannot be written"), reserved(dataset):
        pass
