"""Out-of-fold maps: of the images that the fold has not seen, and the very maps that its validation was made from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nucplan.datasets.raw import RawDataset
from nucplan.errors import NucplanError
from nucplan.files import read_json, write_json
from nucplan.images import read_label_map
from nucplan.layout import find_dataset, resolve_roots
from trainers import trainer_name
from trainers.out_of_fold.maps import open_fold

CPU = torch.device("cpu")


@pytest.fixture
def dataset(trained_root):
    return find_dataset(resolve_roots(trained_root), 1)


@pytest.fixture
def model(dataset):
    return next(dataset.results.glob("nnUNetTrainerNuc*"))


def test_the_maps_of_a_fold_decode_to_its_validation(dataset, model):
    fold = open_fold(dataset, model, 1, CPU)
    found = list(fold.maps())
    assert [one.case for one in found] == fold.cases == read_json(dataset.splits)[1]["val"]
    for case, maps, region, shape in found:
        assert maps.semantic.dtype == np.float16
        labels = fold.predictor.decode(maps, region, shape).labels
        np.testing.assert_array_equal(labels, read_label_map(model / "fold_1" / "validation" / f"{case}.tif"))


def test_a_black_image_has_certain_background(dataset, model, monkeypatch):
    monkeypatch.setattr(RawDataset, "image", lambda *_: np.zeros((96, 96, 3), np.uint8))
    maps = next(open_fold(dataset, model, 0, CPU).maps()).maps
    assert (maps.semantic[0] == 1).all()
    assert not maps.semantic[1:].any()


def test_an_unfinished_fold_is_refused_with_the_command_that_trains_it(dataset):
    baseline = dataset.model(trainer_name("baseline"))
    with pytest.raises(NucplanError, match="fold_3 is not finished; .* with nucplan_train 1 3 --config baseline\\."):
        open_fold(dataset, baseline, 3, CPU)


def test_a_network_that_has_seen_a_validation_case_is_refused(dataset, model, tmp_path):
    splits = read_json(dataset.splits)
    splits[0]["val"] = splits[0]["val"] + splits[0]["train"][:1]
    changed = type(dataset)(
        type(dataset.roots)(dataset.roots.raw, tmp_path, dataset.roots.results), dataset.folder_name
    )
    write_json(changed.splits, splits)
    with pytest.raises(NucplanError, match=f"was trained on {splits[0]['train'][0]}, a validation case"):
        open_fold(changed, model, 0, CPU)
