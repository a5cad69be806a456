"""Measure language identification: accuracy by language and length, against fastText.

    python scripts/bench_langid.py DATA [--seeds 3] [--lid176 PATH] [--write-docs]

DATA is a folder that ``scripts/build_langid.py`` wrote. The config ``langid`` and fastText, with
its defaults and with settings for short texts, are trained on the same rows, each with ``--seeds``
seeds; accuracies are means. ``--lid176`` adds fastText's published ``lid.176.ftz``, which was
trained on other texts and knows 176 languages. Needs the packages of the extra ``bench``.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import mean

import fasttext
import numpy as np
from pages import write_between_markers

import fasttext_app as ft

PAGE = Path(__file__).resolve().parent.parent / "docs" / "language_identification.md"
FASTTEXT = {
    "fastText, defaults": {},
    "fastText, characters": {"minn": 2, "maxn": 4, "dim": 16, "epoch": 25, "lr": 0.5},
}
"""The settings of fastText; the second are for short texts, with the dimension of `lid.176`."""

SAME_LANGUAGE = {"no": "nb"}
"""Codes of `lid.176` for languages that the data set names otherwise."""

Texts = Sequence[str]


@dataclass(frozen=True)
class Rows:
    """The rows of one file."""

    texts: list[str]
    labels: list[str]
    lengths: list[str]


@dataclass(frozen=True)
class Result:
    """One model on the test rows."""

    correct: np.ndarray  # bool, one for each test row
    train_seconds: float
    predict_seconds: float
    megabytes: float


def read_rows(path: Path) -> Rows:
    """Read a file of the data set."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        columns = ([row[name] for row in rows] for name in ("text", "label", "length"))
        return Rows(*columns)
    except (OSError, KeyError) as error:
        sys.exit(f"{path}: cannot be read ({error}); build it with scripts/build_langid.py")


def score(
    predict: Callable[[Texts], list[str]], test: Rows, train_seconds: float, size: int
) -> Result:
    """Predict the test rows with a loaded model."""
    predict(test.texts)  # compiled code is loaded on first use
    start = time.perf_counter()
    labels = predict(test.texts)
    seconds = time.perf_counter() - start
    correct = np.array(labels) == np.array(test.labels)
    return Result(correct, train_seconds, seconds, size / 1e6)


def run_ours(train: Rows, test: Rows, seed: int, folder: Path) -> Result:
    """Train and score the config ``langid``."""
    start = time.perf_counter()
    model = ft.train(train.texts, train.labels, config="langid", seed=seed)
    seconds = time.perf_counter() - start
    model.save(folder / f"langid{seed}")
    size = sum(file.stat().st_size for file in (folder / f"langid{seed}").iterdir())

    def predict(texts: Texts) -> list[str]:
        return [prediction.labels[0] for prediction in model.predict(texts)]

    return score(predict, test, seconds, size)


def fasttext_predict(model: fasttext.FastText._FastText) -> Callable[[Texts], list[str]]:
    """Return a function that predicts with a model of fastText."""

    def predict(texts: Texts) -> list[str]:
        labels = [names[0].removeprefix("__label__") for names in model.predict(list(texts))[0]]
        return [SAME_LANGUAGE.get(label, label) for label in labels]

    return predict


def run_fasttext(
    train: Rows, test: Rows, seed: int, folder: Path, settings: dict[str, float]
) -> Result:
    """Train and score fastText on two threads."""
    file, saved = folder / "train.txt", folder / "model.bin"
    lines = (
        f"__label__{label} {text}\n" for label, text in zip(train.labels, train.texts, strict=True)
    )
    file.write_text("".join(lines), encoding="utf-8")
    start = time.perf_counter()
    model = fasttext.train_supervised(str(file), seed=seed, thread=2, verbose=0, **settings)
    seconds = time.perf_counter() - start
    model.save_model(str(saved))
    return score(fasttext_predict(model), test, seconds, saved.stat().st_size)


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; all columns but the first are right-aligned."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *lines))


def report(results: dict[str, list[Result]], train: Rows, test: Rows, seeds: int) -> str:
    """Return the tables of the page."""
    lengths, labels = np.array(test.lengths), np.array(test.labels)
    names = list(results)

    def accuracy(name: str, mask: np.ndarray) -> str:
        return f"{100 * mean(result.correct[mask].mean() for result in results[name]):.1f}"

    def average(name: str, field: str) -> float:
        return float(mean(getattr(result, field) for result in results[name]))

    totals = []
    for name in names:
        seconds = average(name, "train_seconds")
        totals.append([
            name,
            accuracy(name, lengths == "sentence"),
            accuracy(name, lengths == "snippet"),
            accuracy(name, lengths != ""),
            f"{seconds:.1f} s" if seconds else "-",
            f"{len(test.texts) / average(name, 'predict_seconds'):,.0f}",
            f"{average(name, 'megabytes'):.1f} MB",
        ])  # fmt: skip
    counts = Counter(train.labels)
    by_language = []
    for language in sorted(set(test.labels)):
        line = [language, f"{counts[language]:,}", f"{(labels == language).sum():,}"]
        for length in ("sentence", "snippet"):
            mask = (labels == language) & (lengths == length)
            line += [accuracy(name, mask) for name in names]
        by_language.append(line)
    header = ["model", "sentences", "3 words", "all", "training", "texts/s", "size"]
    columns = [f"{name}, {kind}" for kind in ("sentences", "3 words") for name in names]
    return (
        f"{table(header, totals)}\n\n"
        f"{table(['language', 'training rows', 'test rows', *columns], by_language)}\n\n"
        f"Accuracy in percent, {len(train.texts):,} training and {len(test.texts):,} test rows. "
        f"Means over {seeds} seeds; `lid.176.ftz` is one model. {os.cpu_count()} cores "
        f"({platform.machine()}), Python {platform.python_version()}, torch {version('torch')}, "
        f"fasttext-community {version('fasttext-community')}."
    )


def main() -> None:
    """Train and score all models, and print or write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each (default: 3)")
    parser.add_argument("--lid176", type=Path, metavar="PATH", help="fastText's lid.176.ftz")
    parser.add_argument("--write-docs", action="store_true", help=f"fill docs/{PAGE.name}")
    options = parser.parse_args()
    train, test = read_rows(options.data / "train.csv"), read_rows(options.data / "test.csv")
    results: dict[str, list[Result]] = {"`langid`": [], **{name: [] for name in FASTTEXT}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seed in range(options.seeds):
            results["`langid`"].append(run_ours(train, test, seed, folder))
            for contender, settings in FASTTEXT.items():
                results[contender].append(run_fasttext(train, test, seed, folder, settings))
    if options.lid176:
        model = fasttext.load_model(str(options.lid176))
        size = options.lid176.stat().st_size
        results["`lid.176.ftz`"] = [score(fasttext_predict(model), test, 0.0, size)]
    text = report(results, train, test, options.seeds)
    print(text)
    if options.write_docs:
        write_between_markers(PAGE, "langid", text)


if __name__ == "__main__":
    main()
