"""GeoJSON of QuPath, in every form it is exported in, comes back as nuclei; our own predictions exactly."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nucplan.datasets.annotations.polygons import NO_AREA, NO_POSITIONS, TOO_FEW_POINTS, UNCLEAR
from nucplan.datasets.formats import qupath
from nucplan.datasets.source import Annotated, Source
from nucplan.errors import NucplanError
from nucplan.images import write_image
from nucplan.inference.geojson import write_geojson
from nucplan.instances import instances_from_labels

LEFT, RIGHT, ALONE = (2, 3, 8, 9), (8, 3, 14, 9), (20, 20, 30, 28)


def square(left: float, top: float, right: float, bottom: float) -> list[list[float]]:
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def polygon(*rings: tuple[float, float, float, float]) -> dict:
    return {"type": "Polygon", "coordinates": [square(*ring) for ring in rings]}


def feature(geometry: Any, classification: Any = None, kind: str = "detection", **more: Any) -> dict:
    properties = {"objectType": kind, "classification": classification, "isLocked": False, "measurements": {"a": 1}}
    return {"type": "Feature", "id": "1d2e0bd5", "geometry": geometry, "properties": properties, **more}


def add(folder: Path, content: Any, name: str = "a", file_name: str | None = None) -> Path:
    write_image(folder / "images" / f"{name}.png", np.full((40, 48, 3), 200, np.uint8))
    path = folder / "annotations" / (file_name or f"{name}.geojson")
    path.parent.mkdir(exist_ok=True)
    text = json.dumps({"type": "FeatureCollection", "features": content} if isinstance(content, list) else content)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def first(source: Source) -> Annotated:
    assert not source.faults
    return source.cases[0].load()


def names(source: Source) -> list[str]:
    return [source.class_names[k - 1] for k in first(source).class_of.values()]


def labels(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    found = np.zeros((40, 48), np.int32)
    for number, (left, top, right, bottom) in enumerate(boxes, start=1):
        found[top:bottom, left:right] = number
    return found


@pytest.mark.parametrize("suffix", [".geojson", ".geojson.gz"])
def test_our_own_predictions_come_back_exactly(tmp_path: Path, written, suffix: str):
    rng = np.random.default_rng(0)
    # Blobs that touch, with holes, diagonal pixels and single ones.
    drawn = rng.integers(0, 7, (10, 12)).repeat(3, 0).repeat(3, 1)
    drawn[rng.random(drawn.shape) < 0.1] = 0
    ids = np.unique(drawn)[1:].tolist()
    instances = instances_from_labels(drawn, {i: 1 + i % 3 for i in ids}, class_count=3)
    class_names = ("stroma", "tumour", "Größe: 2")
    write_image(tmp_path / "images" / "a.png", np.full(drawn.shape, 9, np.uint8))
    write_geojson(tmp_path / f"a{suffix}", instances, class_names, mpp=0.25)
    (tmp_path / "dataset.json").write_text(json.dumps({"classes": {"1": "stroma", "2": "tumour", "3": "Größe: 2"}}))
    source = qupath.read(tmp_path)
    annotated = first(source)
    np.testing.assert_array_equal(annotated.instances, instances.labels)
    assert annotated.class_of == {i: int(k) for i, k in zip(ids, instances.table.class_id, strict=True)}
    assert not annotated.left_out
    assert not annotated.remarks
    np.testing.assert_array_equal(written(source).instances("a"), instances.labels)
    (tmp_path / "dataset.json").unlink()
    source = qupath.read(tmp_path)
    by_name = {i: source.class_names[k - 1] for i, k in first(source).class_of.items()}
    assert by_name == {i: class_names[i % 3] for i in ids}


@pytest.mark.parametrize("form", ["collection", "array", "feature"])
def test_collections_arrays_and_single_features_are_read(tmp_path: Path, form: str):
    found = [feature(polygon(LEFT)), feature(polygon(RIGHT))]
    path = add(tmp_path, found if form == "collection" else found[0])
    if form == "array":
        path.write_text(json.dumps(found))
    expected = labels(LEFT) if form == "feature" else labels(LEFT, RIGHT)
    np.testing.assert_array_equal(first(qupath.read(tmp_path)).instances, expected)


@pytest.mark.parametrize(
    ("classification", "name"),
    [
        ({"name": "Tumor", "color": [200, 0, 0]}, "Tumor"),
        ({"name": "Tumor: Positive", "colorRGB": -3670016}, "Tumor: Positive"),
        ({"names": ["Tumor", "Positive"], "color": [1, 2, 3, 4]}, "Tumor: Positive"),
        ("Tumor", "Tumor"),
        (None, "nucleus"),
        ({}, "nucleus"),
        ({"name": None}, "nucleus"),
    ],
)
def test_every_form_of_classification_is_understood(tmp_path: Path, classification: Any, name: str):
    add(tmp_path, [feature(polygon(LEFT), classification)])
    assert names(qupath.read(tmp_path)) == [name]


def test_holes_parts_and_heights_are_understood(tmp_path: Path):
    parts = {"type": "MultiPolygon", "coordinates": [[square(*ALONE), square(22, 22, 24, 24)], [square(40, 2, 44, 6)]]}
    with_height = {"type": "Polygon", "coordinates": [[[x, y, 0.0] for x, y in square(*LEFT)]]}
    add(tmp_path, [feature(parts), feature(with_height)])
    expected = labels(ALONE, LEFT)
    expected[22:24, 22:24], expected[2:6, 40:44] = 0, 1
    np.testing.assert_array_equal(first(qupath.read(tmp_path)).instances, expected)


def test_of_cells_the_nucleus_is_taken_where_there_is_one(tmp_path: Path):
    cell = feature(polygon((0, 0, 16, 16)), "Tumor", "cell", nucleusGeometry=polygon(LEFT))
    add(tmp_path, [cell, feature(polygon(ALONE), "Tumor", "cell")])
    annotated = first(qupath.read(tmp_path))
    np.testing.assert_array_equal(annotated.instances, labels(LEFT, ALONE))
    assert annotated.remarks == {qupath.WHOLE_CELLS: 1}


def test_tiles_and_cores_and_uninteresting_classes_are_no_nuclei(tmp_path: Path):
    others = [feature(polygon((0, 0, 40, 40)), "Tumor", kind) for kind in ("tile", "tmaCore", "root")]
    region = feature(polygon((0, 0, 40, 40)), {"name": "Region*"}, "annotation")
    add(tmp_path, [feature(polygon(LEFT), "Tumor"), *others, region])
    source = qupath.read(tmp_path, objects="all")
    np.testing.assert_array_equal(first(source).instances, labels(LEFT))
    assert first(source).remarks == {qupath.OTHER_OBJECTS: 4}
    assert source.class_names == ("Tumor",)


def test_annotations_are_nuclei_unless_there_are_detections(tmp_path: Path):
    around = feature(polygon((0, 0, 40, 40)), "Tumor", "annotation")
    add(tmp_path, [around])
    np.testing.assert_array_equal(first(qupath.read(tmp_path)).instances, labels((0, 0, 40, 40)))
    add(tmp_path, [around, feature(polygon(LEFT), "Tumor")])
    annotated = first(qupath.read(tmp_path))
    assert int((annotated.instances > 0).sum()) == 36
    assert annotated.remarks == {qupath.REGIONS: 1}
    assert len(first(qupath.read(tmp_path, objects="all")).class_of) == 2


def test_classes_of_regions_beside_detections_are_no_classes(tmp_path: Path):
    around = [feature(polygon((0, 0, 40, 40)), name, "annotation") for name in (None, "Tumor region")]
    add(tmp_path, [feature(polygon(LEFT), "Tumor"), *around])
    add(tmp_path, [feature(polygon(LEFT), "Immune")], "b")
    assert qupath.read(tmp_path).class_names == ("Immune", "Tumor")
    assert qupath.read(tmp_path, objects="all").class_names == ("Immune", "Tumor", "Tumor region", "nucleus")


def test_annotations_of_the_class_ignore_are_areas_to_ignore(tmp_path: Path):
    add(tmp_path, [feature(polygon(LEFT)), feature(polygon(ALONE), "Ignore*", "annotation")])
    annotated = first(qupath.read(tmp_path))
    np.testing.assert_array_equal(annotated.ignored, labels(ALONE) > 0)
    assert annotated.remarks == {qupath.IGNORED: 1}


def test_objects_without_a_class_beside_others_are_nucleus_or_ignored(tmp_path: Path):
    add(tmp_path, [feature(polygon(LEFT), "Tumor"), feature(polygon(RIGHT))])
    source = qupath.read(tmp_path)
    assert names(source) == ["Tumor", "nucleus"]
    assert first(source).remarks == {qupath.UNCLASSIFIED: 1}
    source = qupath.read(tmp_path, unclassified="ignore")
    assert source.class_names == ("Tumor",)
    np.testing.assert_array_equal(first(source).ignored, labels(RIGHT) > 0)
    assert first(source).left_out == {UNCLEAR: 1}


@pytest.mark.parametrize("key", ["id", "object_type"])
def test_the_keys_of_old_versions_are_known(tmp_path: Path, key: str):
    old = feature(polygon(LEFT), {"name": "Tumor", "colorRGB": -3670016})
    tile = feature(polygon(ALONE), {"name": "Tumor", "colorRGB": -3670016})
    for found, kind in ((old, "PathDetectionObject"), (tile, "PathTileObject")):
        del found["properties"]["objectType"]
        found["properties"]["measurements"] = [{"name": "Area", "value": 1}]
        (found if key == "id" else found["properties"])[key] = kind
    add(tmp_path, [old, tile])
    np.testing.assert_array_equal(first(qupath.read(tmp_path)).instances, labels(LEFT))


def test_files_match_by_stem_or_by_the_whole_name_of_the_image(tmp_path: Path):
    add(tmp_path, [feature(polygon(LEFT))], "a", "a.png.geojson")
    add(tmp_path, [feature(polygon(LEFT))], "b", "b.geojson.gz")
    assert [case.name for case in qupath.read(tmp_path).cases] == ["a", "b"]
    add(tmp_path, [], "b", "b.geojson")
    assert "have the same name" in qupath.read(tmp_path).faults[0]


@pytest.mark.parametrize(
    ("ring", "reason"),
    [
        ([[1, 1], [5, 5]], TOO_FEW_POINTS),
        ([], TOO_FEW_POINTS),
        ([[1, 1], [5, 5], [1, float("nan")]], NO_POSITIONS),
        ([[1, 1], [5, 5], [1, 1e9]], NO_POSITIONS),
    ],
)
def test_outlines_without_pixels_are_counted(tmp_path: Path, ring: list, reason: str):
    add(tmp_path, [feature({"type": "Polygon", "coordinates": [ring]}), feature(polygon(LEFT))])
    assert first(qupath.read(tmp_path)).left_out == {reason: 1}


def test_coordinates_of_the_whole_slide_are_refused(tmp_path: Path):
    add(tmp_path, [feature(polygon((5000, 5000, 5010, 5010)))])
    with pytest.raises(NucplanError, match=r"a\.geojson: all outlines lie outside of the image"):
        qupath.read(tmp_path).cases[0].load()


def test_objects_without_area_are_counted(tmp_path: Path):
    line = {"type": "LineString", "coordinates": [[1, 2], [3, 4]]}
    add(tmp_path, [feature({"type": "Point", "coordinates": [1, 2]}), feature(line), feature(None)])
    assert first(qupath.read(tmp_path)).left_out == {NO_AREA: 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"type": "FeatureCollection", "feat', "damaged or no JSON"),
        (b"\xff\xfe\x00", "damaged or no JSON"),
        (b'{"type": "FeatureCollection"}', "no GeoJSON features"),
        (b'{"nuclei": []}', "no GeoJSON features"),
        (b"[1, 2]", "object 1 has no proper"),
        (b'[{"type": "Feature", "geometry": {"type": "Polygon"}}]', "object 1 has no proper"),
        (b'[{"geometry": {"type": "Polygon", "coordinates": [[["a", 1], [2]]]}}]', "object 1 has no proper"),
        (b'[{"properties": {"classification": 5}}]', "object 1 has no proper"),
        (b"[" * 100_000, "damaged or no JSON"),
    ],
)
def test_bad_files_are_faults_that_name_them_and_the_others_stay(tmp_path: Path, text: bytes, message: str):
    add(tmp_path, [feature(polygon(LEFT))])
    add(tmp_path, [], "bad").write_bytes(text)
    source = qupath.read(tmp_path)
    assert [case.name for case in source.cases] == ["a"]
    assert len(source.faults) == 1
    assert "bad.geojson" in source.faults[0]
    assert message in source.faults[0]


def test_truncated_archives_missing_halves_and_unknown_classes_are_refused(tmp_path: Path):
    with pytest.raises(NucplanError, match=r"no \.geojson file"):
        qupath.read(tmp_path)
    path = add(tmp_path, [feature(polygon(LEFT), "Tumor")], "a", "a.geojson.gz")
    path.write_bytes(path.read_bytes()[:40])
    assert "a.geojson.gz is damaged" in qupath.read(tmp_path).faults[0]
    add(tmp_path, [feature(polygon(LEFT), "Tumor")], "a", "a.geojson.gz")
    (tmp_path / "dataset.json").write_text('{"classes": {"1": "Stroma"}}')
    with pytest.raises(NucplanError, match=r"a\.geojson\.gz has the class 'Tumor', which the dataset\.json"):
        qupath.read(tmp_path).cases[0].load()
    (tmp_path / "images" / "a.png").rename(tmp_path / "images" / "b.png")
    assert len(qupath.read(tmp_path).faults) == 2
