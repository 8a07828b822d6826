"""Outlines of GeoJSON come with the coordinates that were written; what the forms of QuPath mean is in test_qupath."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucplan.datasets.annotations.geojson import Feature, read_features, stem_of
from nucplan.errors import NucplanError

coordinates = st.floats(allow_nan=False, allow_infinity=False)
ring = st.lists(st.lists(coordinates, min_size=2, max_size=3), max_size=6)
polygon = st.lists(ring, max_size=3)


def read(path: Path, content: Any) -> list[Feature]:
    text = json.dumps(content).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return read_features(path)


@given(st.lists(polygon, max_size=3))
@settings(max_examples=40, deadline=None)
def test_rings_of_all_parts_come_back_to_the_last_digit(tmp_path_factory: pytest.TempPathFactory, parts: list):
    path = tmp_path_factory.getbasetemp() / "a.geojson.gz"
    (feature,) = read(path, {"type": "Feature", "geometry": {"type": "MultiPolygon", "coordinates": parts}})
    expected = [points for part in parts for points in part]
    assert [found.tolist() for found in feature.rings] == [[point[:2] for point in points] for points in expected]
    assert all(found.dtype == np.float64 for found in feature.rings)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a.geojson", "a"),
        ("a.b.GeoJSON.GZ", "a.b"),
        ("a.png.geojson.gz", "a.png"),
        ("a.gz", "a"),
        ("geojson", "geojson"),
    ],
)
def test_stems_are_names_without_both_ends(name: str, stem: str):
    assert stem_of(Path("x") / name) == stem


@pytest.mark.parametrize("named", ["PathCellObject", "cell", "Cell", "PathCell"])
@pytest.mark.parametrize("key", ["objectType", "object_type"])
def test_kinds_have_one_name_whatever_the_version(tmp_path: Path, key: str, named: str):
    (feature,) = read(tmp_path / "a.geojson", [{"type": "Feature", "properties": {key: named}}])
    assert (feature.kind, feature.whole_cell) == ("cell", True)


@pytest.mark.parametrize("point", [[10**400, 1], [1], ["x", 1], None, 5])
def test_points_that_are_none_are_refused_with_the_number_of_their_object(tmp_path: Path, point: Any):
    fine = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[[1, 2]]]}}
    bad = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[[1, 2], point]]}}
    with pytest.raises(NucplanError, match=r"a\.geojson: object 2 has no proper geometry"):
        read(tmp_path / "a.geojson", [fine, bad])


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(NucplanError, match=r"a\.geojson is missing"):
        read_features(tmp_path / "a.geojson")
