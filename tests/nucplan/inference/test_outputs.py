"""The files of one prediction agree with each other and are there together or not at all."""

from __future__ import annotations

import csv
import dataclasses
import json

import numpy as np
import pytest
import tifffile

from nucplan.inference.outputs import remove_outputs, write_outputs
from nucplan.instances import DecoderPlan, Instances, NucleusProbabilities, decode, instances_from_labels

IMAGE = np.full((30, 40, 3), 120, np.uint8)


def nuclei():
    labels = np.zeros((30, 40), np.int32)
    labels[2:6, 3:11] = 1
    labels[20:25, 30:33] = 2
    return instances_from_labels(labels, {1: 2, 2: 1}, class_count=2)


def names(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_all_files_are_written_and_tell_the_same(tmp_path):
    write_outputs(tmp_path / "new", "slide", IMAGE, nuclei(), ["tumour", "stroma"], mpp=0.25)
    assert names(tmp_path / "new") == {"slide.tif", "slide.csv", "slide.geojson", "slide_overlay.png"}
    labels = tifffile.imread(tmp_path / "new" / "slide.tif")
    assert labels.dtype == np.uint32
    assert np.array_equal(labels, nuclei().labels)
    with open(tmp_path / "new" / "slide.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["class"] for row in rows] == ["stroma", "tumour"]
    first = {name: float(value) for name, value in rows[0].items() if name != "class"}
    assert first == {
        "id": 1,
        "probability": 1,
        "centroid_x_px": 6.5,
        "centroid_y_px": 3.5,
        "area_px": 32,
        "box_x0_px": 3,
        "box_y0_px": 2,
        "box_x1_px": 11,
        "box_y1_px": 6,
        "centroid_x_um": 1.625,
        "centroid_y_um": 0.875,
        "area_um2": 2,
        "box_x0_um": 0.75,
        "box_y0_um": 0.5,
        "box_x1_um": 2.75,
        "box_y1_um": 1.5,
    }


def test_without_a_pixel_size_the_columns_are_the_documented_ones(tmp_path):
    write_outputs(tmp_path, "a", IMAGE, nuclei(), ["x", "y"])
    assert (tmp_path / "a.csv").read_text().splitlines()[0] == (
        "id,class,probability,centroid_x_px,centroid_y_px,area_px,box_x0_px,box_y0_px,box_x1_px,box_y1_px"
    )


def test_an_ensemble_adds_its_confidence_to_table_and_outlines(tmp_path):
    labels = np.zeros((20, 20), np.int32)
    labels[3:8, 3:8] = 1
    found = instances_from_labels(labels)
    for confidence, expected in ((None, None), (np.array([0.25], np.float32), "0.2500")):
        instances = Instances(found.labels, dataclasses.replace(found.table, confidence=confidence))
        write_outputs(tmp_path, "a", np.zeros((20, 20), np.uint8), instances, ["nucleus"], overlay=False)
        with open(tmp_path / "a.csv") as stream:
            assert next(csv.DictReader(stream)).get("confidence") == expected
        (outline,) = json.loads((tmp_path / "a.geojson").read_text())["features"]
        assert outline["properties"]["measurements"].get("Confidence") == (None if expected is None else 0.25)


def test_probability_tells_sure_nuclei_from_doubtful_ones_also_with_one_class(tmp_path):
    foreground = np.zeros((30, 40), np.float32)
    foreground[2:12, 3:13], foreground[16:26, 20:30] = 0.9, 0.6
    instances = decode(NucleusProbabilities(np.stack([1 - foreground, foreground])), DecoderPlan(diameter=10))
    write_outputs(tmp_path, "a", IMAGE, instances, ["nucleus"])
    with open(tmp_path / "a.csv", newline="", encoding="utf-8") as stream:
        assert [row["probability"] for row in csv.DictReader(stream)] == ["0.9000", "0.6000"]
    features = json.loads((tmp_path / "a.geojson").read_text())["features"]
    assert [feature["properties"]["measurements"]["Probability"] for feature in features] == [0.9, 0.6]


def test_options_choose_files_and_a_second_run_leaves_none_of_the_first(tmp_path):
    write_outputs(tmp_path, "a", IMAGE, nuclei(), ["x", "y"])
    write_outputs(tmp_path, "a", IMAGE, nuclei(), ["x", "y"], geojson_gz=True, overlay=False)
    assert names(tmp_path) == {"a.tif", "a.csv", "a.geojson.gz"}


def test_the_table_of_an_image_is_not_removed_as_the_splits_of_another(tmp_path):
    for stem in ("a_splits", "a"):
        write_outputs(tmp_path, stem, IMAGE, nuclei(), ["x", "y"], overlay=False)
    assert {"a_splits.csv", "a_splits.tif", "a.csv"} <= names(tmp_path)
    (tmp_path / "a_splits.tif").unlink()
    remove_outputs(tmp_path, "a")
    assert names(tmp_path) == {"a_splits.geojson"}


def test_an_image_without_nuclei_has_all_files(tmp_path):
    write_outputs(tmp_path, "empty", IMAGE, instances_from_labels(np.zeros((30, 40), int)), ["x"])
    assert len(names(tmp_path)) == 4
    assert len((tmp_path / "empty.csv").read_text().splitlines()) == 1


def test_where_a_step_fails_no_label_map_says_that_all_is_well(tmp_path):
    write_outputs(tmp_path, "a", IMAGE, nuclei(), ["x", "y"])
    with pytest.raises(ValueError, match="differ in size"):
        write_outputs(tmp_path, "a", IMAGE[:10], nuclei(), ["x", "y"])
    assert "a.tif" not in names(tmp_path)
