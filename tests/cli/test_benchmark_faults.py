"""Real trainings that are killed: the same command ends in what an undisturbed run makes, and does nothing twice.

Kills come at a random one of the next changes in the results, where they can do the most harm.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nucplan.checkpoints import load_checkpoint
from nucplan.files import read_json
from nucplan.layout import FINAL
from nucplan.reproduction.hashes import content_hash
from nucplan.workflow.local import resolve

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="finds the commands of a run in /proc")

KILLS, PATIENCE = 5, 400
CONFIG = "boundary_attention"
# What is made of all folds together.
DERIVED = ("inference.json", "test.json")


def start(root: Path, folds: str = "0,1") -> subprocess.Popen:
    options = ("--configs", CONFIG, "--folds", folds, "--iterations", "2", "--device", "cpu")
    command = resolve(("nucplan_benchmark", "1", "--root", str(root), *options))
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(process: subprocess.Popen) -> tuple[int, str]:
    output, _ = process.communicate(timeout=PATIENCE)
    return process.returncode, output


def commands_of(process: subprocess.Popen) -> list[int]:
    """The processes that a driver has started; each leads a group."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    return [child for child, parent in parents.items() if parent == process.pid]


def kill_all(process: subprocess.Popen) -> None:
    """The driver and its commands at one moment, so that no part can react to the end of another."""
    process.send_signal(signal.SIGSTOP)
    for command in commands_of(process):
        os.killpg(command, signal.SIGKILL)
    process.kill()
    process.communicate()


def times(root: Path) -> dict[Path, int]:
    """Of all results that are there; files come and go while this looks."""
    found = {}
    for path in (root / "nnUNet_results").rglob("*"):
        try:
            found[path] = path.stat().st_mtime_ns
        except FileNotFoundError:
            continue
    return found


def wait_for_changes(root: Path, process: subprocess.Popen, count: int) -> None:
    """Return after so many changes in the results, or at the end of the process."""
    last, deadline = times(root), time.monotonic() + PATIENCE
    while count > 0 and process.poll() is None and time.monotonic() < deadline:
        now = times(root)
        count -= now != last
        last = now
        time.sleep(0.02)


def wait_for(path: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + PATIENCE
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def fold(root: Path, number: int) -> Path:
    (model,) = (root / "nnUNet_results" / "Dataset001_Tiny").glob("*__2d")
    return model / f"fold_{number}"


def finished(root: Path) -> dict[Path, int]:
    """Times of the outputs of finished folds, of the choice and of the test scores."""
    found = times(root)
    pairs = [(path, path.parent / "validation" / "summary.json") for path in found if path.name == FINAL]
    outputs = [path for pair in pairs if pair[1] in found for path in pair]
    return {path: found[path] for path in [*outputs, *(path for path in found if path.name in DERIVED)]}


def assert_same_results(root: Path, other: Path) -> None:
    """Weights, label maps, tables of nuclei and scores of all folds, the choice and the test scores."""
    kept = [path for path in times(other) if re.search(r"validation/\w+\.(tif|csv|json)$", str(path))]
    assert len(kept) > 4
    for path in (path.relative_to(other) for path in kept):
        assert text_of(root, path) == text_of(other, path), path
    for path in (path.relative_to(other) for path in times(other) if path.name == FINAL):
        here, there = (load_checkpoint(base / path)["network_weights"] for base in (root, other))
        assert here.keys() == there.keys()
        assert all(torch.equal(here[name], there[name]) for name in here)
    derived = [path.relative_to(other) for path in times(other) if path.name in DERIVED]
    assert len(derived) == len(DERIVED)
    assert all(content_hash(root / path) == content_hash(other / path) for path in derived)


def text_of(root: Path, path: Path) -> bytes:
    return (root / path).read_bytes().replace(str(root).encode(), b"ROOT")


@pytest.fixture(scope="module")
def undisturbed(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = shutil.copytree(tiny_root, tmp_path_factory.mktemp("undisturbed") / "root")
    code, output = ended(start(root))
    assert code == 0, output
    return root


@pytest.fixture
def untrained(tiny_root: Path, tmp_path: Path) -> Iterator[Path]:
    root = shutil.copytree(tiny_root, tmp_path / "root")
    yield root
    # What a failed assertion left alive holds files of the folder.
    for command in (int(stat.parent.name) for stat in Path("/proc").glob("[0-9]*/cmdline") if _names(stat, root)):
        os.kill(command, signal.SIGKILL)


def _names(cmdline: Path, root: Path) -> bool:
    try:
        return str(root).encode() in cmdline.read_bytes()
    except OSError:
        return False


def test_a_run_that_is_killed_five_times_ends_like_an_undisturbed_one_and_does_nothing_twice(undisturbed, untrained):
    moments, done = random.Random(20), {}
    for _ in range(KILLS):
        process = start(untrained)
        wait_for_changes(untrained, process, moments.randint(1, 9))
        kill_all(process)
        assert {path: times(untrained)[path] for path in done} == done
        done = finished(untrained)
    code, output = ended(start(untrained))
    assert code == 0, output
    assert {path: times(untrained)[path] for path in done} == done
    assert_same_results(untrained, undisturbed)
    assert not list(untrained.rglob("*.partial*"))
    before = times(untrained)
    code, output = ended(start(untrained))
    assert "0 jobs done now, 8 done before" in output
    assert times(untrained) == before


def test_a_training_that_dies_is_named_the_others_go_on_and_the_same_command_finishes_it(undisturbed, untrained):
    process = start(untrained)
    (model,) = {path.parent for path in undisturbed.rglob("fold_0")}
    owner = untrained / model.relative_to(undisturbed) / "fold_0" / "lock.json"
    wait_for(owner, process)
    os.kill(read_json(owner)["process"], signal.SIGKILL)
    code, output = ended(process)
    assert code == 2
    name = f"train/Dataset001_Tiny/{CONFIG}/fold_0"
    assert f"{name}: FAILED: it left with SIGKILL" in output
    assert f"1 jobs failed ({name}); 3 more wait for them; the same command goes on." in output
    done = finished(untrained)
    assert set(done) == {fold(untrained, 1) / FINAL, fold(untrained, 1) / "validation" / "summary.json"}
    code, output = ended(start(untrained))
    assert code == 0, output
    assert {path: times(untrained)[path] for path in done} == done
    assert_same_results(untrained, undisturbed)


def test_a_training_that_outlives_its_driver_is_waited_for_and_not_repeated(undisturbed, untrained):
    process = start(untrained, "0")
    (model,) = {path.parent for path in undisturbed.rglob("fold_0")}
    folder = untrained / model.relative_to(undisturbed) / "fold_0"
    wait_for(folder / "run.json", process)
    (training,) = commands_of(process)
    # Held, so that it is still at work when the next driver comes.
    os.kill(training, signal.SIGSTOP)
    process.kill()
    process.communicate()
    started = (folder / "run.json").stat().st_mtime_ns
    again = start(untrained, "0")
    (log,) = (untrained / "nnUNet_results" / "benchmarks").rglob("train.*.log")
    deadline = time.monotonic() + PATIENCE
    while "waiting for it" not in log.read_text() and again.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(training, signal.SIGCONT)
    code, output = ended(again)
    assert code == 0, output
    text = log.read_text()
    assert f"is in the hands of process {training}" in text
    assert text.count("epoch 1/1") == 1
    assert (folder / "run.json").stat().st_mtime_ns == started
    for path in (folder / "validation").glob("*.tif"):
        assert path.read_bytes() == (undisturbed / path.relative_to(untrained)).read_bytes()
