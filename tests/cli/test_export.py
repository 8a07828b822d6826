"""The command, and prediction from what it wrote."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nucplan.cli import export, predict


@pytest.fixture
def exported(trained_root: Path, tmp_path: Path, capsys) -> Path:
    folder = tmp_path / "models" / "tiny"
    assert export.main(["Tiny", str(folder), "--root", str(trained_root)]) == 0
    assert f"nucplan_predict {folder} INPUT OUTPUT" in capsys.readouterr().out
    return folder


def test_the_folder_predicts_where_there_are_no_data(exported, trained_root, tmp_path, monkeypatch, capsys):
    image = sorted((trained_root / "nnUNet_raw/Dataset001_Tiny/imagesTs").iterdir())[0]
    shutil.copy(image, tmp_path / "image.png")
    monkeypatch.chdir(tmp_path)
    assert predict.main([str(exported), "image.png", "there", "--device", "cpu"]) == 0
    assert predict.main(["1", "image.png", "here", "--device", "cpu", "--root", str(trained_root)]) == 0
    for name in ("image.tif", "image.csv", "image.geojson"):
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
    assert not (tmp_path / "nucplan_data").exists()


@pytest.mark.parametrize("option", ["--config", "--plans"])
def test_options_that_choose_among_trainings_are_refused(exported, tmp_path, assert_refused, option):
    code = predict.main([str(exported), str(tmp_path), str(tmp_path / "out"), option, "baseline"])
    assert_refused(code, f"{option} says nothing; leave it out")


def test_a_mistyped_folder_is_not_taken_for_a_dataset(tmp_path, assert_refused):
    code = predict.main([str(tmp_path / "models" / "typo"), str(tmp_path), str(tmp_path / "out")])
    assert_refused(code, "typo is no exported model (it has no plans.json); check the path")


def test_bad_input_is_one_sentence(exported, trained_root, tmp_path, assert_refused):
    root = ["--root", str(trained_root)]
    assert_refused(export.main(["Tiny", str(exported), *root]), "exists already")
    assert_refused(export.main(["Nothing", str(tmp_path / "a"), *root]), "Dataset 'Nothing' does not exist")
    code = export.main(["Tiny", str(tmp_path / "a"), "--config", "boundary_weighted", *root])
    assert_refused(code, "has no finished fold", "nucplan_train")
    assert not (tmp_path / "a").exists()
    (tmp_path / "file").write_text("")
    assert_refused(export.main(["Tiny", str(tmp_path / "file" / "a"), *root]), "cannot be read or written")
