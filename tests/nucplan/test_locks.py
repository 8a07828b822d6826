from __future__ import annotations

import subprocess
import sys

import pytest

from nucplan.errors import NucplanError
from nucplan.files import read_json
from nucplan.locks import fold_lock

HOLD = """
import sys, time
from pathlib import Path
from nucplan.locks import fold_lock
with fold_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "fold_0")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_second_start_is_refused_with_the_owner(tmp_path, holder):
    with (
        pytest.raises(NucplanError, match=f"process {holder.pid} of .*last sign of life"),
        fold_lock(tmp_path / "fold_0"),
    ):
        pass


def test_the_lock_of_a_killed_process_is_free(tmp_path, holder):
    holder.kill()
    holder.wait()
    with fold_lock(tmp_path / "fold_0") as lock:
        assert read_json(lock.owner_file)["process"] != holder.pid


def test_another_fold_is_free(tmp_path, holder):
    with fold_lock(tmp_path / "fold_1"):
        pass
    assert not (tmp_path / "fold_1" / "lock.json").exists()
