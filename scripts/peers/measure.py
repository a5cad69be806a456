"""Whole processes, timed by turns.

Only the standard library is imported here and in `bench_peers.py`: Linux counts the peak memory of
a process from that of the one that started it, so what measures must stay smaller than all that it
measures.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

SCRIPTS = Path(__file__).resolve().parent.parent
MODEL = "{model}"

Figures = dict[str, float]  # what one run of one contender came to: {"seconds": 3.4, ...}
Samples = dict[str, list[Figures]]  # contender: its runs, one a round


def peak_mb(usage: resource.struct_rusage) -> float:
    """Return the peak resident memory in megabytes (10^6 bytes)."""
    return usage.ru_maxrss * 1024 / 1e6


def environment(data: Path) -> dict[str, str]:
    """Return the environment of a child: where its data is, and with Python's bytecode cache.

    Without the cache a clone would be compiled at every start, which no installed package is.
    """
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"FASTTEXT_APP_DATA": str(data)}


def run_timed(command: list[str], data: Path) -> Figures:
    """Run a command from start to exit; return its seconds and its peak memory.

    Args:
        command: program and arguments; it runs in the folder `scripts/`.
        data: its $FASTTEXT_APP_DATA.
    """
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=SCRIPTS,
        env=environment(data),
    )
    assert process.stderr is not None
    with process.stderr:
        errors = process.stderr.read().decode(errors="replace")
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{errors}")
    own = peak_mb(resource.getrusage(resource.RUSAGE_SELF))
    assert own < peak_mb(usage), "what measures has more memory than what is measured"
    return {"seconds": seconds, "peak_mb": peak_mb(usage)}


def run_json(command: list[str], data: Path) -> Any:
    """Run a command, untimed; return the JSON that is the last line of what it prints."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=SCRIPTS,
        env=environment(data),
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr.decode(errors='replace')}")
    return json.loads(done.stdout.decode().strip().splitlines()[-1])


def succeeds(command: list[str]) -> bool:
    """Say whether a command exits with 0."""
    return subprocess.run(command, cwd=SCRIPTS, capture_output=True, check=False).returncode == 0


def filled(command: Iterable[str], model: Path) -> list[str]:
    """Put the model's place into a command."""
    return [word.replace(MODEL, str(model)) for word in command]


def alternate(
    names: Iterable[str], rounds: int, measure: Callable[[str], Mapping[str, float]]
) -> Samples:
    """Measure every contender once a round, by turns, so that noise hits all alike."""
    names = list(names)
    samples: Samples = {name: [] for name in names}
    for number in range(1, rounds + 1):
        for name in names:
            figures = dict(measure(name))
            samples[name].append(figures)
            told = ", ".join(f"{key} {value:,.4g}" for key, value in figures.items())
            print(f"round {number}/{rounds}  {name}: {told}", file=sys.stderr)
    return samples


def middle(samples: Samples, name: str, figure: str) -> float | None:
    """Return the median of a contender's figure, or None where it was not measured."""
    values = [run[figure] for run in samples.get(name, []) if figure in run]
    return median(values) if values else None


def ratio(samples: Samples, figure: str, name: str, other: str) -> float | None:
    """Return a contender's median over another's of the same session, or None without both."""
    ours, theirs = middle(samples, name, figure), middle(samples, other, figure)
    return ours / theirs if ours is not None and theirs else None


def size_mb(model: Path) -> float:
    """Return what a model file, or all files of a model directory, take in megabytes."""
    files = [path for path in model.rglob("*") if path.is_file()] if model.is_dir() else [model]
    return sum(path.stat().st_size for path in files) / 1e6


def remove(model: Path) -> None:
    """Remove a model file or directory, if it is there."""
    if model.is_dir():
        shutil.rmtree(model)
    else:
        model.unlink(missing_ok=True)
