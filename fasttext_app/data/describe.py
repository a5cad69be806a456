"""Statistics of one split: rows, text lengths and labels, for ``fasttext-app data``."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from fasttext_app.data.labels import cell_labels, value_counts
from fasttext_app.data.source import Source
from fasttext_app.errors import DataError
from fasttext_app.text.chunks import as_chunks
from fasttext_app.text.tokenizers import load_tokenizer

FIRST_ROWS = 5  # rows that are returned as they are


def describe_data(
    source: Source, split: str, separator: str | None = None, *, soft: bool = False
) -> dict[str, Any]:
    """Return statistics of one split, reading it batch by batch.

    Args:
        source: the data.
        split: the name of the split.
        separator: the separator between labels when a row can have several; None: it has one.
        soft: whether cells give each label a probability.

    Raises:
        DataError: the rows cannot be read, or there are none.
    """
    tokenizer = load_tokenizer("whitespace")
    rows, lengths, first_rows = 0, [], []
    labels: Counter[str] = Counter()
    for batch in source.scan(split):
        text = batch.column("text")
        if rows < FIRST_ROWS:
            first_rows += batch.slice(0, FIRST_ROWS - rows).to_pylist()
        rows += len(batch)
        lengths += [tokenizer(chunk).lengths for chunk in as_chunks(text)]
        for cell, count in value_counts(batch.column("label")).items():
            for label in cell_labels(cell, separator, soft=soft):
                labels[label] += count
    if not rows:
        raise DataError(f"{source.spec}: there are no rows")
    words = np.concatenate(lengths)
    return {
        "source": source.spec,
        "split": split,
        "splits": list(source.splits) if not source.single else [],
        "rows": rows,
        "words": {
            "total": int(words.sum()),
            "mean": float(words.mean()),
            "median": float(np.median(words)),
            "longest": int(words.max()),
        },
        "empty_texts": int((words == 0).sum()),
        "labels": dict(sorted(labels.items(), key=lambda label: (-label[1], label[0]))),
        "first_rows": first_rows,
    }
