"""Signals by which a scheduler ends a command."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from nucplan.cli.time_limit import TIME_IS_OVER, TimeIsOver, ended_by_scheduler

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither fork nor these signals")


@pytest.fixture(autouse=True)
def _signals_as_usual() -> Iterator[None]:
    """Whoever started the tests may have asked that they outlive the terminal (nohup)."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in TIME_IS_OVER}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", TIME_IS_OVER)
def test_the_signal_leaves_the_block_whatever_is_made_of_it_on_the_way(number):
    before = signal.getsignal(number)
    with pytest.raises(TimeIsOver), ended_by_scheduler():
        try:
            os.kill(os.getpid(), number)
            time.sleep(5)
        finally:
            raise RuntimeError("a worker died of the same signal")
    assert signal.getsignal(number) is before


def test_an_error_without_a_signal_stays_that_error():
    with pytest.raises(TimeIsOver), ended_by_scheduler():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    with pytest.raises(RuntimeError), ended_by_scheduler():
        raise RuntimeError


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_dies_of_the_signal_however_early_it_comes():
    with ended_by_scheduler():
        for _ in range(300):
            child = os.fork()
            if child == 0:
                time.sleep(60)
                os._exit(1)
            os.kill(child, signal.SIGTERM)
            _, status = os.waitpid(child, 0)
            assert os.WIFSIGNALED(status)
            assert os.WTERMSIG(status) == signal.SIGTERM


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_signal_during_a_fork_ends_the_command_all_the_same():
    code = (
        "import os, signal, sys, time\n"
        # Called last of all before a fork, as the first one that was registered.
        "hook = lambda: os.kill(os.getpid(), signal.SIGTERM)\n"
        "os.register_at_fork(before=hook)\n"
        "from nucplan.cli.time_limit import TimeIsOver, ended_by_scheduler\n"
        "try:\n"
        "    with ended_by_scheduler():\n"
        "        if os.fork() == 0:\n"
        "            os._exit(0)\n"
        "        time.sleep(20)\n"
        "except TimeIsOver:\n"
        "    sys.exit(75)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (75, "")


def test_a_command_that_is_to_outlive_its_terminal_does():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_by_scheduler():
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.1)
    finally:
        signal.signal(signal.SIGHUP, before)
