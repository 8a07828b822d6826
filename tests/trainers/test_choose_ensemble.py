"""The command that chooses: from finished folds to ``inference.json``, and what prediction and export make of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from nucplan.cli import export, predict, train
from nucplan.errors import NucplanError
from nucplan.files import read_json, write_json
from nucplan.inference.choice import read_choice, weights_of, write_choice
from nucplan.inference.predictor import Predictor
from nucplan.layout import CHOICE, FINAL, Dataset, find_dataset, resolve_roots
from nucplan.metrics.folders import evaluate_folders
from trainers import choose_ensemble, score_test, trainer_name

CPU = torch.device("cpu")
CONFIGS = ("baseline", "boundary_attention")


@pytest.fixture(scope="module")
def chosen(trained_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Two configs with folds 0 and 1, and a choice between them."""
    root = tmp_path_factory.mktemp("chosen") / "root"
    shutil.copytree(trained_root, root)
    with pytest.MonkeyPatch.context() as patch:
        # The commands set nnU-Net's variables for the rest of the process.
        for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
            patch.setenv(name, "")
        common = ["--iterations", "2", "--device", "cpu", "--root", str(root)]
        for fold in ("0", "1"):
            assert train.main(["1", fold, "--config", "baseline", *common]) == 0
        assert choose_ensemble.main(["Tiny", "--device", "cpu", "--root", str(root)]) == 0
    return find_dataset(resolve_roots(root), 1)


@pytest.fixture
def dataset(chosen: Dataset, tmp_path: Path) -> Dataset:
    """A copy that a test may change."""
    root = tmp_path / "root"
    shutil.copytree(chosen.roots.results.parent, root)
    return find_dataset(resolve_roots(root), 1)


def average(dataset: Dataset) -> None:
    """Choose both configs, whatever the scores of two iterations say."""
    choice = read_json(dataset.results / CHOICE)
    choice["configs"] = {config: dataset.model(trainer_name(config)).name for config in CONFIGS}
    paths = [dataset.model(trainer_name(config)) / f"fold_{fold}" / FINAL for config in CONFIGS for fold in (0, 1)]

    write_json(dataset.results / CHOICE, choice | {"weights": weights_of(paths)})


def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (96, 100, 3), np.uint8)


def test_the_choice_names_networks_decoder_and_evidence(chosen):
    choice = read_choice(chosen.results)
    assert set(choice.configs) <= set(CONFIGS)
    assert choice.folds == (0, 1)
    assert len(choice.checkpoints(chosen.results)) == 2 * len(choice.configs)
    assert choice.measure == "mPQ+ (mean of classes)"
    options = choice.evidence["options"]
    assert [option["configs"] for option in options] == [["baseline"], ["boundary_attention"], list(CONFIGS)]
    assert choice.evidence["chosen"]["configs"] == list(choice.configs)
    assert set(choice.evidence["nested"]["of_folds"]) == {"0", "1"}
    assert "choose_ensemble Tiny" in choice.made_by


def test_prediction_takes_the_choice_where_nothing_else_is_named(dataset, tmp_path, capsys):
    average(dataset)
    picture = sorted(dataset.part("images", "Ts").iterdir())[0]
    arguments = ["1", str(picture), "--device", "cpu", "--root", str(dataset.roots.results.parent)]
    assert predict.main([*arguments[:2], str(tmp_path / "chosen"), *arguments[2:]]) == 0
    said = capsys.readouterr().out
    assert "4 network(s) averaged" in said
    assert CHOICE in said
    assert predict.main([*arguments[:2], str(tmp_path / "named"), "--config", "baseline", *arguments[2:]]) == 0
    said = capsys.readouterr().out
    assert "2 network(s) averaged" in said
    assert CHOICE not in said


def test_the_ensemble_is_the_mean_of_all_its_networks_decoded_as_chosen(dataset):
    average(dataset)
    plan = read_json(dataset.results / CHOICE)["decoder"] | {"neck": 0.123}
    write_json(dataset.results / CHOICE, read_json(dataset.results / CHOICE) | {"decoder": plan})
    ensemble = Predictor.from_choice(dataset.results, CPU)
    assert ensemble.decoder_plan.neck == 0.123
    models = [Predictor.from_folder(dataset.model(trainer_name(config)), CPU) for config in CONFIGS]
    maps = [one.probabilities(image())[0] for one in models]
    mean = np.mean([one.semantic for one in maps], axis=0, dtype=np.float32)
    found = ensemble.probabilities(image())[0]
    np.testing.assert_allclose(found.semantic, mean, atol=2e-3)
    np.testing.assert_allclose(found.boundary, maps[1].boundary, atol=2e-3)


@pytest.mark.parametrize("several", [False, True])
def test_an_exported_choice_predicts_the_same_to_the_last_bit(dataset, tmp_path, several, capsys):
    if several:
        average(dataset)
    folder = tmp_path / "model"
    assert export.main(["Tiny", str(folder), "--root", str(dataset.roots.results.parent)]) == 0
    ours, theirs = Predictor.from_choice(dataset.results, CPU), Predictor.from_folder(folder, CPU)
    assert (
        len(ours.networks) == len(theirs.networks) == (4 if several else 2 * len(read_choice(dataset.results).configs))
    )
    assert ours.decoder_plan == theirs.decoder_plan
    for a, b in zip(ours.probabilities(image())[0], theirs.probabilities(image())[0], strict=True):
        assert np.array_equal(a, b)
    assert np.array_equal(ours(image()).table.confidence, theirs(image()).table.confidence)
    assert str(tmp_path).encode() not in b"".join(path.read_bytes() for path in folder.rglob("*.json"))


def test_the_test_part_scores_the_choice_as_prediction_and_evaluation_do(dataset, tmp_path):
    average(dataset)
    output, root = tmp_path / "test.json", str(dataset.roots.results.parent)
    assert score_test.main(["1", "--output", str(output), "--device", "cpu", "--root", root]) == 0
    *_, row = read_json(output)["rows"]
    assert row["chosen"]
    assert row["configs"] == list(CONFIGS)
    images = str(dataset.part("images", "Ts"))
    assert predict.main(["1", images, str(tmp_path / "nuclei"), "--device", "cpu", "--root", root]) == 0
    truth = evaluate_folders(tmp_path / "nuclei", dataset.part("instances", "Ts"))["summary"]
    assert row["scores"]["PQ (pooled)"] == pytest.approx(truth["pq_pooled"])
    assert row["scores"]["mPQ+ (mean of classes)"] == pytest.approx(truth["mpq_plus"])
    assert (row["scores"]["merges"], row["scores"]["splits"]) == (truth["merges"], truth["splits"])


def test_a_choice_among_other_networks_is_not_scored(dataset, tmp_path):
    content = read_json(dataset.results / CHOICE)
    content["configs"] = {config: f"{model}_seed1" for config, model in content["configs"].items()}
    write_json(dataset.results / CHOICE, content)
    output, root = tmp_path / "test.json", str(dataset.roots.results.parent)
    assert score_test.main(["1", "--output", str(output), "--device", "cpu", "--root", root]) == 0
    assert not any(row["chosen"] for row in read_json(output)["rows"])


def test_networks_that_changed_since_or_are_gone_are_refused_by_name(dataset):
    choice = read_choice(dataset.results)
    model = dataset.results / next(iter(choice.configs.values()))
    other = model / "fold_1" / FINAL
    shutil.copy(model / "fold_0" / FINAL, other)
    with pytest.raises(NucplanError, match=f"fold_1/{FINAL} is not the one that .*{CHOICE} was chosen with"):
        Predictor.from_choice(dataset.results, CPU)
    other.unlink()
    with pytest.raises(NucplanError, match=f"fold_1/{FINAL} is not there"):
        Predictor.from_choice(dataset.results, CPU)


@pytest.mark.parametrize(
    "content",
    [
        "[1, 2]",
        '{"configs": {}}',
        '{"decoder": 7, "folds": []}',
        '{"configs": ["a"], "folds": [0], "among": [], "decoder": {"diameter": 9}}',
    ],
)
def test_a_file_that_is_no_choice_is_refused_by_name(tmp_path, content):
    (tmp_path / CHOICE).write_text(content)
    with pytest.raises(NucplanError, match=f"{CHOICE} is not what nucplan_benchmark writes"):
        read_choice(tmp_path)


def test_a_choice_is_read_as_it_was_written(chosen, tmp_path):
    choice = read_choice(chosen.results)
    write_choice(choice, tmp_path)
    assert read_choice(tmp_path) == choice


def test_models_of_other_scales_are_not_averaged(dataset, capsys):
    plans = dataset.model(trainer_name("baseline")) / "plans.json"
    content = read_json(plans)
    content["nucplan"]["decisions"]["patch_size"]["value"] = [32, 32]
    write_json(plans, content)
    assert choose_ensemble.main(["1", "--device", "cpu", "--root", str(dataset.roots.results.parent)]) == 2
    assert "was planned with another patch_size than" in capsys.readouterr().err
