"""One picture through an ensemble: what the networks see, and where their nuclei land."""

from __future__ import annotations

import dataclasses
import shutil
from copy import deepcopy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from nucplan.datasets.raw import RawDataset
from nucplan.ensemble_choice import mean_maps
from nucplan.errors import NucplanError
from nucplan.inference.predictor import Predictor
from nucplan.layout import FINAL, find_dataset, resolve_roots

CENTRES = ((20, 24), (22, 70), (60, 40), (80, 84))


def discs(shape: tuple[int, int] = (104, 110), radius: int = 8) -> np.ndarray:
    """Bright discs on grey, RGB."""
    image = np.full((*shape, 3), 60, np.uint8)
    for row, column in CENTRES:
        cv2.circle(image, (column, row), radius, (200, 210, 220), -1)
    return image


def with_margin(image: np.ndarray, top: int, bottom: int, left: int, right: int) -> np.ndarray:
    return np.pad(image, ((top, bottom), (left, right), (0, 0)))


def assert_whole_table(instances, shape: tuple[int, int]) -> None:
    """The label map has the size of the picture, ids 1 to N, and the table describes it."""
    table = instances.table
    assert instances.labels.shape == shape
    assert instances.labels.dtype == np.int32
    ids, areas = np.unique(instances.labels[instances.labels > 0], return_counts=True)
    np.testing.assert_array_equal(ids, np.arange(1, len(table) + 1))
    np.testing.assert_array_equal(areas, table.area)


@pytest.mark.parametrize("case", ["image_000", "image_007"])
def test_the_network_sees_what_it_saw_in_training(trained_root, ensemble, bright, case):
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

    dataset = find_dataset(resolve_roots(trained_root), 1)
    image = RawDataset(dataset).image(case)
    predictor = bright()
    predictor.plans = deepcopy(ensemble.plans)
    predictor.plans["nucplan"]["decisions"]["patch_size"]["value"] = [96, 96]
    predictor(image)
    preprocessed = nnUNetDatasetBlosc2(str(dataset.preprocessed / "nucplanPlans_2d"), [case]).load_case(case)[0]
    (seen,) = predictor.networks[0].seen
    np.testing.assert_array_equal(seen[0].numpy(), np.asarray(preprocessed)[:, 0])


def test_an_ensemble_gives_the_mean_of_its_folds_and_a_boundary_as_strong_as_theirs(ensemble):
    image = discs()
    assert len(ensemble.networks) == 2
    folds = [dataclasses.replace(ensemble, networks=[network]).probabilities(image)[0] for network in ensemble.networks]
    found, (a, b) = ensemble.probabilities(image)[0], folds
    assert np.abs(a.semantic - b.semantic).max() > 0.01
    np.testing.assert_allclose(found.semantic, np.mean([a.semantic, b.semantic], 0, np.float32), atol=2e-3)
    np.testing.assert_array_equal(found.boundary, mean_maps(folds).boundary)
    assert np.isin(found.boundary, [a.boundary, b.boundary]).all()


def test_an_ensemble_tells_how_far_its_networks_agree_and_one_network_alone_does_not(bright):
    predictor = bright()
    assert predictor(discs()).table.confidence is None
    same = dataclasses.replace(predictor, networks=predictor.networks * 2)
    np.testing.assert_allclose(same(discs()).table.confidence, 1, atol=0.1)
    assert same(np.zeros((70, 90, 3), np.uint8)).table.confidence.shape == (0,)


def test_networks_with_a_boundary_are_decoded_with_it_and_others_without(ensemble, bright):
    assert ensemble.has_boundary
    planned = ensemble.plans["nucplan"]["decisions"]["decoder"]["value"]
    assert ensemble.decoder_plan.to_dict() == planned
    assert planned["name"] != "distance"
    assert not bright().has_boundary
    assert bright().decoder_plan.name == "distance"


def test_nuclei_are_where_they_are_with_their_class_by_name(bright):
    predictor = bright()
    found = predictor(discs())
    assert_whole_table(found, (104, 110))
    np.testing.assert_allclose(found.table.centroid, CENTRES, atol=0.5)
    assert [predictor.class_names[k - 1] for k in found.table.class_id] == ["fibroblast"] * 4


@pytest.mark.parametrize("margin", [(30, 0, 50, 0), (0, 41, 0, 23), (13, 14, 15, 16)])
@pytest.mark.parametrize("scale", [1, 2])
def test_black_margins_shift_the_nuclei_and_change_nothing_else(bright, margin, scale):
    image = discs()
    predictor = bright(scale)
    bare, framed = predictor(image), predictor(with_margin(image, *margin))
    top, _, left, _ = margin
    expected = np.zeros(framed.labels.shape, np.int32)
    expected[top : top + image.shape[0], left : left + image.shape[1]] = bare.labels
    np.testing.assert_array_equal(framed.labels, expected)
    np.testing.assert_allclose(framed.table.centroid, bare.table.centroid + (top, left))


def test_a_twofold_scale_gives_labels_at_the_size_of_the_picture(bright):
    image = discs()
    predictor = bright(scale=2)
    found = predictor(image)
    assert predictor.probabilities(image)[0].semantic.shape[1:] == (208, 220)
    assert_whole_table(found, (104, 110))
    np.testing.assert_allclose(found.table.centroid, CENTRES, atol=1)
    np.testing.assert_allclose(found.table.area, bright()(image).table.area, rtol=0.1)
    np.testing.assert_allclose(found.table.class_probabilities[:, 1], 1, atol=1e-3)


def test_a_margin_as_large_as_the_scale_does_not_pass_for_the_whole_picture(bright):
    framed = with_margin(discs(), 52, 52, 55, 55)
    predictor = bright(scale=2)
    assert predictor.probabilities(framed)[0].semantic.shape[1:] == framed.shape[:2]
    np.testing.assert_allclose(predictor(framed).table.centroid, np.add(CENTRES, (52, 55)), atol=1)


@pytest.mark.parametrize("shape", [(40, 110), (104, 30), (20, 20), (3, 1), (1, 1)])
def test_a_picture_smaller_than_a_tile_is_predicted(ensemble, shape):
    assert min(shape) < ensemble.plans["nucplan"]["decisions"]["patch_size"]["value"][0]
    assert_whole_table(ensemble(discs()[: shape[0], : shape[1]]), shape)


def test_a_black_picture_has_no_nuclei(ensemble):
    found = ensemble(np.zeros((70, 90, 3), np.uint8))
    assert_whole_table(found, (70, 90))
    assert len(found.table) == 0
    assert found.table.class_probabilities.shape == (0, 3)


def test_16_bit_pictures_give_the_nuclei_of_8_bit_ones(ensemble):
    image = discs()
    eight, sixteen = ensemble(image), ensemble(image.astype(np.uint16) * 257)
    np.testing.assert_array_equal(eight.labels, sixteen.labels)


@pytest.mark.parametrize("white", [255, 65535])
def test_an_encoder_sees_its_colours_whatever_the_bits_of_a_picture(bright, white):
    predictor = bright()
    configuration = predictor.plans["configurations"]["2d"]
    configuration["normalization_schemes"] = ["NoNormalization"] * 3
    configuration["architecture"]["arch_kwargs"]["input_mean"] = [0.5 * white] * 3
    for picture in (discs(), discs().astype(np.uint16) * 257):
        predictor(picture)
    seen = torch.cat(predictor.networks[0].seen).unflatten(0, (2, -1))
    np.testing.assert_array_equal(seen[0].numpy(), seen[1].numpy())
    assert float(seen.max()) == 220 * white // 255


def test_mirroring_makes_the_probabilities_of_a_mirrored_picture_mirrored_ones(ensemble):
    image = discs((64, 64))
    mirrored = dataclasses.replace(ensemble, mirror=True)
    whole, flipped = (mirrored.probabilities(picture)[0].semantic for picture in (image, image[:, ::-1]))
    np.testing.assert_allclose(whole, flipped[..., ::-1], atol=2e-3)


@pytest.mark.parametrize("image", [np.ones((64, 64), np.uint8), np.zeros((64, 64, 4), np.uint8)])
def test_another_number_of_channels_is_refused(ensemble, image):
    found = np.atleast_3d(image).shape[2]
    with pytest.raises(NucplanError, match=rf"trained on images of 3 channel\(s\), this one has {found}"):
        ensemble(image)


@pytest.fixture
def model(model_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder, tmp_path / "model"))


def test_a_model_without_a_finished_fold_is_refused(model):
    for fold in (0, 1):
        (model / f"fold_{fold}" / FINAL).rename(model / f"fold_{fold}" / "checkpoint_latest.pth")
    with pytest.raises(NucplanError, match="no finished fold.*train one first"):
        Predictor.from_folder(model, torch.device("cpu"))


def test_a_damaged_checkpoint_is_named(model):
    path = model / "fold_1" / FINAL
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(NucplanError, match=rf"fold_1/{FINAL} is not a readable checkpoint"):
        Predictor.from_folder(model, torch.device("cpu"))


def test_a_checkpoint_of_another_program_is_named(model):
    torch.save({"network_weights": {}}, model / "fold_0" / FINAL)
    with pytest.raises(NucplanError, match=rf"fold_0/{FINAL} is not a checkpoint of nucplan"):
        Predictor.from_folder(model, torch.device("cpu"))


def test_a_model_folder_without_its_plan_is_refused(model):
    (model / "plans.json").unlink()
    with pytest.raises(NucplanError, match=r"plans\.json is missing"):
        Predictor.from_folder(model, torch.device("cpu"))


def test_the_plan_of_a_predictor_is_left_as_it_is(ensemble):
    before = deepcopy(ensemble.plans)
    ensemble(discs())
    assert ensemble.plans == before


def test_labels_that_have_gaps_are_refused_and_ignore_is_no_class(bright):
    predictor = bright()
    predictor.dataset_json["labels"] = {"background": 0, "b": 2, "a": 1, "ignore": 3}
    assert predictor.class_names == ("a", "b")
    predictor.dataset_json["labels"] = {"background": 0, "a": 1, "b": 3}
    with pytest.raises(NucplanError, match="without gaps"):
        _ = predictor.class_names


@pytest.mark.parametrize("name", ["plans.json", "dataset.json"])
def test_the_record_tells_models_apart_by_their_plan_too(model, name):
    before = Predictor.from_folder(model, torch.device("cpu")).record
    (model / name).write_text((model / name).read_text() + "\n")
    assert Predictor.from_folder(model, torch.device("cpu")).record != before
