"""The id of a dataset that is being made: free in all three roots, and in the hands of one process until it is made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from nucplan.errors import NucplanError
from nucplan.files import refuse_unwritable
from nucplan.layout import Dataset, Roots, dataset_folder_name, known_datasets


def new_dataset(roots: Roots, dataset_id: int, name: str) -> Dataset:
    """The dataset to write, if its id is free.

    Raises
    ------
    NucplanError
        If the id or the name is not allowed, or the id is taken in any of the three roots.
    """
    dataset = Dataset(roots, dataset_folder_name(dataset_id, name))
    refuse_taken(dataset)
    return dataset


def refuse_taken(dataset: Dataset) -> None:
    """Do nothing, or refuse.

    Raises
    ------
    NucplanError
        If a dataset of the same id is there in any of the three roots.
    """
    for other in known_datasets(dataset.roots):
        if other.id == dataset.id:
            raise NucplanError(
                f"The dataset id {dataset.id} is taken by {other.folder_name} under {dataset.roots.raw.parent}; "
                "choose another id or remove that dataset."
            )


@contextmanager
def reserved(dataset: Dataset) -> Iterator[None]:
    """Keep other processes from converting into the id of ``dataset`` for the block.

    The system gives the lock back however the process ends. Folders that are made for it and stay empty are removed.

    Raises
    ------
    NucplanError
        If another process converts into this id, a dataset of the id is there, or the raw root cannot be written.
    """
    raw = dataset.roots.raw
    refuse_unwritable(raw)
    missing = [folder for folder in (raw, *raw.parents) if not folder.exists()]
    raw.mkdir(parents=True, exist_ok=True)
    path = raw / f".Dataset{dataset.id:03d}.lock"
    try:
        with _held(path, dataset.id):
            # Another process may have finished since the id was found to be free.
            refuse_taken(dataset)
            yield
    finally:
        with suppress(OSError):
            for folder in missing:
                folder.rmdir()


@contextmanager
def _held(path: Path, dataset_id: int) -> Iterator[None]:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise NucplanError(
            f"The dataset id {dataset_id} is being converted by another process; wait for it or choose another id."
        ) from None
    try:
        yield
    finally:
        # While it is held, so that the file of another holder is never removed.
        path.unlink(missing_ok=True)
        lock.release()
