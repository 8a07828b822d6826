from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from nucplan.checkpoints import load_checkpoint, save_checkpoint
from nucplan.errors import NucplanError

FULL_DISK = """
import resource, signal, sys, torch
from pathlib import Path
from nucplan.checkpoints import save_checkpoint
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
save_checkpoint({"weights": torch.ones(100_000)}, Path(sys.argv[1]))
"""


def test_the_old_checkpoint_survives_a_full_disk(tmp_path):
    path = tmp_path / "checkpoint_latest.pth"
    save_checkpoint({"weights": torch.zeros(10)}, path)
    ended = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True)
    assert "NucplanError" in ended.stderr
    assert "the one before it is kept" in ended.stderr
    assert torch.equal(load_checkpoint(path)["weights"], torch.zeros(10))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(NucplanError, match=r"no checkpoint .*checkpoint_final.pth; train"):
        load_checkpoint(tmp_path / "checkpoint_final.pth")


@pytest.mark.parametrize("content", [b"", b"rubbish", b"PK\x03\x04cut short"])
def test_a_damaged_checkpoint_is_named(tmp_path, content):
    path = tmp_path / "checkpoint_final.pth"
    path.write_bytes(content)
    with pytest.raises(NucplanError, match=r"checkpoint_final.pth is not a readable checkpoint"):
        load_checkpoint(path)


def test_a_checkpoint_with_code_in_it_is_refused_and_not_run(tmp_path):
    marker = tmp_path / "ran"

    class Attack:
        def __reduce__(self):
            return (open, (str(marker), "w"))

    torch.save(Attack(), tmp_path / "evil.pth")
    with pytest.raises(NucplanError, match="not a readable checkpoint"):
        load_checkpoint(tmp_path / "evil.pth")
    assert not marker.exists()
