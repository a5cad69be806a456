"""Compare the settings for imbalanced and noisy data with the plain loss.

The script makes five training sets from AG_NEWS (if FASTTEXT_APP_DATA is set; else from the
embedded sample): an imbalanced one, one with wrong labels, a small one, one whose annotators
disagree, and one of texts about two things. It trains on each with the plain settings and with each
option. The strength of an option is chosen on held-out rows with the same defect; the scores are
means over seeds, on the test split. Every seed draws its own training sets.

    python scripts/bench_imbalance.py [--seeds 5] [--write-docs]
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from pages import write_between_markers

import fasttext_app as ft
from fasttext_app.config.schema import DataConfig
from fasttext_app.data.soft_labels import parse_soft_labels
from fasttext_app.data.spec import open_source
from fasttext_app.errors import DataError

PAGE = Path(__file__).resolve().parent.parent / "docs" / "imbalance.md"
BASE: dict[str, Any] = {
    "dim": 32,
    "word_ngrams": 2,
    "bucket": 200_000,
    "lr": 0.3,
    "threads": 1,
    "device": "cpu",
}
SEPARATOR = "|"

Rows = list[tuple[str, str]]


@dataclass
class Case:
    """A training set with a defect, and the options to try against it."""

    name: str
    defect: str
    make: Callable[[Rows, random.Random], tuple[Rows, Rows]]
    """Turns clean rows into training rows and held-out rows, both with the defect."""
    options: dict[str, list[dict[str, Any]]]
    metric: str = "macro_f1"
    base: dict[str, Any] = field(default_factory=dict)


def imbalanced(rows: Rows, chance: random.Random) -> tuple[Rows, Rows]:
    """Keep all rows of the first label, and of each next label a fifth of that number."""
    by_label: dict[str, Rows] = {}
    for row in rows:
        by_label.setdefault(row[1], []).append(row)
    most = min(6000, *map(len, by_label.values()))
    kept: Rows = []
    for number, label in enumerate(sorted(by_label)):
        kept += by_label[label][: max(most // 5 ** min(number, 3), 20)]
    return _split(kept, chance)


def mislabeled(rows: Rows, chance: random.Random) -> tuple[Rows, Rows]:
    """Give one row in five another label, in training and held out alike."""
    labels = sorted({label for _, label in rows})
    kept = [
        (text, chance.choice([o for o in labels if o != label]) if chance.random() < 0.2 else label)
        for text, label in rows[:6000]
    ]
    return _split(kept, chance)


def few(rows: Rows, chance: random.Random) -> tuple[Rows, Rows]:
    """Keep 800 rows."""
    return _split(rows[:800], chance)


def annotated(rows: Rows, chance: random.Random) -> tuple[Rows, Rows]:
    """Let five annotators label each row, each wrong one time in three."""
    labels = sorted({label for _, label in rows})
    kept = []
    for text, label in rows[:3000]:
        votes = Counter(
            label
            if chance.random() < 2 / 3
            else chance.choice([other for other in labels if other != label])
            for _ in range(5)
        )
        kept.append((text, SEPARATOR.join(f"{name}={n / 5}" for name, n in votes.items())))
    return _split(kept, chance)


def joined(rows: Rows, chance: random.Random) -> tuple[Rows, Rows]:
    """Join the beginnings of two texts; the probability of each label is its part of the text."""
    kept = []
    for (first, label), (second, other) in zip(rows[:2000:2], rows[1:2000:2], strict=True):
        share = chance.choice([0.5, 0.6, 0.7, 0.8, 0.9])
        one, two = first.split(), second.split()
        text = [*one[: round(share * len(one))], *two[: round((1 - share) * len(two))]]
        probabilities = {label: 1.0} if label == other else {label: share, other: 1 - share}
        cell = SEPARATOR.join(f"{name}={p:.1f}" for name, p in probabilities.items())
        kept.append((" ".join(text), cell))
    return _split(kept, chance)


def _split(rows: Rows, chance: random.Random) -> tuple[Rows, Rows]:
    chance.shuffle(rows)
    held = len(rows) // 5
    return rows[held:], rows[:held]


SOFT: dict[str, Any] = {"label_separator": SEPARATOR, "soft_labels": True}
CASES = [
    Case(
        "imbalanced",
        "each label has a fifth of the rows of the one before",
        imbalanced,
        {
            "class_weights": [{"class_weights": "balanced"}],
            "focal_gamma": [{"focal_gamma": gamma} for gamma in (1.0, 2.0, 5.0)],
            "class_weights, focal_gamma": [
                {"class_weights": "balanced", "focal_gamma": gamma} for gamma in (1.0, 2.0, 5.0)
            ],
        },
    ),
    Case(
        "mislabeled",
        "one label in five is wrong",
        mislabeled,
        {
            "label_smoothing": [{"label_smoothing": share} for share in (0.1, 0.3, 0.5)],
            "token_dropout": [{"token_dropout": rate} for rate in (0.1, 0.3, 0.5)],
            "bag_dropout": [{"bag_dropout": rate} for rate in (0.1, 0.3, 0.5)],
            "focal_gamma": [{"focal_gamma": gamma} for gamma in (1.0, 2.0, 5.0)],
        },
        metric="accuracy",
    ),
    Case(
        "small",
        "800 rows",
        few,
        {
            "label_smoothing": [{"label_smoothing": share} for share in (0.1, 0.3, 0.5)],
            "token_dropout": [{"token_dropout": rate} for rate in (0.1, 0.3, 0.5)],
            "bag_dropout": [{"bag_dropout": rate} for rate in (0.1, 0.3, 0.5)],
        },
        metric="accuracy",
        base={"epochs": 20},
    ),
    Case(
        "annotated",
        "five annotators for each row, each wrong one time in three",
        annotated,
        {"soft_labels": [SOFT]},
        metric="accuracy",
    ),
    Case(
        "joined",
        "a text joins the beginnings of two; the probability of each label is its part of the text",
        joined,
        {"soft_labels": [SOFT]},
        metric="accuracy",
        base={"epochs": 10},
    ),
]


def read_rows(split: str) -> tuple[str, Rows]:
    """Return the name of the dataset and its rows."""
    for spec in ("ag_news", "sample"):
        if spec == "ag_news" and "FASTTEXT_APP_DATA" not in os.environ:
            continue
        try:
            table = open_source(DataConfig(source=spec)).read(split)
        except DataError:
            continue
        return spec, list(zip(table["text"].to_pylist(), table["label"].to_pylist(), strict=True))
    sys.exit("there is no data")


def most_voted(rows: Rows) -> Rows:
    """Replace the probabilities of each row by its most likely label."""
    best = []
    for text, cell in rows:
        probabilities = parse_soft_labels(cell, SEPARATOR)
        best.append((text, max(probabilities, key=probabilities.__getitem__)))
    return best


def score(case: Case, train: Rows, rows: Rows, options: dict[str, Any], seed: int) -> Any:
    """Train on some rows and score on others."""
    if "soft_labels" not in options:
        train = most_voted(train)
    texts, labels = zip(*train, strict=True)
    settings = {**BASE, **case.base, **options, "seed": seed, "validation": 0.0}
    model = ft.train(texts, labels, **settings)
    return model.evaluate(*map(list, zip(*most_voted(rows), strict=True)))


def run(case: Case, train: Rows, test: Rows, seed: int) -> dict[str, tuple[str, Any]]:
    """Return the strength chosen for each option, and its scores on the test split."""
    chance = random.Random(seed)
    rows = train.copy()
    chance.shuffle(rows)
    training, held_out = case.make(rows, chance)
    results = {}
    options: dict[str, list[dict[str, Any]]] = {"plain": [{}], **case.options}
    for name, strengths in options.items():
        best = strengths[0]
        if len(strengths) > 1:
            best = max(
                strengths,
                key=lambda options: score(case, training, held_out, options, seed)[case.metric],
            )
        numbers = [str(value) for value in best.values() if isinstance(value, float)]
        shown = numbers[0] if len(strengths) > 1 else ""
        results[name] = shown, score(case, training, test, best, seed)
    return results


def table(case: Case, runs: Sequence[dict[str, tuple[str, Any]]]) -> str:
    """Return a Markdown table of one case."""
    lines = [
        f"**{case.name}**: {case.defect}.\n",
        "| option | strength, by seed | accuracy | macro F1 | against plain |",
        "|---|---|---:|---:|---:|",
    ]
    for name in runs[0]:
        scores = [entry[name][1] for entry in runs]
        chosen = "; ".join(entry[name][0] for entry in runs) if runs[0][name][0] else ""
        gains = [
            100 * (own[case.metric] - entry["plain"][1][case.metric])
            for own, entry in zip(scores, runs, strict=True)
        ]
        spread = f" ± {stdev(gains):.2f}" if len(gains) > 1 else ""
        lines.append(
            f"| `{name}` | {chosen} | {100 * mean(s['accuracy'] for s in scores):.2f} % "
            f"| {100 * mean(s['macro_f1'] for s in scores):.2f} % "
            f"| {'' if name == 'plain' else f'{mean(gains):+.2f}{spread}'} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run all cases, and print or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cases", nargs="+", default=[case.name for case in CASES])
    parser.add_argument("--write-docs", action="store_true", help=f"rewrite the tables in {PAGE}")
    options = parser.parse_args()
    (name, train), (_, test) = read_rows("train"), read_rows("test")
    parts = [f"Data: `{name}`, tested on the {len(test):,} rows of its test split; seeds 0 to "
             f"{options.seeds - 1}."]  # fmt: skip
    for case in (case for case in CASES if case.name in options.cases):
        runs = []
        for seed in range(options.seeds):
            runs.append(run(case, train, test, seed))
            print(f"{case.name}, seed {seed} is done", file=sys.stderr)
        parts.append(table(case, runs))
        print(parts[-1], flush=True)
    if options.write_docs:
        write_between_markers(PAGE, "bench", "\n\n".join(parts))


if __name__ == "__main__":
    main()
