"""CPU seconds of each engine that scores a folder of Parquet files; the cost of a billion pages.

    python scripts/bench_scoring.py MODEL [--rows 2000000] [--engines local ...] [--write-docs]

The rows are the texts of AG_NEWS over and over, in eight files with an id. The floor is what no
engine can avoid, measured in one process on one thread: reading the files, ``predict_batches`` over
the tables in memory, and writing the result. An engine's overhead is its CPU seconds, of all its
processes, beyond the scoring of the floor. CPU seconds do not depend on how many cores are free.

The cost of a billion pages follows from the rates of the floor on long texts, for the machines that
``--cores``, ``--network`` and ``--storage`` describe. Engines that are not installed are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from statistics import median_high
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from pages import check_markers, write_between_markers

from fasttext_app.config.schema import DataConfig
from fasttext_app.data.spec import open_source

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "docs" / "examples" / "scoring"
PAGE = ROOT / "docs" / "scale.md"
FILES = 8
ARTICLES = 20
"""Articles of AG_NEWS that make a page for the cost of a billion."""
PAGES = 1_000_000_000
MACHINES = (1, 10, 100)
LOCAL_BAR = 1.15
ENGINES = {
    "local": ("`score`, 2 processes", None),
    "ray": ("`score --engine ray`", "ray"),
    "spark": ("`score --engine spark`", "pyspark"),
    "ray_data": ("Ray Data, tasks", "ray"),
    "spark_frames": ("Spark `mapInArrow`", "pyspark"),
    "polars": ("Polars `expr`, `sink_parquet`", "polars"),
    "duckdb": ("DuckDB function", "duckdb"),
    "datasets": ("`datasets.map`, 2 processes", "datasets"),
    "datatrove": ("datatrove, 2 processes", "datatrove"),
}
PROGRAMS = {
    "ray_data": "ray_data.py",
    "spark_frames": "spark.py",
    "polars": "polars_frames.py",
    "duckdb": "duckdb_sql.py",
    "datasets": "datasets_map.py",
    "datatrove": "datatrove_pipeline.py",
}
FLOOR = """
import json, sys, time
from pathlib import Path
import pyarrow as pa, pyarrow.parquet as pq
import fasttext_app as ft
seconds, clock = {}, time.process_time
start = clock()
seconds["start"] = start
model = ft.load(sys.argv[1], threads=1).warm_up()
seconds["load"] = clock() - start
start = clock()
files = sorted(Path(sys.argv[2]).glob("*.parquet"))
tables = [pq.read_table(path, use_threads=False) for path in files]
seconds["read"] = clock() - start
start = clock()
scored = [list(model.predict_batches(table, keep="id")) for table in tables]
seconds["score"] = clock() - start
start = clock()
for path, batches in zip(files, scored):
    pq.write_table(pa.Table.from_batches(batches), Path(sys.argv[3]) / path.name)
seconds["write"] = clock() - start
print(json.dumps(seconds))
"""


def article_texts() -> list[str]:
    """Return the texts of AG_NEWS; of the embedded sample where they are not found."""
    for source in ("ag_news", "sample"):
        with suppress(Exception):
            texts: list[str] = (
                open_source(DataConfig(source=source)).read("train")["text"].to_pylist()
            )
            return texts
    sys.exit("neither AG_NEWS nor the sample can be read")


def write_files(folder: Path, texts: Sequence[str], rows: int) -> int:
    """Write ``rows`` texts, over and over, into files; return the bytes of the texts."""
    folder.mkdir()
    size, each = 0, rows // FILES
    for number in range(FILES):
        ids = range(number * each, number * each + each)
        column = [texts[index % len(texts)] for index in ids]
        size += sum(len(text.encode()) for text in column)
        table = pa.table({"id": list(map(str, ids)), "text": column})  # datatrove drops an id of 0
        pq.write_table(table, folder / f"{number}.parquet")
    return size


def cpu_seconds(command: Sequence[object], **environment: str) -> float:
    """Run a command; return the CPU seconds of it and of all processes that inherit its mark.

    Engines start processes that outlive their parents, so these are found by an environment
    variable, and what they have used is read until they end.
    """
    mark, ticks = f"BENCH_MARK={uuid4().hex}", os.sysconf("SC_CLK_TCK")
    name, value = mark.split("=")
    used: dict[int, float] = {}
    process = subprocess.Popen(
        [sys.executable, *map(str, command)],
        env=os.environ | environment | {name: value},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    os.set_blocking(process.stderr.fileno(), False)
    errors, running, marked = b"", True, dict[int, bool]()
    while running:
        running = process.poll() is None
        errors = (errors + (process.stderr.read() or b""))[-5000:]
        for folder in Path("/proc").glob("[0-9]*"):
            pid = int(folder.name)
            with suppress(OSError):
                if not marked.get(pid):
                    marked[pid] = mark.encode() in (folder / "environ").read_bytes()
                if marked[pid]:
                    fields = (folder / "stat").read_text().rpartition(")")[2].split()
                    used[pid] = (int(fields[11]) + int(fields[12])) / ticks
        time.sleep(0.05)
    process.stderr.close()
    if process.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{errors.decode(errors='replace')}")
    return sum(used.values())


def command_of(engine: str, model: str, source: Path, target: Path) -> list[object]:
    """Return the command that scores a folder on an engine."""
    if engine in PROGRAMS:
        return [EXAMPLES / PROGRAMS[engine], model, source, target]
    options = ["--engine", engine, "--workers", 2, "--keep", "id,text", "--quiet"]
    return ["-m", "fasttext_app", "score", model, source, "-o", target, *options]


def floor_of(model: str, source: Path, target: Path) -> dict[str, float]:
    """Return the CPU seconds of loading, reading, scoring and writing in one process."""
    target.mkdir()
    command = [sys.executable, "-c", FLOOR, model, str(source), str(target)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds: dict[str, float] = json.loads(done.stdout)
    return seconds


def engine_table(model: str, folder: Path, rows: int, engines: Sequence[str], times: int) -> str:
    """Measure engines, alternating with the floor; return the table as Markdown."""
    source = folder / "pages"
    write_files(source, article_texts(), rows)
    runs: dict[str, list[float]] = {engine: [] for engine in engines}
    floors: list[dict[str, float]] = []
    for number in range(times):
        floors.append(floor_of(model, source, folder / f"floor{number}"))
        print("floor", floors[-1], file=sys.stderr)
        for engine in engines:
            target = folder / f"{engine}{number}"
            cache = str(folder / f"cache{number}")
            command = command_of(engine, model, source, target)
            runs[engine].append(cpu_seconds(command, HF_DATASETS_CACHE=cache))
            print(engine, round(runs[engine][-1], 2), file=sys.stderr)
    work = median_high([floor["read"] + floor["score"] + floor["write"] for floor in floors])
    score = median_high([floor["score"] for floor in floors])
    start = median_high([floor["start"] + floor["load"] for floor in floors])
    lines = [
        f"{rows:,} texts in {FILES} files. In one process, reading, `predict_batches` and writing "
        f"take {work:.1f} CPU s, of which scoring {score:.1f}. Each process takes {start:.1f} more "
        "to start and to load the model.",
        "",
        "| engine | CPU s | own overhead, CPU s | CPU s / (reading, scoring, writing) |",
        "|---|---|---|---|",
    ]
    for engine in engines:
        total = median_high(runs[engine])
        lines.append(
            f"| {ENGINES[engine][0]} | {total:.1f} | {total - score:.1f} | {total / work:.2f} |"
        )
    if "local" in engines:
        ratio = median_high(runs["local"]) / work
        verdict = "holds" if ratio <= LOCAL_BAR else "does not hold"
        lines += ["", f"The bar of {LOCAL_BAR} for `score` on this machine {verdict}: {ratio:.3f}."]
    return "\n".join(lines)


def cost_table(model: str, folder: Path, pages: int, arguments: argparse.Namespace) -> str:
    """Measure the rates on long texts; return what a billion pages cost as Markdown."""
    articles, source = article_texts(), folder / "long"
    texts = [
        " ".join(articles[(start + step) % len(articles)] for step in range(ARTICLES))
        for start in range(0, len(articles), ARTICLES)
    ]
    size = write_files(source, texts, pages) / pages
    stored = sum(path.stat().st_size for path in source.iterdir()) / pages
    floor = floor_of(model, source, folder / "long_out")
    written = sum(p.stat().st_size for p in (folder / "long_out").iterdir()) / pages
    cpu = {name: floor[name] / pages for name in ("read", "score", "write")}
    traffic = stored + written
    lines = [
        f"Measured on pages of {size:,.0f} bytes of text, {stored:,.0f} in the file: a page takes "
        f"{1e6 * sum(cpu.values()):.0f} µs of one core (reading {1e6 * cpu['read']:.0f}, scoring "
        f"{1e6 * cpu['score']:.0f}, writing {1e6 * cpu['write']:.0f}), and moves {traffic:,.0f} "
        f"bytes. Assumed are machines of {arguments.cores} cores with a network of "
        f"{arguments.network:g} GB/s each, and storage that gives {arguments.storage:g} GB/s "
        "in all.",
        "",
        "| machines | cores | CPU hours | cores: hours | network: hours | storage: hours | "
        "bottleneck |",
        "|---|---|---|---|---|---|---|",
    ]
    for machines in MACHINES:
        hours = PAGES / 3600
        limits = {
            "cores": hours * sum(cpu.values()) / (machines * arguments.cores),
            "network": hours * traffic / (machines * arguments.network * 1e9),
            "storage": hours * traffic / (arguments.storage * 1e9),
        }
        cells = " | ".join(f"{value:.2f}" for value in limits.values())
        lines.append(
            f"| {machines} | {machines * arguments.cores:,} | {hours * sum(cpu.values()):,.0f} | "
            f"{cells} | {max(limits, key=lambda name: limits[name])} |"
        )
    return "\n".join(lines)


def arguments_of(description: str | None) -> Any:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--pages", type=int, default=100_000, help="pages for the rates")
    parser.add_argument(
        "--times", type=int, default=3, help="runs of each engine; the median counts"
    )
    installed = [
        name for name, (_, package) in ENGINES.items() if not package or find_spec(package)
    ]
    parser.add_argument("--engines", nargs="*", choices=installed, default=installed)
    parser.add_argument("--cores", type=int, default=64, help="of a machine")
    parser.add_argument("--network", type=float, default=1.25, help="GB/s of a machine")
    parser.add_argument("--storage", type=float, default=20.0, help="GB/s of the shared storage")
    parser.add_argument(
        "--write-docs", action="store_true", help=f"write both tables to {PAGE.name}"
    )
    return parser.parse_args()


def main() -> None:
    """Print both tables, and put them into the page if that is asked for."""
    arguments = arguments_of(__doc__)
    if arguments.write_docs:
        check_markers(PAGE, "scoring")
        check_markers(PAGE, "billion")
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    with tempfile.TemporaryDirectory(prefix="bench_scoring-") as name:
        folder = Path(name)
        engines = engine_table(
            arguments.model, folder, arguments.rows, arguments.engines, arguments.times
        )
        print(engines)
        cost = cost_table(arguments.model, folder, arguments.pages, arguments)
        print(f"\n{cost}")
    if arguments.write_docs:
        write_between_markers(PAGE, "scoring", engines)
        write_between_markers(PAGE, "billion", cost)


if __name__ == "__main__":
    main()
