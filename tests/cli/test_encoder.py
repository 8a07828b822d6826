"""``nucplan_encoder check`` says what a file is and never believes its name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nucplan.cli.encoder import main
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
    assert rows["encoder"] == "hipt-vit256 or kaiko-s16"
    assert (rows["matched"], rows["missing"], rows["left over"]) == ("150", "0", "0")
    assert rows["beside it"] == "1: module.head.last_layer.weight_v"
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
    assert "it fits --encoder hipt-vit256 or kaiko-s16." in shown.err
    assert shown.err.count("\n") == 1


def test_unknown_files_and_names_are_refused(hipt, tmp_path, assert_refused):
    torch.save({"layer1.weight": torch.zeros(2)}, tmp_path / "resnet.pth")
    assert_refused(main(["check", str(tmp_path / "resnet.pth")]), "resnet.pth", "fills no encoder")
    assert_refused(main(["check", str(tmp_path / "none.pth")]), "none.pth does not exist")
    assert_refused(main(["check", str(hipt), "--encoder", "hipt"]), "did you mean hipt-vit256")
