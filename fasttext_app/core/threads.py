"""Work on several threads, with results in order and no more in flight than needed."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

CORES = os.cpu_count() or 1  # asked for once: a prediction would wait for the answer


def thread_count(threads: int) -> int:
    """Return the number of threads meant: 0 stands for all cores."""
    return threads or CORES


def map_threads(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Iterator[Result]:
    """Apply ``function`` to each item on ``threads`` threads (0: all cores); results in order.

    Items are taken as they are needed, so a stream of any length goes through in constant memory.
    """
    if thread_count(threads) == 1:  # a result comes before the next item is asked for
        yield from map(function, items)
        return
    stream = iter(items)
    first = list(islice(stream, 2))
    workers = thread_count(threads) if len(first) > 1 else 0  # a lone item needs no pool
    yield from map_ahead(function, chain(first, stream), workers if workers > 1 else 0)


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[Result]:
    """Apply ``function`` on ``workers`` other threads while earlier results are in use; in order.

    With no workers each result is made when it is asked for.
    """
    if workers < 1:
        yield from map(function, items)
        return
    pool, waiting = ThreadPoolExecutor(workers), deque[Future[Result]]()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
