"""Preprocessed data equal nnU-Net's for images, and carry class and instance for labels."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from nucplan.errors import NucplanError
from nucplan.files import read_json, write_json
from nucplan.images import write_label_map
from planners.fingerprint import measure
from planners.planner import plan_dataset
from planners.preprocessor import NucleusPreprocessor, preprocess
from planners.rules import Limits


def made_plan(raw, **overrides) -> dict:
    labels = [raw.instances(case) for case in raw.cases()]
    return plan_dataset(raw.dataset, measure(raw), Limits("cpu", 8), labels, overrides)


def load(raw, case: str):
    from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class

    folder = str(raw.dataset.preprocessed / "nucplanPlans_2d")
    image, labels, _, properties = infer_dataset_class(folder)(folder).load_case(case)
    return image[:], labels[:], properties


@pytest.mark.parametrize("scale", [1, 2])
def test_images_equal_what_stock_prediction_feeds_the_network(write_raw, random_case, scale: int) -> None:
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    raw = write_raw({"a": random_case(0, margin=8), "b": random_case(1)})
    plans = made_plan(raw, scale=scale)
    preprocess(raw, plans)
    manager = PlansManager(plans)
    for case in raw.cases():
        files = [str(path) for path in raw.image_paths(case)]
        configuration = manager.get_configuration("2d")
        expected, _, _ = DefaultPreprocessor(verbose=False).run_case(files, None, manager, configuration, {})
        image, labels, _ = load(raw, case)
        np.testing.assert_array_equal(image, expected)
        assert image.dtype == np.float32
        assert labels.dtype == np.int16
        assert labels.shape == (2, *image.shape[1:])


def test_class_locations_come_from_the_class_channel_alone(write_raw, random_case) -> None:
    image, classes, instances = random_case(0)
    raw = write_raw({"a": (image, np.where(instances == 3, 2, classes), instances)}, classes=3)
    preprocess(raw, made_plan(raw))
    _, labels, properties = load(raw, "a")
    assert 3 in labels[1]
    locations = properties["class_locations"]
    assert set(locations) == {1, 2, 3}
    assert len(locations[3]) == 0
    for label in (1, 2):
        assert (labels[tuple(np.transpose(locations[label]))] == label).all()
        assert (locations[label][:, 0] == 0).all()


def test_ignored_pixels_are_no_place_to_sample(write_raw, random_case) -> None:
    image, classes, instances = random_case(0)
    classes = classes.copy()
    classes[:4] = 3
    raw = write_raw({"a": (image, classes, instances)}, ignore=True)
    preprocess(raw, made_plan(raw))
    _, labels, properties = load(raw, "a")
    annotated = properties["class_locations"][-1, 0, 1, 2]
    assert (labels[0, 0, :4] == 3).all()
    assert annotated[:, 2].min() == 4


@pytest.mark.parametrize("scale", [1, 2])
def test_instance_ids_survive_beside_their_class(write_raw, random_case, scale: int) -> None:
    raw = write_raw({"a": random_case(0)})
    preprocess(raw, made_plan(raw, scale=scale))
    _, labels, _ = load(raw, "a")
    enlarged = [np.kron(array, np.ones((scale, scale), int)) for array in random_case(0)[1:]]
    np.testing.assert_array_equal(labels[:, 0], enlarged)


def test_large_ids_are_renumbered_and_too_many_refused(write_raw, random_case) -> None:
    image, classes, instances = random_case(0)
    raw = write_raw({"a": (image, classes, np.where(instances == 12, 40_000, instances))})
    preprocess(raw, made_plan(raw))
    assert np.unique(load(raw, "a")[1][1]).tolist() == [0, 1, 2, 3, 4]

    full = np.arange(1, 190 * 190 + 1).reshape(190, 190)
    raw = write_raw({"a": (np.full((190, 190, 3), 9, np.uint8), full > 0, full)})
    with pytest.raises(NucplanError, match="36100 nuclei, 32767 are possible"):
        preprocess(raw, made_plan(raw))


def test_a_refused_case_leaves_what_was_there(write_raw, random_case) -> None:
    raw = write_raw({"a": random_case(0), "b": random_case(1)})
    plans = made_plan(raw)
    preprocess(raw, plans)
    before = load(raw, "a")[0]
    raw.instances_path("b").unlink()
    with pytest.raises(NucplanError, match=r"b\.tif"):
        preprocess(raw, plans)
    np.testing.assert_array_equal(load(raw, "a")[0], before)
    assert {path.name for path in raw.dataset.preprocessed.glob(".*")} == {".preprocessing.lock"}


def test_what_is_up_to_date_is_kept_and_a_changed_plan_redone(write_raw, random_case) -> None:
    raw = write_raw({"a": random_case(0), "b": random_case(1)})
    plans = made_plan(raw)
    assert preprocess(raw, plans)
    assert not preprocess(raw, plans)
    assert not preprocess(raw, made_plan(raw, batch_size=2))
    assert preprocess(raw, made_plan(raw, scale=2))
    assert load(raw, "a")[0].shape == (3, 1, 128, 128)


def content(raw) -> str:
    return read_json(raw.dataset.made_from())["content"]


def test_the_hash_of_the_data_follows_the_pixels_and_not_the_times(write_raw, random_case) -> None:
    raw = write_raw({"a": random_case(0), "b": random_case(1)})
    plans = made_plan(raw)
    preprocess(raw, plans)
    first = content(raw)
    os.utime(raw.instances_path("a"), (1, 1))
    assert preprocess(raw, plans)
    assert content(raw) == first
    write_label_map(raw.instances_path("a"), 2 * raw.instances("a"))
    assert preprocess(raw, plans)
    assert content(raw) != first


def test_data_of_an_older_nucplan_without_that_hash_are_kept(write_raw, random_case) -> None:
    raw = write_raw({"a": random_case(0), "b": random_case(1)})
    plans = made_plan(raw)
    preprocess(raw, plans)
    marker = read_json(raw.dataset.made_from())
    del marker["content"]
    write_json(raw.dataset.made_from(), marker)
    assert not preprocess(raw, plans)


def test_the_folder_holds_what_nnunet_trainers_read(write_raw, random_case) -> None:
    raw = write_raw({"a": random_case(0), "b": random_case(1)})
    preprocess(raw, made_plan(raw))
    folder = raw.dataset.preprocessed
    assert {path.name for path in (folder / "gt_segmentations").iterdir()} == {"a.png", "b.png"}
    assert json.loads((folder / "dataset.json").read_text()) == json.loads(raw.dataset.dataset_json.read_text())
    expected = {f"{case}{ending}" for case in "ab" for ending in (".b2nd", "_seg.b2nd", ".pkl")}
    assert {path.name for path in (folder / "nucplanPlans_2d").iterdir()} == expected


def test_the_call_of_nnunet_preprocessors_works(write_raw, random_case) -> None:
    raw = write_raw({"a": random_case(0), "b": random_case(1)})
    write_json(raw.dataset.plans(), made_plan(raw))
    NucleusPreprocessor().run(7, "2d", "nucplanPlans", num_processes=8)
    assert load(raw, "b")[1].shape == (2, 1, 64, 64)


def test_an_image_without_nuclei_is_accepted(write_raw, random_case) -> None:
    empty = np.zeros((64, 64), int)
    raw = write_raw({"a": random_case(0), "b": (np.zeros((64, 64, 3), np.uint8), empty, empty)})
    preprocess(raw, made_plan(raw))
    image, labels, properties = load(raw, "b")
    assert np.isfinite(image).all()
    assert not labels.any()
    assert len(properties["class_locations"][1]) == 0
