"""The config ``cellvta``: what it trains, what it leaves frozen, and what comes back from its checkpoint."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from nucplan.checkpoints import load_checkpoint
from nucplan.cli import train
from nucplan.files import file_hash, read_json, write_json
from nucplan.inference.predictor import load_network
from nucplan.layout import CONFIGURATION, FINAL, find_dataset, resolve_roots
from nucplan.networks.encoders.timm_vit import TimmViT
from planners.variants import Variant
from trainers import trainer_class, trainer_name
from trainers.out_of_fold.folds import training_command
from trainers.run import TrainingRequest, prepare

RESULTS = Path("nnUNet_results/Dataset001_Tiny")
ENCODER = "vit_tiny_patch16_224"


def run(root: Path, *options: str, plans: str = "nucplanPlans") -> Path:
    arguments = ["1", "0", "--config", "cellvta", "--device", "cpu", "--root", str(root), *options]
    assert train.main(arguments) == 0
    return root / RESULTS / f"{trainer_name('cellvta')}__{plans}__2d" / "fold_0"


def make_trainer(root: Path, config: str = "cellvta"):
    dataset = find_dataset(resolve_roots(root), 1)
    plans = read_json(dataset.plans())
    return trainer_class(config)(plans, CONFIGURATION, 0, read_json(dataset.raw / "dataset.json"), torch.device("cpu"))


def digest(tensors: dict[str, torch.Tensor]) -> str:
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(name.encode() + tensor.numpy().tobytes())
    return found.hexdigest()


def of_part(checkpoint: Path, prefix: str) -> dict[str, torch.Tensor]:
    weights = load_checkpoint(checkpoint)["network_weights"]
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}


def test_it_is_the_baseline_with_an_adapter(root):
    plain, adapted = make_trainer(root, "baseline"), make_trainer(root)
    for trainer in (plain, adapted):
        trainer.initialize()
    ours = adapted.network.encoder
    assert ours.injection_blocks == (1, 2, 3, 4)
    assert digest(ours.plain.state_dict()) == digest(plain.network.encoder.state_dict())
    assert adapted.network.boundary_strides == ()
    assert adapted.loss.boundary is None


@pytest.mark.parametrize("frozen", [True, False])
def test_a_short_training_lowers_the_loss_and_changes_no_frozen_weight(root, frozen):
    trainer = make_trainer(root)
    trainer.set_budget(12)
    trainer.workers = 0
    architecture = trainer.plans_manager.plans["configurations"][CONFIGURATION]["architecture"]["arch_kwargs"]
    architecture["encoder_frozen"] = frozen
    trainer.initialize()
    trainer.on_train_epoch_start()
    encoder = trainer.network.encoder
    batches, _ = trainer.get_dataloaders()
    before, batch = digest(encoder.plain.state_dict()), next(iter(batches))
    losses = [float(trainer.train_step(batch)["loss"]) for _ in range(12)]
    assert losses[-1] < 0.95 * losses[0]
    assert (digest(encoder.plain.state_dict()) == before) == frozen
    assert all((injector.gamma != 1e-5).all() for injector in encoder.injectors.values())


def test_pretrained_weights_come_out_of_a_training_as_they_went_in(root, tmp_path):
    torch.manual_seed(5)
    source = TimmViT(ENCODER, 3).vit.state_dict()
    save_file(source, tmp_path / "weights.safetensors")
    plans = f"nucplanPlans_weights{file_hash(tmp_path / 'weights.safetensors')[:8]}"
    options = ("--weights", str(tmp_path / "weights.safetensors"))
    checkpoint = run(root, "--iterations", "1", *options, plans=plans) / FINAL
    assert digest(of_part(checkpoint, "encoder.encoder.vit.")) == digest(source)


def test_a_checkpoint_predicts_as_the_network_that_it_is_of(root):
    trainer = make_trainer(root)
    trainer.set_budget(2)
    trainer.run_training()
    found = load_network(Path(trainer.output_folder) / FINAL, torch.device("cpu"))
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(found(images), trainer.network.eval()(images))


def test_chosen_injection_blocks_have_a_plan_of_their_own(root):
    folder = run(root, "--iterations", "1", "--injection-blocks", "2,1", plans="nucplanPlans_inject1-2")
    assert load_network(folder / FINAL, torch.device("cpu")).encoder.injection_blocks == (1, 2)
    decision = read_json(folder.parent / "plans.json")["nucplan"]["decisions"]["adapter"]
    assert decision["overridden"]
    assert decision["value"] == {"injection_blocks": [1, 2]}
    command = training_command(find_dataset(resolve_roots(root), 1), folder.parent, 1)
    assert command == "nucplan_train 1 1 --config cellvta --injection-blocks 1,2 --iterations 1"


def test_the_planned_injection_blocks_make_no_other_plan(root):
    dataset = find_dataset(resolve_roots(root), 1)
    variant = Variant(injection_blocks=(1, 2, 3, 4))
    assert prepare(dataset, TrainingRequest("cellvta", variant=variant)) == read_json(dataset.plans())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--config", "boundary", "--injection-blocks", "1"), "the config 'boundary' has not; train --config cellvta"),
        (("--injection-blocks", "1"), "the config 'boundary_attention' has not"),
        (("--config", "cellvta", "--injection-blocks", "0,1"), "different numbers from 1 to 4; give it like 1,2"),
        (("--config", "cellvta", "--injection-blocks", "5"), "different numbers from 1 to 4"),
        (("--config", "cellvta", "--injection-blocks", "1,1"), "different numbers from 1 to 4"),
    ],
)
def test_injection_that_makes_no_sense_is_refused_and_nothing_is_written(root, capsys, options, message):
    before = sorted(root.rglob("*"))
    assert train.main(["1", "0", "--device", "cpu", "--root", str(root), "--iterations", "1", *options]) == 2
    assert message in capsys.readouterr().err
    assert sorted(root.rglob("*")) == before


def test_a_plan_older_than_the_adapter_is_refused(root, capsys):
    plans = root / "nnUNet_preprocessed/Dataset001_Tiny/nucplanPlans.json"
    content = read_json(plans)
    del content["nucplan"]["decisions"]["adapter"]
    write_json(plans, content)
    for options in ((), ("--injection-blocks", "1")):
        arguments = ["1", "0", "--config", "cellvta", "--device", "cpu", "--root", str(root), *options]
        assert train.main(arguments) == 2
        assert "The plan has no decision 'adapter'" in capsys.readouterr().err
