r"""Compare the losses on synthetic texts with more and more labels: speed and accuracy.

Label frequencies follow Zipf's law. Each label has a few random words, and a text mixes words of
its label with noise. The losses take turns in one process, so noise of the machine affects them all
alike; each has a learning rate close to its best one.

    python scripts/bench_losses.py --quick
    python scripts/bench_losses.py --write-docs
    python scripts/bench_losses.py --labels 1000 20000 --rows 60000 --test-rows 3000 \
        --epochs 3 --rounds 1 --rates 0.1 0.3 1     # how RATES was chosen
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pages import check_markers, write_between_markers

import fasttext_app as ft

PAGE = Path(__file__).resolve().parent.parent / "docs" / "losses.md"
MARKERS = "losses"
RATES = {"softmax": 0.5, "hs": 0.3, "ns": 0.3, "adaptive": 0.5}
WORDS_ONLY: dict[str, Any] = {
    "word_ngrams": 1,
    "minn": 0,
    "maxn": 0,
    "term_weighting": "none",
    "mode": "mean",
    "name": "adagrad",
    "eps": 1e-8,
}
"""Settings under which the time goes into the losses."""
VOCABULARY, LABEL_WORDS, TEXT_WORDS, NOISE = 50_000, 8, 12, 0.7
LAYER = ("weight", "bias", "head.", "tail.")

Texts = tuple[list[str], list[str]]


@dataclass(frozen=True)
class Run:
    """One model: trained, scored and timed."""

    labels: int
    loss: str
    rate: float
    epoch_seconds: float
    texts: int
    accuracy: float
    macro_f1: float
    predicted: float  # texts a second
    layer_mb: float  # the weights above the bags


class Language:
    """Makes texts of C labels.

    Args:
        labels: C; label r is seen in proportion to 1 / (r + 1), whatever its name.
        seed: the random seed of the words of each label, and of the names.
    """

    def __init__(self, labels: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self._odds = _zipf(labels)
        self._noise = _zipf(VOCABULARY)
        self._words = rng.integers(0, VOCABULARY, (labels, LABEL_WORDS))
        self._names = rng.permutation(labels)

    def texts(self, rows: int, seed: int) -> Texts:
        """Return texts and their labels."""
        rng = np.random.default_rng(seed)
        ranks = rng.choice(len(self._odds), rows, p=self._odds)
        shape = (rows, TEXT_WORDS)
        own = self._words[ranks[:, None], rng.integers(0, LABEL_WORDS, shape)]
        noise = rng.choice(VOCABULARY, shape, p=self._noise)
        words = np.where(rng.random(shape) < NOISE, noise, own)
        texts = [" ".join(f"w{word}" for word in row) for row in words.tolist()]
        return texts, [f"label{name}" for name in self._names[ranks].tolist()]


def _zipf(size: int) -> npt.NDArray[np.float64]:
    odds = 1 / np.arange(1, size + 1, dtype=np.float64)
    odds /= odds.sum()
    return odds


def run(
    args: argparse.Namespace, labels: int, loss: str, rate: float, data: tuple[Texts, Texts]
) -> Run:
    """Train a model on the first texts, and score it on the others."""
    (texts, names), (test_texts, test_names) = data
    model = ft.train(
        texts,
        names,
        loss=loss,
        lr=rate,
        dim=args.dim,
        **WORDS_ONLY,
        epochs=args.epochs,
        batch_size=args.batch,
        validation=0.0,
        device=args.device,
        threads=args.threads,
    )
    epochs = model.artifact.history["epochs"]
    scores = model.evaluate(test_texts, test_names)
    started = time.perf_counter()
    model.rank(test_texts)
    seconds = time.perf_counter() - started
    layer = [array for name, array in model.artifact.tensors.items() if name.startswith(LAYER)]
    return Run(
        labels=labels,
        loss=loss,
        rate=rate,
        epoch_seconds=median(epoch["seconds"] for epoch in epochs),
        texts=len(texts),
        accuracy=scores["micro_f1"],  # the same, where a text has one label
        macro_f1=scores["macro_f1"],
        predicted=len(test_texts) / seconds,
        layer_mb=sum(array.nbytes for array in layer) / 1e6,
    )


def measure(args: argparse.Namespace) -> list[Run]:
    """Let the losses take turns, round after round, for each number of labels."""
    warm = Language(50).texts(200, 0)
    for loss in args.losses:  # compile and import now, or the first run would be charged for it
        run(args, 50, loss, 0.1, (warm, warm))
    runs = []
    for labels in args.labels:
        language = Language(labels)
        for turn in range(args.rounds):
            data = language.texts(args.rows, 2 * turn), language.texts(args.test_rows, 2 * turn + 1)
            for loss in args.losses:
                for rate in args.rates or [RATES[loss]]:
                    runs.append(run(args, labels, loss, rate, data))
                    print(runs[-1], file=sys.stderr)
    return runs


def table(runs: Sequence[Run]) -> str:
    """Return the results as a Markdown table: medians of times, means of scores."""
    lines = [
        "| labels | `model.loss` | rate | epoch | texts/s | accuracy | macro F1 | predicts texts/s "
        "| output layer |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for (labels, loss, rate), same in groupby(
        sorted(runs, key=lambda r: (r.labels, list(RATES).index(r.loss), r.rate)),
        key=lambda r: (r.labels, r.loss, r.rate),
    ):
        done = list(same)
        seconds = median(r.epoch_seconds for r in done)
        accuracy, macro_f1 = mean(r.accuracy for r in done), mean(r.macro_f1 for r in done)
        lines.append(
            f"| {labels:,} | `{loss}` | {rate:g} | {seconds:.1f} s "
            f"| {done[0].texts / seconds:,.0f} | {100 * accuracy:.1f} % | {macro_f1:.3f} "
            f"| {median(r.predicted for r in done):,.0f} | {done[0].layer_mb:.1f} MB |"
        )
    return "\n".join(lines)


def report(args: argparse.Namespace, argv: Sequence[str], runs: Sequence[Run]) -> str:
    """Return the table, and a paragraph on how it was measured."""
    command = shlex.join(["python", "scripts/bench_losses.py", *argv])
    device = torch.cuda.get_device_name() if args.device.startswith("cuda") else platform.machine()
    return (
        f"{table(runs)}\n\n"
        f"`{command}`: {args.rows:,} training texts of {TEXT_WORDS} words and {args.test_rows:,} "
        f"test texts, `model.dim` = {args.dim}, batches of {args.batch}, {args.epochs} epochs, "
        f"rounds: {args.rounds} (medians of times, means of scores). Words only; nothing is held "
        f"out; Adagrad; {device}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"torch {torch.__version__}."
    )


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="small sizes, to try the script")
    add("--labels", type=int, nargs="+", default=[1_000, 20_000, 100_000])
    add("--losses", nargs="+", default=list(RATES), choices=list(RATES))
    add("--rates", type=float, nargs="+", help="learning rates for all losses, instead of RATES")
    add("--rows", type=int, default=200_000)
    add("--test-rows", type=int, default=20_000)
    add("--dim", type=int, default=64)
    add("--batch", type=int, default=256)
    add("--epochs", type=int, default=5)
    add("--rounds", type=int, default=3)
    add("--device", default="cpu")
    add("--threads", type=int, default=0)
    add("--write-docs", action="store_true", help="rewrite the table on the page")
    add("--docs", type=Path, default=PAGE, help="the page")
    if parser.parse_args(argv).quick:
        parser.set_defaults(labels=[100, 2000], rows=5000, test_rows=1000, epochs=2, rounds=1)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write the page if asked to."""
    argv = sys.argv[1:] if argv is None else argv
    args = parse(argv)
    if args.write_docs:
        check_markers(args.docs, MARKERS)
    text = report(args, argv, measure(args))
    print(text)
    if args.write_docs:
        write_between_markers(args.docs, MARKERS, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
