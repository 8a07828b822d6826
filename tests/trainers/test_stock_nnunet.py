"""What nucplan assumes about nnU-Net, and what nnU-Net may assume about nucplan: one red file after an upgrade."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import trainers
from nucplan.cli import train
from nucplan.files import read_json, write_json
from nucplan.images import read_label_map

PREPROCESSED = Path("nnUNet_preprocessed/Dataset001_Tiny")
MODEL = Path("nnUNet_results/Dataset001_Tiny/nnUNetTrainerNucBoundaryAttention__nucplanPlans__2d")


SHORT_TRAINER = """
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class nnUNetTrainerShort(nnUNetTrainer):
    def __init__(self, plans, configuration, fold, dataset_json, device=torch.device("cuda")):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs, self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 1, 2, 1
"""


def stock(
    module: str, function: str, *arguments: str, external: Path = Path(trainers.__file__).parent
) -> subprocess.CompletedProcess:
    """Run a console script of nnU-Net in a process of its own; ``external`` is its folder of further trainers."""
    environment = os.environ | {
        "nnUNet_extTrainer": str(external),
        "nnUNet_compile": "f",
        "nnUNet_n_proc_DA": "1",
    }
    code = f"import sys; from {module} import {function}; sys.argv[0] = {function!r}; {function}()"
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments], env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    return ended


def test_stock_commands_check_plan_and_train_our_raw_dataset(root, tmp_path):
    stock(
        "nnunetv2.experiment_planning.plan_and_preprocess_entrypoints",
        "plan_and_preprocess_entry",
        *("-d", "1", "-c", "2d", "--verify_dataset_integrity", "-npfp", "1", "-np", "1"),
    )
    assert (root / PREPROCESSED / "nnUNetPlans.json").is_file()
    assert len(list((root / PREPROCESSED / "nnUNetPlans_2d").glob("*.pkl"))) == 10

    (tmp_path / "external").mkdir()
    (tmp_path / "external" / "short.py").write_text(SHORT_TRAINER)
    arguments = ["1", "2d", "0", "-tr", "nnUNetTrainerShort", "-device", "cpu"]
    stock("nnunetv2.run.run_training", "run_training_entry", *arguments, external=tmp_path / "external")
    fold = root / "nnUNet_results/Dataset001_Tiny/nnUNetTrainerShort__nnUNetPlans__2d/fold_0"
    assert (fold / "checkpoint_final.pth").is_file()
    assert (fold / "validation" / "summary.json").is_file()


def test_stock_train_finds_and_runs_our_trainer_and_stock_predict_its_semantic_output(root):
    plans = root / PREPROCESSED / "nucplanPlans.json"
    content = read_json(plans)
    content["nucplan"]["decisions"]["iterations"]["value"]["standard"] = 2
    write_json(plans, content)
    arguments = ["1", "2d", "0", "-tr", "nnUNetTrainerNucBoundaryAttention", "-p", "nucplanPlans", "-device", "cpu"]
    stock("nnunetv2.run.run_training", "run_training_entry", *arguments)
    assert (root / MODEL / "fold_0" / "validation" / "summary.json").is_file()

    images, out = root / "nnUNet_raw/Dataset001_Tiny/imagesTs", root / "semantic"
    arguments = ["-i", str(images), "-o", str(out), "-d", "1", "-c", "2d", "-f", "0", "-device", "cpu", "-npp", "1"]
    arguments += ["-tr", "nnUNetTrainerNucBoundaryAttention", "-p", "nucplanPlans", "-nps", "1"]
    stock("nnunetv2.inference.predict_from_raw_data", "predict_entry_point", *arguments)
    for image in images.iterdir():
        semantic = read_label_map(out / image.name.replace("_0000", ""))
        assert semantic.shape == (96, 96)
        assert set(np.unique(semantic)) <= {0, 1, 2, 3}


@pytest.fixture
def trained(root):
    assert train.main(["1", "0", "--device", "cpu", "--iterations", "2", "--root", str(root)]) == 0
    return root / MODEL


def test_the_model_folder_has_the_files_that_scripts_expect(trained):
    for name in ("plans.json", "dataset.json", "fold_0/checkpoint_final.pth", "fold_0/validation/summary.json"):
        assert (trained / name).is_file()
    assert not (trained / "fold_0" / "checkpoint_latest.pth").exists()


def test_hooks_that_we_override_still_exist_in_nnunet():
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    from trainers.base import NucleusTrainer
    from trainers.checkpoints import Checkpoints
    from trainers.patches import PatchLoading

    parts = (NucleusTrainer, PatchLoading, Checkpoints)
    ours = {name for part in parts for name in vars(part) if not name.startswith("__")}
    hooks = {
        *("initialize", "build_network_architecture", "set_deep_supervision_enabled", "plot_network_architecture"),
        *("_do_i_compile", "_build_loss", "configure_optimizers", "get_dataloaders", "train_step", "validation_step"),
        *("on_train_start", "on_train_epoch_start", "on_train_epoch_end", "on_validation_epoch_end", "on_epoch_end"),
        *("on_train_end", "print_to_log_file", "save_checkpoint", "load_checkpoint", "perform_actual_validation"),
    }
    assert hooks <= ours
    assert hooks <= set(vars(nnUNetTrainer))
