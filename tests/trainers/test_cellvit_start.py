"""``nucplan_train --weights CELLVIT --with-decoder``."""

from __future__ import annotations

from pathlib import Path

import torch

from nucplan.cli import train
from nucplan.files import read_json
from nucplan.layout import CONFIGURATION, find_dataset, resolve_roots


def run(root: Path, file: Path, *options: str) -> int:
    command = ["1", "0", "--encoder", "vit_tiny_patch16_224", "--weights", str(file), "--with-decoder", *options]
    return train.main([*command, "--iterations", "2", "--config", "boundary", "--device", "cpu", "--root", str(root)])


def test_a_training_starts_from_a_whole_cellvit_in_its_colours(root, tmp_path, cellvit_files):
    sizes = cellvit_files.Sizes("CellViT256", 192, 12, 768)
    config = {"transformations.normalize.mean": [0.4, 0.5, 0.6]}
    file = cellvit_files.write_checkpoint(tmp_path / "cellvit.pth", sizes, config)
    assert run(root, file) == 0
    (fold,) = find_dataset(resolve_roots(root), 1).results.glob("*decoder*/fold_0")
    assert (fold / "checkpoint_final.pth").is_file()
    (log,) = fold.glob("training_log_*.txt")
    assert "of cellvit.pth into the decoder" in log.read_text()
    architecture = read_json(fold.parent / "plans.json")["configurations"][CONFIGURATION]["architecture"]["arch_kwargs"]
    assert architecture["input_mean"] == [255 * value for value in (0.4, 0.5, 0.6)]


def test_a_file_without_decoder_is_refused_before_anything_is_written(root, tmp_path, cellvit_files, capsys):
    shapes = cellvit_files.encoder_shapes(cellvit_files.Sizes("CellViT256", 192, 12, 768), 0)
    torch.save({name.removeprefix("encoder."): torch.zeros(s) for name, s in shapes.items()}, tmp_path / "vit.pth")
    before = sorted(find_dataset(resolve_roots(root), 1).preprocessed.iterdir())
    assert run(root, tmp_path / "vit.pth") == 2
    assert "vit.pth is an encoder without CellViT's decoder; " in capsys.readouterr().err
    assert sorted(find_dataset(resolve_roots(root), 1).preprocessed.iterdir()) == before
