"""Statistics of one split: rows, text lengths, labels."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from fasttext_app.data.labels import label_counts, split_cell
from fasttext_app.data.soft_labels import shares_of_cell
from fasttext_app.data.source import Source
from fasttext_app.errors import DataError
from fasttext_app.text.encoder import tokenize
from fasttext_app.text.tokenizers import load_tokenizer


def describe_data(
    source: Source, split: str, separator: str | None = None, *, soft: bool = False
) -> dict[str, Any]:
    """Count rows, lengths and labels of one split, reading it batch by batch.

    Args:
        source: the data.
        split: which of it.
        separator: what parts the labels of a row that may have several; None: it has one.
        soft: whether its labels have shares.

    Raises:
        DataError: the rows cannot be read, or there are none.
    """
    labels_of = shares_of_cell if soft else split_cell
    split_words = load_tokenizer("whitespace")
    rows, lengths, first = 0, [], []
    labels: Counter[str] = Counter()
    for batch in source.scan(split):
        text = batch.column("text")
        if rows < 5:
            first += batch.slice(0, 5 - rows).to_pylist()
        rows += len(batch)
        lengths += [tokens.lengths for tokens in tokenize(split_words, text)]
        for cell, count in label_counts(batch.column("label")).items():
            for label in [cell] if separator is None else labels_of(cell, separator):
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
        "first_rows": first,
    }
