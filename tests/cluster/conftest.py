"""A SLURM of its own on this machine: one node with two GPUs that are none, no accounting, all files in one folder."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

# The node claims more than the machine has, so that jobs run side by side everywhere.
SLURM_CONF = """\
ClusterName=test
SlurmctldHost={host}
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MinJobAge=300
KillWait={kill_wait}
OverTimeLimit=0
SchedulerParameters=batch_sched_delay=0,sched_interval=2
ReturnToService=2
MpiDefault=none
SwitchType=switch/none
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory={memory} Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
# Device files that are always there; SLURM counts them and hands out their numbers.
GRES_CONF = "Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n"
# Ends the job steps of a job over its limit this long before they are killed.
KILL_WAIT = 10
# Nothing takes so long, on the slowest machine; a hanging test would hold up all others.
PATIENCE_SECONDS = 600
DAEMONS = ("slurmd", "slurmctld", "munged")
CLIENTS = ("sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo", "sacct", "sacctmgr", "sshare")
PROFILE = """\
default-resources:
  slurm_account: test
  slurm_partition: main
latency-wait: 20
retries: 1
jobs: 20
slurm-init-seconds-before-status-checks: 8
slurm-status-command: squeue
"""


@dataclass(frozen=True)
class Slurm:
    """A running SLURM; ``environment`` is that of a user who submits to it."""

    folder: Path
    environment: dict[str, str]
    profile: Path

    def call(self, *words: str) -> str:
        """What a command of SLURM says."""
        return subprocess.run(words, env=self.environment, check=True, capture_output=True, text=True).stdout

    def queue(self) -> list[str]:
        """Names of the jobs that wait or run."""
        return [line.removeprefix("rule_") for line in self.call("squeue", "-h", "-o", "%k").splitlines()]

    def clear(self) -> None:
        """Take all jobs away and wait until they are gone."""
        # It complains about jobs that end meanwhile.
        subprocess.run(["scancel", "--user=root", "--full"], env=self.environment, check=False, capture_output=True)
        self.wait()

    def wait(self) -> None:
        """Wait until no job is left."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.queue():
            assert time.monotonic() < deadline, self.call("squeue")
            time.sleep(0.2)


@pytest.fixture(scope="session")
def slurm_daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root starts a SLURM")
    absent = [name for name in (*DAEMONS, *CLIENTS) if shutil.which(name) is None]
    if absent:
        pytest.skip(f"SLURM is not installed: {', '.join(absent)}")
    if find_spec("snakemake_executor_plugin_slurm") is None:
        pytest.skip('Snakemake is not installed: pip install "nucplan[cluster]"')
    folder = tmp_path_factory.mktemp("slurm")
    with ExitStack() as daemons:
        yield _start(folder, daemons)


@pytest.fixture
def slurm(slurm_daemons: Slurm) -> Iterator[Slurm]:
    """The SLURM with an empty queue, before and after the test."""
    slurm_daemons.clear()
    yield slurm_daemons
    slurm_daemons.clear()


def _start(folder: Path, daemons: ExitStack) -> Slurm:
    # munge refuses folders into which others may write.
    folder.chmod(0o755)
    for name in ("state", "spool", "bin", "profile"):
        (folder / name).mkdir()
    host = socket.gethostname().split(".")[0]
    controller_port, node_port = _free_ports()
    settings = {"host": host, "folder": folder, "controller_port": controller_port, "node_port": node_port}
    settings |= {"cores": 16, "memory": 256 * 1024, "kill_wait": KILL_WAIT}
    (folder / "slurm.conf").write_text(SLURM_CONF.format(**settings))
    (folder / "gres.conf").write_text(GRES_CONF)
    (folder / "profile" / "config.yaml").write_text(PROFILE)
    for name in CLIENTS:
        # Snakemake's plugin takes away SLURM_CONF on the way to the commands of a job.
        client = folder / "bin" / name
        client.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which(name)} "$@"\n')
        client.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))}
    environment["PATH"] = os.pathsep.join([str(folder / "bin"), environment["PATH"]])
    slurm = Slurm(folder, environment, folder / "profile")
    for command in (_munge(folder), ["slurmctld", "-D"], ["slurmd", "-D"]):
        there = environment | {"SLURM_CONF": str(folder / "slurm.conf")}
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        daemons.callback(_end, subprocess.Popen(command, env=there, **quiet))
    _wait_for_node(slurm)
    return slurm


def _munge(folder: Path) -> list[str]:
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    files = {"key-file": key, "socket": folder / "munge.sock", "pid-file": folder / "munged.pid"}
    files |= {"log-file": folder / "munged.log", "seed-file": folder / "munge.seed"}
    return ["munged", "--foreground", "--force", *(f"--{name}={path}" for name, path in files.items())]


def _free_ports() -> list[int]:
    with socket.socket() as first, socket.socket() as second:
        for found in (first, second):
            found.bind(("127.0.0.1", 0))
        return [found.getsockname()[1] for found in (first, second)]


def _wait_for_node(slurm: Slurm) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with suppress(subprocess.CalledProcessError):
            if slurm.call("sinfo", "-h", "-o", "%T").strip() == "idle":
                return
        time.sleep(0.2)
    raise RuntimeError(
        "SLURM did not start:\n" + "".join(path.read_text()[-2000:] for path in slurm.folder.glob("*.log"))
    )


def _end(daemon: subprocess.Popen) -> None:
    daemon.terminate()
    try:
        daemon.wait(20)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
