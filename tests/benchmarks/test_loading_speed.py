"""A batch is ready before the step that needs it: loading and augmentation cost a fraction of a training step."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from nucplan.cli import convert, plan_and_preprocess
from nucplan.datasets.synthetic import write_synthetic
from nucplan.files import read_json
from nucplan.layout import CONFIGURATION, VARIABLES, find_dataset, resolve_roots
from trainers import DEFAULT_CONFIG, trainer_class


@pytest.fixture
def trainer(tmp_path, monkeypatch) -> Iterator:
    """A trainer of what is planned for a CPU, on one thread, which makes its batches when it is asked for them."""
    for variable in VARIABLES.values():
        monkeypatch.setenv(variable, "")
    write_synthetic(tmp_path / "source", images=12)
    root = ["--root", str(tmp_path)]
    assert convert.main(["folder", str(tmp_path / "source"), "1", "Speed", *root]) == 0
    overrides = ["--set", "batch_size=4", "--set", "patch_size=128"]
    assert plan_and_preprocess.main(["1", "--device", "cpu", *overrides, *root]) == 0
    dataset = find_dataset(resolve_roots(tmp_path), 1)
    made = trainer_class(DEFAULT_CONFIG)(
        read_json(dataset.plans()), CONFIGURATION, 0, read_json(dataset.dataset_json), torch.device("cpu")
    )
    made.workers = 0
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    made.initialize()
    made.on_train_epoch_start()
    yield made
    torch.set_num_threads(threads)


def test_a_batch_takes_less_than_half_of_a_training_step(benchmark, trainer, fastest):
    batches, _ = trainer.get_dataloaders()
    batch = benchmark.pedantic(next, (batches,), rounds=3, warmup_rounds=2)
    assert batch["image"].shape == (4, 3, 128, 128)
    loading = fastest(lambda: next(batches), 8)
    step = fastest(lambda: trainer.train_step(batch), 4)
    benchmark.extra_info["share_of_a_step"] = round(loading / step, 2)
    benchmark.extra_info["milliseconds"] = [round(1000 * seconds) for seconds in (loading, step)]
    assert loading < 0.5 * step
