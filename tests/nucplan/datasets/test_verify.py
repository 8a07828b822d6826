from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nucplan.datasets.conversion import Wishes, write_raw
from nucplan.datasets.formats import folder
from nucplan.datasets.raw import RawDataset
from nucplan.datasets.reservation import new_dataset
from nucplan.datasets.verify import verify_raw
from nucplan.errors import NucplanError
from nucplan.images import write_image, write_label_map
from nucplan.layout import Dataset, Roots


@pytest.fixture
def dataset(plain_folder: Path, roots: Roots) -> Dataset:
    return write_raw(folder.read(plain_folder), new_dataset(roots, 5, "Small"), Wishes(0.2)).dataset


def edit_json(dataset: Dataset, change: Callable[[dict], None]) -> None:
    content = json.loads(dataset.dataset_json.read_text())
    change(content)
    dataset.dataset_json.write_text(json.dumps(content))


def edit_instances(dataset: Dataset, change: Callable[[np.ndarray], None]) -> None:
    raw = RawDataset(dataset)
    instances = raw.instances("e")
    change(instances)
    write_label_map(raw.instances_path("e"), instances)


def edit_classes(dataset: Dataset, change: Callable[[np.ndarray], None]) -> None:
    raw = RawDataset(dataset)
    classes = raw.classes_map("e")
    change(classes)
    write_image(raw.classes_path("e"), classes)


def move_to_test(dataset: Dataset, case: str) -> None:
    for kind in ("images", "labels", "instances"):
        for path in dataset.part(kind, "Tr").glob(f"{case}[_.]*"):
            path.rename(dataset.part(kind, "Ts") / path.name)
    edit_json(dataset, lambda j: j.update(numTraining=j["numTraining"] - 1))


BROKEN = {
    "a key is missing": (lambda d: edit_json(d, lambda j: j.pop("labels")), r"dataset\.json lacks labels"),
    "labels have a gap": (
        lambda d: edit_json(d, lambda j: j["labels"].update(long=3)),
        r"dataset\.json: labels must be",
    ),
    "numTraining is wrong": (lambda d: edit_json(d, lambda j: j.update(numTraining=9)), "numTraining 9"),
    "instances are missing": (lambda d: (d.part("instances") / "e.tif").unlink(), r"instancesTr/e\.tif is missing"),
    "labels are missing": (lambda d: (d.part("labels") / "e.png").unlink(), r"labelsTr/e\.png is missing"),
    "a test image is missing": (lambda d: (d.part("images", "Ts") / "c_0000.png").unlink(), r"Ts/c\.png has no image"),
    "a case has no group": (lambda d: edit_json(d, lambda j: j["nuclei"]["groups"].pop("e")), "entry for the case 'e'"),
    "a group is in both parts": (lambda d: move_to_test(d, "a"), "group 'g0' is in both"),
    "channels are not as named": (
        lambda d: edit_json(d, lambda j: j.update(channel_names={"0": "grey"})),
        r"a_0000\.png has 3 channels",
    ),
    "the shape differs": (
        lambda d: write_label_map(d.part("instances") / "e.tif", np.zeros((24, 31), int)),
        r"e\.tif has the shape",
    ),
    "a class without instance": (lambda d: edit_classes(d, lambda c: c.__setitem__((0, 0), 1)), "there is no instance"),
    "an instance without class": (
        lambda d: edit_instances(d, lambda i: i.__setitem__((0, 0), 7)),
        "instance 7 has pixels without a class",
    ),
    "an instance of two classes": (
        lambda d: edit_classes(d, lambda c: c.__setitem__((2, 2), 1)),
        "instance 1 has more than one class",
    ),
    "an id is too large": (lambda d: edit_instances(d, lambda i: i.__setitem__(i == 2, 40_000)), "id 40000 is above"),
    "an unknown class": (lambda d: edit_classes(d, lambda c: c.__setitem__(c == 2, 3)), "holds 3"),
    "an instance in an ignore area": (
        lambda d: (
            edit_json(d, lambda j: j["labels"].update(ignore=3)),
            edit_classes(d, lambda c: c.__setitem__((2, 2), 3)),
        ),
        "instance 1 reaches into an ignore area",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_wrong_is_named(dataset: Dataset, case: str):
    verify_raw(dataset)
    break_it, message = BROKEN[case]
    break_it(dataset)
    with pytest.raises(NucplanError, match=message):
        verify_raw(dataset)


def test_ignore_areas_and_gaps_in_ids_are_fine(dataset: Dataset):
    edit_json(dataset, lambda j: j["labels"].update(ignore=3))
    edit_classes(dataset, lambda c: c.__setitem__((slice(0, 2), slice(None)), 3))
    edit_instances(dataset, lambda i: i.__setitem__(i == 2, 30_000))
    verify_raw(dataset)
    assert RawDataset(dataset).info.ignore_label == 3
    assert RawDataset(dataset).info.class_names == ("long", "round")


def test_one_file_per_channel_is_one_image(dataset: Dataset):
    for path in sorted(dataset.raw.glob("images*/*_0000.png")):
        for channel in range(2):
            write_image(
                path.with_name(path.name.replace("_0000", f"_000{channel}")), np.full((24, 32), channel, np.uint8)
            )
    edit_json(dataset, lambda j: j.update(channel_names={"1": "CD3", "0": "DAPI"}))
    verify_raw(dataset)
    raw = RawDataset(dataset)
    assert raw.info.channel_names == ("DAPI", "CD3")
    assert raw.image("a").shape == (24, 32, 2)
    assert raw.image("a")[0, 0].tolist() == [0, 1]
