"""Train and evaluate the shipped configs as a user would, and report accuracy, time and size.

Every run is a fresh process: `fasttext-app train --config NAME`, then `evaluate` on the test split.
Configs take turns, so that noise affects all of them. Reported are mean accuracy and median time.

    python scripts/bench_configs.py [--seeds 3] [--write-docs] [NAME ...]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median, stdev

import pyarrow
import torch
from pages import write_between_markers
from peers.measure import run_timed, run_watched

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("FASTTEXT_APP_DATA", ROOT / "data"))
PAGE = ROOT / "docs" / "benchmarks.md"
NAMES = ("ag_news", "ag_news_best", "ag_news_sgd", "ag_news_sparse_adam", "fasttext", "sample")

SEED_STEP = 100  # so that no two ensembles share a model


@dataclass(frozen=True)
class Run:
    """One training and its evaluation."""

    accuracy: float
    macro_f1: float
    seconds: float  # of the process, from its start to the saved model
    peak_mb: float  # peak memory, measured in another run
    model_mb: float
    train_rows: int


def run(name: str, seed: int) -> Run:
    """Train one config and evaluate the model."""
    program = [sys.executable, "-m", "fasttext_app"]
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        train = [
            "train",
            "--config",
            name,
            "--seed",
            str(seed),
            "--output",
            str(model),
            "--overwrite",
        ]
        seconds = run_timed(program + train, DATA)["seconds"]
        peak_mb = run_watched(program + train, DATA)["peak_mb"]
        evaluated = subprocess.run(
            [*program, "evaluate", str(model), "--json"], capture_output=True, check=True
        )
        scores = json.loads(evaluated.stdout)
        data = json.loads((model / "data.json").read_text())
        size = sum(file.stat().st_size for file in model.iterdir())
    return Run(
        accuracy=scores["accuracy"],
        macro_f1=scores["macro_f1"],
        seconds=seconds,
        peak_mb=peak_mb,
        model_mb=size / 1e6,
        train_rows=data["train_rows"],
    )


def table(runs: dict[str, list[Run]]) -> str:
    """Return the results as a Markdown table."""
    lines = [
        "| config | training rows | test accuracy | macro F1 | training process "
        "| peak memory | model |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, results in runs.items():
        accuracies = [100 * entry.accuracy for entry in results]
        spread = f" ± {stdev(accuracies):.2f}" if len(results) > 1 else ""
        lines.append(
            f"| `{name}` | {results[0].train_rows:,} | {mean(accuracies):.2f} %{spread} "
            f"| {mean(entry.macro_f1 for entry in results):.4f} "
            f"| {median(entry.seconds for entry in results):.1f} s "
            f"| {median(entry.peak_mb for entry in results):,.0f} MB "
            f"| {median(entry.model_mb for entry in results):,.0f} MB |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the configs in turns, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(NAMES), metavar="NAME")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each config (default: 3)")
    parser.add_argument(
        "--write-docs", action="store_true", help=f"rewrite the table in {PAGE.name}"
    )
    options = parser.parse_args()
    runs: dict[str, list[Run]] = {name: [] for name in options.names}
    seeds = [SEED_STEP * index for index in range(options.seeds)]
    for seed in seeds:
        for name in options.names:
            runs[name].append(run(name, seed))
            latest = runs[name][-1]
            print(
                f"{name} seed {seed}: {latest.accuracy:.4f}, {latest.seconds:.1f} s",
                file=sys.stderr,
            )
    text = (
        f"{table(runs)}\n\n"
        f"Mean accuracy over seeds {', '.join(map(str, seeds))} (± sample standard deviation), "
        f"medians otherwise; {os.cpu_count()} cores ({platform.machine()}), Python "
        f"{platform.python_version()}, torch {torch.__version__}, pyarrow {pyarrow.__version__}."
    )
    print(text)
    if options.write_docs:
        write_between_markers(PAGE, "configs", text)


if __name__ == "__main__":
    main()
