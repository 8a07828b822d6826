"""One GPU per process where several can be seen: a file lock per GPU, which the system gives back with the process."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from nucplan.locks import user_name

POLL_SECONDS = 1.0
# Held until the process ends: a lock that nothing refers to is given back.
_HELD: list[FileLock] = []


def visible_gpus(count: int) -> tuple[str, ...]:
    """Names of the ``count`` GPUs that this process sees: those of CUDA_VISIBLE_DEVICES, else their numbers."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = [name.strip() for name in named.split(",")] if named else [str(number) for number in range(count)]
    return tuple(names[:count])


def lease_gpu(names: Sequence[str], folder: Path | None = None) -> int:
    """Take the first GPU that no other process of this user has, and keep it for the life of this process.

    Where all are taken, that is said on the console once, and the first one that becomes free is taken.

    Parameters
    ----------
    names
        What tells the GPUs of this machine apart, in the order in which this process counts them.
    folder
        Of the lock files; all processes have to look into the same one.

    Returns
    -------
    int
        Position in ``names``.
    """
    folder = folder or Path(tempfile.gettempdir()) / f"nucplan_gpus_{user_name()}"
    folder.mkdir(parents=True, exist_ok=True)
    locks = [FileLock(folder / f"{name.replace('/', '_')}.lock") for name in names]
    waited = False
    while True:
        for number, lock in enumerate(locks):
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            _HELD.append(lock)
            return number
        if not waited:
            print(f"The GPUs {', '.join(names)} are taken by other processes; waiting for one of them.", flush=True)
            waited = True
        time.sleep(POLL_SECONDS)
