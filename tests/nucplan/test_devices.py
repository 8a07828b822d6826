"""A GPU is used where there is one, and asked for only then."""

from __future__ import annotations

import subprocess
import sys
from ast import literal_eval

import numpy as np
import pytest
import torch

from nucplan import devices
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


def test_of_several_gpus_the_leased_one_is_used_and_stays_the_one_of_the_process(monkeypatch):
    asked, current = [], []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setattr(devices, "lease_gpu", lambda names: asked.append(names) or 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    devices._leased.cache_clear()
    found = [choose_device("auto"), choose_device("cuda")]
    devices._leased.cache_clear()
    assert found == current == [torch.device("cuda", 1)] * 2
    assert asked == [("4", "6")]


def test_where_there_is_one_gpu_nothing_is_leased(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(devices, "lease_gpu", lambda _names: pytest.fail("leased"))
    assert choose_device("auto") == torch.device("cuda")


def test_the_peak_memory_of_a_process_holds_what_it_has_allocated():
    before = peak_memory(torch.device("cpu"))
    # As much as there ever was, beside what the process holds already.
    held = torch.ones(before["peak_memory_bytes"] // 4)
    after = peak_memory(torch.device("cpu"))
    assert after["peak_memory_of"] == "process"
    del held
    assert after["peak_memory_bytes"] > before["peak_memory_bytes"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
def test_the_peak_memory_of_a_process_begins_anew_with_its_program():
    # More than a process of torch alone holds, and written to, so that it is really there.
    held = np.ones(2**30, np.uint8)
    code = "import torch; from nucplan.devices import peak_memory as p; print(p(torch.device('cpu')))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert literal_eval(found)["peak_memory_bytes"] < held.size
