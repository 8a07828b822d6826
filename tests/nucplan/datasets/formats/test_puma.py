"""PUMA comes back as it was outlined: not shifted, not scaled, without alpha."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from nucplan.datasets.annotations.polygons import NO_AREA, TOO_FEW_POINTS
from nucplan.datasets.formats import puma
from nucplan.errors import NucplanError

STEM = "training_set_primary_roi_001"
IMAGES, NUCLEI = "01_training_dataset_tif_ROIs", "01_training_dataset_geojson_nuclei"


def square(left: float, top: float, right: float, bottom: float) -> list[list[float]]:
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def feature(name: str, *parts: list, kind: str = "Polygon") -> dict:
    coordinates = [parts[0]] if kind == "Polygon" else [[part] for part in parts]
    return {
        "type": "Feature",
        "id": "1d2e0bd5-8e6a-4a4b-8b0a-000000000000",
        "geometry": {"type": kind, "coordinates": coordinates},
        "properties": {"objectType": "annotation", "classification": {"name": name, "color": [200, 0, 0]}},
    }


FEATURES = [
    feature("nuclei_tumor", square(5, 6, 12.25, 12)),
    feature("nuclei_lymphocyte", square(12.25, 6, 18, 12)),
    feature("nuclei_apoptosis", square(20, 20, 24, 24), square(26, 20, 28, 24), kind="MultiPolygon"),
    feature("nuclei_stroma", square(44, -4, 60, 3)),
]


def add(folder: Path, content: object, stem: str = STEM, suffix: str = ".tif") -> Path:
    (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    (folder / NUCLEI).mkdir(exist_ok=True)
    pixels = np.full((40, 48, 4), 200, np.uint8)
    tifffile.imwrite(folder / IMAGES / f"{stem}{suffix}", pixels, photometric="rgb", extrasamples=["unassalpha"])
    path = folder / NUCLEI / f"{stem}_nuclei.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": content}))
    return path


def expected() -> np.ndarray:
    labels = np.zeros((40, 48), np.int32)
    labels[6:12, 5:12], labels[6:12, 12:18], labels[20:24, 20:24], labels[20:24, 26:28] = 1, 2, 3, 3
    labels[:3, 44:] = 4
    return labels


def test_nuclei_lie_where_their_coordinates_are(tmp_path: Path, written):
    add(tmp_path, FEATURES)
    # Away from the corner: a reader that stretches the box of all nuclei to the image would move these.
    add(tmp_path, FEATURES[:1], "training_set_metastatic_roi_103", ".tiff")
    (tmp_path / "01_training_dataset_tif_context_ROIs").mkdir()
    (tmp_path / "01_training_dataset_tif_context_ROIs" / f"{STEM}_context.tif").write_bytes(b"")
    source = puma.read(tmp_path)
    assert not source.faults
    loaded = {case.name: case.load() for case in source.cases}
    annotated = loaded[STEM]
    assert annotated.image.shape == (40, 48, 3)
    np.testing.assert_array_equal(annotated.instances, expected())
    assert [source.class_names[k - 1] for k in annotated.class_of.values()] == [
        "tumor",
        "lymphocyte",
        "apoptosis",
        "stroma",
    ]
    alone = loaded["training_set_metastatic_roi_103"].instances
    np.testing.assert_array_equal(alone, np.where(expected() == 1, 1, 0))
    written(source)


def test_outlines_of_another_image_are_refused(tmp_path: Path):
    add(tmp_path, [feature("nuclei_tumor", square(5000, 5000, 5010, 5010))])
    with pytest.raises(NucplanError, match=r"_nuclei\.geojson: all outlines lie outside of the image"):
        puma.read(tmp_path).cases[0].load()


def test_a_truncated_image_is_refused_by_name(tmp_path: Path):
    add(tmp_path, FEATURES)
    path = tmp_path / IMAGES / f"{STEM}.tif"
    for length in (300, 20, 0):
        path.write_bytes(path.read_bytes()[:length])
        with pytest.raises(NucplanError, match=rf"{STEM}\.tif is damaged"):
            puma.read(tmp_path).cases[0].load()


def test_bad_input_is_refused_or_counted(tmp_path: Path):
    with pytest.raises(NucplanError, match=r"no file \*_nuclei"):
        puma.read(tmp_path)
    point = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}, "properties": {}}
    path = add(tmp_path, [*FEATURES, feature("nuclei_tumor", [[1, 1], [4, 4]]), point])
    assert puma.read(tmp_path).cases[0].load().left_out == {TOO_FEW_POINTS: 1, NO_AREA: 1}
    add(tmp_path, [feature("nuclei_tumour", square(1, 1, 5, 5))])
    with pytest.raises(NucplanError, match=r"_nuclei\.geojson has the class 'nuclei_tumour'"):
        puma.read(tmp_path).cases[0].load()
    path.write_text(path.read_text()[:-20])
    with pytest.raises(NucplanError, match=r"_nuclei\.geojson is damaged"):
        puma.read(tmp_path).cases[0].load()
    path.unlink()
    add(tmp_path, FEATURES, "training_set_primary_roi_002")
    assert [fault.split(" has no ")[0].rsplit("/")[-1] for fault in puma.read(tmp_path).faults] == [f"{STEM}.tif"]
