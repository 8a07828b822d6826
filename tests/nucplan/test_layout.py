from __future__ import annotations

from pathlib import Path

import pytest

from nucplan.errors import NucplanError
from nucplan.layout import dataset_folder_name, find_dataset, resolve_roots


def test_an_explicit_root_wins_over_variables_which_win_over_the_default(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert resolve_roots().raw == tmp_path / "nucplan_data" / "nnUNet_raw"
    monkeypatch.setenv("NUCPLAN_ROOT", "/project")
    assert resolve_roots().results == Path("/project/nnUNet_results")
    monkeypatch.setenv("nnUNet_raw", "/raw")
    assert resolve_roots().raw == Path("/raw")
    assert resolve_roots("/here").raw == Path("/here/nnUNet_raw")


@pytest.mark.parametrize("text", ["7", "007", "Breast", "Dataset007_Breast", 7])
def test_a_dataset_is_found_by_id_name_and_folder(tmp_path, text):
    (tmp_path / "nnUNet_raw" / "Dataset007_Breast").mkdir(parents=True)
    (tmp_path / "nnUNet_results" / "Dataset008_Colon").mkdir(parents=True)
    assert find_dataset(resolve_roots(tmp_path), text).id == 7


def test_an_unknown_dataset_is_refused_with_a_list_of_those_that_exist(tmp_path):
    (tmp_path / "nnUNet_raw" / "Dataset007_Breast").mkdir(parents=True)
    with pytest.raises(NucplanError, match="'8' does not exist .*Dataset007_Breast"):
        find_dataset(resolve_roots(tmp_path), 8)


def test_an_ambiguous_name_is_refused(tmp_path):
    for name in ("Dataset007_Breast", "Dataset008_Breast"):
        (tmp_path / "nnUNet_raw" / name).mkdir(parents=True)
    with pytest.raises(NucplanError, match=r"ambiguous .*\(Dataset007_Breast, Dataset008_Breast\); give the whole"):
        find_dataset(resolve_roots(tmp_path), "Breast")
    assert find_dataset(resolve_roots(tmp_path), "Dataset008_Breast").id == 8


@pytest.mark.parametrize(("dataset_id", "name"), [(0, "A"), (1000, "A"), (1, "two words"), (1, ""), (1, "../up")])
def test_a_name_that_is_no_folder_name_is_refused(dataset_id, name):
    with pytest.raises(NucplanError, match="choose another one"):
        dataset_folder_name(dataset_id, name)


def test_a_name_that_is_too_long_for_a_folder_is_refused():
    assert len(dataset_folder_name(1, "A" * 100)) == 111
    with pytest.raises(NucplanError, match="has 101 characters; choose one of at most 100"):
        dataset_folder_name(1, "A" * 101)
