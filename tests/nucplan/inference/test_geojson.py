"""Outlines are the nuclei, exactly, in a file that GeoJSON readers and QuPath understand."""

from __future__ import annotations

import gzip
import json
import uuid

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.path import Path as Shape

from nucplan.inference import outlines
from nucplan.inference.geojson import write_geojson
from nucplan.inference.outlines import trace_outlines
from nucplan.instances import Instances, instances_from_labels

label_maps = arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 4))


def rasterised(polygons: list, shape: tuple[int, int]) -> np.ndarray:
    """Pixels whose centre lies within the outer ring and within no hole of any polygon."""
    rows, columns = np.indices(shape)
    centres = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], axis=1)
    covered = np.zeros(len(centres), bool)
    for outer, *holes in polygons:
        inside = Shape(outer).contains_points(centres)
        for hole in holes:
            inside &= ~Shape(hole).contains_points(centres)
        covered |= inside
    return covered.reshape(shape)


def shoelace(ring: np.ndarray) -> float:
    x, y = np.asarray(ring).T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


def holed() -> Instances:
    labels = np.zeros((9, 12), np.int32)
    labels[1:6, 1:6] = 1
    labels[3, 3] = 0
    labels[7, 9] = 2
    labels[2:5, 6:9] = 3
    return instances_from_labels(labels, {1: 1, 2: 2, 3: 1}, class_count=2)


@given(label_maps)
@settings(max_examples=80, deadline=None)
def test_the_polygons_cover_exactly_the_pixels_of_their_nucleus(labels):
    instances = instances_from_labels(labels)
    found = dict(trace_outlines(instances))
    assert list(found) == instances.table.id.tolist()
    for nucleus, polygons in found.items():
        assert np.array_equal(rasterised(polygons, labels.shape), instances.labels == nucleus)
        assert sum(shoelace(ring) for rings in polygons for ring in rings) == (instances.labels == nucleus).sum()


@given(label_maps)
@settings(max_examples=40, deadline=None)
def test_outer_rings_turn_one_way_and_holes_the_other_and_no_corner_is_idle(labels):
    for _, polygons in trace_outlines(instances_from_labels(labels)):
        for outer, *holes in polygons:
            assert shoelace(outer) > 0
            assert all(shoelace(hole) < 0 for hole in holes)
            for ring in (outer, *holes):
                sides = np.roll(ring, -1, axis=0) - ring
                assert ((sides == 0).sum(axis=1) == 1).all()
                assert ((sides[:, 0] == 0) != (np.roll(sides[:, 0], 1) == 0)).all()


@given(arrays(np.uint8, (8, 8), elements=st.integers(0, 1)))
@settings(max_examples=100, deadline=None)
def test_no_ring_meets_itself_also_where_a_nucleus_does_at_a_corner(labels):
    for _, polygons in trace_outlines(instances_from_labels(labels)):
        for ring in (ring for rings in polygons for ring in rings):
            assert len(np.unique(ring, axis=0)) == len(ring)


@given(label_maps)
@settings(max_examples=30, deadline=None)
def test_outlines_do_not_depend_on_the_chunks(labels):
    instances = instances_from_labels(labels)
    whole = [(i, [[r.tolist() for r in p] for p in polygons]) for i, polygons in trace_outlines(instances)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outlines, "NUCLEI_PER_CHUNK", 1)
        assert [(i, [[r.tolist() for r in p] for p in polygons]) for i, polygons in trace_outlines(instances)] == whole


def test_features_are_what_qupath_reads(tmp_path):
    write_geojson(tmp_path / "slide.geojson", holed(), ["tumour", "stroma"], mpp=0.5)
    content = json.loads((tmp_path / "slide.geojson").read_text(encoding="utf-8"))
    assert content["type"] == "FeatureCollection"
    first, _, third = content["features"]
    assert len({uuid.UUID(feature["id"]) for feature in content["features"]}) == 3
    for feature in content["features"]:
        assert feature["type"] == "Feature"
        assert feature["properties"]["objectType"] == "detection"
        assert all(ring[0] == ring[-1] and len(ring) >= 4 for ring in feature["geometry"]["coordinates"])
    assert len(first["geometry"]["coordinates"]) == 2
    assert third["geometry"]["coordinates"] == [[[6, 2], [9, 2], [9, 5], [6, 5], [6, 2]]]
    names = [feature["properties"]["classification"]["name"] for feature in content["features"]]
    assert names == ["tumour", "stroma", "tumour"]
    assert len(first["properties"]["classification"]["color"]) == 3
    assert first["properties"]["measurements"] == {"Probability": 1.0, "Area px^2": 24, "Area µm^2": 6.0}


def test_a_nucleus_of_one_pixel_is_its_square(tmp_path):
    write_geojson(tmp_path / "dot.geojson", holed(), ["a", "b"])
    dot = json.loads((tmp_path / "dot.geojson").read_text())["features"][1]
    assert dot["geometry"] == {"type": "Polygon", "coordinates": [[[9, 7], [10, 7], [10, 8], [9, 8], [9, 7]]]}


def test_a_nucleus_in_parts_is_a_multipolygon(tmp_path):
    write_geojson(tmp_path / "parts.geojson", instances_from_labels(np.array([[1, 0], [0, 1]])), ["a"])
    geometry = json.loads((tmp_path / "parts.geojson").read_text())["features"][0]["geometry"]
    assert geometry["type"] == "MultiPolygon"
    assert len(geometry["coordinates"]) == 2


def test_no_nuclei_give_an_empty_collection(tmp_path):
    write_geojson(tmp_path / "none.geojson", instances_from_labels(np.zeros((4, 4), np.int32)), ["a"])
    assert json.loads((tmp_path / "none.geojson").read_text()) == {"type": "FeatureCollection", "features": []}


def test_the_compressed_file_holds_the_same_and_repeats_to_the_byte(tmp_path):
    write_geojson(tmp_path / "a.geojson", holed(), ["x", "y"])
    write_geojson(tmp_path / "a.geojson.gz", holed(), ["x", "y"])
    packed = (tmp_path / "a.geojson.gz").read_bytes()
    assert gzip.decompress(packed) == (tmp_path / "a.geojson").read_bytes()
    write_geojson(tmp_path / "a.geojson.gz", holed(), ["x", "y"])
    assert (tmp_path / "a.geojson.gz").read_bytes() == packed


def test_a_failure_on_the_way_leaves_no_file(tmp_path):
    with pytest.raises(IndexError):
        write_geojson(tmp_path / "a.geojson.gz", holed(), ["only one name"])
    assert list(tmp_path.iterdir()) == []
