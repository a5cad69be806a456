"""Train on millions of synthetic texts, and report the peak memory of all processes of the run.

Words follow a Zipf distribution, so vocabulary and n-grams grow with the data as in real text; one
word of each text gives its label away. The texts are written once, as a CSV file.

    python scripts/bench_memory.py [--rows 5000000] [--folder DIR] [--set KEY=VALUE ...]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from peers.measure import run_watched, size_mb

WORDS, LENGTH, CLASSES = 400_000, 20, 4
CHUNK = 50_000
BOUND_MB = 4000


def write_rows(path: Path, rows: int) -> None:
    """Write labeled texts of about ``LENGTH`` words, the same ones at each call."""
    generator = np.random.default_rng(0)
    words = np.array([f"w{number:x}" for number in range(WORDS)], dtype=object)
    frequencies = 1 / np.arange(1, WORDS + 1)
    cumulative = np.cumsum(frequencies / frequencies.sum())
    with path.open("w", encoding="ascii") as file:
        file.write("text,label\n")
        for start in range(0, rows, CHUNK):
            count = min(CHUNK, rows - start)
            rows_of_words = words[np.searchsorted(cumulative, generator.random((count, LENGTH)))]
            labels = generator.integers(0, CLASSES, count)
            lengths = generator.integers(LENGTH // 2, LENGTH + 1, count)
            file.writelines(
                f"{' '.join(rows_of_words[row, : lengths[row]])} topic{label},{label}\n"
                for row, label in enumerate(labels.tolist())
            )


def main() -> None:
    """Write the rows, train on them, and print the measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--folder", type=Path, help="keep the rows in this folder")
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        path, model = folder / f"rows{options.rows}.csv", Path(scratch) / "model"
        if not path.exists():
            write_rows(path, options.rows)
        settings = [
            *("text.word_ngrams=2", "text.bucket=2000000", "trainer.epochs=1"),
            *("optimizer.name=adagrad", "optimizer.lr=0.1", "data.validation=0.05"),
            *options.settings,
        ]
        flags = [word for setting in settings for word in ("--set", setting)]
        command = [sys.executable, "-m", "fasttext_app", "train", "--data", str(path)]
        measured = run_watched([*command, "--output", str(model), *flags], folder)
        data = json.loads((model / "data.json").read_text(encoding="utf-8"))
        metrics = json.loads((model / "metrics.json").read_text(encoding="utf-8"))
        verdict = "under" if measured["peak_mb"] < BOUND_MB else "OVER"
        print(
            f"{options.rows:,} texts ({path.stat().st_size / 1e6:,.0f} MB of CSV, "
            f"{data['tokens']:,} words, {data['ids']:,} ids, {data['table_rows']:,} table rows): "
            f"peak {measured['peak_mb']:,.0f} MB, {verdict} {BOUND_MB:,} MB; "
            f"{measured['seconds']:.0f} s; model {size_mb(model):,.0f} MB; "
            f"validation accuracy {metrics['validation_accuracy']:.4f}"
        )


if __name__ == "__main__":
    main()
