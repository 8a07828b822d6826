"""The plan is an nnU-Net plans file, explains itself and records overrides."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nucplan.layout import Dataset, resolve_roots
from planners import cost
from planners.explain import explain
from planners.planner import DECISIONS, plan_dataset
from planners.rules import Limits


@pytest.fixture
def plan(fingerprint_of, discs, tmp_path: Path):
    """``plan(overrides, labels, **statistics)`` on a CPU; the labels are discs of 18 px unless others are given."""

    def make(overrides=None, labels=None, **statistics) -> dict:
        dataset = Dataset(resolve_roots(tmp_path), "Dataset007_Test")
        labels = [discs((96, 96), [(30, 30), (30, 49), (70, 60)], 18)] if labels is None else labels
        return plan_dataset(dataset, fingerprint_of(**statistics), Limits("cpu", 8), labels, overrides)

    return make


def test_nnunet_reads_the_plan(plan) -> None:
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans = plan()
    made = plans["nucplan"]["decisions"]
    manager = PlansManager(json.loads(json.dumps(plans)))
    configuration = manager.get_configuration("2d")
    assert manager.image_reader_writer_class.__name__ == "NaturalImage2DIO"
    assert configuration.preprocessor_class.__name__ == "DefaultPreprocessor"
    assert (configuration.patch_size, configuration.batch_size, configuration.spacing) == (
        made["patch_size"]["value"],
        made["batch_size"]["value"],
        [1, 1],
    )
    assert configuration.data_identifier == "nucplanPlans_2d"
    assert configuration.batch_dice in (True, False)
    assert configuration.previous_stage_name is None
    assert all(map(callable, (configuration.resampling_fn_data, configuration.resampling_fn_probabilities)))
    labels = {"channel_names": {"0": "R"}, "labels": {"background": 0, "nucleus": 1}}
    assert manager.get_label_manager(labels).num_segmentation_heads == 2
    assert determine_num_input_channels(manager, configuration, labels) == 1


def test_the_costliest_config_is_the_one_whose_costs_are_counted(plan, monkeypatch) -> None:
    counted = []
    count = cost.count
    monkeypatch.setattr(cost, "count", lambda network, *rest: (counted.append(network), count(network, *rest))[1])
    plans = plan()
    strides = [int(stride) for stride in plans["nucplan"]["decisions"]["boundary_scales"]["value"]]
    for network in counted:
        assert network["boundary_strides"] == strides
        assert network["boundary_attention"]
        assert network.items() >= plans["configurations"]["2d"]["architecture"]["arch_kwargs"].items()
    assert counted


def test_the_network_of_the_plan_can_be_built(plan) -> None:
    from nucplan.networks.nucleus_net import NucleusNet

    architecture = plan()["configurations"]["2d"]["architecture"]
    assert architecture["network_class_name"] == f"{NucleusNet.__module__}.{NucleusNet.__name__}"
    NucleusNet(3, 2, **architecture["arch_kwargs"])


def test_small_nuclei_are_planned_at_half_the_spacing(plan) -> None:
    made = plan(d25=6, d50=8)
    assert made["configurations"]["2d"]["spacing"] == [0.5, 0.5]
    assert made["nucplan"]["decisions"]["decoder"]["value"]["diameter"] == 16


def test_every_decision_is_in_the_plan_and_in_its_explanation(plan) -> None:
    made = plan()
    assert tuple(made["nucplan"]["decisions"]) == DECISIONS
    text = explain(made)
    assert all(any(line.startswith(f"{name} ") for line in text.splitlines()) for name in DECISIONS)


def test_an_override_is_recorded_and_later_decisions_follow_it(plan) -> None:
    made = plan({"scale": 2, "patch_size": 96, "encoder": {"depth": 4}})
    decisions = made["nucplan"]["decisions"]
    assert made["configurations"]["2d"]["patch_size"] == [96, 96]
    assert made["configurations"]["2d"]["spacing"] == [0.5, 0.5]
    assert made["configurations"]["2d"]["architecture"]["arch_kwargs"]["encoder_depth"] == 4
    assert decisions["scale"]["overridden"]
    assert decisions["patch_size"]["overridden"]
    assert "overridden" not in decisions["decoder"]
    assert decisions["decoder"]["value"]["diameter"] == 36
    assert decisions["tile_overlap"]["value"] <= 48


def test_planning_twice_gives_the_same_plan_byte_for_byte(plan) -> None:
    assert json.dumps(plan({"boundary_beta": 3})) == json.dumps(plan({"boundary_beta": 3}))


def test_the_ceiling_is_that_of_the_decoder_that_is_used(plan) -> None:
    decisions = plan({"decoder": {"name": "boundary", "diameter": 60, "minimum_area": 0.9}})["nucplan"]["decisions"]
    # Everything is smaller than the smallest nucleus that this override keeps.
    assert decisions["oracle_ceiling"]["value"] < 0.97
    assert decisions["oracle_ceiling"]["from"]["ceilings"]["boundary"]["clean"] == decisions["oracle_ceiling"]["value"]


def test_images_are_enlarged_where_only_that_keeps_the_labels(plan, monkeypatch) -> None:
    from planners import oracle
    from planners.oracle import Ceiling

    def ceilings(labels, scale, kernel, plans):
        return {name: Ceiling(0.9 + 0.04 * scale, 0.9) for name in plans}

    monkeypatch.setattr(oracle, "ceilings", ceilings)
    made = plan(d25=14)
    decisions = made["nucplan"]["decisions"]
    assert decisions["scale"]["value"] == 2
    assert "0.980 then" in decisions["scale"]["because"]
    assert decisions["decoder"]["value"]["diameter"] == 36
    assert made["nucplan"]["warnings"] == []
    assert plan({"scale": 1}, d25=14)["nucplan"]["decisions"]["scale"]["value"] == 1


def test_labels_that_cannot_be_represented_are_a_warning(plan) -> None:
    checkerboard = np.kron(np.indices((16, 16)).sum(axis=0) % 2, np.ones((2, 2), np.int64))
    labels = np.where(checkerboard, np.arange(32 * 32).reshape(32, 32), 0)
    warning, *_ = plan(labels=[labels])["nucplan"]["warnings"]
    assert "cannot be represented" in warning
    assert "instead of 0.97" in warning


def test_labels_are_resampled_in_one_pass_not_once_per_instance(plan) -> None:
    assert plan()["configurations"]["2d"]["resampling_fn_seg_kwargs"]["order"] == 0
