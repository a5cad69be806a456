"""Measure the training loop alone, in one process: time on 1 and 2 threads, and its limits.

    python -m peers.loop DATA SPEC THREADS,... [SETTING...]

Prints JSON: the seconds of an epoch for each number of threads, the fastest of several; with one
thread, the seconds in compiled code, of which the rest is serial; the bytes that the ids of an
epoch must move; and the bandwidth of a loop like STREAM's over as much memory as the table takes.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from unittest import mock

import numba
import numpy as np

EPOCHS = 2
ROUNDS = 2
STREAM_SECONDS = 0.3


@numba.njit(nogil=True)
def triad(sums: Any, values: Any, factors: Any) -> None:
    """Add two arrays into a third, one of them scaled: STREAM's triad."""
    for i in range(len(sums)):
        sums[i] = values[i] + np.float32(3) * factors[i]


def bandwidth(total: int, threads: int) -> float:
    """Return the bytes per second of triads over ``total`` bytes, split among threads."""
    size = max(total // (3 * 4 * threads), 1 << 14)
    arrays = [[np.ones(size, np.float32) for _ in range(3)] for _ in range(threads)]
    triad(*(array[:1] for array in arrays[0]))
    repeats = max(int(2e9) // (size * 12 * threads), 1)

    def work(own: list[Any]) -> None:
        for _ in range(repeats):
            triad(*own)

    best = float("inf")
    with ThreadPoolExecutor(threads) as pool:
        until = time.perf_counter() + STREAM_SECONDS
        while best == float("inf") or time.perf_counter() < until:
            start = time.perf_counter()
            list(pool.map(work, arrays))
            best = min(best, time.perf_counter() - start)
    return repeats * size * 12 * threads / best


def bytes_per_id(dim: int, optimizer: str) -> int:
    """Return what an id moves at least: its row forward and for the update, index and state."""
    from fasttext_app.training.optim.rules import OPTIMIZERS, state_widths

    state = sum(state_widths(OPTIMIZERS[optimizer].table, dim))
    return 4 * (2 * dim + 2 * state + 2)


class Clock:
    """Counts the seconds that functions take."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def timed(self, function: Any) -> Any:
        """Return the function, timed."""

        def call(*arguments: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                self.seconds += time.perf_counter() - start

        return call


def epochs_of(prepared: Any, threads: int) -> tuple[list[float], float, float]:
    """Train; return the seconds of each epoch, and of cutting and of steps in compiled code."""
    from fasttext_app.core.device import torch_threads
    from fasttext_app.training import batch_kernels, run
    from fasttext_app.training.events import EpochEnd
    from fasttext_app.training.optim import cpu_columns, cpu_kernels

    seconds, cutting, steps = [], Clock(), Clock()

    def listen(event: Any) -> None:
        if isinstance(event, EpochEnd):
            seconds.append(event.record.seconds)

    trainer = prepared.config.trainer.model_copy(update={"threads": threads, "epochs": EPOCHS})
    config = prepared.config.model_copy(update={"trainer": trainer})
    own = replace(prepared, config=config)
    with (
        torch_threads(1),
        mock.patch.object(batch_kernels, "cut_batches", cutting.timed(batch_kernels.cut_batches)),
        mock.patch.object(batch_kernels, "cut_words", cutting.timed(batch_kernels.cut_words)),
        mock.patch.object(cpu_columns, "train_batches", steps.timed(cpu_kernels.train_batches)),
    ):
        run._fit(run._new_model(own), own, listen)
    return seconds, cutting.seconds / EPOCHS, steps.seconds / EPOCHS


def main() -> None:
    """Measure, and print the result."""
    from fasttext_app.config.loading import parse_assignments, resolve
    from fasttext_app.training.optim.cpu_columns import load_kernels
    from fasttext_app.training.prepare import prepare_source

    source, threads = sys.argv[1], [int(count) for count in sys.argv[2].split(",")]
    config = resolve(parse_assignments([f"data.source={json.dumps(source)}", *sys.argv[3:]]))
    for by_word in (False, True):
        load_kernels(by_word=by_word)
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare_source(config, folder)
        runs: dict[int, list[tuple[list[float], float, float]]] = {count: [] for count in threads}
        for _ in range(ROUNDS):
            for count in threads:
                runs[count].append(epochs_of(prepared, count))
        ids = len(prepared.train.load()[0].indices)
    config = prepared.config
    dim, rows = config.model.dim, prepared.encoder.rows
    results: dict[str, float] = {
        "ids": ids,
        "table_bytes": rows * dim * 4,
        "bytes": ids * bytes_per_id(dim, config.optimizer.name),
    }
    for count in threads:
        results[f"epoch_{count}"] = min(
            second for seconds, _, _ in runs[count] for second in seconds
        )
        results[f"bandwidth_{count}"] = bandwidth(rows * dim * 4, count)
    if 1 in runs:
        seconds, cutting, steps = min(runs[1], key=lambda run: sum(run[0]))
        results["cutting"], results["steps"] = cutting, steps
        results["serial"] = sum(seconds) / len(seconds) - cutting - steps
    print(json.dumps(results))


if __name__ == "__main__":
    main()
