"""Train a table on several processes, and compare the memory of each with that of the table.

python scripts/train_large_table.py [--rows 50000000] [--dim 64] [--processes 4] [--shard columns]

The texts are few and their n-grams are hashed into many buckets, so that the table decides how much
memory a process takes. Counted is memory of the process alone, at its peak: neither libraries nor
the file in which the first process collects the table. A run with a small table says how much of it
is not the table's. The script fails if a process takes more than its share of what a single process
needs for the table, the state of row-wise Adagrad and the grouping of ids by row, and a tenth. In
``TMPDIR`` it needs room for the table twice: 26 GB for the default size.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from peers.measure import memory_mb, process_tree

ALLOWED = 1.1
SETTINGS = {
    "text.term_weighting": "none",
    "text.prune": "false",
    "text.minn": 0,
    "text.maxn": 0,
    "model.mode": "mean",
    "model.fold": "false",
    "trainer.calibrate": "false",
    "trainer.epochs": 1,
    "data.validation": 0,
}


def write_texts(path: Path, count: int) -> None:
    """Write texts of random words, whose first word tells the label."""
    generator = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        file.write("label,text\n")
        for number in range(count):
            words = " ".join(f"w{generator.randrange(50_000)}" for _ in range(20))
            file.write(f"label{number % 4},topic{number % 4} {words}\n")


def train(
    texts: Path, folder: Path, rows: int, dim: int, processes: int, shard: str
) -> list[float]:
    """Train with this many buckets; return the peak memory of each process, in MB."""
    settings = {**SETTINGS, "text.bucket": rows, "model.dim": dim, "trainer.shard": shard}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = ["-m", "fasttext_app", "train", "-q", "--data", str(texts), "--threads", "1"]
    for name, value in settings.items():
        command += ["--set", f"{name}={value}"]
    run = subprocess.Popen(
        [*launch, "--nproc-per-node", str(processes), *command, "--output", str(folder)]
    )
    peaks: dict[int, float] = {}
    while run.poll() is None:
        for process in process_tree(run.pid)[1:]:
            own, _ = memory_mb(process)
            peaks[process] = max(peaks.get(process, 0.0), own)
        time.sleep(0.1)
    if run.returncode:
        raise SystemExit(run.returncode)
    return sorted(peaks.values())[-processes:]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train with a small table and a large one, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=50_000_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--shard", choices=("columns", "rows"), default="columns")
    options = parser.parse_args(arguments)
    sizes = options.dim, options.processes, options.shard
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_texts(folder / "texts.csv", options.texts)
        small, large = (
            train(folder / "texts.csv", folder / str(rows), rows, *sizes)
            for rows in (1000, options.rows)
        )
    whole = 4e-6 * options.rows * (options.dim + 2)
    allowed = ALLOWED * whole / options.processes
    print(f"one process alone needs: {whole:,.0f} MB; a share and a tenth: {allowed:,.0f} MB")
    growth = [after - max(small) for after in large]
    print("more memory than with a small table, MB:", *(f"{mb:,.0f}" for mb in growth))
    if max(growth) > allowed:
        raise SystemExit("a process takes more than its share")


if __name__ == "__main__":
    main()
