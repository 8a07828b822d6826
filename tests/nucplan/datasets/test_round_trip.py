"""What nucplan writes it reads again: the same nuclei, of the same classes, through every way to write them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nucplan.datasets import find_format
from nucplan.datasets.against_source import partition_difference
from nucplan.datasets.conversion import Wishes, write_raw
from nucplan.datasets.raw import RawDataset
from nucplan.datasets.reservation import new_dataset
from nucplan.datasets.synthetic import write_synthetic
from nucplan.images import read_label_map, write_image, write_label_map
from nucplan.inference.geojson import write_geojson
from nucplan.instances import Instances, instances_from_labels
from nucplan.layout import Roots

CLASSES = ("tumour", "stroma", "dead")


class Nuclei:
    """A picture, its nuclei and their classes, to be written in one way or another."""

    def __init__(self, labels: np.ndarray, class_of: dict[int, int], names: tuple[str, ...] = CLASSES) -> None:
        self.labels, self.class_of, self.names = labels, class_of, names
        self.image = np.zeros((*labels.shape, 3), np.uint8)

    @property
    def instances(self) -> Instances:
        return instances_from_labels(self.labels, self.class_of, len(self.names))


Write = Callable[[Path, dict[str, Nuclei]], None]


def _images(folder: Path, nuclei: dict[str, Nuclei]) -> None:
    for name, one in nuclei.items():
        write_image(folder / "images" / f"{name}.png", one.image)
    names = next(iter(nuclei.values())).names
    (folder / "dataset.json").write_text(json.dumps({"classes": {k: name for k, name in enumerate(names, start=1)}}))


def as_label_maps(folder: Path, nuclei: dict[str, Nuclei]) -> None:
    _images(folder, nuclei)
    (folder / "classes").mkdir()
    for name, one in nuclei.items():
        write_label_map(folder / "labels" / f"{name}.tif", one.labels)
        rows = "".join(f"{i},{one.names[k - 1]}\n" for i, k in one.class_of.items())
        (folder / "classes" / f"{name}.csv").write_text(f"id,class\n{rows}")


def as_geojson(folder: Path, nuclei: dict[str, Nuclei], place: str = "images", ending: str = ".geojson") -> None:
    _images(folder, nuclei)
    for name, one in nuclei.items():
        write_geojson(folder / place / f"{name}{ending}", one.instances, one.names)


def as_packed_geojson(folder: Path, nuclei: dict[str, Nuclei]) -> None:
    as_geojson(folder, nuclei, "objects", ".geojson.gz")


def as_coco(folder: Path, nuclei: dict[str, Nuclei], compressed: bool = True) -> None:
    """Run-length codes, with ids that are neither positions nor in order."""
    from pycocotools import mask as codes

    _images(folder, nuclei)
    names = next(iter(nuclei.values())).names
    content = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 7 * k, "name": n} for k, n in enumerate(names, 1)],
    }
    for place, (name, one) in enumerate(nuclei.items()):
        height, width = one.labels.shape
        image = {"id": 900 - place, "file_name": f"{name}.png", "height": height, "width": width}
        content["images"].append(image)
        for i, k in one.class_of.items():
            mask = one.labels == i
            code = codes.encode(np.asfortranarray(mask.astype(np.uint8)))
            box = codes.toBbox(code).tolist()
            counts = code["counts"].decode() if compressed else _run_lengths(mask)
            content["annotations"].append(
                {
                    "id": 5000 - i,
                    "image_id": image["id"],
                    "category_id": 7 * k,
                    "segmentation": {"size": [height, width], "counts": counts},
                    "bbox": box,
                    "area": int(mask.sum()),
                    "iscrowd": 0,
                }
            )
    (folder / "annotations.json").write_text(json.dumps(content))


def as_plain_coco(folder: Path, nuclei: dict[str, Nuclei]) -> None:
    as_coco(folder, nuclei, compressed=False)


def _run_lengths(mask: np.ndarray) -> list[int]:
    """Lengths of the runs of 0 and 1 in turn, column by column, starting with 0."""
    flat = mask.ravel(order="F")
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]) + 1, flat.size)
    return [*([0] if flat[0] else []), *np.diff(ends, prepend=0).tolist()]


WAYS = [
    pytest.param("folder", as_label_maps, id="label maps"),
    pytest.param("qupath", as_geojson, id="GeoJSON"),
    pytest.param("qupath", as_packed_geojson, id="packed GeoJSON in a folder of its own"),
    pytest.param("coco", as_coco, id="COCO, packed codes"),
    pytest.param("coco", as_plain_coco, id="COCO, plain codes"),
]


def named(labels: np.ndarray, class_of: dict[int, int], names: tuple[str, ...]) -> dict[frozenset[int], str]:
    """The class of each set of pixels."""
    return {frozenset(np.flatnonzero(labels == i).tolist()): names[k - 1] for i, k in class_of.items()}


# Any map: nuclei with holes, in several parts, that touch at sides and corners, in others' holes, of one pixel.
maps = st.tuples(
    arrays(np.int32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 5)),
    st.lists(st.integers(1, len(CLASSES)), min_size=5, max_size=5),
)


@pytest.mark.parametrize(("name", "write"), WAYS)
@given(maps)
@settings(max_examples=40, deadline=None)
def test_any_label_map_comes_back(name: str, write: Write, drawn: tuple[np.ndarray, list[int]]):
    labels, classes = drawn
    class_of = {int(i): classes[i - 1] for i in np.unique(labels) if i}
    if name == "folder" and len(class_of) == 1:
        # One id in pieces is refused as a binary mask there.
        return
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), {"x": Nuclei(labels, class_of)})
        source = find_format(name).read(Path(folder))
        (case,) = source.cases
        found = case.load()
    assert partition_difference(found.instances, labels) is None
    assert named(found.instances, found.class_of, source.class_names) == named(labels, class_of, CLASSES)
    assert not found.left_out
    assert not found.remarks


@pytest.mark.parametrize(("name", "write"), WAYS)
def test_a_dataset_that_is_written_and_converted_again_is_the_same(
    tmp_path: Path, roots: Roots, name: str, write: Write
):
    write_synthetic(tmp_path / "source", images=3, size=64)
    first = RawDataset(write_raw(find_format("folder").read(tmp_path / "source"), new_dataset(roots, 1, "One")).dataset)
    nuclei = {}
    for case in first.cases():
        labels, classes = first.instances(case), first.classes_map(case)
        class_of = {int(i): int(classes[labels == i][0]) for i in np.unique(labels) if i}
        nuclei[case] = Nuclei(labels, class_of, first.info.class_names)
    write(tmp_path / "again", nuclei)
    wishes = Wishes(classes=",".join(first.info.class_names))
    source = find_format(name).read(tmp_path / "again")
    second = RawDataset(write_raw(source, new_dataset(roots, 2, "Two"), wishes).dataset)
    assert second.cases() == first.cases()
    for case in first.cases():
        assert partition_difference(second.instances(case), first.instances(case)) is None
        np.testing.assert_array_equal(second.classes_map(case), first.classes_map(case))


@pytest.mark.parametrize(("name", "write"), WAYS)
def test_outlines_of_real_nuclei_come_back(shared_data: Path, tmp_path: Path, name: str, write: Write):
    labels = read_label_map(shared_data / "tnbc" / "labels" / "04_8.png")
    classes = json.loads((shared_data / "tnbc" / "classes" / "04_8.json").read_text())
    class_of = {int(i): int(k) for i, k in classes.items()}
    write(tmp_path, {"04_8": Nuclei(labels, class_of)})
    source = find_format(name).read(tmp_path)
    found = source.cases[0].load()
    assert len(found.class_of) == len(class_of) > 100
    assert partition_difference(found.instances, labels) is None
    assert named(found.instances, found.class_of, source.class_names) == named(labels, class_of, CLASSES)
