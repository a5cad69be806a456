"""Train with the original and with `configs/fasttext.toml` on AG_NEWS, and show that both agree.

For every seed: the original trains on the rows by the config's settings, and so does this program;
each model is then read by the other. Needs the AG_NEWS files under $FASTTEXT_APP_DATA and
fasttext-community (extra `dev`).

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
from fasttext_app.config.loading import load_config_file, resolve
from fasttext_app.data.spec import open_source
from fasttext_app.fasttext.convert import to_fasttext
from fasttext_app.fasttext.file_format import write_file

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "fasttext.md"
SPACES = re.compile(r"\s+")


def write_rows(split: str, path: Path) -> None:
    """Write AG_NEWS in the original's form, one line a row."""
    config = resolve(load_config_file("fasttext"))
    with path.open("w", encoding="utf-8") as file:
        for batch in open_source(config.data).scan(split):
            for row in batch.to_pylist():
                label = row["label"].replace(" ", "_")
                file.write(f"__label__{label} {SPACES.sub(' ', row['text']).strip()}\n")


def compare(seed: int, train: Path, test: Path, folder: Path) -> tuple[float, ...]:
    """Return both accuracies, and the largest difference of a probability, read either way."""
    config = resolve(load_config_file("fasttext"))
    text, trainer = config.text, config.trainer
    theirs = fasttext.train_supervised(
        str(train),
        dim=config.model.dim,
        lr=config.optimizer.lr / trainer.batch_size,
        epoch=trainer.epochs,
        wordNgrams=text.word_ngrams,
        bucket=text.bucket,
        minCount=text.min_count,
        seed=seed,
        thread=os.cpu_count() or 1,
        verbose=0,
    )
    ours = train_here(str(train), config="fasttext", seed=seed)
    file = folder / "model.bin"
    theirs.save_model(str(file))
    imported = difference(theirs, compat.load_model(file), test)
    write_file(to_fasttext(ours.artifact), file)
    exported = difference(fasttext.load_model(str(file)), compat.load_model(file), test)
    here = compat.FastText(ours).test(test)[1]
    return theirs.test(str(test))[1], here, imported, exported


def difference(theirs: Any, ours: compat.FastText, test: Path) -> float:
    """Return the largest difference of a probability; end if a row's best labels are not equal."""
    lines = [line.split(" ", 1)[1] for line in test.read_text(encoding="utf-8").splitlines()]
    largest = 0.0
    for one, other in zip(answers(theirs, lines), answers(ours, lines), strict=True):
        if next(iter(one)) != next(iter(other)) or one.keys() != other.keys():
            sys.exit(f"the labels differ: {one} and {other}")
        largest = max(largest, *(abs(min(one[label], 1) - other[label]) for label in one))
    return largest


def answers(model: Any, lines: list[str]) -> list[dict[str, float]]:
    """Return the probability of every label of each line, the best first."""
    labels, numbers = model.predict(lines, k=-1)
    return [
        dict(zip(row, map(float, values), strict=True))
        for row, values in zip(labels, numbers, strict=True)
    ]


def table(runs: list[tuple[float, ...]]) -> str:
    """Return the results as a Markdown table."""
    theirs, ours, imported, exported = zip(*runs, strict=True)
    return "\n".join(
        [
            "| trained by | test accuracy | read by both: largest difference of p |",
            "|---|---:|---:|",
            f"| fastText | {shown(theirs)} | {max(imported):.1e} |",
            f"| `train --config fasttext` | {shown(ours)} | {max(exported):.1e} |",
            "",
            f"Difference of the means: {100 * (mean(ours) - mean(theirs)):+.2f} points; "
            f"seeds 0 to {len(runs) - 1} (± sample standard deviation); fasttext-community "
            f"{version('fasttext-community')}. The best label of every row was the same on both "
            "sides. A probability of the original that is above 1 is taken as 1.",
        ]
    )


def shown(accuracies: tuple[float, ...]) -> str:
    """Return a mean with its spread, in percent."""
    percent = [100 * accuracy for accuracy in accuracies]
    spread = f" ± {stdev(percent):.2f}" if len(percent) > 1 else ""
    return f"{mean(percent):.2f} %{spread}"


def main() -> None:
    """Compare for every seed; print or write the table."""
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
