"""Training on stored maps: deterministic, resumable, and with an encoder that stays as it is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from nucplan.checkpoints import load_checkpoint
from nucplan.cli import train
from nucplan.files import read_json
from nucplan.layout import CONFIGURATION, FINAL, LATEST, find_dataset, resolve_roots
from nucplan.networks.encoders.timm_vit import TimmViT
from planners.variants import Variant
from trainers import DEFAULT_CONFIG, trainer_class
from trainers.run import TrainingRequest, prepare


@pytest.fixture(scope="session")
def weights_file(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "vit.safetensors"
    save_file(TimmViT("test_vit", 3).vit.state_dict(), path)
    return path


@pytest.fixture(autouse=True)
def _nothing_to_gain(monkeypatch) -> None:
    """The rule would leave the maps out, so that those who want them must say so; and nothing is counted."""
    monkeypatch.setattr("planners.feature_cache._step_seconds", lambda *_: (1.0, 1.0))


def command(root: Path, weights: Path, *options: str) -> int:
    common = ["--device", "cpu", "--root", str(root), "--encoder", "test_vit", "--weights", str(weights)]
    return train.main(["1", "0", *common, *options])


def make_trainer(root: Path, weights: Path, epochs: int = 1, **variant):
    dataset = find_dataset(resolve_roots(root), 1)
    chosen = Variant(encoder="test_vit", weights=weights, **{"cache_features": True, **variant})
    plans = prepare(dataset, TrainingRequest(DEFAULT_CONFIG, variant=chosen))
    trainer = trainer_class(DEFAULT_CONFIG)(
        plans, CONFIGURATION, 0, read_json(dataset.raw / "dataset.json"), torch.device("cpu")
    )
    trainer.set_budget(epochs)
    trainer.num_epochs, trainer.num_iterations_per_epoch = epochs, 3
    trainer.workers = 0
    return trainer


def final_weights(trainer) -> dict[str, torch.Tensor]:
    return load_checkpoint(Path(trainer.output_folder) / FINAL)["network_weights"]


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_the_encoder_is_not_asked_in_training_and_keeps_its_weights(root, weights_file, monkeypatch) -> None:
    trainer = make_trainer(root, weights_file, epochs=2)
    trainer.initialize()
    before = {name: tensor.clone() for name, tensor in trainer.network.state_dict().items()}
    assert trainer.feature_cache is not None
    monkeypatch.setattr(TimmViT, "forward", lambda *_: pytest.fail("the encoder was asked"))
    trainer.run_training()
    after = final_weights(trainer)
    of_encoder = [name for name in before if name.startswith("encoder.")]
    assert of_encoder
    assert all(torch.equal(before[name], after[name]) for name in of_encoder)
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_a_resumed_training_and_one_with_workers_equal_an_uninterrupted_one(root, weights_file) -> None:
    whole = make_trainer(root, weights_file, epochs=2)
    whole.run_training()
    wanted = final_weights(whole)
    shutil.rmtree(whole.output_folder)

    cut = make_trainer(root, weights_file, epochs=2)
    cut.workers = 2
    ends = cut.on_epoch_end

    def interrupted() -> None:
        ends()
        raise KeyboardInterrupt

    cut.on_epoch_end = interrupted
    with pytest.raises(KeyboardInterrupt):
        cut.run_training()
    resumed = make_trainer(root, weights_file, epochs=2)
    resumed.load_checkpoint(str(Path(cut.output_folder) / LATEST))
    assert resumed.current_epoch == 1
    resumed.run_training()
    assert equal(final_weights(resumed), wanted)


def test_the_loss_falls_on_stored_maps(root, weights_file) -> None:
    trainer = make_trainer(root, weights_file, epochs=1)
    trainer.num_iterations_per_epoch = 30
    losses = []
    step = trainer.train_step

    def watched(batch):
        losses.append(float((found := step(batch))["loss"]))
        return found

    trainer.train_step = watched
    trainer.run_training()
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_folds_share_the_maps_and_other_weights_have_their_own(root, weights_file, tmp_path) -> None:
    first, second = make_trainer(root, weights_file), make_trainer(root, weights_file)
    second.fold = 1
    second.was_initialized = False
    for trainer in (first, second):
        trainer.initialize()
    assert first.feature_cache.folder == second.feature_cache.folder
    torch.manual_seed(1)
    save_file(TimmViT("test_vit", 3).vit.state_dict(), tmp_path / "other.safetensors")
    other = make_trainer(root, tmp_path / "other.safetensors")
    other.initialize()
    assert other.feature_cache.folder != first.feature_cache.folder


def test_the_command_tells_the_size_and_records_what_it_used(root, weights_file, capsys) -> None:
    assert command(root, weights_file, "--iterations", "2", "--cache-features") == 0
    told = capsys.readouterr().out
    assert "computed once" in told
    assert "GiB in" in told
    (folder,) = (root / "nnUNet_results/Dataset001_Tiny").glob("*cached*/fold_0")
    assert read_json(folder / "run.json")["cached_features"] is True


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--cache-features", "--train-encoder"], "this one is trained"),
        (["--cache-features", "--cache-limit", "0.0001"], "--cache-limit"),
        (["--cache-limit", "0"], "positive number"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(root, weights_file, capsys, options, sentence) -> None:
    assert command(root, weights_file, "--iterations", "2", *options) == 2
    assert sentence in capsys.readouterr().err
    assert not list((root / "nnUNet_results").rglob("fold_0"))


def test_an_encoder_of_the_plan_that_is_trained_is_refused(root, capsys) -> None:
    assert train.main(["1", "0", "--device", "cpu", "--root", str(root), "--cache-features"]) == 2
    assert "this one is trained" in capsys.readouterr().err
