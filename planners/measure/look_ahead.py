"""Work on the next items while the results of the last ones are used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from nucplan.devices import usable_cores

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_THREADS = 8


def in_order(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """``map(function, items)`` by threads: results come in the order of the items, a few are made ahead.

    Threads pay where the function reads files and calls libraries that let go of Python's lock. The first exception is
    raised in its turn, and what has not begun by then is dropped.
    """
    threads = min(MOST_THREADS, usable_cores())
    waiting: deque[Future[Result]] = deque()
    executor = ThreadPoolExecutor(threads)
    try:
        for item in items:
            waiting.append(executor.submit(function, item))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        executor.shutdown(cancel_futures=True)
