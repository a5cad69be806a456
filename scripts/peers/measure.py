"""Whole processes, timed by turns."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

SCRIPTS = Path(__file__).resolve().parent.parent
MODEL, SEED = "{model}", "{seed}"
WATCH_SECONDS = 0.02

Figures = dict[str, float]  # what one run of one contender came to: {"seconds": 3.4, ...}
Samples = dict[str, list[Figures]]  # contender: its runs, one a round


def environment(data: Path) -> dict[str, str]:
    """Return the environment of a child: where its data is, and with Python's bytecode cache.

    Without the cache a clone would be compiled at every start, which no installed package is.
    """
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"FASTTEXT_APP_DATA": str(data)}


def started(command: list[str], data: Path) -> subprocess.Popen[bytes]:
    """Start a command in the folder `scripts/`; `data` is its $FASTTEXT_APP_DATA."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=SCRIPTS,
        env=environment(data),
    )


def finish(process: subprocess.Popen[bytes]) -> None:
    """Wait for a command; end this program if it failed."""
    _, errors = process.communicate()
    if process.returncode:
        words = process.args if isinstance(process.args, list) else [process.args]
        sys.exit(f"{' '.join(map(str, words))} failed:\n{errors.decode(errors='replace')}")


def run_timed(command: list[str], data: Path) -> Figures:
    """Run a command from start to exit; return its seconds."""
    start = time.perf_counter()
    finish(started(command, data))
    return {"seconds": time.perf_counter() - start}


def run_watched(command: list[str], data: Path) -> Figures:
    """Run a command, and look at its memory all the while; return the peak, and its seconds.

    The memory is that of the process and all that it started, at one moment: the proportional set
    size of each (what it shares with others counts in part), in megabytes (10^6 bytes). Looking
    costs time, so the seconds are for runs so long that it does not matter.
    """
    start = time.perf_counter()
    process, peak = started(command, data), 0.0
    while process.poll() is None:
        peak = max(peak, sum(memory_mb(number) for number in family(process.pid)))
        time.sleep(WATCH_SECONDS)
    finish(process)
    return {"seconds": time.perf_counter() - start, "peak_mb": peak}


def family(process: int) -> list[int]:
    """Return a process and all that it started, by number."""
    found = [process]
    with suppress(OSError):
        children = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii")
        for child in children.split():
            found += family(int(child))
    return found


def memory_mb(process: int) -> float:
    """Return the proportional set size of a process, 0 where it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0


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


def filled(command: Iterable[str], model: Path, seed: int = 0) -> list[str]:
    """Put the model's place and the seed into a command."""
    return [word.replace(MODEL, str(model)).replace(SEED, str(seed)) for word in command]


def alternate(
    names: Iterable[str], rounds: int, measure: Callable[[str, int], Mapping[str, float]]
) -> Samples:
    """Measure every contender once a round, by turns, so that noise hits all alike.

    `measure` gets the contender's name and the round, from 0.
    """
    names = list(names)
    samples: Samples = {name: [] for name in names}
    for number in range(1, rounds + 1):
        for name in names:
            figures = dict(measure(name, number - 1))
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
