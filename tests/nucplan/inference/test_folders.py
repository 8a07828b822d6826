"""Many pictures: their channels are matched to the model, and none is overwritten."""

from __future__ import annotations

import hashlib
import json

import cv2
import numpy as np
import pytest

from nucplan.errors import NucplanError
from nucplan.images import read_label_map, write_image
from nucplan.inference.folders import predict_images


@pytest.fixture
def grey() -> np.ndarray:
    image = np.full((80, 70), 50, np.uint8)
    for column, row in ((20, 20), (50, 24), (34, 60)):
        cv2.circle(image, (column, row), 8, 210, -1)
    return image


@pytest.mark.parametrize("channels", [1, 3])
def test_a_grey_picture_is_the_same_stored_as_grey_or_as_rgb(tmp_path, bright, grey, channels):
    write_image(tmp_path / "in" / "grey.png", grey)
    write_image(tmp_path / "in" / "rgb.png", cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB))
    images = {path.stem: path for path in (tmp_path / "in").iterdir()}
    assert predict_images(bright(channels=channels), images, tmp_path / "out") == {"grey": 3, "rgb": 3}
    maps = [read_label_map(tmp_path / "out" / f"{stem}.tif") for stem in images]
    np.testing.assert_array_equal(*maps)


def test_a_coloured_picture_for_a_grey_model_is_refused_by_name(tmp_path, bright, grey):
    path = tmp_path / "in" / "coloured.png"
    write_image(path, np.dstack([grey, grey, grey // 2]))
    with pytest.raises(NucplanError, match=r"coloured\.png: .*1 channel\(s\), this one has 3"):
        predict_images(bright(channels=1), {"coloured": path}, tmp_path / "out")
    assert not list((tmp_path / "out").glob("coloured*"))


def test_small_pictures_have_a_bar_of_their_own_too(tmp_path, bright, grey, monkeypatch):
    """A few megapixels take long enough on a CPU; bars of what is quick do not show."""
    shown = []

    def progress(items, description, total=None):
        shown.append(description)
        return items

    monkeypatch.setattr("nucplan.inference.folders.progress", progress)
    write_image(tmp_path / "in" / "grey.png", grey)
    predict_images(bright(), {"grey": tmp_path / "in" / "grey.png"}, tmp_path / "out")
    assert shown == ["Predicting", "Tiles of grey"]


def test_each_picture_has_its_record_and_keeps_that_of_others(tmp_path, bright, grey):
    for stem in "ab":
        write_image(tmp_path / "in" / f"{stem}.png", grey)
        predict_images(bright(), {stem: tmp_path / "in" / f"{stem}.png"}, tmp_path / "out", mpp=0.25)
    entries = json.loads((tmp_path / "out" / "prediction.json").read_text())["images"]
    expected = {
        "image": hashlib.sha256((tmp_path / "in" / "a.png").read_bytes()).hexdigest(),
        "model": {},
        "mpp": 0.25,
        "options": {"scale": 1.0, "geojson_gz": False},
    }
    assert entries == {"a": expected, "b": expected}


def test_a_picture_whose_files_fail_half_way_is_not_complete(tmp_path, bright, grey, monkeypatch):
    path = tmp_path / "in" / "a.png"
    write_image(path, grey)
    predict_images(bright(), {"a": path}, tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr("nucplan.inference.folders.write_entry", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            predict_images(bright(), {"a": path}, tmp_path / "out", mpp=0.5, overwrite=True)
    assert predict_images(bright(), {"a": path}, tmp_path / "out", mpp=0.5) == {"a": 3}


def test_the_folder_of_the_pictures_is_no_output_folder(tmp_path, bright, grey):
    path = tmp_path / "picture.tif"
    write_image(path, grey)
    before = path.read_bytes()
    with pytest.raises(NucplanError, match="another folder"):
        predict_images(bright(), {"picture": path}, tmp_path / ".", overwrite=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize("explain_boundary", [False, True])
@pytest.mark.parametrize("first", ["a", "a_splits"])
def test_no_image_takes_the_table_of_another_in_whatever_run(tmp_path, bright, grey, first, explain_boundary):
    for stem in ("a", "a_splits"):
        write_image(tmp_path / "in" / f"{stem}.png", grey)
    images, out = {stem: tmp_path / "in" / f"{stem}.png" for stem in ("a", "a_splits")}, tmp_path / "out"
    options = {"explain_boundary": explain_boundary}
    with pytest.raises(NucplanError, match=r"a\.png and .*a_splits\.png would share the table a_splits\.csv; rename"):
        predict_images(bright(), images, out, **options)
    predict_images(bright(), {first: images[first]}, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    second = next(stem for stem in images if stem != first)
    for run in (images, {second: images[second]}):
        with pytest.raises(NucplanError, match=r"would share the table a_splits\.csv"):
            predict_images(bright(), run, out, **options)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_pair_that_shares_a_table_does_not_keep_others_out(tmp_path, bright, grey):
    for stem in ("a", "a_splits"):
        write_image(tmp_path / "out" / f"{stem}.tif", grey)
    write_image(tmp_path / "in" / "b.png", grey)
    assert predict_images(bright(), {"b": tmp_path / "in" / "b.png"}, tmp_path / "out") == {"b": 3}
