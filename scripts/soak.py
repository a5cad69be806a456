"""Predict a million times on many threads and in many processes, and watch memory and results.

python scripts/soak.py [MODEL] [--predictions 1000000] [--threads 16] [--processes 4]

The model is loaded once. Threads predict single texts and now and then a column; then forked and
spawned processes do the same. Every prediction must be the same to the bit as the first of its
text, and memory must not grow in the second half, when the allocator has its room.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fasttext_app as ft
from fasttext_app.inference.classifier import TextClassifier

TEXTS = 997
COLUMN_EVERY = 5000  # predictions between two of a whole column
PAGE = os.sysconf("SC_PAGE_SIZE")
MAX_GROWTH = 0.01
"""Share of the memory by which it may grow: an allocator's noise."""

WORDS = (
    "chess",
    "engine",
    "audio codec",
    "web server",
    "mail",
    "client",
    "game",
    "é",
    "日本",
    "\x1b[3m",
)


@dataclass(frozen=True)
class Report:
    """What a soak showed."""

    predictions: int
    seconds: float
    memory: tuple[int, ...]
    """Resident bytes after each tenth of the predictions."""
    digests: dict[str, set[str]]
    """The digests of all predictions, by where they were made; there must be one."""

    @property
    def growth(self) -> float:
        """The growth of memory in the second half, as a share."""
        half = len(self.memory) // 2
        return max(self.memory[half:]) / max(self.memory[:half]) - 1

    @property
    def equal(self) -> bool:
        """Whether every thread and process predicted the same."""
        return len(set().union(*self.digests.values())) == 1


def texts() -> list[str]:
    """Return short texts, no two alike."""
    return [
        " ".join(WORDS[(number * step) % len(WORDS)] for step in range(1, 3 + number % 17))
        + f" {number}"
        for number in range(TEXTS)
    ]


def predict_many(model: TextClassifier, samples: Sequence[str], count: int) -> str:
    """Predict ``count`` times, and return the digest of the predictions of all texts.

    Raises:
        AssertionError: a prediction differs from the first of its text.
    """
    expected: list[Any] = model.predict(samples, 2)
    for number in range(count):
        index = number % len(samples)
        assert model.predict(samples[index], 2) == expected[index], samples[index]
        if number % COLUMN_EVERY == COLUMN_EVERY - 1:
            assert model.predict(samples, 2) == expected
    exact = repr([(one.labels, [value.hex() for value in one.probabilities]) for one in expected])
    return hashlib.sha256(exact.encode()).hexdigest()


def resident() -> int:
    """Return the resident memory of this process in bytes."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def soak(path: str | Path, predictions: int, threads: int, processes: int) -> Report:
    """Run the soak; see the top of this file."""
    model = TextClassifier.load(path, threads=1).warm_up()
    samples, start, memory = texts(), time.monotonic(), []
    share = max(predictions // 10 // threads, 1)
    digests: dict[str, set[str]] = {"threads": set()}
    threads_before = threading.active_count()
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(10):
            done = pool.map(lambda _: predict_many(model, samples, share), range(threads))
            digests["threads"] |= set(done)
            memory.append(resident())
    assert threading.active_count() == threads_before
    for method in ("fork", "spawn"):
        context = multiprocessing.get_context(method)
        with ProcessPoolExecutor(processes, context) as workers:
            jobs = [workers.submit(predict_many, model, samples, share) for _ in range(processes)]
            digests[method] = {job.result() for job in jobs}
    made = share * (10 * threads + 2 * processes)
    return Report(made, time.monotonic() - start, tuple(memory), digests)


def main() -> None:
    """Run the soak and print what it showed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path, help="by default, one of the sample")
    parser.add_argument("--predictions", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--processes", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.model or Path(folder, "model")
        if options.model is None:
            ft.train("sample", epochs=2, device="cpu", threads=1).save(path)
        report = soak(path, options.predictions, options.threads, options.processes)
    write = sys.stdout.write
    write(f"{report.predictions:,} predictions in {report.seconds:,.0f} s\n")
    write(f"memory in MB: {' '.join(f'{size / 1e6:.1f}' for size in report.memory)}\n")
    write(f"growth in the second half: {report.growth:.2%}\n")
    for where, found in report.digests.items():
        write(f"{where}: {', '.join(sorted(digest[:16] for digest in found))}\n")
    raise SystemExit(0 if report.equal and report.growth < MAX_GROWTH else 1)


if __name__ == "__main__":
    main()
