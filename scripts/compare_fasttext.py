"""Train with the original and with this program on AG_NEWS, and compare accuracy and predictions.

For every seed, both train with the settings of `configs/fasttext.toml`, and each model is read by
both. Needs the AG_NEWS files under $FASTTEXT_APP_DATA and fasttext-community (extra `dev`).

    python scripts/compare_fasttext.py [--seeds 5] [--write-docs]
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import fasttext
from pages import check_markers, write_between_markers

from fasttext_app import compat
from fasttext_app import train as train_here
from fasttext_app.compat.model import FastText
from fasttext_app.config.auto import known
from fasttext_app.config.loading import load_config_file, resolve
from fasttext_app.data.spec import open_source
from fasttext_app.fasttext.convert import to_fasttext
from fasttext_app.fasttext.file_format import write_file

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "fasttext.md"
SPACES = re.compile(r"\s+")


def write_rows(split: str, path: Path) -> None:
    """Write a split of AG_NEWS in the original's format, a line for each row."""
    config = resolve(load_config_file("fasttext"))
    with path.open("w", encoding="utf-8") as file:
        for batch in open_source(config.data).scan(split):
            for row in batch.to_pylist():
                label = row["label"].replace(" ", "_")
                file.write(f"__label__{label} {SPACES.sub(' ', row['text']).strip()}\n")


def compare(seed: int, train: Path, test: Path, folder: Path) -> tuple[float, ...]:
    """Train both with a seed.

    Returns:
        The accuracy of the original and of this program, and the largest difference between the
        probabilities of both readers, for the original's model and for this program's.
    """
    config = resolve(load_config_file("fasttext"))
    text, trainer = config.text, config.trainer
    theirs = fasttext.train_supervised(
        str(train),
        dim=config.model.dim,
        lr=known(config.optimizer.lr) / known(trainer.batch_size),
        epoch=trainer.epochs,
        wordNgrams=text.word_ngrams,
        bucket=text.bucket,
        minCount=text.min_count,
        seed=seed,
        thread=os.cpu_count() or 1,
        verbose=0,
    )
    ours = train_here(str(train), config="fasttext", seed=seed)
    path = folder / "model.bin"
    theirs.save_model(str(path))
    imported = largest_difference(theirs, compat.load_model(path), test)
    write_file(to_fasttext(ours.artifact), path)
    exported = largest_difference(fasttext.load_model(str(path)), compat.load_model(path), test)
    accuracy = FastText.from_classifier(ours).test(test)[1]
    return theirs.test(str(test))[1], accuracy, imported, exported


def largest_difference(theirs: Any, ours: FastText, test: Path) -> float:
    """Return the largest difference of a probability; exit if the labels of a row differ."""
    lines = [line.split(" ", 1)[1] for line in test.read_text(encoding="utf-8").splitlines()]
    largest = 0.0
    for a, b in zip(predictions(theirs, lines), predictions(ours, lines), strict=True):
        if next(iter(a)) != next(iter(b)) or a.keys() != b.keys():
            sys.exit(f"the labels differ: {a} and {b}")
        largest = max(largest, *(abs(min(a[label], 1) - b[label]) for label in a))
    return largest


def predictions(model: Any, lines: list[str]) -> list[dict[str, float]]:
    """Return the probability of every label of each line, the best first."""
    return [
        dict(zip(labels, map(float, probabilities), strict=True))
        for labels, probabilities in zip(*model.predict(lines, k=-1), strict=True)
    ]


def table(runs: list[tuple[float, ...]]) -> str:
    """Return the results as a Markdown table."""
    theirs, ours, imported, exported = zip(*runs, strict=True)
    return "\n".join(
        [
            "| Trained by | Test accuracy | Largest difference of a probability |",
            "|---|---:|---:|",
            f"| fastText | {mean_and_spread(theirs)} | {max(imported):.1e} |",
            f"| `train --config fasttext` | {mean_and_spread(ours)} | {max(exported):.1e} |",
            "",
            f"Difference of the means: {100 * (mean(ours) - mean(theirs)):+.2f} points; "
            f"seeds 0 to {len(runs) - 1} (± sample standard deviation); fasttext-community "
            f"{version('fasttext-community')}. Both agreed on the best label of every row. "
            "Probabilities of the original above 1 count as 1.",
        ]
    )


def mean_and_spread(accuracies: tuple[float, ...]) -> str:
    """Return the mean and the standard deviation in percent."""
    percent = [100 * accuracy for accuracy in accuracies]
    spread = f" ± {stdev(percent):.2f}" if len(percent) > 1 else ""
    return f"{mean(percent):.2f} %{spread}"


def main() -> None:
    """Compare both for every seed; print the table or write it into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="runs of each (default: 5)")
    parser.add_argument(
        "--write-docs", action="store_true", help=f"rewrite the table in {PAGE.name}"
    )
    options = parser.parse_args()
    if options.write_docs:
        check_markers(PAGE, "compare")
    fasttext.FastText.eprint = lambda *_: None
    runs = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train, test = folder / "train.txt", folder / "test.txt"
        write_rows("train", train)
        write_rows("test", test)
        for seed in range(options.seeds):
            runs.append(compare(seed, train, test, folder))
            print(
                f"seed {seed}: fastText {runs[-1][0]:.4f}, here {runs[-1][1]:.4f}", file=sys.stderr
            )
    text = table(runs)
    print(text)
    if options.write_docs:
        write_between_markers(PAGE, "compare", text)


if __name__ == "__main__":
    main()
