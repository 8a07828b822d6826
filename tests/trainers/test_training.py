"""The trainer: the same weights whatever happens on the way."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import blosc2
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nucplan.augmentation import UNLABELLED
from nucplan.checkpoints import load_checkpoint
from nucplan.cli import train
from nucplan.errors import NucplanError
from nucplan.files import read_json, write_json
from nucplan.layout import CONFIGURATION, FINAL, LATEST, find_dataset, resolve_roots
from nucplan.networks.nucleus_net import NucleusMaps
from trainers import CONFIGS, DEFAULT_CONFIG, trainer_class, trainer_name
from trainers.epoch_log import EpochLog

FOLD = Path("nnUNet_results/Dataset001_Tiny/nnUNetTrainerNucBoundaryAttention__nucplanPlans__2d/fold_0")


def run(root: Path, *options: str) -> Path:
    assert train.main(["1", "0", "--device", "cpu", "--root", str(root), *options]) == 0
    return root / FOLD


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(path)["network_weights"]


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def make_trainer(root: Path, iterations: int = 2, config: str = DEFAULT_CONFIG):
    dataset = find_dataset(resolve_roots(root), 1)
    trainer = trainer_class(config)(
        read_json(dataset.plans()), CONFIGURATION, 0, read_json(dataset.raw / "dataset.json"), torch.device("cpu")
    )
    trainer.set_budget(iterations)
    return trainer


def test_two_trainings_of_20_iterations_give_equal_weights_bit_for_bit(root, tmp_path):
    first = weights(run(root, "--iterations", "20") / FINAL)
    shutil.rmtree(root / FOLD)
    torch.manual_seed(99)
    assert equal(first, weights(run(root, "--iterations", "20") / FINAL))


def test_the_number_of_workers_changes_no_weight(root):
    found = []
    for workers in (0, 2):
        trainer = make_trainer(root, iterations=4)
        trainer.workers = workers
        trainer.run_training()
        found.append(weights(root / FOLD / FINAL))
    assert equal(*found)


@pytest.fixture(scope="module")
def uninterrupted(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The weights after two epochs of 39 iterations."""
    copy = tmp_path_factory.mktemp("whole") / "root"
    shutil.copytree(tiny_root, copy)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
            # The command sets these for the rest of the process.
            patch.setenv(name, "")
        return weights(run(copy, "--iterations", "78") / FINAL)


@pytest.mark.parametrize(
    ("how", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 75), (signal.SIGUSR1, 75)]
)
def test_a_killed_and_resumed_training_ends_with_the_weights_of_an_uninterrupted_one(root, uninterrupted, how, code):
    command = "import sys; from nucplan.cli.train import main; sys.exit(main())"
    options = ["1", "0", "--iterations", "78", "--device", "cpu", "--root", str(root)]
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", command, *options], start_new_session=True)
    _wait_for(root / FOLD / LATEST, process)
    # A scheduler signals all processes of a job.
    os.killpg(process.pid, how)
    assert process.wait() == code
    assert not (root / FOLD / FINAL).exists()
    assert load_checkpoint(root / FOLD / LATEST)["current_epoch"] == 1
    assert equal(uninterrupted, weights(run(root, "--iterations", "78") / FINAL))


def _wait_for(path: Path, process: subprocess.Popen) -> None:
    while not path.exists():
        assert process.poll() is None, "the training ended before its first checkpoint"
        time.sleep(0.05)


ALWAYS = ["cross_entropy", "dice", "focal_tversky", "validation_loss", "validation_dice"]
OF_SCALES = [f"boundary_{term}_{stride}" for stride in (1, 2, 4) for term in ("bce", "dice")]
WEIGHTS = ["lambda_boundary", "lambda_1", "lambda_2", "lambda_4"]
COLUMNS = {
    "baseline": ["loss", *ALWAYS],
    "boundary": [
        *[*WEIGHTS, "loss", "segmentation", "boundary", *ALWAYS[:3], *OF_SCALES],
        *[*ALWAYS[3:], "validation_boundary_f1"],
    ],
}
COLUMNS["boundary_weighted"] = COLUMNS["boundary"]
COLUMNS["boundary_attention"] = ["alpha", *COLUMNS["boundary"]]
COLUMNS["cellvta"] = COLUMNS["baseline"]


@pytest.mark.parametrize("config", CONFIGS)
def test_every_term_of_a_config_is_logged_each_epoch(root, capsys, monkeypatch, config):
    monkeypatch.setattr("nucplan.schedule.EPOCH", 5)
    folder = root / str(FOLD).replace(trainer_name(DEFAULT_CONFIG), trainer_name(config))
    run(root, "--iterations", "10", "--config", config)
    with open(folder / "metrics.csv", newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert list(rows[0]) == ["epoch", "learning_rate", *COLUMNS[config]]
    assert [row["epoch"] for row in rows] == [0, 1]
    assert [row["alpha"] for row in rows if "alpha" in row] == ([1, 1] if config == "boundary_attention" else [])
    for row in rows:
        if "boundary" in row:
            assert row["loss"] == pytest.approx(row["segmentation"] + 0.2 * row["boundary"], rel=1e-4)
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in COLUMNS[config])
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"learning_rate", *COLUMNS[config]}
    assert [e.value for e in events.Scalars("loss")] == pytest.approx([row["loss"] for row in rows], rel=1e-5)


@pytest.mark.parametrize(
    ("config", "heads", "weighted", "gated"),
    [
        ("baseline", False, False, False),
        ("boundary", True, False, False),
        ("boundary_weighted", True, True, False),
        ("boundary_attention", True, True, True),
    ],
)
def test_a_config_has_the_parts_that_it_is_named_after(root, config, heads, weighted, gated):
    trainer = make_trainer(root, iterations=10, config=config)
    trainer.initialize()
    decisions = read_json(find_dataset(resolve_roots(root), 1).plans())["nucplan"]["decisions"]
    scales = {int(stride): weight for stride, weight in decisions["boundary_scales"]["value"].items()}
    assert trainer.network.boundary_strides == (tuple(scales) if heads else ())
    assert (trainer.loss.boundary is not None) == heads
    if heads:
        assert trainer.loss.boundary.loss.scales == scales
        assert trainer.loss.boundary.beta == (decisions["boundary_beta"]["value"] if weighted else None)
    trainer.on_train_epoch_start()
    strengths = []
    batch = {"image": torch.randn(2, 3, 64, 64), "labels": torch.zeros(2, 2, 64, 64, dtype=torch.int32)}
    for _ in range(4):
        trainer.train_step(batch)
        strengths.append(trainer.network.gate_strength)
    assert strengths == pytest.approx([0, 0, 0.5, 1] if gated else [0] * 4)
    gates = [branch.alpha for branch in trainer.network.boundary_branches.values()]
    assert all((alpha is not None) == gated for alpha in gates)


def test_after_an_interruption_between_checkpoint_and_log_no_epoch_is_missing(root, monkeypatch):
    def stopped(self, folder):
        raise KeyboardInterrupt

    monkeypatch.setattr("nucplan.schedule.EPOCH", 2)
    whole = EpochLog.write
    monkeypatch.setattr(EpochLog, "write", stopped)
    arguments = ["1", "0", "--device", "cpu", "--root", str(root), "--iterations", "4"]
    assert train.main(arguments) == 130
    monkeypatch.setattr(EpochLog, "write", whole)
    folder = run(root, "--iterations", "4")
    with open(folder / "metrics.csv", newline="") as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == [0, 1]
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == [0, 1]


def test_a_plan_that_is_half_written_when_a_fold_starts_leaves_that_of_the_other_folds(root, monkeypatch):
    def half(_content: object, path: str, **_: object) -> None:
        Path(path).write_text("{ half")
        raise KeyboardInterrupt

    model = (root / FOLD).parent
    model.mkdir(parents=True)
    (model / "plans.json").write_text("whole")
    monkeypatch.setattr("nnunetv2.training.nnUNetTrainer.nnUNetTrainer.save_json", half)
    with pytest.raises(KeyboardInterrupt):
        make_trainer(root).on_train_start()
    assert (model / "plans.json").read_text() == "whole"
    assert not list(model.glob("*.partial"))


def test_what_a_run_that_goes_on_writes_replaces_what_was_there(tmp_path):
    before = EpochLog()
    for epoch in range(3):
        before.add({"epoch": epoch, "loss": 9.0})
        before.write(tmp_path)
    before.close()
    after = EpochLog([{"epoch": 0, "loss": 1.0}])
    after.add({"epoch": 1, "loss": 0.5})
    after.write(tmp_path)
    after.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(0, 1.0), (1, 0.5)]


def test_an_encoder_that_reaches_no_stride_of_the_boundary_heads_is_refused(root, capsys):
    plans = root / "nnUNet_preprocessed/Dataset001_Tiny/nucplanPlans.json"
    content = read_json(plans)
    content["nucplan"]["decisions"]["boundary_scales"]["value"] = {"16": 1.0}
    write_json(plans, content)
    arguments = ["1", "0", "--device", "cpu", "--root", str(root), "--iterations", "2"]
    assert train.main([*arguments, "--encoder", "vit_small_patch8_224"]) == 2
    assert "is among the plan's boundary_scales (16)" in capsys.readouterr().err


def test_the_loss_falls(root):
    with open(run(root, "--iterations", "100") / "metrics.csv", newline="") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert losses[-1] < 0.97 * losses[0]


def test_out_of_fold_predictions_and_their_scores_are_written(root):
    folder = run(root, "--iterations", "2") / "validation"
    cases = read_json(root / "nnUNet_preprocessed/Dataset001_Tiny/splits_final.json")[0]["val"]
    assert {p.stem for p in folder.glob("*.tif")} == set(cases)
    summary = read_json(folder / "summary.json")
    assert set(summary["foreground_mean"]) == {"Dice"}
    assert set(summary["nuclei"]["per_image"]) == set(cases)


def test_pixels_to_be_ignored_change_no_gradient(root):
    content = read_json(root / "nnUNet_raw/Dataset001_Tiny/dataset.json")
    content["labels"]["ignore"] = 4
    write_json(root / "nnUNet_raw/Dataset001_Tiny/dataset.json", content)
    trainer = make_trainer(root)
    trainer.initialize()
    labels = torch.randint(0, 4, (1, 2, 64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.int32)
    labels[:, 0, :, 32:] = 4
    labels[:, 0, :32, :8] = UNLABELLED
    logits = torch.randn(1, 4, 64, 64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    total, _ = trainer.loss(NucleusMaps(logits), trainer.loss.targets(labels))
    total.backward()
    ignored = (labels[0, 0] == 4) | (labels[0, 0] == UNLABELLED)
    assert logits.grad[0, :, ignored].eq(0).all()
    assert logits.grad[0, :, ~ignored].ne(0).any()


def test_a_loss_that_is_no_number_stops_the_training_with_a_sentence(root):
    trainer = make_trainer(root)
    trainer.initialize()
    batch = {"image": torch.full((1, 3, 64, 64), torch.nan), "labels": torch.zeros(1, 2, 64, 64, dtype=torch.int32)}
    trainer.on_train_epoch_start()
    with pytest.raises(NucplanError, match="loss of fold 0 became nan"):
        trainer.train_step(batch)


def test_the_rate_of_each_step_is_the_schedule(root):
    trainer = make_trainer(root, iterations=3)
    rates = []
    trainer.initialize()
    step = trainer.optimizer.step
    trainer.optimizer.step = lambda: (rates.append(trainer.optimizer.param_groups[0]["lr"]), step())
    trainer.run_training()
    assert rates == [trainer.schedule(i) for i in range(3)]


def test_an_interrupted_plan_is_not_trained_on_the_data_of_the_one_before(root):
    plans = root / "nnUNet_preprocessed/Dataset001_Tiny/nucplanPlans.json"
    content = read_json(plans)
    content["configurations"]["2d"]["spacing"] = [0.5, 0.5]
    write_json(plans, content)
    run(root, "--iterations", "1")
    case = next((root / "nnUNet_preprocessed/Dataset001_Tiny/nucplanPlans_2d").glob("*_seg.b2nd"))
    assert blosc2.open(str(case)).shape == (2, 1, 192, 192)


def test_folds_of_another_length_or_plan_do_not_join_an_ensemble(root, capsys):
    run(root, "--iterations", "2")
    assert train.main(["1", "1", "--device", "cpu", "--root", str(root), "--iterations", "3"]) == 2
    assert "was trained for 2 iterations, not 3" in capsys.readouterr().err
    (root / FOLD / FINAL).rename(root / FOLD / "aside")
    assert train.main(["1", "1", "--device", "cpu", "--root", str(root), "--iterations", "3"]) == 0
    shutil.rmtree(root / FOLD.with_name("fold_1"))
    (root / FOLD / "aside").rename(root / FOLD / FINAL)
    plans = root / "nnUNet_preprocessed/Dataset001_Tiny/nucplanPlans.json"
    content = read_json(plans)
    content["nucplan"]["decisions"]["oversampling"]["value"] = 0.1
    write_json(plans, content)
    assert train.main(["1", "1", "--device", "cpu", "--root", str(root), "--iterations", "2"]) == 2
    assert "holds folds of another plan" in capsys.readouterr().err


def test_a_checkpoint_of_another_split_is_refused(root, capsys):
    run(root, "--iterations", "2")
    splits = root / "nnUNet_preprocessed/Dataset001_Tiny/splits_final.json"
    folds = read_json(splits)
    write_json(splits, [folds[1], folds[0], *folds[2:]])
    assert train.main(["1", "0", "--device", "cpu", "--root", str(root), "--iterations", "2"]) == 2
    assert "was trained on other images, labels, folds" in capsys.readouterr().err
    # Trainings of an older nucplan do not say on which data; their checkpoints know the cases.
    record = read_json(root / FOLD / "run.json")
    write_json(root / FOLD / "run.json", {"iterations": record["iterations"]})
    assert train.main(["1", "0", "--device", "cpu", "--root", str(root), "--iterations", "2"]) == 2
    assert "was trained on other cases" in capsys.readouterr().err


def test_an_unknown_config_is_refused_with_the_choices():
    with pytest.raises(NucplanError, match=f"'nonsense'; choose from {', '.join(CONFIGS)}"):
        trainer_name("nonsense")


def test_every_config_is_a_class_of_its_name():
    for config in CONFIGS:
        assert trainer_class(config).__name__ == trainer_name(config)
    assert DEFAULT_CONFIG in CONFIGS
