"""The command: its files, what it skips, its refusals."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from nucplan.cli.predict import main
from nucplan.images import read_image, read_label_map, write_image

SUFFIXES = (".tif", ".csv", ".geojson", "_overlay.png")


@pytest.fixture
def scenes(trained_root: Path, tmp_path: Path) -> Path:
    """The two test images as PNG and JPEG, and a grey TIFF of another size."""
    first, second = sorted((trained_root / "nnUNet_raw/Dataset001_Tiny/imagesTs").iterdir())
    write_image(tmp_path / "scenes" / "a.png", read_image(first))
    cv2.imwrite(str(tmp_path / "scenes" / "b.JPG"), read_image(second)[..., ::-1])
    write_image(tmp_path / "scenes" / "c.tif", cv2.cvtColor(read_image(second)[:70], cv2.COLOR_RGB2GRAY))
    return tmp_path / "scenes"


@pytest.fixture
def predict(trained_root: Path, tmp_path: Path):
    """Run the command with ``tmp_path/nuclei`` as its output folder."""

    def run(source: Path, *options: str, model: str = "1", root: Path = trained_root) -> int:
        return main([model, str(source), str(tmp_path / "nuclei"), "--device", "cpu", "--root", str(root), *options])

    return run


def names(folder: Path) -> set[str]:
    """Files of a prediction folder but for the record of what made them."""
    return {path.name for path in folder.iterdir()} - {"prediction.json"}


def test_each_image_of_a_mixed_folder_gets_four_files_that_agree(scenes, predict, tmp_path, capsys):
    assert predict(scenes) == 0
    out = tmp_path / "nuclei"
    assert names(out) == {f"{stem}{suffix}" for stem in "abc" for suffix in SUFFIXES}
    total = 0
    for picture in scenes.iterdir():
        labels = read_label_map(out / f"{picture.stem}.tif")
        assert labels.shape == read_image(picture).shape[:2]
        rows = list(csv.DictReader((out / f"{picture.stem}.csv").open()))
        features = json.loads((out / f"{picture.stem}.geojson").read_text())["features"]
        assert [int(row["id"]) for row in rows] == list(range(1, labels.max() + 1))
        assert len(features) == len(rows)
        # The dataset has 0.25 microns per pixel.
        assert all(float(row["area_um2"]) == pytest.approx(float(row["area_px"]) / 16, abs=1e-3) for row in rows)
        total += len(rows)
    assert total > 0
    assert f"{total} nuclei in 3 image(s), 2 network(s) averaged" in capsys.readouterr().out


def test_a_dataset_is_found_by_name_and_a_single_image_is_enough(scenes, predict, tmp_path):
    assert predict(scenes / "b.JPG", model="Tiny") == 0
    assert names(tmp_path / "nuclei") == {f"b{suffix}" for suffix in SUFFIXES}


@pytest.mark.parametrize("single", [False, True])
def test_images_of_an_nnunet_folder_are_named_as_their_cases(trained_root, predict, tmp_path, single):
    folder = trained_root / "nnUNet_raw/Dataset001_Tiny/imagesTs"
    cases = sorted(path.name.removesuffix("_0000.png") for path in folder.iterdir())[: 1 if single else None]
    assert predict(folder / f"{cases[0]}_0000.png" if single else folder) == 0
    assert {path.stem for path in (tmp_path / "nuclei").glob("*.tif")} == set(cases)


def test_what_is_complete_is_skipped_and_the_rest_is_done(scenes, predict, tmp_path, capsys):
    out = tmp_path / "nuclei"
    predict(scenes)
    expected = {name: (out / name).read_bytes() for name in names(out)}
    (out / "a.csv").write_text("kept")
    # The label map is written last: without it the image was not finished.
    (out / "b.tif").unlink()
    (out / "b.csv").write_text("half")
    capsys.readouterr()
    assert predict(scenes) == 0
    assert "2 image(s) were done before" in capsys.readouterr().out
    assert (out / "a.csv").read_text() == "kept"
    assert {name: (out / name).read_bytes() for name in names(out)} == expected | {"a.csv": b"kept"}


def test_overwrite_predicts_anew(scenes, predict, tmp_path, capsys):
    predict(scenes)
    (tmp_path / "nuclei" / "a.csv").write_text("old")
    assert predict(scenes, "--overwrite") == 0
    assert (tmp_path / "nuclei" / "a.csv").read_text() != "old"
    assert "done before" not in capsys.readouterr().out


def test_gz_compresses_the_outlines_and_leaves_no_other_ones(scenes, predict, tmp_path):
    out = tmp_path / "nuclei"
    predict(scenes / "a.png")
    plain = json.loads((out / "a.geojson").read_text())
    assert predict(scenes / "a.png", "--gz", "--overwrite") == 0
    assert names(out) == {"a.tif", "a.csv", "a.geojson.gz", "a_overlay.png"}
    with gzip.open(out / "a.geojson.gz", "rt") as packed:
        assert json.load(packed) == plain


def test_mirroring_is_an_option_that_changes_the_prediction(scenes, predict, tmp_path):
    predict(scenes)
    before = [(tmp_path / "nuclei" / f"{stem}.csv").read_text() for stem in "abc"]
    assert predict(scenes, "--overwrite", "--mirror") == 0
    assert before != [(tmp_path / "nuclei" / f"{stem}.csv").read_text() for stem in "abc"]


def test_a_corrupt_image_is_named_and_those_before_it_are_complete(scenes, predict, tmp_path, assert_refused):
    broken = scenes / "ab.png"
    broken.write_bytes((scenes / "a.png").read_bytes()[:500])
    assert_refused(predict(scenes), str(broken), "damaged")
    assert names(tmp_path / "nuclei") == {f"a{suffix}" for suffix in SUFFIXES}


def test_skip_bad_lists_what_it_skips_and_predicts_the_rest(scenes, predict, tmp_path, capsys):
    broken = scenes / "ab.png"
    broken.write_bytes((scenes / "a.png").read_bytes()[:500])
    assert predict(scenes, "--skip-bad") == 0
    assert names(tmp_path / "nuclei") == {f"{stem}{suffix}" for stem in "abc" for suffix in SUFFIXES}
    told = capsys.readouterr().out
    assert "in 3 image(s)" in told
    assert "1 image(s) were skipped" in told
    assert str(broken) in told


@pytest.mark.parametrize("options", [(), ("--skip-bad",)])
def test_where_nothing_can_be_predicted_nothing_is_left_behind(tmp_path, predict, options, assert_refused):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    assert_refused(predict(broken, *options), str(broken))
    assert not (tmp_path / "nuclei").exists()


def test_what_was_done_before_stays_where_its_image_is_refused_now(scenes, predict, tmp_path):
    assert predict(scenes) == 0
    labels, record = tmp_path / "nuclei" / "a.tif", tmp_path / "nuclei" / "prediction.json"
    before = labels.read_bytes(), json.loads(record.read_text())["images"]["a"]
    (scenes / "a.png").write_bytes(b"no picture")
    assert predict(scenes, "--overwrite", "--skip-bad") == 0
    assert (labels.read_bytes(), json.loads(record.read_text())["images"]["a"]) == before


def test_an_output_that_cannot_be_written_to_is_refused_before_the_first_image(
    scenes, predict, mounted, tmp_path, assert_refused, monkeypatch
):
    mounted(tmp_path / "nuclei", "ro")
    monkeypatch.setattr("nucplan.inference.folders.read_image", lambda _path: pytest.fail("an image was read"))
    assert_refused(predict(scenes), str(tmp_path / "nuclei"), "cannot be written to")


def test_two_images_of_one_name_are_refused(scenes, predict, tmp_path, assert_refused):
    shutil.copy(scenes / "a.png", scenes / "b.png")
    assert_refused(predict(scenes), "b.JPG", "b.png")
    assert not (tmp_path / "nuclei").exists()


def test_the_images_are_never_overwritten(trained_root, scenes, assert_refused):
    before = {path: path.read_bytes() for path in scenes.iterdir()}
    code = main(["1", str(scenes), str(scenes), "--overwrite", "--device", "cpu", "--root", str(trained_root)])
    assert_refused(code, str(scenes), "another folder")
    assert {path: path.read_bytes() for path in scenes.iterdir()} == before


@pytest.mark.parametrize("source", ["missing", "missing.png"])
def test_a_missing_input_is_refused(predict, tmp_path, assert_refused, source):
    assert_refused(predict(tmp_path / source), source)
    assert not (tmp_path / "nuclei").exists()


def test_an_empty_folder_is_refused(predict, tmp_path, assert_refused):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").touch()
    assert_refused(predict(tmp_path / "empty"), "empty holds no image", ".png")
    assert not (tmp_path / "nuclei").exists()


def test_an_unknown_dataset_is_refused_with_those_there_are(scenes, predict, tmp_path, assert_refused):
    assert_refused(predict(scenes, model="Lung"), "'Lung'", "Dataset001_Tiny")
    assert not (tmp_path / "nuclei").exists()


def test_an_untrained_model_is_refused_with_the_way_out(tiny_root, scenes, predict, tmp_path, assert_refused):
    assert_refused(predict(scenes, root=tiny_root), "no finished fold", "nucplan_train")
    assert not (tmp_path / "nuclei").exists()


def test_plans_that_were_not_trained_are_refused(scenes, predict, assert_refused):
    assert_refused(predict(scenes, "--plans", "nucplanPlans_seed9"), "nucplanPlans_seed9", "no finished fold")


def test_labels_fit_the_reference_of_the_test_part(trained_root, predict, tmp_path):
    from nucplan.cli.evaluate import main as evaluate

    raw = trained_root / "nnUNet_raw/Dataset001_Tiny"
    predict(raw / "imagesTs")
    assert evaluate([str(tmp_path / "nuclei"), str(raw / "instancesTs")]) == 0
    summary = json.loads((tmp_path / "nuclei" / "metrics.json").read_text())["summary"]
    assert np.isfinite(summary["pq_pooled"])


@pytest.fixture
def one_fold(trained_root, tmp_path) -> Path:
    """A root whose model has fewer folds, which makes it another model."""
    less = tmp_path / "less"
    shutil.copytree(trained_root, less)
    shutil.rmtree(less / "nnUNet_results/Dataset001_Tiny/nnUNetTrainerNucBoundaryAttention__nucplanPlans__2d/fold_1")
    return less


OTHER_MODEL = "predictions of another model or other settings"


def test_predictions_of_two_models_do_not_mix(scenes, predict, one_fold, assert_refused, capsys):
    assert predict(scenes) == 0
    capsys.readouterr()
    assert_refused(predict(scenes, root=one_fold), OTHER_MODEL)
    assert predict(scenes, "--overwrite", root=one_fold) == 0


def test_a_model_that_predicted_other_images_there_does_not_adopt_those_of_the_first(
    scenes, predict, one_fold, assert_refused, capsys
):
    assert predict(scenes / "a.png") == 0
    assert predict(scenes / "b.JPG", root=one_fold) == 0
    capsys.readouterr()
    assert_refused(predict(scenes / "a.png", root=one_fold), OTHER_MODEL, "(a)")


def test_an_overwrite_that_was_cut_short_does_not_adopt_what_it_did_not_reach(
    scenes, predict, one_fold, assert_refused, capsys
):
    assert predict(scenes) == 0
    whole = (scenes / "b.JPG").read_bytes()
    (scenes / "b.JPG").write_bytes(whole[:100])
    assert predict(scenes, "--overwrite", root=one_fold) == 2
    (scenes / "b.JPG").write_bytes(whole)
    capsys.readouterr()
    assert_refused(predict(scenes, root=one_fold), OTHER_MODEL, "(b)")
    assert predict(scenes / "a.png", root=one_fold) == 0
    assert "done before" in capsys.readouterr().out


def test_another_image_of_the_same_name_is_not_skipped(scenes, predict, tmp_path, assert_refused, capsys):
    assert predict(scenes) == 0
    before = (tmp_path / "nuclei" / "a.tif").read_bytes()
    write_image(scenes / "a.png", read_image(scenes / "a.png")[::-1])
    capsys.readouterr()
    assert_refused(predict(scenes), "another image of the same name (a)", "--overwrite")
    assert (tmp_path / "nuclei" / "a.tif").read_bytes() == before


def test_a_label_map_without_a_record_is_not_taken_for_a_prediction(scenes, predict, tmp_path, assert_refused):
    write_image(tmp_path / "nuclei" / "a.tif", np.zeros((5, 5), np.uint8))
    before = (tmp_path / "nuclei" / "a.tif").read_bytes()
    assert_refused(predict(scenes), "unknown origin (a)")
    assert (tmp_path / "nuclei" / "a.tif").read_bytes() == before


@pytest.mark.parametrize("options", [["--gz"], ["--mpp", "0.5"], ["--mirror"]])
def test_other_options_are_not_skipped_either(scenes, predict, options, assert_refused, capsys):
    assert predict(scenes / "a.png") == 0
    capsys.readouterr()
    assert_refused(predict(scenes / "a.png", *options), OTHER_MODEL)


def test_images_outside_of_an_nnunet_folder_keep_their_names(scenes, predict, tmp_path):
    for path in list(scenes.iterdir()):
        path.rename(path.with_stem(f"{path.stem}_0000"))
    assert predict(scenes) == 0
    assert {path.stem for path in (tmp_path / "nuclei").glob("*.tif")} == {"a_0000", "b_0000", "c_0000"}


def test_lengths_are_of_the_pixel_size_that_is_given(scenes, predict, tmp_path, capsys):
    assert predict(scenes / "a.png", "--mpp", "0.5") == 0
    assert "assuming" not in capsys.readouterr().out
    assert read_label_map(tmp_path / "nuclei" / "a.tif").shape == read_image(scenes / "a.png").shape[:2]
    rows = list(csv.DictReader((tmp_path / "nuclei" / "a.csv").open()))
    assert rows
    assert all(float(row["area_um2"]) == pytest.approx(float(row["area_px"]) / 4, abs=1e-3) for row in rows)


def test_an_assumed_pixel_size_is_stated(scenes, predict, capsys):
    assert predict(scenes / "a.png") == 0
    assert capsys.readouterr().out.endswith("assuming 0.25 um per pixel, as in training; --mpp says otherwise.\n")


@pytest.mark.parametrize("mpp", ["0", "-1", "nan", "250"])
def test_an_impossible_pixel_size_is_refused(scenes, predict, tmp_path, assert_refused, mpp):
    assert_refused(predict(scenes, "--mpp", mpp), "--mpp", "micro")
    assert not (tmp_path / "nuclei").exists()


@pytest.mark.parametrize("output", ["file", "file/below"])
def test_an_output_that_is_a_file_is_refused_before_the_model_is_loaded(
    trained_root, scenes, tmp_path, assert_refused, monkeypatch, output
):
    from nucplan.inference.predictor import Predictor

    monkeypatch.setattr(Predictor, "from_folder", lambda *_: pytest.fail("the model was loaded"))
    (tmp_path / "file").touch()
    code = main(["1", str(scenes), str(tmp_path / output), "--device", "cpu", "--root", str(trained_root)])
    assert_refused(code, str(tmp_path / "file"), "is a file")


def test_a_root_that_is_a_file_is_refused(scenes, predict, tmp_path, assert_refused):
    (tmp_path / "file").touch()
    assert_refused(predict(scenes, root=tmp_path / "file"), str(tmp_path / "file"))


def test_a_full_disk_is_one_sentence_and_leaves_no_label_map(scenes, predict, tmp_path, assert_refused, monkeypatch):
    import errno

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("nucplan.inference.outputs.write_geojson", full)
    assert_refused(predict(scenes), "No space left on device")
    assert not list((tmp_path / "nuclei").glob("*.tif"))
