"""A GPU is used where there is one, and asked for only then."""

from __future__ import annotations

import pytest
import torch

from nucplan.devices import choose_device, peak_memory
from nucplan.errors import NucplanError


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto").type == choose_device("cpu").type == "cpu"
    with pytest.raises(NucplanError, match="--device cpu"):
        choose_device("cuda")


def test_a_gpu_that_is_there_is_used_unless_the_cpu_is_asked_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [choose_device(name).type for name in ("auto", "cuda", "cpu")] == ["cuda", "cuda", "cpu"]


def test_the_peak_memory_of_a_process_holds_what_it_has_allocated():
    before = peak_memory(torch.device("cpu"))
    # As much as there ever was, beside what the process holds already.
    held = torch.ones(before["peak_memory_bytes"] // 4)
    after = peak_memory(torch.device("cpu"))
    assert after["peak_memory_of"] == "process"
    del held
    assert after["peak_memory_bytes"] > before["peak_memory_bytes"]
