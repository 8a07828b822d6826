"""Within one start a weights file is read once, and not kept beyond."""

from __future__ import annotations

import torch
from safetensors.torch import save_file

from nucplan.networks import weights_file
from nucplan.networks.weights_file import read_content, reading_once


def test_a_file_is_read_once_within_and_anew_after(tmp_path, monkeypatch) -> None:
    file, reads, read = tmp_path / "a.safetensors", [], weights_file._read_safetensors
    save_file({"a": torch.zeros(1)}, file)
    monkeypatch.setattr(weights_file, "_read_safetensors", lambda path: reads.append(path) or read(path))
    with reading_once():
        with reading_once():
            read_content(file)
        assert read_content(file) is read_content(file)
    assert len(reads) == 1
    read_content(file)
    assert len(reads) == 2
