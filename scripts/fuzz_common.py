"""What the fuzzers share: damage to bytes and to JSON, and work in a child under a memory limit."""

from __future__ import annotations

import argparse
import copy
import os
import random
import resource
import signal
import struct
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

MAX_FILE_SIZE = 20_000
MAX_MEMORY = 500_000_000
"""Bytes that a process may take beyond what it has when it starts to fuzz."""
MAX_SECONDS = 60
"""Processor seconds that a file may take; and ten times as many in all, on a busy machine."""
BATCH = 2_000
"""Files that a child handles before the next one takes over."""
MAX_BROKEN = 10
"""Files that may break the rule before the run ends."""
EDGES = [0, 1, 2, 127, 128, 255, 256, 2**16, 2**24, 2**31 - 1, 2**32, 2**61, 2**62, 2**63 - 1]
VALUES: list[Any] = [
    *(None, True, "", "x", "<b>", "\x1b[31m", [], {}, [None], {"x": None}),
    *(-1, 0, 1, 1.5, -1e308, 1e308, 10**30, 2**31, 2**63, float("nan"), float("inf")),
]


def mutate(data: bytes, generator: random.Random, front: int = 300) -> bytes:
    """Return bytes with a few changes: integers, bits, cuts and insertions."""
    result = bytearray(data)
    for _ in range(generator.choice((1, 1, 1, 2, 3, 8))):
        # Half of the changes go to the front, which has more structure than the matrices.
        end = len(result) if generator.random() < 0.5 else min(len(result), front)
        start = generator.randrange(end + 1)
        kind = generator.randrange(6)
        if kind == 0:
            result[start : start + 1] = generator.randbytes(1)
        elif kind in (1, 2):
            form = "<i" if kind == 1 else "<q"
            value = generator.choice(EDGES) * generator.choice((1, -1)) + generator.randint(-1, 1)
            limit = 1 << (8 * struct.calcsize(form) - 1)
            integer = struct.pack(form, (value + limit) % (2 * limit) - limit)
            result[start : start + len(integer)] = integer
        elif kind == 3 and start < len(result):
            result[start] ^= 1 << generator.randrange(8)
        elif kind == 4:
            del result[start : start + generator.choice((1, 4, 8, 100, len(result)))]
        else:
            result[start:start] = generator.randbytes(generator.choice((1, 4, 8, 100)))
    return bytes(result[:MAX_FILE_SIZE])


def mutate_json(document: Any, generator: random.Random) -> Any:
    """Return a JSON document in which a value anywhere is another one, missing or new."""
    result = copy.deepcopy(document)
    for _ in range(generator.choice((1, 1, 2))):
        inner = result
        while True:
            keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
            if not keys:
                break
            key = generator.choice(keys)
            if isinstance(inner[key], dict | list) and generator.random() < 0.7:
                inner = inner[key]
                continue
            if generator.random() < 0.15:
                del inner[key]
            elif generator.random() < 0.1 and isinstance(inner, dict):
                inner[generator.choice(("", "[red]", "<b>", "new"))] = inner[key]
            else:
                inner[key] = copy.deepcopy(generator.choice(VALUES))
            break
    return result


def parse_options(description: str | None) -> argparse.Namespace:
    """Parse ``--count``, ``--seconds`` and ``--seed`` of a fuzzer."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=description, formatter_class=form)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + MAX_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run(
    name: str, case: Callable[[random.Random], str], count: int, seconds: float, seed: int
) -> int:
    """Run cases in forked children, until there are enough or time is up; return the exit code.

    Args:
        name: of the fuzzer.
        case: handles one damaged file; returns what became of it, or raises.
        count: the number of files.
        seconds: the longest time.
        seed: of the first case; case ``n`` has the seed ``seed + n``.
    """
    outcomes: Counter[str] = Counter()
    start, done, peak, broken = time.monotonic(), 0, 0, 0
    while broken < MAX_BROKEN and done < count and time.monotonic() < start + seconds:
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.close(reader)
            os._exit(
                _run_batch(case, seed + done, min(BATCH, count - done), writer, start + seconds)
            )
        os.close(writer)
        with os.fdopen(reader, encoding="utf-8") as lines:
            for line in lines:
                kind, _, rest = line.rstrip("\n").partition(" ")
                if kind == "peak":
                    peak = max(peak, int(rest))
                else:
                    outcomes[rest] += 1
                    done += 1
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(f"{name}: {done:,} files", file=sys.stderr, flush=True)
        if code:
            print(f"broken at seed {seed + done}: exit code {code}", file=sys.stderr, flush=True)
            done, broken = done + 1, broken + 1
    parts = ", ".join(f"{number:,} {outcome}" for outcome, number in sorted(outcomes.items()))
    print(
        f"{name}, seed {seed}: {done:,} files; {parts}; {broken} broke the rule; "
        f"peak {peak / 1e6:,.0f} MB beyond the start"
    )
    return int(broken != 0)


def _run_batch(
    case: Callable[[random.Random], str], seed: int, count: int, writer: int, end: float
) -> int:
    _limit_memory()
    before = _peak()
    with os.fdopen(writer, "w", encoding="utf-8", buffering=1) as report:
        for number in range(seed, seed + count):
            if time.monotonic() >= end:
                break
            signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS)
            signal.alarm(10 * MAX_SECONDS)
            try:
                outcome = case(random.Random(number))
            except BaseException:  # noqa: BLE001
                traceback.print_exc()
                return 1
            report.write(f"case {outcome}\n")
        report.write(f"peak {_peak() - before}\n")
    return 0
