"""The stock nnU-Net reference: from a planned dataset to scored nuclei."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

from nucplan.core_border import BORDER, CORE, Thresholds
from nucplan.datasets.raw import RawDataset
from nucplan.errors import NucplanError
from nucplan.files import read_json, write_json
from nucplan.images import read_label_map, write_image
from nucplan.layout import CONFIGURATION, FINAL, find_dataset, resolve_roots
from nucplan.origin import training_data
from trainers import run_reference

MODEL = "nnUNetTrainerReference__{}__2d"


@pytest.fixture
def dataset(root, monkeypatch):
    # The command sets these where they are not set.
    monkeypatch.setenv("nnUNet_n_proc_DA", "1")
    monkeypatch.setenv("nnUNet_compile", "f")
    return find_dataset(resolve_roots(root), 1)


def run(root, fold: str = "0", iterations: int = 2) -> int:
    options = ["--iterations", str(iterations), "--device", "cpu", "--root", str(root)]
    return run_reference.main(["1", fold, *options])


def test_a_fold_is_trained_once_and_its_nuclei_are_scored(root, dataset, capsys):
    assert run(root) == 0
    output = dataset.results / MODEL.format("coreBorder")
    raw, splits = RawDataset(dataset), read_json(dataset.splits)
    for folder, part, cases in (
        (output / "fold_0" / "validation", "Tr", splits[0]["val"]),
        (output / "test", "Ts", raw.cases("Ts")),
    ):
        assert {path.stem for path in folder.glob("*.tif")} == set(cases)
        assert tifffile.imread(folder / f"{cases[0]}.tif").shape == raw.instances(cases[0], part).shape
        assert set(read_json(folder / "metrics.json")["per_image"]) == set(cases)
    assert "PQ (pooled)" in capsys.readouterr().out
    assert read_json(output / "fold_0" / "run.json")["data"] == training_data(dataset) is not None

    reference = find_dataset(resolve_roots(root), 501)
    mine, stock = (
        read_json(path)["configurations"][CONFIGURATION] for path in (dataset.plans(), reference.plans("nnUNetPlans"))
    )
    assert (stock["patch_size"], stock["batch_size"]) == (mine["patch_size"], mine["batch_size"])
    assert stock["architecture"]["network_class_name"].endswith("PlainConvUNet")
    assert read_json(reference.splits) == splits

    checkpoint = reference.results / MODEL.format("nnUNetPlans") / "fold_0" / FINAL
    written = checkpoint.stat().st_mtime_ns
    assert run(root) == 0
    assert checkpoint.stat().st_mtime_ns == written
    assert run(root, iterations=3) == 2
    assert "another length" in capsys.readouterr().err


@pytest.mark.parametrize("side", [64, 96, 160, 288])
def test_the_planned_network_takes_the_given_patch_unpadded_to_at_least_4_pixels(root, dataset, side):
    from planners.reference import ReferencePlanner, prepare_reference

    reference = prepare_reference(dataset)
    planner = ReferencePlanner(reference.folder_name, [side, side], 3)
    plan = planner.get_plans_for_configuration(np.ones(2), np.array([96, 96]), "any", 1e6, {})
    bottleneck = side / np.prod(plan["architecture"]["arch_kwargs"]["strides"], axis=0)
    assert list(plan["patch_size"]) == [side, side]
    assert plan["batch_size"] == 3
    assert (bottleneck >= 4).all()
    assert (bottleneck < 10).all()
    assert (bottleneck == bottleneck.round()).all()


def test_ignored_areas_stay_ignored_and_a_changed_dataset_is_made_anew(root, dataset):
    from planners.reference import prepare_reference, reference_dataset

    prepare_reference(dataset)
    raw = RawDataset(dataset)
    case, content = raw.cases()[0], read_json(dataset.dataset_json)
    ignore = len(content["labels"])
    labels = raw.classes_map(case)
    labels[:5] = ignore
    write_image(raw.classes_path(case), labels)
    content["labels"]["ignore"] = ignore
    write_json(dataset.dataset_json, content)

    prepare_reference(dataset)
    reference = RawDataset(reference_dataset(dataset))
    semantic = read_label_map(reference.classes_path(case))
    assert reference.info.ignore_label == 3
    assert (semantic[:5] == 3).all()
    assert set(np.unique(semantic[5:])) == {0, CORE, BORDER}


def test_a_taken_id_and_a_missing_plan_are_refused(root, dataset):
    from planners.reference import prepare_reference

    other = dataset.roots.raw / "Dataset501_Other"
    other.mkdir()
    with pytest.raises(NucplanError, match="taken by Dataset501_Other"):
        prepare_reference(dataset)
    dataset.plans().unlink()
    with pytest.raises(NucplanError, match="has no plan"):
        prepare_reference(dataset)


def test_the_ensemble_averages_probabilities():
    from trainers.reference import ReferenceEnsemble

    def fold(core_probability: float) -> SimpleNamespace:
        softmax = np.zeros((3, 1, 6, 6), np.float32)
        softmax[0], softmax[CORE, :, 2:4, 2:4] = 1, core_probability
        softmax[0, :, 2:4, 2:4] -= core_probability
        reader = SimpleNamespace(read_images=lambda paths: (None, {}))
        return SimpleNamespace(
            plans_manager=SimpleNamespace(image_reader_writer_class=lambda: reader),
            predict_single_npy_array=lambda *arguments: (None, softmax),
        )

    def nuclei(*probabilities: float) -> int:
        return ReferenceEnsemble([fold(p) for p in probabilities], Thresholds())([]).max()

    # Two folds against one, but the one is surer.
    assert nuclei(0.4, 0.4, 0.9) == 1
    assert nuclei(0.4, 0.4, 0.6) == 0
