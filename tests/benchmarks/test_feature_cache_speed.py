"""An epoch on the stored maps of a frozen encoder against one that computes them, whole augmentation included."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from nucplan import precision
from nucplan.cli import convert, plan_and_preprocess
from nucplan.datasets.synthetic import write_synthetic
from nucplan.files import read_json
from nucplan.layout import CONFIGURATION, VARIABLES, find_dataset, resolve_roots
from nucplan.networks.encoders.timm_vit import TimmViT
from planners.variants import Variant
from trainers import trainer_class
from trainers.run import TrainingRequest, prepare

PATCH, BATCH, ITERATIONS = 128, 4, 3
WIDTHS = [24, 32, 64, 96, 128]  # the plan's on a processor
# Stride and widths of the decoder.
DECODERS = {"planned": (1, WIDTHS), "stride_4": (4, WIDTHS), "light": (4, [24, 32, 24, 48, 64])}
ENCODERS = ("vit_small_patch16_224", "vit_small_patch8_224", "vit_large_patch16_224")


@pytest.fixture(params=DECODERS)
def root(tmp_path, monkeypatch, request) -> Iterator[tuple[Path, int]]:
    """A planned dataset, and the stride of its decoder; torch runs on one thread."""
    decoder_stride, widths = DECODERS[request.param]
    for variable in VARIABLES.values():
        monkeypatch.setenv(variable, "")
    write_synthetic(tmp_path / "source", images=5, size=PATCH)
    root = ["--root", str(tmp_path)]
    assert convert.main(["folder", str(tmp_path / "source"), "1", "Speed", *root]) == 0
    values = {"batch_size": BATCH, "patch_size": PATCH, "network_width": widths}
    overrides = [part for name, value in values.items() for part in ("--set", f"{name}={json.dumps(value)}")]
    assert plan_and_preprocess.main(["1", "--device", "cpu", *overrides, *root]) == 0
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tmp_path, decoder_stride
    torch.set_num_threads(threads)


def weights_of(encoder: str, folder: Path) -> Path:
    torch.manual_seed(0)
    path = folder / f"{encoder}.safetensors"
    save_file(TimmViT(encoder, 3).vit.state_dict(), path)
    return path


def epoch(root: Path, weights: Path, encoder: str, **variant) -> object:
    """A call that runs a short epoch of the config ``baseline``: loading, augmentation and training steps."""
    dataset = find_dataset(resolve_roots(root), 1)
    request = TrainingRequest("baseline", variant=Variant(encoder=encoder, weights=weights, **variant))
    plans = prepare(dataset, request)
    trainer = trainer_class("baseline")(plans, CONFIGURATION, 0, read_json(dataset.dataset_json), torch.device("cpu"))
    trainer.workers = 0
    trainer.set_budget(50_000)
    trainer.initialize()
    training, _ = trainer.get_dataloaders()

    def run() -> None:
        for _ in range(ITERATIONS):
            trainer.train_step(next(training))

    trainer.on_train_epoch_start()
    trainer.train_step(next(training))
    return run


@pytest.mark.parametrize("mixed", [True, False], ids=["as_the_processor_has_it", "float32"])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_an_epoch_on_stored_maps_is_faster(benchmark, fastest, root, monkeypatch, encoder, mixed):
    root, decoder_stride = root
    if not mixed:
        monkeypatch.setattr(precision, "has_bfloat16_matrices", lambda: False)
    monkeypatch.setattr("planners.feature_cache._step_seconds", lambda *_: (1.0, 1.0))
    weights = weights_of(encoder, root)
    live, cached = (
        epoch(root, weights, encoder, decoder_stride=decoder_stride, cache_features=stored) for stored in (False, True)
    )
    seconds = [fastest(call, 2) for call in (live, cached)]
    benchmark.pedantic(cached, rounds=1)
    benchmark.extra_info |= {
        "times_as_fast": round(seconds[0] / seconds[1], 2),
        "milliseconds_per_step": [round(1000 * one / ITERATIONS) for one in seconds],
        "precision": precision.precision_name(torch.device("cpu")),
    }
    assert seconds[0] > seconds[1]
