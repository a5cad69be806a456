"""Peak memory of whole commands, with all their child processes, on few and on many rows.

    python scripts/bench_memory.py predict [--rows 1000000 20000000] [--formats csv jsonl ...]
    python scripts/bench_memory.py train [--rows 5000000] [--formats csv jsonl] [--set KEY=VALUE]
    python scripts/bench_memory.py share [--megabytes 400] [--processes 4]

``predict`` classifies short texts from files of each format and from standard input, and compares
the peak of the most rows with that of the fewest. ``train`` trains on texts of about 15 words, and
compares the peak of each format with that of the first. Words follow a Zipf distribution, so the
vocabulary and the n-grams grow with the data as in real text. Compared is memory that is the
command's own: pages of files, such as libraries, are shared with whatever else runs.

``share`` starts processes by fork and by spawn that use one large model, and prints the
proportional set size of all of them: a page that n processes share counts 1/n in each.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from peers.measure import memory_mb, run_watched, size_mb

from fasttext_app.config.loading import flat_layer, resolve
from fasttext_app.data.labels import Labels
from fasttext_app.inference.classifier import TextClassifier
from fasttext_app.model.artifact import Artifact
from fasttext_app.model.directory import save_artifact
from fasttext_app.text.vocabulary import Vocabulary

WORDS, CLASSES = 400_000, 4
LONG, SHORT = 20, 6
"""The most words of a text, for training and for prediction."""
CHUNK = 50_000
SUFFIXES = {"csv": "csv", "jsonl": "jsonl", "parquet": "parquet", "stdin": "txt"}
GROWTH = 1.1
"""How much more memory the prediction of the most rows may take."""
TABLE_DIM = 50
SHARED = 1.05
"""How much more than once the tensors of a shared model may take."""
FORMAT_GROWTH = 1.1
"""How much more memory training may take with another format than the first."""

Rows = tuple[list[str], list[int]]


def texts(rows: int, words: int) -> Iterator[Rows]:
    """Yield chunks of texts of at most ``words`` words, with their labels, the same at each call.

    One word of each text tells its label.
    """
    generator = np.random.default_rng(0)
    names = np.array([f"w{number:x}" for number in range(WORDS)], dtype=object)
    frequencies = 1 / np.arange(1, WORDS + 1)
    cumulative = np.cumsum(frequencies / frequencies.sum())
    for start in range(0, rows, CHUNK):
        count = min(CHUNK, rows - start)
        chosen = names[np.searchsorted(cumulative, generator.random((count, words)))]
        labels = generator.integers(0, CLASSES, count).tolist()
        lengths = generator.integers(words // 2, words + 1, count)
        yield (
            [
                f"{' '.join(chosen[row, : lengths[row]])} topic{label}"
                for row, label in enumerate(labels)
            ],
            labels,
        )


def write_rows(path: Path, chunks: Iterator[Rows]) -> None:
    """Write texts with their labels in the format of the file's suffix."""
    if path.suffix == ".parquet":
        schema = pa.schema({"text": pa.string(), "label": pa.string()})
        with pq.ParquetWriter(path, schema) as writer:
            for lines, labels in chunks:
                names = [str(label) for label in labels]
                writer.write_table(pa.table({"text": lines, "label": names}, schema))
        return
    forms = {
        ".csv": lambda text, label: f"{text},{label}\n",
        ".jsonl": lambda text, label: f'{{"text": "{text}", "label": "{label}"}}\n',
        ".txt": lambda text, label: f"{text}\n",
    }
    form = forms[path.suffix]
    with path.open("w", encoding="ascii") as file:
        file.write("text,label\n" if path.suffix == ".csv" else "")
        for lines, labels in chunks:
            file.writelines(map(form, lines, labels))


def repeated(rows: int) -> Iterator[Rows]:
    """Yield short texts; after the first hundred thousand, they are repeated."""
    chunks = [*texts(min(rows, 2 * CHUNK), SHORT)]
    for number, start in enumerate(range(0, rows, CHUNK)):
        lines, labels = chunks[number % len(chunks)]
        yield lines[: rows - start], labels[: rows - start]


def command_of(*words: str) -> list[str]:
    """Return a command of the program."""
    return [sys.executable, "-m", "fasttext_app", *words]


def bench_predict(folder: Path, formats: Sequence[str], row_counts: Sequence[int]) -> None:
    """Print the peak of predicting each number of rows in each format."""
    model, train = folder / "model", folder / "train.csv"
    write_rows(train, texts(min(CHUNK, *row_counts), SHORT))
    flags = ["--set", "trainer.epochs=1", "--set", "trainer.ensemble=1", "--quiet"]
    run_watched(command_of("train", "-d", str(train), "-o", str(model), *flags), folder)
    print("| input | " + " | ".join(f"{rows:,} rows" for rows in row_counts) + " | ratio |")
    print("| --- |" + " ---: |" * (len(row_counts) + 1))
    for form in formats:
        peaks = []
        for rows in row_counts:
            path = folder / f"rows.{SUFFIXES[form]}"
            write_rows(path, repeated(rows))
            command = command_of("predict", str(model), "--output", str(folder / "out.jsonl"))
            if form == "stdin":
                with path.open("rb") as file:
                    measured = run_watched(command, folder, file)
            else:
                measured = run_watched([*command, "--input", str(path)], folder)
            peaks.append(measured["own_mb"])
            path.unlink()
            (folder / "out.jsonl").unlink()
        ratio = peaks[-1] / peaks[0]
        verdict = "" if ratio <= GROWTH else f", OVER {GROWTH}"
        print(
            f"| {form} | {' | '.join(f'{peak:,.0f} MB' for peak in peaks)} | {ratio:.2f}{verdict} |"
        )


def bench_train(folder: Path, formats: Sequence[str], rows: int, settings: Sequence[str]) -> None:
    """Print the peak of training on rows of each format."""
    first = 0.0
    for form in formats:
        path, model = folder / f"rows.{SUFFIXES[form]}", folder / f"model-{form}"
        write_rows(path, texts(rows, LONG))
        settings = [
            *("text.word_ngrams=2", "text.bucket=2000000", "trainer.epochs=1"),
            *("optimizer.name=adagrad", "optimizer.lr=0.1", "data.validation=0.05"),
            *settings,
        ]
        flags = [word for setting in settings for word in ("--set", setting)]
        command = command_of("train", "--data", str(path), "--output", str(model), *flags)
        measured = run_watched(command, folder)
        data = json.loads((model / "data.json").read_text(encoding="utf-8"))
        metrics = json.loads((model / "metrics.json").read_text(encoding="utf-8"))
        first = first or measured["own_mb"]
        ratio = measured["own_mb"] / first
        verdict = "" if ratio <= FORMAT_GROWTH else f", OVER {FORMAT_GROWTH} times {formats[0]}"
        print(
            f"{rows:,} texts ({path.stat().st_size / 1e6:,.0f} MB of {form}, "
            f"{data['tokens']:,} words, {data['ids']:,} ids, {data['table_rows']:,} table rows): "
            f"peak {measured['peak_mb']:,.0f} MB{verdict}; "
            f"{measured['seconds']:.0f} s; model {size_mb(model):,.0f} MB; "
            f"validation accuracy {metrics['validation_accuracy']:.4f}"
        )
        path.unlink()


def save_large_model(folder: Path, megabytes: float) -> None:
    """Save a model with a table of this size, each word of which has a row."""
    rows = int(megabytes * 1e6 / 4 / TABLE_DIM)
    generator = np.random.default_rng(0)
    settings: dict[str, Any] = {"dim": TABLE_DIM, "word_ngrams": 1, "minn": 0, "maxn": 0}
    settings |= {"fold": False, "mode": "mean", "term_weighting": "none"}
    artifact = Artifact(
        config=resolve(flat_layer(settings)),
        vocabulary=Vocabulary(
            pa.array([f"w{number}" for number in range(rows)]), np.ones(rows, np.int64)
        ),
        labels=Labels(("a", "b"), (1, 1)),
        tensors={
            "table": generator.random((rows, TABLE_DIM), np.float32),
            "weight": generator.random((2, TABLE_DIM), np.float32),
            "bias": np.zeros(2, np.float32),
        },
    )
    save_artifact(artifact, folder)


def use_model(model: TextClassifier | Path, ready: Any, end: Any) -> None:
    """Load a model unless it is one, use each row of its table, and wait for the end."""
    if isinstance(model, Path):
        model = TextClassifier.load(model, threads=1).warm_up()
    rows = len(model.artifact.table)
    for start in range(0, rows, 50_000):
        words = [f"w{number}" for number in range(start, min(start + 50_000, rows))]
        model.predict([" ".join(words[n : n + 100]) for n in range(0, len(words), 100)], 1)
    ready.release()
    end.wait()


def shared_memory(folder: Path, method: str, processes: int) -> tuple[float, float]:
    """Return the megabytes of processes that use one model: all of them, and of its table.

    With ``fork``, this process loads the model before it forks, and counts too.
    """
    gc.collect()  # models that were mapped before share the pages too
    context = multiprocessing.get_context(method)
    model: TextClassifier | Path = folder
    if method == "fork":
        model = TextClassifier.load(folder, threads=1).warm_up()
    ready, end = context.Semaphore(0), context.Event()
    workers = [
        context.Process(target=use_model, args=(model, ready, end))  # type: ignore[attr-defined]
        for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    try:
        for _ in workers:
            if not ready.acquire(timeout=600):
                raise SystemExit("a process does not answer")
        pids = [worker.pid for worker in workers] + [os.getpid()] * (method == "fork")
        return sum(sum(memory_mb(pid)) for pid in pids), sum(table_mb(pid, folder) for pid in pids)
    finally:
        end.set()
        for worker in workers:
            worker.join()


def table_mb(pid: int, folder: Path) -> float:
    """Return the proportional set size in a process of the mapped tensors of a model."""
    size, is_table = 0.0, False
    for line in Path(f"/proc/{pid}/smaps").read_text(errors="replace").splitlines():
        name, *rest = line.split()
        if "-" in name:
            is_table = line.endswith(str(folder.resolve() / "model.safetensors"))
        elif name == "Pss:" and is_table:
            size += int(rest[0]) * 1024 / 1e6
    return size


def bench_share(folder: Path, megabytes: float, processes: int) -> None:
    """Print the memory of one and of several processes that use one model."""
    model = folder / "model"
    save_large_model(model, megabytes)
    size = (model / "model.safetensors").stat().st_size / 1e6
    print(
        f"| started by | 1 process | {processes} processes "
        f"| tensors alone ({size:,.0f} MB in the file) |"
    )
    print("| --- | ---: | ---: | ---: |")
    for method in ("fork", "spawn"):
        one, _ = shared_memory(model, method, 1)
        several, table = shared_memory(model, method, processes)
        verdict = "" if table <= SHARED * size else f", OVER {SHARED} times"
        print(f"| {method} | {one:,.0f} MB | {several:,.0f} MB | {table:,.0f} MB{verdict} |")


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the rows, run the commands on them, and print the measurements."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    predict, train = commands.add_parser("predict"), commands.add_parser("train")
    predict.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 20_000_000])
    predict.add_argument("--formats", nargs="+", choices=SUFFIXES, default=[*SUFFIXES])
    train.add_argument("--rows", type=int, default=5_000_000)
    train.add_argument("--formats", nargs="+", choices=SUFFIXES, default=["csv", "jsonl"])
    train.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    share = commands.add_parser("share")
    share.add_argument("--megabytes", type=float, default=400)
    share.add_argument("--processes", type=int, default=4)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        if options.command == "predict":
            bench_predict(Path(scratch), options.formats, options.rows)
        elif options.command == "share":
            bench_share(Path(scratch), options.megabytes, options.processes)
        else:
            bench_train(Path(scratch), options.formats, options.rows, options.settings)


if __name__ == "__main__":
    main()
