"""``nucplan_encoder check`` says what a file is and never believes its name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nucplan.cli.encoder import main
from nucplan.networks.encoders.marker_transformer import MarkerTransformer, rotary_table
from nucplan.networks.encoders.registry import build_encoder
from nucplan.networks.encoders.timm_vit import TimmViT


@pytest.fixture
def hipt(tmp_path: Path) -> Path:
    """HIPT's ViT-256 as DINO left it, under a name that lies."""
    state = {f"module.backbone.{k}": v for k, v in TimmViT("vit_small_patch16_224", 3).vit.state_dict().items()}
    teacher = state | {"module.head.last_layer.weight_v": torch.zeros(2)}
    torch.save({"teacher": teacher, "student": {}, "epoch": 1}, tmp_path / "uni.pth")
    return tmp_path / "uni.pth"


def table(text: str) -> dict[str, str]:
    return {line.split("  ")[0]: line.split("  ", 1)[1].strip() for line in text.splitlines()}


def test_a_file_is_told_with_its_contract_and_licence(hipt, capsys):
    assert main(["check", str(hipt)]) == 0
    rows = table(capsys.readouterr().out)
    assert rows["encoder"] == "hipt-vit256 or kaiko-s16 or dino-s16"
    assert (rows["matched"], rows["missing"], rows["left over"]) == ("150", "0", "0")
    assert rows["beside it"] == "1: head.last_layer.weight_v"
    assert (
        rows["contract of hipt-vit256"] == "patch 16, 0.5 um/px, RGB in [0, 1] with mean 0.5 0.5 0.5, std 0.5 0.5 0.5"
    )
    assert "Commons Clause" in rows["licence of hipt-vit256"]


def test_the_encoder_asked_for_is_compared(hipt, capsys):
    assert main(["check", str(hipt), "--encoder", "hipt-vit256"]) == 0
    assert table(capsys.readouterr().out)["contract"].startswith("patch 16")
    assert main(["check", str(hipt), "--encoder", "dinov2-s"]) == 2
    shown = capsys.readouterr()
    assert table(shown.out)["nearest"] == "dinov2-s"
    assert "it fits --encoder hipt-vit256 or kaiko-s16 or dino-s16." in shown.err
    assert shown.err.count("\n") == 1


def test_unknown_files_and_names_are_refused(hipt, tmp_path, assert_refused):
    torch.save({"layer1.weight": torch.zeros(2)}, tmp_path / "resnet.pth")
    assert_refused(main(["check", str(tmp_path / "resnet.pth")]), "resnet.pth", "fills no encoder")
    assert_refused(main(["check", str(tmp_path / "none.pth")]), "none.pth does not exist")
    assert_refused(main(["check", str(hipt), "--encoder", "hipt"]), "did you mean hipt-vit256")


@pytest.fixture
def cellvit(tmp_path: Path, cellvit_files) -> Path:
    """A whole CellViT-256 of zeros, trained at 0.5 um/px."""
    sizes, _ = cellvit_files.PUBLISHED["CellViT256"]
    tensors = {name: torch.zeros(()).expand(shape) for name, shape in cellvit_files.shapes_of(sizes).items()}
    config = {"logging.run_name": "CellViT-256-x20", "transformations.normalize.mean": [0.4, 0.5, 0.6]}
    torch.save({"arch": sizes.arch, "model_state_dict": tensors, "config": config}, tmp_path / "cellvit.pth")
    return tmp_path / "cellvit.pth"


def test_a_whole_cellvit_is_told_with_what_its_settings_say(cellvit, capsys):
    assert main(["check", str(cellvit)]) == 0
    rows = table(capsys.readouterr().out)
    assert (rows["encoder"], rows["matched"], rows["of the whole: matched"]) == ("cellvit-256", "150", "439")
    assert (rows["of the whole: missing"], rows["of the whole: left over"]) == ("0", "0")
    assert rows["contract"] == "patch 16, 0.5 um/px, RGB in [0, 1] with mean 0.4 0.5 0.6, std 0.5 0.5 0.5"
    assert rows["licence"] == "Apache-2.0 with Commons Clause, trained on PanNuke (CC BY-NC-SA 4.0)"
    assert main(["check", str(cellvit), "--encoder", "hipt-vit256"]) == 0
    assert "mean 0.4 0.5 0.6" in table(capsys.readouterr().out)["contract"]


@pytest.mark.parametrize("fate", ["renamed", "missing", "extra"])
def test_a_decoder_that_does_not_fit_is_refused(cellvit, capsys, fate):
    content, name = torch.load(cellvit), "nuclei_type_maps_decoder.decoder2_upsampler.0.block.0.weight"
    tensors = content["model_state_dict"]
    tensor = tensors[name] if fate == "extra" else tensors.pop(name)
    torch.save(
        content | {"model_state_dict": tensors if fate == "missing" else tensors | {f"{name}_x": tensor}}, cellvit
    )
    assert main(["check", str(cellvit)]) == 2
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1
    row = "left over" if fate == "extra" else "missing"
    assert table(shown.out)[f"of the whole: {row}"].startswith(f"1: {name}")
    assert name in shown.err


def test_an_encoder_of_sam_is_told_and_one_tensor_too_many_named(tmp_path, capsys):
    with torch.device("meta"):
        state = build_encoder("sam-b", 3).body.state_dict()
    state = {
        f"image_encoder.{name.replace('mlp.fc', 'mlp.lin')}": torch.zeros(()).expand(tensor.shape)
        for name, tensor in state.items()
    }
    torch.save(state | {"prompt_encoder.x": torch.zeros(1)}, tmp_path / "a.pth")
    assert main(["check", str(tmp_path / "a.pth")]) == 0
    rows = table(capsys.readouterr().out)
    assert (rows["kind"], rows["encoder"], rows["beside it"]) == ("the encoder of SAM", "sam-b", "1: prompt_encoder.x")
    torch.save(state | {"image_encoder.proj.weight": torch.zeros(1)}, tmp_path / "a.pth")
    assert main(["check", str(tmp_path / "a.pth")]) == 2
    assert table(capsys.readouterr().out)["left over"] == "1: image_encoder.proj.weight"


@pytest.fixture
def virtues() -> dict[str, torch.Tensor]:
    """A tiny VirTues in the names of the release."""
    state = MarkerTransformer(16, 24, 2, "hvhv", (0, 2), 6).state_dict()
    block, table = "encoder.{}.encoder_layer.multi_head_attention.pos_emb.rope1d.{}", rotary_table(50, 4)
    state |= {block.format(k, kind): getattr(table, kind)() for k in (0, 2) for kind in ("sin", "cos")}
    return {f"encoder.{name}": tensor for name, tensor in state.items()}


def test_virtues_is_told_with_its_positions_and_its_whole_contract(virtues, tmp_path, capsys):
    file = tmp_path / "a.pth"
    torch.save(virtues, file)
    assert main(["check", str(file)]) == 0
    rows = table(capsys.readouterr().out)
    assert rows["positions"] == "blocks 0, 2 of 4"
    for part in ("128 px", "1 um/px", "q99 -> log1p -> z-score", "blur", "UniProt"):
        assert part in rows["contract"]
    torch.save({name: tensor for name, tensor in virtues.items() if "rope1d" not in name}, file)
    main(["check", str(file)])
    assert table(capsys.readouterr().out)["positions"] == "NONE of 4 blocks"


@pytest.mark.parametrize("option", [[], ["--encoder", "virtues"]])
def test_what_is_missing_in_a_virtues_is_named_with_and_without_the_option(virtues, tmp_path, assert_refused, option):
    for name in (
        "encoder.masked_token",
        "encoder.layer_norm.weight",
        "encoder.encoder.3.encoder_layer.layernorm1.bias",
    ):
        torch.save({key: tensor for key, tensor in virtues.items() if key != name}, tmp_path / "a.pth")
        assert_refused(main(["check", str(tmp_path / "a.pth"), *option]), name)
