"""Processes that see several GPUs each get one of their own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from nucplan import gpu_lease
from nucplan.gpu_lease import lease_gpu, visible_gpus

LEASE = """
import sys, time
from pathlib import Path
from nucplan.gpu_lease import lease_gpu
print(lease_gpu(sys.argv[2:], Path(sys.argv[1])), flush=True)
time.sleep(60)
"""


@pytest.fixture
def start(tmp_path):
    """Start a process that leases one of the GPUs it is told and lives on."""
    started = []

    def begin(*names: str) -> subprocess.Popen:
        command = [sys.executable, "-c", LEASE, str(tmp_path / "leases"), *names]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_processes_lease_different_gpus_and_the_next_one_waits_until_one_is_free(start):
    first, second = start("0", "1"), start("0", "1")
    taken = [process.stdout.readline() for process in (first, second)]
    assert sorted(taken) == ["0\n", "1\n"]
    third = start("0", "1")
    assert third.stdout.readline() == "The GPUs 0, 1 are taken by other processes; waiting for one of them.\n"
    second.kill()
    assert third.stdout.readline() == taken[1]


def test_a_gpu_is_known_by_its_name_whatever_its_number_in_a_process(start, tmp_path, monkeypatch):
    holder = start("3")
    assert holder.stdout.readline() == "0\n"
    monkeypatch.setattr(gpu_lease, "_HELD", [])
    assert lease_gpu(["3", "GPU-8a/1"], tmp_path / "leases") == 1


@pytest.mark.parametrize(
    ("variable", "names"),
    [(None, ("0", "1")), ("", ("0", "1")), ("2,5", ("2", "5")), ("GPU-a, GPU-b", ("GPU-a", "GPU-b"))],
)
def test_the_gpus_of_a_process_are_those_that_it_may_see(monkeypatch, variable, names):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if variable is not None:
        monkeypatch.setitem(os.environ, "CUDA_VISIBLE_DEVICES", variable)
    assert visible_gpus(2) == names
