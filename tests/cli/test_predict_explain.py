"""``--explain-boundary``: two more files per image, also for images that were done without them."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from nucplan.cli.predict import main
from nucplan.images import read_image, read_label_map, write_image

EXPLAINED = ("_boundary.png", "_splits.csv")


@pytest.fixture
def scenes(trained_root: Path, tmp_path: Path) -> Path:
    """The two test images, and one of another size that is framed in black."""
    images = sorted((trained_root / "nnUNet_raw/Dataset001_Tiny/imagesTs").iterdir())
    for stem, path in zip("ab", images, strict=True):
        write_image(tmp_path / "scenes" / f"{stem}.png", read_image(path))
    write_image(tmp_path / "scenes" / "c.png", np.pad(read_image(images[0])[:70], ((9, 0), (0, 12), (0, 0))))
    return tmp_path / "scenes"


@pytest.fixture
def predict(trained_root: Path, tmp_path: Path):
    def run(source: Path, *options: str, root: Path = trained_root) -> int:
        return main(["1", str(source), str(tmp_path / "nuclei"), "--device", "cpu", "--root", str(root), *options])

    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_each_image_gets_a_picture_and_a_table_that_agrees_with_its_label_map(scenes, predict, tmp_path):
    assert predict(scenes, "--explain-boundary") == 0
    found = 0
    for stem in "abc":
        image = read_image(scenes / f"{stem}.png")
        labels = read_label_map(tmp_path / "nuclei" / f"{stem}.tif")
        picture = read_image(tmp_path / "nuclei" / f"{stem}_boundary.png")
        assert min(picture.shape[:2]) > 2 * max(image.shape[:2])
        for row in rows_of(tmp_path / "nuclei" / f"{stem}_splits.csv"):
            a, b = int(row["nucleus_a"]), int(row["nucleus_b"])
            assert {a, b} <= set(np.unique(labels).tolist())
            assert (a == b) == (row["decision"] != "kept")
            assert 0 <= float(row["x_px"]) <= labels.shape[1] - 1
            assert 0 <= float(row["y_px"]) <= labels.shape[0] - 1
            if row["decision"] in ("kept", "joined"):
                assert (float(row["ratio"]) > float(row["neck"])) == (row["decision"] == "joined")
            found += 1
    assert found > 0


def test_the_other_files_are_those_of_a_prediction_without_explanation(scenes, predict, tmp_path):
    assert predict(scenes) == 0
    plain = contents(tmp_path / "nuclei")
    shutil.rmtree(tmp_path / "nuclei")
    assert predict(scenes, "--explain-boundary") == 0
    explained = contents(tmp_path / "nuclei")
    assert {name for name in explained if name not in plain} == {f"{stem}{end}" for stem in "abc" for end in EXPLAINED}
    assert {name: explained[name] for name in plain} == plain


def test_images_that_were_done_without_explanation_get_one_and_those_with_it_are_kept(
    scenes, predict, tmp_path, capsys
):
    out = tmp_path / "nuclei"
    assert predict(scenes) == 0
    assert predict(scenes / "a.png", "--explain-boundary") == 0
    capsys.readouterr()
    assert predict(scenes, "--explain-boundary") == 0
    assert "1 image(s) were done before" in capsys.readouterr().out
    assert all((out / f"{stem}{end}").is_file() for stem in "abc" for end in EXPLAINED)
    before = contents(out)
    for options in ((), ("--explain-boundary",)):
        assert predict(scenes, *options) == 0
        assert "3 image(s) were done before" in capsys.readouterr().out
        assert contents(out) == before


def test_an_explanation_does_not_adopt_predictions_made_otherwise(scenes, predict, tmp_path, assert_refused, capsys):
    assert predict(scenes / "a.png") == 0
    capsys.readouterr()
    assert_refused(predict(scenes / "a.png", "--explain-boundary", "--mirror"), "another model or other settings")
    assert not list((tmp_path / "nuclei").glob("*_splits.csv"))


def test_predicting_anew_without_explanation_leaves_no_old_one(scenes, predict, tmp_path):
    assert predict(scenes / "a.png", "--explain-boundary") == 0
    assert predict(scenes / "a.png", "--overwrite") == 0
    assert not [name for name in contents(tmp_path / "nuclei") if name.endswith(EXPLAINED)]


def test_an_image_of_another_pixel_size_is_explained_in_its_own_pixels(scenes, predict, tmp_path):
    assert predict(scenes / "a.png", "--explain-boundary", "--mpp", "0.125") == 0
    labels = read_label_map(tmp_path / "nuclei" / "a.tif")
    for row in rows_of(tmp_path / "nuclei" / "a_splits.csv"):
        assert {int(row["nucleus_a"]), int(row["nucleus_b"])} <= set(np.unique(labels).tolist())
        assert float(row["x_px"]) <= labels.shape[1]


def test_an_image_named_as_the_table_of_another_is_refused(scenes, predict, tmp_path, assert_refused):
    shutil.copy(scenes / "a.png", scenes / "a_splits.png")
    for options in ((), ("--explain-boundary",)):
        assert_refused(predict(scenes, *options), "a.png", "a_splits.png", "rename")
    assert not (tmp_path / "nuclei").exists()


def test_a_config_without_boundary_heads_is_refused_with_the_way_out(
    tiny_root, scenes, predict, tmp_path, assert_refused, capsys
):
    from nucplan.cli import train

    root = Path(shutil.copytree(tiny_root, tmp_path / "root"))
    options = ["--config", "baseline", "--iterations", "1", "--device", "cpu", "--root", str(root)]
    assert train.main(["1", "0", *options]) == 0
    capsys.readouterr()
    code = predict(scenes, "--explain-boundary", "--config", "baseline", root=root)
    assert_refused(code, "'baseline' has no boundary head", "--config (boundary_attention has one)")
    assert not (tmp_path / "nuclei").exists()
