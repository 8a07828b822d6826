"""COCO comes back as its objects, from polygons and from run-length codes of both kinds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coder

from nucplan.datasets.annotations.polygons import BOXES, TOO_FEW_POINTS, TOO_SMALL
from nucplan.datasets.formats import coco
from nucplan.datasets.source import Annotated
from nucplan.errors import NucplanError
from nucplan.images import write_image
from nucplan.inference.outlines import trace_outlines
from nucplan.instances import instances_from_labels

SHAPE = (40, 48)
CATEGORIES = [{"id": 70, "name": "tumour"}, {"id": 3, "name": "stroma"}]


def square(left: float, top: float, right: float, bottom: float) -> list[float]:
    return [left, top, right, top, right, bottom, left, bottom]


def labels() -> np.ndarray:
    """Touching nuclei, diagonal pixels, a single one, without holes, which polygons of COCO cannot have."""
    found = np.zeros(SHAPE, np.int32)
    found[3:9, 2:8], found[3:9, 8:14], found[0, 47], found[20:25, 20:30], found[25:28, 30:33] = 1, 2, 3, 4, 4
    return found


def as_polygons(nucleus: int) -> list[list[float]]:
    traced = dict(trace_outlines(instances_from_labels(labels())))
    return [polygon[0].ravel().tolist() for polygon in traced[nucleus]]


def as_compressed(nucleus: int) -> dict[str, Any]:
    code = coder.encode(np.asfortranarray(labels() == nucleus, np.uint8))
    return {"size": list(SHAPE), "counts": code["counts"].decode()}


def as_runs(nucleus: int) -> dict[str, Any]:
    flat = (labels() == nucleus).ravel(order="F").astype(int)
    edges = np.flatnonzero(np.diff(flat, prepend=0)).tolist()
    return {"size": list(SHAPE), "counts": np.diff([0, *edges, flat.size]).tolist()}


def annotation(number: int, segmentation: Any, category: int = 70, image: int = 9000, **more: Any) -> dict[str, Any]:
    return {"id": number, "image_id": image, "category_id": category, "segmentation": segmentation, **more}


def write(folder: Path, annotations: list[dict], images: list[str] | None = None, json_name: str = "a.json") -> Path:
    listed = [
        {"id": 9000 + i, "file_name": name, "height": SHAPE[0], "width": SHAPE[1]}
        for i, name in enumerate(images or ["x.png"])
    ]
    for image in listed:
        write_image(folder / "images" / image["file_name"], np.full((*SHAPE, 3), 200, np.uint8))
    path = folder / json_name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": listed, "categories": CATEGORIES, "annotations": annotations}))
    return path


def first(folder: Path) -> Annotated:
    source = coco.read(folder)
    assert not source.faults
    return source.cases[0].load()


@pytest.mark.parametrize("form", [as_polygons, as_compressed, as_runs])
def test_our_instances_come_back_exactly(tmp_path: Path, written, form: Any):
    write(tmp_path, [annotation(100 - i, form(i), 3 if i == 2 else 70) for i in (1, 2, 3, 4)], ["x.png", "empty.png"])
    source = coco.read(tmp_path)
    annotated = source.cases[0].load()
    np.testing.assert_array_equal(annotated.instances, labels())
    assert annotated.class_of == {1: 1, 2: 2, 3: 1, 4: 1}
    assert source.class_names == ("tumour", "stroma")
    assert not source.cases[1].load().class_of
    np.testing.assert_array_equal(written(source).instances("x"), labels())


def test_crowds_and_boxes_are_ignored_and_counted(tmp_path: Path):
    crowd = annotation(2, as_runs(4), iscrowd=1)
    boxes = [annotation(3, [], bbox=[40, 30, 5, 6]), {k: v for k, v in annotation(4, 0, bbox=[0, 30, 2, 2]).items()}]
    del boxes[1]["segmentation"]
    write(tmp_path, [annotation(1, as_polygons(1)), crowd, *boxes])
    annotated = first(tmp_path)
    expected = labels() == 4
    expected[30:36, 40:45] = expected[30:32, :2] = True
    np.testing.assert_array_equal(annotated.ignored, expected)
    assert list(annotated.class_of) == [1]
    assert (annotated.left_out, annotated.remarks) == ({BOXES: 2}, {coco.CROWDS: 1})


def test_categories_that_nothing_uses_are_no_classes(tmp_path: Path):
    write(tmp_path, [annotation(1, as_polygons(1), 3)])
    source = coco.read(tmp_path)
    assert source.class_names == ("stroma",)
    assert "no classes: tumour" in source.remarks[0]


@pytest.mark.parametrize("names", [None, ["cell"]])
@pytest.mark.parametrize("category", [None, 1])
def test_one_class_needs_no_categories(tmp_path: Path, names: list[str] | None, category: int | None):
    path = write(tmp_path, [annotation(i, as_polygons(i), category) for i in (1, 2)])
    content = json.loads(path.read_text())
    content["categories"] = [{"id": 1, "name": name} for name in names or []]
    if not names:
        del content["categories"]
    if not category:
        content["annotations"] = [{k: v for k, v in a.items() if k != "category_id"} for a in content["annotations"]]
    path.write_text(json.dumps(content))
    assert coco.read(tmp_path).class_names == tuple(names or ["nucleus"])
    np.testing.assert_array_equal(first(tmp_path).instances, np.where(labels() < 3, labels(), 0))


def test_parts_have_a_file_each_and_images_are_found_near_it_or_by_name(tmp_path: Path):
    write(tmp_path, [annotation(1, as_polygons(1))], ["x.png"], "annotations/instances_train.json")
    path = write(tmp_path, [annotation(1, as_polygons(1), 3)], ["y.png"], "annotations/instances_test.json")
    (tmp_path / "test2017").mkdir()
    (tmp_path / "images" / "y.png").rename(tmp_path / "test2017" / "y.png")
    path.write_text(path.read_text().replace('"y.png"', r'"C:\\data\\y.png"'))
    source = coco.read(tmp_path)
    assert not source.faults
    assert {case.name: case.part for case in source.cases} == {"x": "Tr", "y": "Ts"}
    assert source.class_names == ("tumour", "stroma")


def test_stems_that_are_in_both_parts_get_their_folder_in_their_names(tmp_path: Path, written):
    for part, number in (("train", 1), ("test", 2)):
        path = write(tmp_path, [annotation(1, as_polygons(number))], json_name=f"{part}/_annotations.coco.json")
        (tmp_path / "images" / "x.png").rename(path.with_name("x.png"))
    (tmp_path / "dataset.json").write_text('{"groups": {"x": "p1"}}')
    source = coco.read(tmp_path)
    assert {case.name: case.part for case in source.cases} == {"train_x": "Tr", "test_x": "Ts"}
    assert source.groups == {"train_x": "p1", "test_x": "p1"}
    (tmp_path / "dataset.json").unlink()
    raw = written(coco.read(tmp_path))
    np.testing.assert_array_equal(raw.instances("test_x", "Ts") > 0, labels() == 2)


def test_only_the_word_test_makes_a_test_part(tmp_path: Path):
    write(tmp_path, [annotation(1, as_polygons(1))], ["x.png"], "testis/latest.json")
    assert coco.read(tmp_path).cases[0].part == "Tr"
    (tmp_path / "testis").rename(tmp_path / "TestData")
    assert coco.read(tmp_path).cases[0].part == "Ts"


def test_outlines_of_another_image_are_refused(tmp_path: Path):
    write(tmp_path, [annotation(1, [square(5000, 5000, 5010, 5010)])])
    with pytest.raises(NucplanError, match=r"a\.json, x\.png: all outlines lie outside"):
        coco.read(tmp_path).cases[0].load()


def test_a_picture_of_another_size_than_its_file_says_is_refused(tmp_path: Path):
    path = write(tmp_path, [annotation(1, as_polygons(1))])
    write_image(tmp_path / "images" / "x.png", np.zeros((80, 96), np.uint8))
    with pytest.raises(NucplanError, match=r"a\.json says x\.png is 40 x 48 pixels, the picture is 80 x 96; export"):
        coco.read(tmp_path).cases[0].load()
    for unknown in ("0", "null"):
        path.write_text(
            path.read_text()
            .replace('"height": 40', f'"height": {unknown}')
            .replace('"height": 0', f'"height": {unknown}')
        )
        assert len(coco.read(tmp_path).cases[0].load().class_of) == 1


def test_pictures_outside_of_the_source_are_not_read(tmp_path: Path):
    write_image(tmp_path / "secret.png", np.zeros(SHAPE, np.uint8))
    path = write(tmp_path / "source", [annotation(1, as_polygons(1))])
    path.write_text(path.read_text().replace('"x.png"', '"../secret.png"'))
    assert "there is no picture of that name" in coco.read(tmp_path / "source").faults[0]


def test_a_polygon_of_two_points_and_an_empty_code_are_counted(tmp_path: Path):
    nothing = {"size": list(SHAPE), "counts": [SHAPE[0] * SHAPE[1]]}
    write(tmp_path, [annotation(1, [[1, 1, 5, 5]]), annotation(2, nothing), annotation(3, as_polygons(1))])
    assert first(tmp_path).left_out == {TOO_FEW_POINTS: 1, TOO_SMALL: 1}


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ({"size": [10, 10], "counts": [100]}, "is for .10, 10. pixels"),
        ({"size": list(SHAPE), "counts": [5, 5]}, "no proper segmentation"),
        ({"size": list(SHAPE), "counts": [-5, 1925]}, "no proper segmentation"),
        ({"size": list(SHAPE), "counts": "zzzz99"}, "no proper segmentation"),
        ({"size": list(SHAPE), "counts": as_compressed(1)["counts"][:-1]}, "no proper segmentation"),
        ({"size": list(SHAPE), "counts": "ö"}, "no proper segmentation"),
        ({"size": list(SHAPE)}, "no proper segmentation"),
        ([[1, 1, 5, 5, 9]], "no proper segmentation"),
        ([["a", 1, 5, 5, 9, 9]], "no proper segmentation"),
        ([], "no proper segmentation"),
    ],
)
def test_malformed_segmentations_are_refused_by_name(tmp_path: Path, segmentation: Any, message: str):
    write(tmp_path, [annotation(17, segmentation)])
    with pytest.raises(NucplanError, match=rf"a\.json: annotation 17 of x\.png .*{message}"):
        coco.read(tmp_path).cases[0].load()


def test_missing_images_and_unknown_ids_are_faults_and_the_rest_stays(tmp_path: Path):
    found = [annotation(1, as_polygons(1)), annotation(2, as_polygons(2), 71), annotation(3, as_polygons(3), image=5)]
    write(tmp_path, found, ["x.png", "y.png"])
    (tmp_path / "images" / "y.png").unlink()
    source = coco.read(tmp_path)
    assert [case.name for case in source.cases] == ["x"]
    assert len(source.faults) == 3
    assert "annotation 2 is of category 71" in source.faults[0]
    assert "annotation 3 is of image 5" in source.faults[1]
    assert "names the image y.png" in source.faults[2]


def test_other_json_files_are_left_alone_and_damaged_ones_refused(tmp_path: Path):
    (tmp_path / "dataset.json").write_text('{"mpp": 0.25, "groups": {"x": "p1"}}')
    (tmp_path / "other.json").write_text("[1]")
    with pytest.raises(NucplanError, match="no JSON file with 'images' and 'annotations'"):
        coco.read(tmp_path)
    path = write(tmp_path, [annotation(1, as_polygons(1))])
    assert (coco.read(tmp_path).mpp, coco.read(tmp_path).groups) == (0.25, {"x": "p1"})
    text = path.read_text()
    path.write_text(text[:-9])
    with pytest.raises(NucplanError, match=r"a\.json is not valid JSON .*export it again"):
        coco.read(tmp_path)
    path.write_text(text.replace('"image_id": 9000', '"image_id": [9000]'))
    with pytest.raises(NucplanError, match=r"a\.json has the image_id \[9000\]"):
        coco.read(tmp_path)
    path.write_text('{"images": {}, "annotations": []}')
    with pytest.raises(NucplanError, match=r"a\.json: images, annotations and categories must be lists"):
        coco.read(tmp_path)
