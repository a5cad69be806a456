"""Statistics of one split: rows, text lengths, labels, and findings, for ``fasttext-app data``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from fasttext_app.core.arrays import I64
from fasttext_app.core.arrow import to_numpy
from fasttext_app.data.findings import (
    Finding,
    MissingTexts,
    SharedTexts,
    label_findings,
    missing_texts,
    row_findings,
    shared_texts,
    text_hashes,
)
from fasttext_app.data.labels import cell_labels, value_counts
from fasttext_app.data.source import Source
from fasttext_app.errors import DataError
from fasttext_app.text.chunks import as_chunks
from fasttext_app.text.tokenizers import load_tokenizer

FIRST_ROWS = 5  # rows that are returned as they are


def describe_data(
    source: Source,
    split: str,
    separator: str | None = None,
    *,
    soft: bool = False,
    whole_labels: bool = False,
    batches: Iterable[pa.RecordBatch] | None = None,
) -> dict[str, Any]:
    """Return statistics of one split, batch by batch.

    Args:
        source: the data.
        split: the name of the split.
        separator: the separator between labels when a row can have several; None: it has one.
        soft: whether cells give each label a probability.
        whole_labels: whether a cell is one label, even if its parts are labels too.
        batches: the rows of the split, if they have been read already; None: they are read.

    Raises:
        DataError: the rows cannot be read, or there are none.
    """
    tokenizer = load_tokenizer("whitespace")
    rows, lengths, first_rows = 0, [], []
    labels: Counter[str] = Counter()
    missing: Counter[str] = Counter()
    hashes, codes = [], []
    code_of: dict[str, int] = {}
    for batch in source.scan(split) if batches is None else batches:
        text = batch.column("text")
        missing.update(missing_texts(text))
        hashes.append(text_hashes(text))
        cells = batch.column("label").dictionary_encode()
        numbers = [code_of.setdefault(cell, len(code_of)) for cell in cells.dictionary.to_pylist()]
        codes.append(np.array(numbers, np.int64)[to_numpy(cells.indices)])
        if rows < FIRST_ROWS:
            first_rows += batch.slice(0, FIRST_ROWS - rows).to_pylist()
        rows += len(batch)
        lengths += [tokenizer(chunk).lengths for chunk in as_chunks(text)]
        for cell, count in value_counts(batch.column("label")).items():
            for label in cell_labels(cell, separator, soft=soft):
                labels[label] += count
    if not rows:
        raise DataError(f"{source.spec}: there are no rows")
    words, texts = np.concatenate(lengths), np.concatenate(hashes)
    findings: list[Finding] = list(
        label_findings(labels, joined=separator is None and not whole_labels)
    )
    if missing:
        findings.append(MissingTexts(missing))
    findings += row_findings(texts, np.concatenate(codes))
    findings += _shared_with_other_splits(source, split, texts)
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
        "findings": [
            {"kind": type(finding).__name__, **asdict(finding), "message": str(finding)}
            for finding in findings
        ],
    }


def _shared_with_other_splits(source: Source, split: str, texts: I64) -> Iterator[SharedTexts]:
    """Look for texts that other readable splits have too."""
    if source.single:
        return
    for other in source.splits:
        if other == source.name_of(split):
            continue
        try:
            batches = source.scan(other, with_labels=False)
            parts = [text_hashes(batch.column("text")) for batch in batches]
        except DataError:
            continue
        others = np.concatenate([np.empty(0, np.int64), *parts])
        shared = shared_texts(others, texts)
        if shared is not None:
            rows, example = shared
            yield SharedTexts(rows, len(others), other, split, example)
