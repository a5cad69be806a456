"""Map a function over a stream on several threads, in order and in constant memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def whole_number(variable: str, default: int) -> int:
    """Return the number in an environment variable that a launcher sets.

    The default takes the place of one that is not set, is 0 or is no number.
    """
    text = os.environ.get(variable, "")
    return (int(text) if text.isdecimal() else 0) or default


CORES = max((os.cpu_count() or 1) // whole_number("LOCAL_WORLD_SIZE", 1), 1)
"""The cores of this process, one of those that torchrun starts on a machine; read once, because the
call takes a notable part of a prediction."""


def thread_count(threads: int) -> int:
    """Return the number of threads to use; 0 stands for all cores."""
    return threads or CORES


def map_threads(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Iterator[Result]:
    """Yield ``function(item)`` for each item in order, computed on ``threads`` threads.

    Args:
        function: the function to apply.
        items: a stream of any length, read only as far as the threads need it.
        threads: number of threads; 0: all cores.
    """
    workers = thread_count(threads)
    if workers == 1:  # yield a result before reading the next item
        yield from map(function, items)
        return
    stream = iter(items)
    first = list(islice(stream, 2))
    if len(first) < 2:  # a single item needs no pool
        yield from map(function, first)
        return
    yield from map_ahead(function, chain(first, stream), workers)


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[Result]:
    """Yield ``function(item)`` in order, while ``workers`` threads compute later results.

    Without workers, each result is computed when it is requested.
    """
    if workers < 1:
        yield from map(function, items)
        return
    pool, pending = ThreadPoolExecutor(workers), deque[Future[Result]]()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def map_in_rounds(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Iterator[Result]:
    """Yield ``function(item)`` in order; compute ``threads`` results at once, and then none.

    So the threads are free for other work while the results of a round are used.
    """
    if threads == 1:
        yield from map(function, items)
        return
    stream = iter(items)
    with ThreadPoolExecutor(threads) as pool:
        while some := list(islice(stream, threads)):
            yield from list(pool.map(function, some))


@contextmanager
def in_background(function: Callable[[], Result]) -> Iterator[Callable[[], Result]]:
    """Call a function on another thread during this block; yield what waits for its result.

    If both the function and the block raise an error, the function's is raised.
    """
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(function)
        try:
            yield future.result
        except Exception:
            future.result()
            raise
