"""Another encoder comes with its own depth and taps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from nucplan.errors import NucplanError
from nucplan.networks.encoders.timm_vit import TimmViT, default_taps
from nucplan.networks.nucleus_net import NucleusNet
from planners.pretrained import EncoderRequest, read_encoder
from planners.variants import Variant, derive_plans


def plans() -> dict:
    architecture = {
        "encoder": "vit_tiny_patch16_224", "encoder_depth": 6, "encoder_taps": [1, 2, 3, 5], "encoder_frozen": False,
        "features_per_stage": [4, 4, 4, 4, 4],
    }  # fmt: skip
    configuration = {
        "architecture": {"arch_kwargs": architecture},
        "normalization_schemes": ["ZScoreNormalization"] * 3,
        "data_identifier": "x",
    }
    return {"configurations": {"2d": configuration}, "nucplan": {}, "plans_name": "nucplanPlans"}


def network_of(derived: dict) -> NucleusNet:
    with torch.device("meta"):
        return NucleusNet(3, 2, **derived["configurations"]["2d"]["architecture"]["arch_kwargs"])


def test_another_encoder_is_tapped_over_all_its_blocks() -> None:
    network = network_of(derive_plans(plans(), Variant(encoder="vit_small_patch16_224")))
    assert network.encoder.taps == default_taps(12)
    assert network.encoder.taps[-1] == 11


def test_pretrained_weights_are_tapped_over_all_blocks_of_their_encoder(tmp_path: Path) -> None:
    weights = tmp_path / "tiny.safetensors"
    save_file(TimmViT("vit_tiny_patch16_224", 3).vit.state_dict(), weights)
    network = network_of(derive_plans(plans(), Variant(weights=weights)))
    assert network.encoder.taps == default_taps(12)


def test_the_plan_itself_keeps_its_taps() -> None:
    assert network_of(derive_plans(plans(), Variant(seed=3))).encoder.taps == [1, 2, 3, 5]


def test_weights_without_a_name_bring_their_encoder_and_its_colours(tmp_path: Path) -> None:
    weights = tmp_path / "any.safetensors"
    save_file(TimmViT("vit_small_patch16_224", 3).vit.state_dict(), weights)
    derived = derive_plans(plans(), Variant(weights=weights))
    architecture = derived["configurations"]["2d"]["architecture"]["arch_kwargs"]
    # HIPT's and kaiko's are the same architecture with the same colours.
    assert architecture["encoder"] == "hipt-vit256"
    assert architecture["input_mean"] == architecture["input_std"] == [127.5] * 3
    assert "Commons Clause" in derived["nucplan"]["weights"]["licence"]
    assert derived["plans_name"].startswith("nucplanPlans_hipt-vit256_weights")
    assert network_of(derived).encoder.channels == 384


def test_the_encoder_of_a_cellvit_sees_the_colours_of_its_own_training(tmp_path: Path, cellvit_files) -> None:
    # With LayerScale, as DINOv2's encoders that are trained on ImageNet's colours, and CellViT's are not.
    file = cellvit_files.write_checkpoint(tmp_path / "a.pth", cellvit_files.TINY["UNI"])
    derived = derive_plans(plans(), Variant(weights=file, with_decoder=True))
    architecture = derived["configurations"]["2d"]["architecture"]["arch_kwargs"]
    assert architecture["input_mean"] == architecture["input_std"] == [127.5] * 3
    assert architecture["decoder"] == "cellvit"


def test_a_coarser_decoder_is_another_network_under_another_name() -> None:
    derived = derive_plans(plans(), Variant(decoder_stride=2))
    assert derived["plans_name"] == "nucplanPlans_stride2"
    assert network_of(derived).finest == 2


@pytest.mark.parametrize("panel", ["fixed", "varying"])
def test_an_encoder_of_colours_is_refused_on_markers_when_training_and_when_planning(tmp_path: Path, panel) -> None:
    weights = tmp_path / "tiny.safetensors"
    save_file(TimmViT("test_vit", 3).vit.state_dict(), weights)
    of_markers = plans()
    of_markers["nucplan"] = {"decisions": {"channels": {"value": {"panel": panel, "dropout": [0.0, 0.0]}}}}
    with pytest.raises(NucplanError, match="pretrained on colours.*--encoder virtues"):
        derive_plans(of_markers, Variant(encoder="test_vit", weights=weights))
    with pytest.raises(NucplanError, match="pretrained on colours.*--encoder virtues"):
        read_encoder(EncoderRequest("test_vit", weights), 3, ("DAPI", "CD3", "CD4"))
