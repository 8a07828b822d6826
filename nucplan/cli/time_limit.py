"""What a command makes of the signals by which schedulers announce that a job's time is over."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# How clusters announce it: SLURM sends the second one where it is asked to (--signal). The third one is a closed
# terminal: what was started must not run on alone.
TIME_IS_OVER = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGHUP") if hasattr(signal, name))
# A signal that comes during a fork is sent anew when the fork is over.
AGAIN_SECONDS = 0.02


class TimeIsOver(BaseException):
    """A scheduler ends the command; no error, so nothing but `nucplan.cli.common.run` catches it."""


class _Watch:
    """State of this process: whether the signals raise, whether one has come, and which one during a fork."""

    on = False
    over = False
    forking = False
    held_back: int | None = None


@contextmanager
def ended_by_scheduler() -> Iterator[None]:
    """Within the block, the signals of a scheduler raise `TimeIsOver`, whatever is made of it on its way out.

    Forked processes, which have nothing to finish, keep what the signals usually do.
    """
    # Python lets the main thread alone set what a signal does.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Who started the command may have asked that it outlives them (nohup).
    heard = [number for number in TIME_IS_OVER if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _stop) for number in heard}
    _Watch.on, _Watch.over = True, False
    try:
        yield
    except BaseException:
        # Workers that died of the same signal raise errors of their own in the process that waits for them.
        if _Watch.over:
            raise TimeIsOver from None
        raise
    finally:
        _Watch.on = False
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, _frame: FrameType | None) -> None:
    # Python forgets what is raised within the functions that it calls around a fork.
    if _Watch.forking:
        _Watch.held_back = number
        return
    _Watch.over = True
    raise TimeIsOver


def _before_fork() -> None:
    # Python forgets signals that reach a child before it runs: whoever ended it at once would wait for it for ever.
    if _Watch.on:
        _Watch.forking = True
        signal.pthread_sigmask(signal.SIG_BLOCK, TIME_IS_OVER)


def _after_fork_in_parent() -> None:
    if not _Watch.on:
        return
    signal.pthread_sigmask(signal.SIG_UNBLOCK, TIME_IS_OVER)
    _Watch.forking = False
    if _Watch.held_back is not None:
        threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), _Watch.held_back)).start()
        _Watch.held_back = None


def _after_fork_in_child() -> None:
    if not _Watch.on:
        return
    _Watch.on = _Watch.forking = False
    for number in TIME_IS_OVER:
        if signal.getsignal(number) is _stop:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, TIME_IS_OVER)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
