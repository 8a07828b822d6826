"""One training per fold: a lock with owner and heartbeat."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from nucplan.errors import NucplanError
from nucplan.files import read_json, write_json


class FoldLock:
    """Held while a fold trains; the system gives it back when the process ends, however it ends.

    ``fold_k/lock.json`` says who holds it and when it last gave a sign of life.
    """

    def __init__(self, folder: Path) -> None:
        self.owner_file = folder / "lock.json"
        self._lock = FileLock(folder / ".lock")

    def acquire(self, wait: bool = False) -> None:
        """Take the lock; with ``wait`` as soon as another process gives it back, which is said on the console.

        Raises
        ------
        NucplanError
            If another process has it and there is no waiting; the message names host, process and last sign of life.
        """
        self.owner_file.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            held = f"{self.owner_file.parent} is in the hands of {self._owner()}"
            if not wait:
                raise NucplanError(f"{held}; wait for it.") from None
            print(f"{held}; waiting for it.", flush=True)
            self._lock.acquire()
        self.heartbeat()

    def heartbeat(self) -> None:
        """Record that the owner is alive."""
        now = datetime.now().isoformat(timespec="seconds")
        write_json(
            self.owner_file, {"user": user_name(), "host": socket.gethostname(), "process": os.getpid(), "alive": now}
        )

    def release(self) -> None:
        self.owner_file.unlink(missing_ok=True)
        self._lock.release()

    def _owner(self) -> str:
        try:
            owner = read_json(self.owner_file)
            return (
                f"process {owner['process']} of {owner['user']} on {owner['host']} (last sign of life {owner['alive']})"
            )
        except (NucplanError, KeyError):
            return "another process"


def user_name() -> str:
    """Name of the user whose process this is, or the number where there is no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # Containers run under user numbers that have no name.
        return str(os.getuid())


@contextmanager
def fold_lock(folder: Path, wait: bool = False) -> Iterator[FoldLock]:
    """Hold the lock of ``folder`` for the block; see `FoldLock.acquire`."""
    lock = FoldLock(folder)
    lock.acquire(wait)
    try:
        yield lock
    finally:
        lock.release()
