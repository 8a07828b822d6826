"""Planes reach the model by name; what is missing is refused, or absent where panels vary."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from nucplan.datasets.synthetic_multiplex import write_ome
from nucplan.errors import NucplanError
from nucplan.images import write_image
from nucplan.inference.overlay import draw_overlay, planes_key, shown_planes
from nucplan.inference.panel_reader import PanelReader
from nucplan.instances import instances_from_labels

MARKERS = ("DAPI", "CD3", "Ki-67", "PanCK")
FIXED, VARYING = PanelReader(MARKERS), PanelReader(MARKERS, varies=True)


def planes(count: int = 4, dtype: type = np.uint16) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 200, (count, 5, 7)).astype(dtype)


def test_planes_are_matched_by_name_in_any_order_and_spelling(tmp_path: Path) -> None:
    write_ome(tmp_path / "a.ome.tif", planes()[[3, 0, 2, 1]], ("panCK", "dapi", "Ki67", "CD3"))
    for reader in (FIXED, VARYING):
        image, notes = reader.read([tmp_path / "a.ome.tif"])
        np.testing.assert_array_equal(image, np.moveaxis(planes(), 0, 2))
        assert not notes


def test_a_table_beside_the_image_names_its_planes(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", planes(), photometric="minisblack")
    with pytest.raises(NucplanError, match=r"a\.tif does not name its 4 planes; add a markers\.csv"):
        FIXED.read([tmp_path / "a.tif"])
    (tmp_path / "markers.csv").write_text("marker_name\n" + "\n".join(MARKERS))
    np.testing.assert_array_equal(FIXED.read([tmp_path / "a.tif"])[0], np.moveaxis(planes(), 0, 2))


def test_markers_that_are_missing_are_refused_with_both_panels_or_absent(tmp_path: Path) -> None:
    write_ome(tmp_path / "a.ome.tif", planes(3), ("CD3", "CD99", "DAPI"))
    with pytest.raises(
        NucplanError, match=r"a\.ome\.tif has the markers CD3, CD99, DAPI, but .* all have DAPI, CD3, Ki-67, PanCK; "
    ):
        FIXED.read([tmp_path / "a.ome.tif"])
    image, notes = VARYING.read([tmp_path / "a.ome.tif"])
    np.testing.assert_array_equal(image, np.dstack([planes(3)[2], planes(3)[0], *np.zeros((2, 5, 7))]))
    assert [note.split(": ", 1)[1] for note in notes] == [
        "absent, which the model is trained for: Ki-67, PanCK.",
        "not used, as the model does not know them: CD99.",
    ]


def test_markers_beyond_those_of_the_model_are_no_obstacle(tmp_path: Path) -> None:
    write_ome(tmp_path / "a.ome.tif", planes(5), (*MARKERS, "CD99"))
    image, notes = FIXED.read([tmp_path / "a.ome.tif"])
    np.testing.assert_array_equal(image, np.moveaxis(planes(5)[:4], 0, 2))
    assert len(notes) == 1


def test_an_image_of_other_markers_altogether_is_refused(tmp_path: Path) -> None:
    write_ome(tmp_path / "a.ome.tif", planes(2), ("CD4", "CD99"))
    with pytest.raises(NucplanError, match=r"has the markers CD4, CD99, but the model knows DAPI"):
        VARYING.read([tmp_path / "a.ome.tif"])


def test_pictures_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((5, 7, 3), np.uint8), photometric="rgb")
    write_image(tmp_path / "grey.png", planes()[0])
    for name, words in (("rgb.tif", "is an RGB picture"), ("grey.png", "is no TIFF of the 4 markers DAPI")):
        with pytest.raises(NucplanError, match=words):
            FIXED.read([tmp_path / name])


def test_files_of_channels_are_told_by_their_numbers(tmp_path: Path) -> None:
    files = [tmp_path / f"a_{channel:04d}.png" for channel in range(4)]
    for path, plane in zip(files, planes(), strict=True):
        write_image(path, plane)
    np.testing.assert_array_equal(FIXED.read(files)[0], np.moveaxis(planes(), 0, 2))
    with pytest.raises(NucplanError, match=r"a_0000\.png has the markers DAPI, Ki-67, but"):
        FIXED.read([files[0], files[2]])
    image, _ = VARYING.read([files[0], files[2]])
    np.testing.assert_array_equal(image.any((0, 1)), [True, False, True, False])
    assert VARYING.read(files[3:])[0][..., 3].any()
    with pytest.raises(NucplanError, match=r"a_0002\.png is beyond the 2 channels"):
        PanelReader(MARKERS[:2]).read(files)


def test_intensities_have_the_scale_of_the_training_data(tmp_path: Path) -> None:
    fractions = planes(2, np.float32) / 8
    write_ome(tmp_path / "a.ome.tif", fractions, MARKERS[:2])
    scaled = PanelReader(MARKERS[:2], factors={"DAPI": 80.0, "CD3": 8.0})
    np.testing.assert_array_equal(scaled.read([tmp_path / "a.ome.tif"])[0], np.moveaxis(planes(2), 0, 2) * [10, 1])
    with pytest.raises(NucplanError, match=r"a\.ome\.tif holds fractions, but the model was trained on counts"):
        PanelReader(MARKERS[:2]).read([tmp_path / "a.ome.tif"])
    write_ome(tmp_path / "b.ome.tif", planes(2, np.float32), MARKERS[:2])
    assert PanelReader(MARKERS[:2]).read([tmp_path / "b.ome.tif"])[0].dtype == np.uint16


def test_the_picture_shows_and_names_planes_that_hold_a_signal() -> None:
    image = np.moveaxis(planes(6), 0, 2)
    image[..., [0, 3]] = 0
    names = ["CD3", "CD8", "CD20", "Ki-67", "CD45", "CD4"]
    assert shown_planes(image, names) == [1, 2, 4]
    assert shown_planes(np.zeros_like(image), names) == [0]
    # The stain of all nuclei is always seen, in green.
    assert shown_planes(image, [*names[:5], "DAPI"]) == [1, 5, 2]
    assert shown_planes(image[..., [0, 5]], ["CD3", "Hoechst"]) == [1]
    nothing = instances_from_labels(np.zeros((5, 7), np.int32), {}, class_count=1)
    plain = draw_overlay(image[..., :3], nothing, ["nucleus"])
    named = draw_overlay(image[..., :3], nothing, ["nucleus"], MARKERS[:3])
    assert named.shape[0] > plain.shape[0]
    assert (planes_key(MARKERS[:3], 600) == (0, 160, 0)).all(2).any()
    assert not (planes_key(MARKERS[:1], 600) == (0, 160, 0)).all(2).any()
