"""The command: what it refuses, what it keeps, and where another seed or encoder goes."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch

from nucplan.checkpoints import load_checkpoint
from nucplan.cli import plan_and_preprocess
from nucplan.cli.train import main
from nucplan.layout import FINAL, LATEST, find_dataset, resolve_roots
from nucplan.networks.nucleus_net import NucleusNet
from planners.variants import Variant
from trainers.run import TrainingRequest, prepare

DATASET = "Dataset001_Tiny"
MODEL = Path("nnUNet_results", DATASET, "nnUNetTrainerNucBoundaryAttention__nucplanPlans__2d")


def train(root: Path, fold: str, *options: str, dataset: str = "1") -> int:
    return main([dataset, fold, "--device", "cpu", "--root", str(root), *options])


def files(root: Path) -> set[Path]:
    return {path for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def trained(trained_root: Path, tmp_path: Path) -> Path:
    """A copy of ``trained_root`` to write to."""
    return Path(shutil.copytree(trained_root, tmp_path / "trained"))


@pytest.mark.parametrize(
    ("fold", "options", "parts"),
    [
        ("7", [], ["no fold '7'", "all"]),
        ("x", [], ["no fold 'x'", "all"]),
        ("5", ["--budget", "quick"], ["no fold '5'"]),
        ("0", ["--epochs", "0"], ["--epochs 0", "positive"]),
        ("0", ["--iterations", "-5"], ["--iterations -5", "positive"]),
        ("0", ["--encoder", "no_such_vit"], ["'no_such_vit'", "vit_"]),
        ("0", ["--encoder", "resnet18"], ["'resnet18'", "plain ViT"]),
        ("0", ["--encoder", "vit_base_patch32_224"], ["patch 32", "8, 14 or 16"]),
        ("0", ["--weights", "missing.pth"], ["missing.pth", "--weights"]),
    ],
)
def test_bad_arguments_end_with_one_sentence_and_write_nothing(root, assert_refused, fold, options, parts):
    before = files(root)
    assert_refused(train(root, fold, *options), *parts)
    assert files(root) == before


def test_an_unknown_encoder_is_named_even_with_weights(root, tmp_path, assert_refused):
    torch.save({}, tmp_path / "weights.pth")
    code = train(root, "0", "--encoder", "no_such_vit", "--weights", str(tmp_path / "weights.pth"))
    assert_refused(code, "'no_such_vit'")


def test_weights_of_another_encoder_are_refused_before_anything_is_written(root, tmp_path, assert_refused):
    import timm

    torch.save(timm.create_model("vit_tiny_patch16_224", depth=2).state_dict(), tmp_path / "shallow.pth")
    before = files(root)
    assert_refused(train(root, "0", "--weights", str(tmp_path / "shallow.pth")), "shallow.pth", "--encoder")
    assert files(root) == before


def test_epochs_and_iterations_together_are_refused(root):
    with pytest.raises(SystemExit, match="2"):
        train(root, "0", "--epochs", "1", "--iterations", "1")


def test_a_dataset_without_a_plan_is_sent_to_the_command_that_plans(root, assert_refused):
    shutil.rmtree(root / "nnUNet_preprocessed")
    assert_refused(train(root, "0"), DATASET, "nucplan_plan_and_preprocess 1")
    assert not files(root / "nnUNet_results")


def test_an_unknown_dataset_is_refused(root, assert_refused):
    assert_refused(train(root, "0", dataset="Lung"), "'Lung'", DATASET)


def test_a_finished_fold_is_kept_and_reported(trained, capsys):
    checkpoint = trained / MODEL / "fold_0" / FINAL
    before = checkpoint.stat().st_mtime_ns, (trained / MODEL / "fold_0" / "validation/summary.json").stat().st_mtime_ns
    assert train(trained, "0", "--iterations", "2") == 0
    after = checkpoint.stat().st_mtime_ns, (trained / MODEL / "fold_0" / "validation/summary.json").stat().st_mtime_ns
    assert after == before
    printed = capsys.readouterr().out
    assert "fold 0: PQ (pooled)" in printed
    assert "nucplan_predict 1 IMAGES OUTPUT\n" in printed


def test_a_lost_validation_is_made_again_without_training(trained):
    fold = trained / MODEL / "fold_0"
    before, summary = (fold / FINAL).stat().st_mtime_ns, (fold / "validation" / "summary.json").read_text()
    shutil.rmtree(fold / "validation")
    assert train(trained, "0", "--iterations", "2") == 0
    assert (fold / FINAL).stat().st_mtime_ns == before
    assert (
        json.loads((fold / "validation" / "summary.json").read_text())["nuclei"]["summary"]
        == (json.loads(summary)["nuclei"]["summary"])
    )


@pytest.mark.parametrize("name", [FINAL, LATEST], ids=["finished", "half finished"])
def test_a_run_of_another_budget_is_refused_with_advice(trained, assert_refused, name):
    fold = trained / MODEL / "fold_0"
    (fold / FINAL).rename(fold / name)
    before = (fold / name).read_bytes()
    assert_refused(train(trained, "0", "--budget", "quick"), "2 iterations, not 150", "same budget", "move")
    assert (fold / name).read_bytes() == before


def test_a_damaged_checkpoint_is_named(trained, assert_refused):
    path = trained / MODEL / "fold_0" / FINAL
    path.write_bytes(b"damaged")
    assert_refused(train(trained, "0", "--iterations", "2"), str(path), "delete it")


def test_another_seed_trains_into_another_folder(trained, capsys):
    before = (trained / MODEL / "fold_0" / FINAL).read_bytes()
    assert train(trained, "0", "--iterations", "2", "--seed", "1") == 0
    seeded = trained / MODEL.with_name(MODEL.name.replace("nucplanPlans", "nucplanPlans_seed1"))
    assert (trained / MODEL / "fold_0" / FINAL).read_bytes() == before
    first, second = (load_checkpoint(model / "fold_0" / FINAL) for model in (trained / MODEL, seeded))
    assert (first["seed"], second["seed"]) == (0, 1)
    pairs = zip(first["network_weights"].values(), second["network_weights"].values(), strict=True)
    assert not all(torch.equal(*pair) for pair in pairs)
    assert "nucplan_predict 1 IMAGES OUTPUT --plans nucplanPlans_seed1" in capsys.readouterr().out


@pytest.fixture
def pretrained(tmp_path: Path) -> Path:
    import timm

    torch.manual_seed(5)
    torch.save(timm.create_model("vit_tiny_patch16_224", num_classes=0).state_dict(), tmp_path / "pretrained.pth")
    return tmp_path / "pretrained.pth"


def test_pretrained_weights_stay_as_they_are_and_name_the_run(root, pretrained, capsys):
    assert train(root, "0", "--iterations", "2", "--weights", str(pretrained)) == 0
    digest = hashlib.sha256(pretrained.read_bytes()).hexdigest()
    name = f"nucplanPlans_weights{digest[:8]}"
    checkpoint = load_checkpoint(root / MODEL.with_name(MODEL.name.replace("nucplanPlans", name)) / "fold_0" / FINAL)
    trained = checkpoint["network_weights"]
    for key, tensor in torch.load(pretrained).items():
        assert torch.equal(trained[f"encoder.vit.{key}"], tensor), key
    assert checkpoint["network_kwargs"]["encoder_frozen"]
    network = NucleusNet(**checkpoint["network_kwargs"])
    rest = [key for key, _ in network.named_parameters() if not key.startswith("encoder.")]
    assert len(checkpoint["optimizer_state"]["param_groups"][0]["params"]) == len(rest)
    assert f"--plans {name}" in capsys.readouterr().out


def test_data_for_pretrained_weights_follow_a_new_plan(root, pretrained):
    dataset, request = (
        find_dataset(resolve_roots(root), 1),
        TrainingRequest("baseline", variant=Variant(weights=pretrained)),
    )
    prepare(dataset, request)
    (folder,) = dataset.preprocessed.glob("nucplanPlans_NoNormalization_2d")
    before = (folder / "image_000.b2nd").stat().st_size
    options = ["1", "--device", "cpu", "--root", str(root), "--set", "scale=2", "--set", "patch_size=64"]
    assert plan_and_preprocess.main(options) == 0
    prepare(dataset, request)
    assert (folder / "image_000.b2nd").stat().st_size > 2 * before
