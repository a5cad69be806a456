"""Flip labels of AG_NEWS, and measure how many of them a review finds.

    python scripts/bench_review.py                # all training rows, 5 % flipped, 5 folds
    python scripts/bench_review.py --rows 20000   # the first rows only
    python scripts/bench_review.py --write        # put the table into docs/review.md too

A flipped row gets one of the other labels at random. Precision is the fraction of the listed rows
that were flipped, recall the fraction of the flipped rows that are listed. Labels of AG_NEWS that
were wrong before count against the precision. Nothing is tuned on these rows.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
from pages import write_between_markers

import fasttext_app as ft
from fasttext_app.config.schema import DataConfig
from fasttext_app.core.arrays import I64, Bool
from fasttext_app.data.spec import open_source

PAGE = Path(__file__).resolve().parents[1] / "docs" / "review.md"
MARKER = "review"


def flipped(labels: list[str], share: float, seed: int) -> tuple[list[str], Bool]:
    """Return labels of which a share is replaced by another one, and which ones are.

    >>> labels, mask = flipped(["a", "b"] * 10, 0.1, seed=0)
    >>> int(mask.sum()), [label for label, is_flipped in zip(labels, mask) if is_flipped]
    (2, ['b', 'b'])
    """
    generator = np.random.default_rng(seed)
    names = sorted(set(labels))
    mask = np.zeros(len(labels), bool)
    mask[generator.choice(len(labels), round(share * len(labels)), replace=False)] = True
    result = list(labels)
    for row in np.flatnonzero(mask).tolist():
        others = [name for name in names if name != labels[row]]
        result[row] = others[generator.integers(len(others))]
    return result, mask


def found_by_rank(listed: I64, mask: Bool) -> list[tuple[str, int, float, float]]:
    """Return name, rows, precision and recall of the beginning of a list, and of all of it."""
    total = int(mask.sum())
    cuts = {
        "the first 1,000": 1000,
        "as many as were flipped": total,
        "the whole list": len(listed),
    }
    lines = []
    for name, count in cuts.items():
        rows = listed[:count]
        hits = int(mask[rows].sum())
        lines.append((name, len(rows), hits / max(len(rows), 1), hits / max(total, 1)))
    return lines


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=0, help="the first rows only; 0: all")
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE.name}")
    arguments = parser.parse_args()
    table = open_source(DataConfig(source="ag_news")).read("train")
    if arguments.rows:
        table = table.slice(0, arguments.rows)
    labels, mask = flipped(table.column("label").to_pylist(), arguments.share, arguments.seed)
    rows = pa.table({"text": table.column("text"), "label": labels})
    review = ft.review(rows, folds=arguments.folds, seed=arguments.seed)
    listed = np.array([suspect.row - 1 for suspect in review.of("label")], np.int64)
    suggested = {suspect.row - 1: suspect.suggested for suspect in review.of("label")}
    originals = table.column("label").to_pylist()
    hits = [row for row in listed.tolist() if mask[row]]
    restored = sum(suggested[row] == originals[row] for row in hits) / max(len(hits), 1)
    lines = ["| rows listed | | precision | recall |", "|---|---:|---:|---:|"]
    lines += [
        f"| {name} | {count:,} | {precision:.1%} | {recall:.1%} |"
        for name, count, precision, recall in found_by_rank(listed, mask)
    ]
    text = "\n".join(
        [
            f"{int(mask.sum()):,} of {len(labels):,} labels flipped, {arguments.folds} folds:",
            "",
            *lines,
            "",
            f"Of the flipped rows that are listed, {restored:.1%} are suggested their old label.",
        ]
    )
    print(text)
    if arguments.write:
        write_between_markers(PAGE, MARKER, text)


if __name__ == "__main__":
    main()
