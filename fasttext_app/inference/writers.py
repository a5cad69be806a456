"""Writers of predictions: one row out for every text in, in five formats.

============  ================================================================================
``text``      ``label probability[, ...]``, a tab, the text on one line; for reading
``jsonl``     ``{"text": ..., "labels": [...], "probabilities": [...]}`` a line
``csv``       ``text,label,probability``; with ``top_k > 1``: ``text,label_1,probability_1,...``
``parquet``   columns ``text`` (string), ``labels`` (list), ``probabilities`` (list); to a file only
``fasttext``  ``__label__x p ...`` a line, as fastText's ``predict-prob`` prints it
============  ================================================================================
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pyarrow as pa

from fasttext_app.core.arrow import to_numpy
from fasttext_app.core.atomic_file import atomic_file
from fasttext_app.errors import DataError
from fasttext_app.inference.predictions import PREDICTIONS
from fasttext_app.text.fasttext_tokenizer import label_word

FORMATS = ("text", "jsonl", "csv", "parquet", "fasttext")
SUFFIX_FORMATS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
}
ROW_GROUP = 1 << 16  # rows of a Parquet row group
UNWRITTEN_SUFFIXES = {".tsv", ".gz", ".bz2", ".xz", ".zst", ".xlsx", ".feather", ".arrow"}

Rows = Iterable[tuple[str, list[str], list[float]]]
"""A text, its labels and their probabilities."""


def format_for(output: Path | None, chosen: str | None) -> str:
    """Return the format to write: the chosen one, else that of the file name, else text.

    Raises:
        DataError: Parquet has no file to be written to, or the format of the file name is not
            supported.
    """
    if chosen is None and output is not None and output.suffix.lower() in UNWRITTEN_SUFFIXES:
        raise DataError(f"{output}: no format is written under {output.suffix}; pass --format")
    name = chosen or (SUFFIX_FORMATS.get(output.suffix.lower(), "text") if output else "text")
    if name == "parquet" and output is None:
        raise DataError("--format parquet needs --output FILE")
    return name


def write_predictions(
    batches: Iterable[pa.RecordBatch], output: Path | None, form: str, top_k: int
) -> int:
    """Write predictions to a file, or to standard output; return the number of rows.

    A file appears under its name only when it is complete.

    Args:
        batches: batches with the columns of ``PREDICTIONS``.
        output: the file; None: standard output.
        form: one of ``FORMATS``.
        top_k: the largest number of labels in a row.

    Raises:
        DataError: the file cannot be written.
    """
    if form == "parquet":
        assert output is not None, "format_for() checks it"
        with atomic_file(output, DataError) as partial:
            return _write_parquet(batches, partial)
    with text_output(output) as file:
        return _write_text(batches, file, form, top_k)


@contextmanager
def text_output(output: Path | None) -> Iterator[IO[str]]:
    """Open standard output, or a file that appears under its name only when it is complete.

    Raises:
        DataError: it cannot be written.
    """
    if output is None:
        if sys.stdout is None:
            raise DataError("standard output is closed; name a file with --output")
        yield sys.stdout
        return
    with (
        atomic_file(output, DataError) as partial,
        partial.open("w", encoding="utf-8", newline="") as file,
    ):
        yield file


def _write_text(batches: Iterable[pa.RecordBatch], file: IO[str], form: str, top_k: int) -> int:
    lines: Callable[[Rows, int], str] = {
        "text": _text_lines,
        "jsonl": _json_lines,
        "csv": _csv_lines,
        "fasttext": _fasttext_lines,
    }[form]
    if form == "csv":
        file.write(_csv_header(top_k))
    rows = 0
    for batch in batches:
        file.write(lines(_rows(batch), top_k))
        file.flush()
        rows += len(batch)
    return rows


def _rows(batch: pa.RecordBatch) -> Rows:
    """Return a batch as Python values; converting list by list is far slower in Arrow."""
    texts, labels, values = batch.columns
    offsets = to_numpy(labels.offsets).tolist()
    names = labels.values.to_pylist()
    numbers = to_numpy(values.values).tolist()
    ranges = [slice(start, end) for start, end in pairwise(offsets)]
    return zip(
        texts.to_pylist(), [names[r] for r in ranges], [numbers[r] for r in ranges], strict=True
    )


def _text_lines(rows: Rows, top_k: int) -> str:
    return "".join(
        f"{', '.join(f'{n} {p:.4f}' for n, p in zip(labels, values, strict=True)) or '-'}"
        f"\t{' '.join(text.split())}\n"
        for text, labels, values in rows
    )


def _json_lines(rows: Rows, top_k: int) -> str:
    documents = (
        {"text": text, "labels": labels, "probabilities": [round(value, 6) for value in values]}
        for text, labels, values in rows
    )
    return "".join(json.dumps(document, ensure_ascii=False) + "\n" for document in documents)


def _csv_header(top_k: int) -> str:
    if top_k == 1:
        return "text,label,probability\n"
    names = [f"label_{rank},probability_{rank}" for rank in range(1, top_k + 1)]
    return ",".join(["text", *names]) + "\n"


def _csv_lines(rows: Rows, top_k: int) -> str:
    lines: list[str] = []
    # Python 3.11 quotes "\r" only if the line terminator has it, so that is cut off again.
    writer = csv.writer(SimpleNamespace(write=lines.append), lineterminator="\r\n")
    for text, labels, values in rows:
        row: list[Any] = [text]
        for name, value in zip(labels, values, strict=True):
            row += [name, f"{value:.6f}"]
        writer.writerow(row + [""] * (1 + 2 * top_k - len(row)))
    return "".join(line.removesuffix("\r\n") + "\n" for line in lines)


def _fasttext_lines(rows: Rows, top_k: int) -> str:
    return "".join(
        " ".join(
            f"{label_word('-'.join(name.split()))} {value:g}"
            for name, value in zip(labels, values, strict=True)
        )
        + "\n"
        for _, labels, values in rows
    )


def _write_parquet(batches: Iterable[pa.RecordBatch], path: Path) -> int:
    import pyarrow.parquet as pq

    waiting: list[pa.RecordBatch] = []
    rows = 0
    with pq.ParquetWriter(path, PREDICTIONS) as writer:
        for batch in batches:
            waiting.append(batch)
            rows += len(batch)
            if sum(map(len, waiting)) >= ROW_GROUP:
                writer.write_table(pa.Table.from_batches(waiting))
                waiting.clear()
        writer.write_table(pa.Table.from_batches(waiting, PREDICTIONS))
    return rows
