"""What a step is counted to take, against steps that are run, and against the trainer itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel

from nucplan.losses import SegmentationLoss
from nucplan.networks.nucleus_net import NucleusNet
from planners.cost import ALLOCATOR_OVERHEAD, KERNEL_BYTES, StepCost, count
from planners.counting import ByteCounter, autocast_as_on_gpu

TINY = {"encoder": "vit_tiny_patch16_224", "encoder_depth": 6}
FROZEN = {"encoder": "vit_small_patch16_224", "encoder_frozen": True}
NARROW, WIDE = {"features_per_stage": [24, 32, 64, 96, 128]}, {"features_per_stage": [32, 64, 128, 256, 320]}
SMALL = {"encoder": "vit_tiny_patch16_224", "encoder_depth": 2, "features_per_stage": [4, 8, 8, 8, 8]}

NETWORKS = {
    "smallest patch": (TINY | NARROW, 3, 1, 96, 4),
    "boundary attention": (TINY | NARROW | {"boundary_strides": [1, 2, 4], "boundary_attention": True}, 3, 1, 256, 2),
    "large batch": (TINY | NARROW, 3, 1, 96, 16),
    "large patch": (TINY | NARROW, 1, 5, 384, 2),
    "wide and multiplex": (TINY | WIDE, 20, 5, 128, 4),
    "frozen": (FROZEN | NARROW, 3, 5, 128, 8),
}


@pytest.fixture(scope="module")
def small() -> StepCost:
    return count(SMALL, 3, 2, 64, "cpu")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="resident memory is read from /proc")
@pytest.mark.parametrize("arguments", NETWORKS.values(), ids=NETWORKS)
def test_the_predicted_memory_is_within_30_percent_of_the_measured_and_not_below_it(arguments):
    *network, batch = arguments
    predicted = count(*network, "cpu").bytes_above_weights(batch)
    program = [sys.executable, str(Path(__file__).with_name("measure_step.py")), json.dumps(arguments)]
    measured = int(subprocess.run(program, check=True, capture_output=True, text=True).stdout)
    # The heap of one and the same step differs by this much between runs.
    assert measured <= 1.05 * predicted
    assert predicted <= 1.3 * measured


@pytest.mark.parametrize("bfloat16", [False, True])
def test_a_step_of_the_trainer_takes_what_is_counted_and_less_in_bfloat16(root, monkeypatch, bfloat16):
    from nucplan import precision
    from nucplan.files import read_json
    from nucplan.layout import CONFIGURATION, find_dataset, resolve_roots
    from trainers import trainer_class

    monkeypatch.setattr(precision, "has_bfloat16_matrices", lambda: bfloat16)
    dataset = find_dataset(resolve_roots(root), 1)
    content = read_json(dataset.raw / "dataset.json")
    trainer = trainer_class("baseline")(read_json(dataset.plans()), CONFIGURATION, 0, content, torch.device("cpu"))
    trainer.set_budget(2)
    trainer.initialize()
    trainer.on_train_epoch_start()
    architecture, classes = trainer.configuration_manager.network_arch_init_kwargs, len(content["labels"]) - 1
    cost = count(architecture, 3, classes, 128, "cpu")
    with ByteCounter() as counter:
        # The first step makes gradients and moments, and shows the counter the weights.
        for _ in range(2):
            counter.restart()
            labels = torch.randint(classes + 1, (4, 2, 128, 128), dtype=torch.int32)
            trainer.train_step({"image": torch.randn(4, 3, 128, 128), "labels": labels})
    counted = cost.weight_bytes + (cost.bytes_above_weights(4) - KERNEL_BYTES["cpu"]) / ALLOCATOR_OVERHEAD["cpu"]
    assert counter.peak < 0.9 * counted if bfloat16 else counter.peak == pytest.approx(counted, rel=0.02)


@pytest.mark.parametrize("architecture", [SMALL, SMALL | {"encoder_frozen": True}], ids=["trained", "frozen"])
def test_mixed_precision_without_a_gpu_takes_the_bytes_of_autocast_on_one(architecture, on_fake_gpu):
    # Which attention runs on a GPU depends on the GPU; this one runs everywhere.
    with sdpa_kernel(SDPBackend.MATH):
        there = on_fake_gpu(lambda: forward_bytes(architecture, "cuda"))
        with autocast_as_on_gpu(on=True):
            here = forward_bytes(architecture, "cpu")
    assert here == there
    assert here != forward_bytes(architecture, "cpu")


@pytest.fixture
def on_fake_gpu():
    """Run a function under ``torch.autocast("cuda")``, which torch itself refuses to switch on without a GPU."""
    try:
        with FakeTensorMode():
            torch.empty(1, device="cuda") + 1
    except (RuntimeError, AssertionError):
        pytest.skip("this torch was built without CUDA")

    def run(function):
        torch.set_autocast_enabled("cuda", True)
        torch.set_autocast_dtype("cuda", torch.float16)
        # As the context does: one that is left inside would empty the cache of cast weights otherwise.
        torch.autocast_increment_nesting()
        try:
            return function()
        finally:
            torch.autocast_decrement_nesting()
            torch.set_autocast_enabled("cuda", False)
            torch.clear_autocast_cache()

    return run


def forward_bytes(architecture: dict, device: str) -> tuple[int, int]:
    """What lives after the forward pass and the loss, and the peak until then."""
    with torch.device("meta"):
        network = NucleusNet(3, 3, **architecture).train()
    with FakeTensorMode(allow_non_fake_inputs=True), ByteCounter() as counter:
        network.to_empty(device=device)
        images = torch.empty(2, 3, 64, 64, device=device)
        target = torch.empty(2, 64, 64, dtype=torch.int64, device=device)
        total, _ = SegmentationLoss()(network.maps(images).semantic, target, target.float())
        return counter.live, counter.peak


def test_a_line_through_two_batches_is_never_below_the_batches_between(small, monkeypatch):
    for batch in (3, 11):
        monkeypatch.setattr("planners.cost.COUNTED_BATCHES", (batch, batch + 1))
        exact = count(SMALL, 3, 2, 64, "cpu").bytes(batch)
        assert exact - 2 * batch <= small.bytes(batch) <= 1.2 * exact


def test_samples_cost_more_with_every_part_of_the_plan(small):
    for more in (
        count(SMALL, 3, 2, 96, "cpu"),
        count(SMALL, 3, 6, 64, "cpu"),
        count(SMALL, 9, 2, 64, "cpu"),
        count(SMALL | {"encoder_depth": 4}, 3, 2, 64, "cpu"),
        count(SMALL | {"features_per_stage": [8] * 5}, 3, 2, 64, "cpu"),
    ):
        assert more.bytes(8) > small.bytes(8)
        assert more.flops_per_sample > small.flops_per_sample
        assert more.seconds(2, cores=2) > small.seconds(2, cores=2)


def test_a_frozen_encoder_keeps_no_gradients_and_no_activations(small):
    frozen = count(SMALL | {"encoder_frozen": True}, 3, 2, 64, "cpu")
    assert frozen.weight_bytes == small.weight_bytes
    assert frozen.fixed_bytes < 0.6 * small.fixed_bytes
    assert frozen.bytes_per_sample < small.bytes_per_sample
    assert frozen.flops_per_sample < 0.8 * small.flops_per_sample


def test_counting_twice_gives_the_same(small):
    assert count(SMALL, 3, 2, 64, "cpu") == small


def test_a_large_network_is_counted_with_its_gradients_and_both_moments():
    cost = count({"encoder": "vit_large_patch16_224"} | WIDE, 3, 5, 512, "cuda")
    assert cost.weight_bytes == pytest.approx(4 * 307e6, rel=0.05)
    assert cost.bytes(2) > 4 * cost.weight_bytes


def test_time_falls_with_cores_and_grows_with_the_batch(small):
    assert small.seconds(4, cores=2) == pytest.approx(2 * small.seconds(4, cores=4))
    assert small.seconds(4, cores=2) == pytest.approx(2 * small.seconds(2, cores=2))


def test_a_storage_counts_once_and_until_its_last_view_is_gone():
    with ByteCounter() as counter:
        a = torch.ones(100)
        view = a.view(10, 10)[2:]
        assert (counter.live, counter.peak) == (400, 400)
        del a
        assert counter.live == 400
        del view
        assert (counter.live, counter.peak) == (0, 400)


def test_what_autograd_saves_counts_until_the_backward_pass():
    x = torch.ones(100, requires_grad=True)
    with ByteCounter() as counter:
        total = x.exp().sum()
        assert counter.live == 400 + 4
        total.backward()
        assert counter.live == 400 + 4
        del total
        assert counter.live == x.grad.nbytes == 400


def test_what_is_computed_in_place_takes_no_memory_but_moves_it_and_a_view_does_neither():
    with ByteCounter() as counter:
        a = torch.ones(100)
        counter.restart()
        a.add_(1)
        a.view(10, 10)
        assert counter.peak == 400
        assert counter.moved == 800


def test_a_convolution_takes_copies_of_the_maps_it_works_on_in_both_passes():
    convolution = torch.nn.Conv2d(2, 4, 3, padding=1, bias=False)
    images = torch.ones(1, 2, 64, 64, requires_grad=True)
    small, large = images.nbytes, 2 * images.nbytes
    with ByteCounter() as counter:
        maps = convolution(images)
        assert counter.peak == large + (small + large)
        gradient = torch.ones_like(maps)
        counter.restart()
        maps.backward(gradient)
        made = small + convolution.weight.nbytes
        assert counter.peak == 2 * large + made + (large + small)
