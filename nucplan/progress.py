"""Progress bars on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

# What long-running functions take to report how far they are: ``wrap(items, description)`` gives the items back.
Progress = Callable[[Iterable[Any], str], Iterable[Any]]


def silent(items: Iterable[Any], description: str) -> Iterable[Any]:
    """The ``Progress`` that shows nothing."""
    return items


def progress(items: Iterable[Any], description: str, total: int | None = None) -> Iterable[Any]:
    """Iterate with a bar that appears after a second and stays; in a log file it writes a line every 30 seconds.

    A bar within another one goes away when it is done.
    """
    from tqdm import tqdm

    interval = 0.1 if sys.stderr.isatty() else 30
    return tqdm(items, desc=description, total=total, dynamic_ncols=True, delay=1.0, mininterval=interval, leave=None)
