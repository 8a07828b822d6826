"""Multiplex images of two panels, from OME-TIFF to the nuclei of an image with a third one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from nucplan.cli import convert, plan_and_preprocess, predict, train
from nucplan.datasets.raw import RawDataset
from nucplan.datasets.synthetic_multiplex import IMMUNE, MARKERS, STROMA, make_multiplex, write_multiplex, write_ome
from nucplan.files import read_json
from nucplan.images import read_image, read_label_map, write_image
from nucplan.inference.predictor import Predictor
from nucplan.layout import find_dataset, resolve_roots
from nucplan.networks.nucleus_net import NucleusNet
from nucplan.objective import Objective
from nucplan.plans import essence
from planners.fingerprint import load_or_measure
from planners.rules import marker_normalization

from ..conftest import TINY

SIDE = 64


@pytest.fixture(scope="module")
def multiplex_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten images of 12 markers, in two panels of 8 and 7; planned, and fold 0 trained for two steps."""
    folder = tmp_path_factory.mktemp("multiplex")
    write_multiplex(folder / "source", 10, SIDE, seed=3)
    root = ["--root", str(folder / "root")]
    overrides = [part for name, value in TINY.items() for part in ("--set", f"{name}={json.dumps(value)}")]
    with pytest.MonkeyPatch.context() as patch:
        for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
            patch.setenv(name, "")
        assert convert.main(["ome", str(folder / "source"), "1", "Multi", *root]) == 0
        assert plan_and_preprocess.main(["1", "--device", "cpu", *overrides, *root]) == 0
        assert train.main(["1", "0", "--iterations", "2", "--device", "cpu", *root]) == 0
    return folder / "root"


@pytest.fixture
def raw(multiplex_root: Path, monkeypatch: pytest.MonkeyPatch) -> RawDataset:
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, "")
    return RawDataset(find_dataset(resolve_roots(multiplex_root), 1))


@pytest.fixture
def predictor(raw: RawDataset) -> Predictor:
    (model,) = (path for path in raw.dataset.results.iterdir() if path.is_dir())
    return Predictor.from_folder(model, torch.device("cpu"))


def test_two_panels_give_a_plan_for_any_panel(raw: RawDataset) -> None:
    assert set(raw.info.markers) == {*IMMUNE, *STROMA} == set(MARKERS)
    assert all(len(absent) in (12 - len(IMMUNE), 12 - len(STROMA)) for absent in raw.info.absent.values())
    plans = read_json(raw.dataset.plans())
    decisions = {name: one["value"] for name, one in plans["nucplan"]["decisions"].items()}
    assert decisions["channels"] == {"panel": "varying", "dropout": [0.0, 0.25]}
    configuration = plans["configurations"]["2d"]
    assert configuration["architecture"]["arch_kwargs"]["channel_stem"] == {"identities": 0}
    assert configuration["marker_normalization"] == decisions["marker_normalization"]
    assert [rule["marker"] for rule in decisions["marker_normalization"]] == list(raw.info.markers)
    assert set(configuration["normalization_schemes"]) == {"ZScoreNormalization"}


def test_images_are_as_sparse_as_real_ones() -> None:
    image, _, _ = make_multiplex(np.random.default_rng(0), 256)
    zeros = (image == 0).mean((1, 2))
    assert ((zeros > 0.49) & (zeros < 0.96)).all()
    assert (np.quantile(image, 0.99, axis=(1, 2)) <= 5).sum() >= 6


def test_a_network_is_trained_on_what_it_is_given_later_to_the_last_bit(raw: RawDataset, predictor: Predictor) -> None:
    from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class

    folder = str(raw.dataset.preprocessed / "nucplanPlans_2d")
    stored = infer_dataset_class(folder)(folder)
    for case in raw.cases():
        image = np.asarray(stored.load_case(case)[0])[:, 0]
        np.testing.assert_array_equal(image, predictor._preprocess(raw.image(case))[0])
        absent = [marker in raw.info.absent[case] for marker in raw.info.markers]
        np.testing.assert_array_equal(~image.any((1, 2)), absent)


def test_the_loss_goes_down(raw: RawDataset) -> None:
    from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class

    folder = str(raw.dataset.preprocessed / "nucplanPlans_2d")
    stored = infer_dataset_class(folder)(folder)
    # One image of each panel.
    cases = [stored.load_case(case) for case in sorted(raw.cases(), key=lambda case: raw.info.absent[case])[::9]]
    images, labels = (torch.from_numpy(np.stack([np.asarray(case[k])[:, 0] for case in cases])) for k in (0, 1))
    arguments = read_json(raw.dataset.plans())["configurations"]["2d"]["architecture"]["arch_kwargs"]
    torch.manual_seed(0)
    network, objective = NucleusNet(12, 2, **arguments), Objective()
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss, _ = objective(network.maps(images), objective.targets(labels))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_the_scheme_of_virtues_clips_each_image_at_its_own_quantile(raw: RawDataset) -> None:
    fingerprint = load_or_measure(raw)
    rules = marker_normalization(fingerprint, "virtues").value
    assert {(rule["clip"], rule["log"]) for rule in rules} == {("image_q99", True)}
    assert [rule["marker"] for rule in rules] == list(raw.info.markers)
    assert fingerprint.markers["DAPI"]["cases"] == 10
    assert fingerprint.markers["CD3"]["cases"] == 5


def test_an_image_of_a_third_panel_is_predicted(raw: RawDataset, multiplex_root: Path, tmp_path: Path, capsys) -> None:
    image, _, _ = make_multiplex(np.random.default_rng(9), 80, ("Vimentin", "DAPI", "CD3", "Ki-67"))
    write_ome(tmp_path / "new" / "third.ome.tif", image, ("Vimentin", "dapi", "CD3", "CD99"))
    options = ["--device", "cpu", "--root", str(multiplex_root)]
    assert predict.main(["1", str(tmp_path / "new"), str(tmp_path / "out"), *options]) == 0
    said = capsys.readouterr().out
    assert "third.ome.tif: absent, which the model is trained for: " in said
    assert "third.ome.tif: not used, as the model does not know them: CD99." in said
    assert read_label_map(tmp_path / "out" / "third.tif").shape == (80, 80)
    assert read_image(tmp_path / "out" / "third_overlay.png").shape[1:] == (240, 3)
    assert predict.main(["1", str(tmp_path / "new"), str(tmp_path / "out"), *options]) == 0
    assert "1 image(s) were done before" in capsys.readouterr().out


def test_files_of_channels_give_the_nuclei_of_the_stack(raw: RawDataset, multiplex_root: Path, tmp_path: Path) -> None:
    case = raw.cases()[0]
    present = [m for m in raw.info.markers if m not in raw.info.absent[case]]
    planes = np.moveaxis(raw.image(case), 2, 0)[[raw.info.markers.index(m) for m in present]]
    write_ome(tmp_path / "stack" / f"{case}.ome.tif", planes, present)
    for plane, marker in zip(planes, present, strict=True):
        write_image(tmp_path / "imagesTs" / f"{case}_{raw.info.markers.index(marker):04d}.png", plane)
    options = ["--device", "cpu", "--root", str(multiplex_root)]
    first = tmp_path / "imagesTs" / f"{case}_{raw.info.markers.index(present[0]):04d}.png"
    found = []
    for source in (tmp_path / "stack", tmp_path / "imagesTs", first):
        assert predict.main(["1", str(source), str(tmp_path / "out"), "--overwrite", *options]) == 0
        found.append(read_label_map(tmp_path / "out" / f"{case}.tif"))
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


def test_grey_and_rgb_know_nothing_of_all_this(tiny_root: Path) -> None:
    plans = read_json(find_dataset(resolve_roots(tiny_root), 1).plans())
    configuration, decisions = plans["configurations"]["2d"], essence(plans)["decisions"]
    assert "marker_normalization" not in configuration
    assert "channel_stem" not in configuration["architecture"]["arch_kwargs"]
    assert not {"channels", "marker_normalization"} & set(decisions)
    assert plans["nucplan"]["decisions"]["channels"]["value"] is None
