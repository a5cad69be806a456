"""Time and memory of whole processes, with the contenders taking turns."""

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
from typing import IO, Any

SCRIPTS = Path(__file__).resolve().parent.parent
MODEL, SEED = "{model}", "{seed}"
SAMPLING_SECONDS = 0.02

Measurements = dict[str, float]
"""The measurements of one run of one contender, such as ``{"seconds": 3.4}``."""
Samples = dict[str, list[Measurements]]
"""The runs of each contender, one per round."""


def environment(data: Path) -> dict[str, str]:
    """Return the environment of a child process: its data folder, and Python's bytecode cache.

    Without the cache, a clone would be compiled at every start, which no installed package is.
    """
    inherited = {
        key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"
    }
    return inherited | {"FASTTEXT_APP_DATA": str(data)}


def start(
    command: list[str], data: Path, stdin: IO[bytes] | None = None
) -> subprocess.Popen[bytes]:
    """Start a command in the folder `scripts/`; `data` is its $FASTTEXT_APP_DATA."""
    return subprocess.Popen(
        command,
        stdin=stdin or subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=SCRIPTS,
        env=environment(data),
    )


def finish(process: subprocess.Popen[bytes]) -> None:
    """Wait for a command; exit with its error output if it failed."""
    _, errors = process.communicate()
    if process.returncode:
        words = process.args if isinstance(process.args, list) else [process.args]
        sys.exit(f"{' '.join(map(str, words))} failed:\n{errors.decode(errors='replace')}")


def run_timed(command: list[str], data: Path) -> Measurements:
    """Run a command; return its seconds from start to exit."""
    begin = time.perf_counter()
    finish(start(command, data))
    return {"seconds": time.perf_counter() - begin}


def run_watched(command: list[str], data: Path, stdin: IO[bytes] | None = None) -> Measurements:
    """Run a command and sample its memory; return the peak and the seconds.

    The memory is the proportional set size of the process and all its children at one moment, in
    megabytes (10^6 bytes): a page shared by n processes counts 1/n for each. ``own_mb`` is the peak
    without pages of files, whose share depends on what else runs. Sampling takes time, so use the
    seconds only of runs so long that it does not matter.
    """
    begin = time.perf_counter()
    process, peak, own = start(command, data, stdin), 0.0, 0.0
    while process.poll() is None:
        parts = [memory_mb(pid) for pid in process_tree(process.pid)]
        peak = max(peak, sum(sum(part) for part in parts))
        own = max(own, sum(part[0] for part in parts))
        time.sleep(SAMPLING_SECONDS)
    finish(process)
    return {"seconds": time.perf_counter() - begin, "peak_mb": peak, "own_mb": own}


def process_tree(pid: int) -> list[int]:
    """Return the ids of a process and all its descendants."""
    pids = [pid]
    with suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
        for child in children.split():
            pids += process_tree(int(child))
    return pids


def memory_mb(pid: int) -> tuple[float, float]:
    """Return the proportional set size of a process, its own memory and pages of files.

    Both are 0 if it has ended.
    """
    sizes = dict.fromkeys(("Pss_Anon:", "Pss_Shmem:", "Pss_File:"), 0.0)
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            name, *rest = line.split()
            if name in sizes:
                sizes[name] = int(rest[0]) * 1024 / 1e6
    return sizes["Pss_Anon:"] + sizes["Pss_Shmem:"], sizes["Pss_File:"]


def run_json(command: list[str], data: Path) -> Any:
    """Run a command, untimed; return the JSON in the last line of its output."""
    result = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=SCRIPTS,
        env=environment(data),
        check=False,
    )
    if result.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{result.stderr.decode(errors='replace')}")
    return json.loads(result.stdout.decode().strip().splitlines()[-1])


def fill_in(command: Iterable[str], model: Path, seed: int = 0) -> list[str]:
    """Return a command with the model's path and the seed filled in."""
    return [word.replace(MODEL, str(model)).replace(SEED, str(seed)) for word in command]


def alternate(
    names: Iterable[str], rounds: int, measure: Callable[[str, int], Mapping[str, float]]
) -> Samples:
    """Measure every contender once per round, in turns, so that noise hits all of them alike.

    `measure` gets the name of the contender and the round, from 0.
    """
    names = list(names)
    samples: Samples = {name: [] for name in names}
    for round_index in range(rounds):
        for name in names:
            measurements = dict(measure(name, round_index))
            samples[name].append(measurements)
            shown = ", ".join(f"{key} {value:,.4g}" for key, value in measurements.items())
            print(f"round {round_index + 1}/{rounds}  {name}: {shown}", file=sys.stderr)
    return samples


def median_of(samples: Samples, name: str, key: str) -> float | None:
    """Return the median of a contender's measurement, or None if it was not measured."""
    values = [run[key] for run in samples.get(name, []) if key in run]
    return median(values) if values else None


def ratio(samples: Samples, key: str, name: str, other: str) -> float | None:
    """Return a contender's median divided by another's, or None unless both were measured."""
    ours, theirs = median_of(samples, name, key), median_of(samples, other, key)
    return ours / theirs if ours is not None and theirs else None


def size_mb(model: Path) -> float:
    """Return the size of a model file, or of all files of a model directory, in megabytes."""
    files = [path for path in model.rglob("*") if path.is_file()] if model.is_dir() else [model]
    return sum(path.stat().st_size for path in files) / 1e6


def remove(model: Path) -> None:
    """Remove a model file or directory, if it exists."""
    if model.is_dir():
        shutil.rmtree(model)
    else:
        model.unlink(missing_ok=True)
