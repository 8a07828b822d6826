"""Planes come in the order of the markers of the dataset, and damaged images have no say in its scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from nucplan.datasets.multiplex.intensities import NEGATIVE
from nucplan.datasets.multiplex.marker_tables import MarkerTable
from nucplan.datasets.multiplex.panels import Planes, choose_planes, common_scale, in_order, match, union
from nucplan.datasets.multiplex.planes import Stack, read_header
from nucplan.errors import NucplanError

NAMES = ("DAPI", "CD3", "CD20")


def stack(names: tuple[str, ...] | None = NAMES) -> Stack:
    return Stack(Path("x.tif"), 3, names, np.dtype(np.uint16))


def image(path: Path, values: list[float], indices: tuple[int, ...] = (0, 1)) -> Planes:
    """Planes of 2 x 3 pixels of one value each."""
    pixels = np.broadcast_to(np.reshape(values, (-1, 1, 1)), (len(values), 2, 3)).astype(np.float32)
    tifffile.imwrite(path, pixels, photometric="minisblack")
    return Planes(read_header(path), indices)


def test_planes_are_put_in_the_order_of_the_markers():
    names, indices = choose_planes(stack(), None)
    assert (names, indices) == (NAMES, (0, 1, 2))
    planes, absent = in_order(("CD20", "DAPI", "CD3"), names, indices, stack())
    assert (planes.indices, absent) == ((2, 0, 1), ())


def test_a_marker_that_an_image_lacks_is_a_plane_of_zeros(tmp_path: Path):
    pixels = np.arange(12, dtype=np.uint16).reshape(2, 2, 3) + 1
    tifffile.imwrite(tmp_path / "x.tif", pixels, photometric="minisblack")
    header = read_header(tmp_path / "x.tif")
    planes, absent = in_order(("CD8", "cd 3", "DAPI"), ("DAPI", "CD3"), (1, 0), header)
    assert absent == ("CD8",)
    np.testing.assert_array_equal(planes.read(), np.dstack([np.zeros((2, 3)), pixels[0], pixels[1]]))


def test_markers_are_the_same_in_any_order_and_spelling():
    assert union([("DAPI", "Ki-67"), ("KI67", "dapi", "CD3")]) == ("DAPI", "Ki-67", "CD3")
    assert match(("DAPI", "CD3", "CD8"), ("cd_3", "dapi")) == (1, 0, None)


def test_spelling_counts_where_it_alone_tells_two_markers_apart():
    assert match(("DAPI_2", "DAPI2"), ("DAPI2", "DAPI_2")) == (1, 0)


def test_a_table_names_planes_and_must_not_contradict_the_file():
    table = MarkerTable(Path("markers.csv"), ("DAPI", "CD3", "CD20"), (True, False, True))
    assert choose_planes(stack(None), table) == (("DAPI", "CD20"), (0, 2))
    with pytest.raises(NucplanError, match=r"x\.tif names its planes CD20, DAPI, but markers\.csv .* another order"):
        choose_planes(stack(("CD20", "CD3", "DAPI")), table)
    with pytest.raises(NucplanError, match=r"x\.tif does not name its 3 planes; add a markers\.csv"):
        choose_planes(stack(None), None)


def test_one_scale_holds_for_the_wanted_planes_of_all_images(tmp_path: Path):
    images = [image(tmp_path / "a.tif", [0.5, -3, 900], (1, 0)), image(tmp_path / "b.tif", [0.25, 6, 900], (1, 0))]
    scale, faults = common_scale(images)
    assert not faults
    assert scale.factors == (65535 / 6, 65535 / 0.5)
    pixels, remarks = images[0].load(scale)
    assert np.unique(pixels.reshape(-1, 2), axis=0).tolist() == [[0, 65535]]
    assert remarks == {NEGATIVE: 6}


def test_damaged_images_are_faults_by_path_and_the_others_stay(tmp_path: Path):
    images = [image(tmp_path / "a.tif", [0.5, 1]), image(tmp_path / "b.tif", [9, 9])]
    images[1].stack.path.write_bytes(images[1].stack.path.read_bytes()[:100])
    scale, faults = common_scale(images)
    assert scale.factors == (131070, 65535)
    assert list(faults) == [tmp_path / "b.tif"]
    assert "b.tif is damaged" in faults[tmp_path / "b.tif"]


def test_images_of_16_bits_are_not_read_for_the_scale():
    assert common_scale([Planes(stack(), (0, 1))])[0].factors is None
