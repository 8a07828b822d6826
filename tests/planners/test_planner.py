"""The plan is an nnU-Net plans file, explains itself and records overrides."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nucplan.errors import NucplanError
from nucplan.layout import Dataset, resolve_roots
from planners.planner import DECISIONS, explain, plan_dataset
from planners.rules import Limits


@pytest.fixture
def plan(fingerprint_of, tmp_path: Path):
    """``plan(overrides, **statistics)`` on a CPU."""

    def make(overrides=None, **statistics) -> dict:
        dataset = Dataset(resolve_roots(tmp_path), "Dataset007_Test")
        return plan_dataset(dataset, fingerprint_of(**statistics), Limits("cpu", 8), overrides)

    return make


def test_nnunet_reads_the_plan(plan) -> None:
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(json.loads(json.dumps(plan())))
    configuration = manager.get_configuration("2d")
    assert manager.image_reader_writer_class.__name__ == "NaturalImage2DIO"
    assert configuration.preprocessor_class.__name__ == "DefaultPreprocessor"
    assert (configuration.patch_size, configuration.batch_size, configuration.spacing) == ([128, 128], 4, [1, 1])
    assert configuration.data_identifier == "nucplanPlans_2d"
    assert configuration.batch_dice in (True, False)
    assert configuration.previous_stage_name is None
    assert all(map(callable, (configuration.resampling_fn_data, configuration.resampling_fn_probabilities)))
    labels = {"channel_names": {"0": "R"}, "labels": {"background": 0, "nucleus": 1}}
    assert manager.get_label_manager(labels).num_segmentation_heads == 2
    assert determine_num_input_channels(manager, configuration, labels) == 1


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
    assert all(f"{name} = " in text for name in DECISIONS)


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


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"patchsize": 96}, "no decision 'patchsize'"),
        ({"patch_size": 100}, "multiple of 32"),
        ({"patch_size": "large"}, "is not a list"),
        ({"scale": 3}, "neither 1 nor 2"),
        ({"batch_size": 0}, "below 1"),
        ({"batch_size": True}, "is not a int"),
        ({"encoder": {"deph": 4}}, "no part 'deph'"),
        ({"network_width": [16]}, "has not 5 entries"),
    ],
)
def test_a_wrong_override_is_refused(plan, overrides: dict, message: str) -> None:
    with pytest.raises(NucplanError, match=message):
        plan(overrides)


def test_labels_are_resampled_in_one_pass_not_once_per_instance(plan) -> None:
    assert plan()["configurations"]["2d"]["resampling_fn_seg_kwargs"]["order"] == 0
