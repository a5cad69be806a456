"""Writers of predictions: one row out for every text in, in five formats.

============  ================================================================================
``text``      ``label probability[, ...]``, a tab, the text on one line; for reading: control
              characters in labels and texts are escaped
``jsonl``     ``{"text": ..., "labels": [...], "probabilities": [...], "known": 1.0}`` a line
``csv``       ``text,label,probability``; with ``top_k > 1``: ``text,label_1,probability_1,...``
``parquet``   columns ``text`` (string), ``labels`` and ``probabilities`` (lists), ``known``; to a
              file only
``fasttext``  ``__label__x p ...`` a line, as fastText's ``predict-prob`` prints it
============  ================================================================================

Columns of the input that are kept come before the text. A missing text has a null for an answer.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain, pairwise, repeat
from pathlib import Path
from types import SimpleNamespace
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from fasttext_app.core import jit
from fasttext_app.core.arrays import Array, constant
from fasttext_app.core.arrow import (
    is_string,
    string_array,
    string_buffers,
    strings_from_buffers,
    to_arrow,
    to_numpy,
    without_nulls,
)
from fasttext_app.core.atomic_file import atomic_file
from fasttext_app.core.threads import map_ahead
from fasttext_app.errors import DataError
from fasttext_app.foreign_text import for_spreadsheet, for_terminal
from fasttext_app.inference.predictions import KNOWN, PREDICTIONS
from fasttext_app.text.fasttext_tokenizer import label_word

if TYPE_CHECKING:
    import pyarrow.parquet as pq

FORMATS = ("text", "jsonl", "csv", "parquet", "fasttext")
SUFFIX_FORMATS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
}
ROW_GROUP = 1 << 16  # rows of a Parquet row group
MANY_ROWS = 256  # of a batch, from which on its lines are made in compiled code
MAX_BYTES = 1 << 28  # of such a batch: in JSON, a byte can become six, and offsets have 32 bits
UNWRITTEN_SUFFIXES = {".tsv", ".gz", ".bz2", ".xz", ".zst", ".xlsx", ".feather", ".arrow"}

WITH_KNOWN = ("jsonl", "parquet")
"""The formats that tell how much of each text is known."""


class Row(NamedTuple):
    """A prediction as Python values; of a missing text, all but the kept values are None."""

    text: str | None
    labels: list[str] | None
    probabilities: list[float] | None
    known: float | None
    kept: tuple[Any, ...]
    """The values of the kept columns."""


def format_for(
    output: Path | None,
    chosen: str | None,
    formats: Mapping[str, str] = SUFFIX_FORMATS,
    default: str = "text",
) -> str:
    """Return the format to write: the chosen one, or the file name's, or the default.

    Args:
        output: the file; None: standard output.
        chosen: the format that was asked for.
        formats: the format of each suffix.
        default: the format of other suffixes, but not of those that promise another one.

    Raises:
        DataError: Parquet has no file to be written to, or the format of the file name is not
            supported.
    """
    suffix = "" if output is None else output.suffix.lower()
    promised = UNWRITTEN_SUFFIXES | SUFFIX_FORMATS.keys()
    if chosen is None and suffix in promised and suffix not in formats:
        assert output is not None
        raise DataError(f"{output}: no format is written under {output.suffix}; pass --format")
    name = chosen or formats.get(suffix, default)
    if name == "parquet" and output is None:
        raise DataError("--format parquet needs --output FILE")
    return name


def write_predictions(
    batches: Iterable[pa.RecordBatch],
    output: Path | None,
    form: str,
    top_k: int,
    *,
    safe_csv: bool = False,
) -> int:
    """Write predictions to a file, or to standard output; return the number of rows.

    A file appears under its name only when it is complete.

    Args:
        batches: batches with the columns of ``PREDICTIONS``.
        output: the file; None: standard output.
        form: one of ``FORMATS``.
        top_k: the largest number of labels in a row.
        safe_csv: whether to guard cells of CSV that a spreadsheet would run as formulas.

    Raises:
        DataError: the file cannot be written.
    """
    if form == "parquet":
        assert output is not None, "format_for() checks it"
        with atomic_file(output, DataError) as partial_file:
            return write_parquet(batches, partial_file, pa.schema([*PREDICTIONS, KNOWN]))
    with text_output(output) as file:
        # Whoever reads standard output may wait for the lines of a batch.
        ahead = int(output is not None)
        return write_text(batches, file, form, top_k, safe_csv=safe_csv, ahead=ahead)


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
        atomic_file(output, DataError) as partial_file,
        partial_file.open("w", encoding="utf-8", newline="") as file,
    ):
        yield file


def write_text(
    batches: Iterable[pa.RecordBatch],
    file: IO[str],
    form: str,
    top_k: int,
    *,
    safe_csv: bool,
    ahead: int = 0,
) -> int:
    """Write predictions to an open file, in any format but Parquet; return the number of rows.

    Args:
        batches: as for :func:`write_predictions`.
        file: the file.
        form: the format.
        top_k: as for :func:`write_predictions`.
        safe_csv: as for :func:`write_predictions`.
        ahead: 1: make the lines of a batch while the next one is computed, and so write them later.
    """
    writers: dict[str, Callable[[Iterable[Row], list[str], int], str]] = {
        "text": _text_lines,
        "jsonl": _json_lines,
        "csv": partial(_csv_lines, safe=safe_csv),
        "fasttext": _fasttext_lines,
    }
    lines = writers[form]
    stream = iter(batches)
    first = next(stream, None)
    kept = [] if first is None else _kept_names(first.schema)
    if form == "csv":
        file.write(_csv_header(kept, top_k, safe=safe_csv))

    def lines_of(batch: pa.RecordBatch) -> tuple[str, int]:
        fast = _fast_lines(batch, kept, form, top_k) if not safe_csv else None
        return fast if fast is not None else lines(_rows(batch, len(kept)), kept, top_k), len(batch)

    rows = 0
    for text, size in map_ahead(lines_of, chain([] if first is None else [first], stream), ahead):
        file.write(text)
        file.flush()
        rows += size
    return rows


def _fast_lines(batch: pa.RecordBatch, kept: list[str], form: str, top_k: int) -> str | None:
    """Return the lines of many predictions in JSON or CSV, made in compiled code.

    None for the formats, and for the rows, that the plain functions below write: a few, some with
    a missing text, and any whose numbers are no probabilities.
    """
    texts, labels, values, *known = batch.columns[len(kept) :]
    if form not in ("jsonl", "csv") or not _can_compile(batch) or texts.null_count:
        return None
    numbers = to_numpy(values.values)
    if not ((numbers >= 0) & (numbers <= 1)).all():
        return None
    from fasttext_app.inference.writer_kernels import number_strings

    def rounded(numbers: Array) -> pa.StringArray:
        return strings_from_buffers(*number_strings(constant(numbers), form == "jsonl"))

    columns = batch.columns[: len(kept) + 1]
    if form == "csv":
        pairs = _joined([_csv_cells(labels.values), ",", rounded(numbers)])
        # A record has cells for top_k labels: empty ones for those that there are not.
        begins = string_array(["", *([","] * top_k)])
        ends = string_array(["," * (2 * (top_k - size)) for size in range(top_k + 1)])
        sizes = to_arrow(np.diff(to_numpy(labels.offsets)))
        pairs = _lists_joined(labels, pairs, ",")
        return _csv_text(map(_csv_cells, columns), [begins.take(sizes), pairs, ends.take(sizes)])
    cells = [*map(_json_cells, columns), _json_cells(labels), _as_lists(values, rounded(numbers))]
    cells += [rounded(to_numpy(column)) for column in known]
    return _json_text(batch.schema.names, cells)


def _can_compile(batch: pa.RecordBatch) -> bool:
    """Return whether to make the lines of a batch in compiled code."""
    is_large = len(batch) >= MANY_ROWS and jit.enabled() and batch.nbytes <= MAX_BYTES
    # csv.writer quotes an empty cell that is alone in its record; JSON has each name once.
    return is_large and 1 < batch.num_columns == len(set(batch.schema.names))


def _json_text(names: Iterable[str], cells: Iterable[pa.StringArray]) -> str:
    """Return lines of JSON, given the cells of each name."""
    parts: list[str | pa.StringArray] = []
    for name, column in zip(names, cells, strict=True):
        parts += [f"{', ' if parts else '{'}{_json(name)}: ", column]
    return _text([*parts, "}\n"])


def _csv_text(cells: Iterable[pa.StringArray], more: Sequence[str | pa.StringArray] = ()) -> str:
    """Return lines of CSV, given the cells of each column, and what follows them."""
    parts = [part for column in cells for part in (",", column)]
    return _text([*parts[1:], *more, "\n"])


def _json_cells(column: pa.Array) -> pa.StringArray:
    """Return the values of a column in JSON."""
    column = _as_strings(column)
    if column.type == pa.string():
        from fasttext_app.inference.writer_kernels import json_strings

        cells = strings_from_buffers(*json_strings(*string_buffers(without_nulls(column))))
    elif pa.types.is_list(column.type):
        first, last = to_numpy(column.offsets)[[0, -1]].tolist()
        values = _json_cells(column.values.slice(first, last - first))
        lists = pa.ListArray.from_arrays(to_arrow(to_numpy(column.offsets) - first), values)
        cells = _as_lists(lists, values)
    elif _is_number(column.type):
        cells = _number_cells(column, _valid_json)
    else:
        cells = string_array([_json(_valid_json(value)) for value in column.to_pylist()])
    return _with_nulls(cells, column, "null")


def _csv_cells(column: pa.Array) -> pa.StringArray:
    """Return the values of a column as :func:`_cell` does, in quotes where CSV needs them."""
    column = _as_strings(column)
    if _is_number(column.type):
        return _with_nulls(_number_cells(column), column, "")
    from fasttext_app.inference.writer_kernels import csv_strings

    if pa.types.is_list(column.type):
        column = _with_nulls(_json_cells(column), column, "")
    elif column.type != pa.string():
        column = string_array(list(map(_cell, column.to_pylist())))
    return strings_from_buffers(*csv_strings(*string_buffers(without_nulls(column))))


def _as_strings(column: pa.Array) -> pa.Array:
    """Return a column of strings in any layout in the usual one; another column as it is."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    return column.cast(pa.string()) if is_string(kind) and column.type != pa.string() else column


def _is_number(kind: pa.DataType) -> bool:
    is_whole = pa.types.is_integer(kind) or pa.types.is_boolean(kind)
    return bool(is_whole or pa.types.is_floating(kind))


def _number_cells(column: pa.Array, change: Callable[[float], object] = float) -> pa.StringArray:
    """Return numbers as ``json.dumps`` writes them, in full precision.

    Args:
        column: integers, floats or booleans.
        change: is applied to floats that are not finite.
    """
    if not pa.types.is_floating(column.type):
        return column.cast(pa.string())
    import pyarrow.compute as pc

    column = column.cast(pa.float64())
    values, cells = to_numpy(column), column.cast(pa.string())
    # Arrow writes whole, large and small numbers in another form than Python.
    sizes = np.abs(values)
    is_other = ~((sizes >= 1e-4) & (sizes < 1e10) & (values != np.trunc(values)))
    others = string_array([_json(change(value)) for value in values[is_other].tolist()])
    return pc.replace_with_mask(cells, to_arrow(is_other), others)


def _with_nulls(cells: pa.StringArray, column: pa.Array, null: str) -> pa.StringArray:
    """Return cells with ``null`` where a column has no value."""
    if not column.null_count:
        return cells
    import pyarrow.compute as pc

    return pc.if_else(column.is_null(), string_array([null])[0], cells)


def _as_lists(lists: pa.ListArray, cells: pa.StringArray) -> pa.StringArray:
    """Return lists in JSON, where ``cells`` has the values of all of them."""
    return _joined(["[", _lists_joined(lists, cells, ", "), "]"])


def _lists_joined(lists: pa.ListArray, strings: pa.Array, separator: str) -> pa.Array:
    """Return the strings of each list as one, where ``strings`` has those of all lists."""
    if len(strings) == len(lists) and (np.diff(to_numpy(lists.offsets)) == 1).all():
        return strings
    import pyarrow.compute as pc

    joined = pa.ListArray.from_arrays(lists.offsets, strings)
    return pc.binary_join(joined, string_array([separator])[0])


def _joined(parts: Sequence[str | pa.Array]) -> pa.Array:
    """Return the columns row by row, one part after another; a string is the same in each row."""
    import pyarrow.compute as pc

    columns = [string_array([part])[0] if isinstance(part, str) else part for part in parts]
    return pc.binary_join_element_wise(*columns, string_array([""])[0])


def _text(parts: Sequence[str | pa.StringArray]) -> str:
    """Return the strings of all rows as one, each made of parts as in :func:`_joined`."""
    data, _ = string_buffers(_joined(parts))
    return str(data.data, "utf-8")


def _kept_names(schema: pa.Schema) -> list[str]:
    names: list[str] = schema.names
    return names[: names.index("text")]


def _rows(batch: pa.RecordBatch, kept: int) -> Iterator[Row]:
    """Yield a batch as Python values; converting list by list is far slower in Arrow."""
    texts, labels, values, *known = batch.columns[kept:]
    offsets = to_numpy(labels.offsets).tolist()
    names = labels.values.to_pylist()
    numbers = to_numpy(values.values).tolist()
    shares = known[0].to_pylist() if known else repeat(None)
    columns = [column.to_pylist() for column in batch.columns[:kept]]
    kept_rows = zip(*columns, strict=True) if columns else repeat(())
    for text, (start, end), share, others in zip(
        texts.to_pylist(), pairwise(offsets), shares, kept_rows, strict=False
    ):
        if text is None:
            yield Row(None, None, None, None, others)
        else:
            yield Row(text, names[start:end], numbers[start:end], share, others)


def _text_lines(rows: Iterable[Row], kept: list[str], top_k: int) -> str:
    return "".join(
        "\t".join(
            [
                ", ".join(f"{for_terminal(n)} {p:.4f}" for n, p in _pairs(row)) or "-",
                *(_one_line(_cell(value)) for value in row.kept),
                _one_line(row.text or ""),
            ]
        )
        + "\n"
        for row in rows
    )


def _one_line(text: str) -> str:
    return for_terminal(" ".join(text.split()))


def _pairs(row: Row) -> Iterator[tuple[str, float]]:
    return zip(row.labels or (), row.probabilities or (), strict=True)


def _cell(value: object) -> str:
    """Return a kept value as text: as in JSON, but a string as it is, and nothing for null."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, bool | int | float):
        return _json(value)
    if isinstance(value, list | dict):
        return _json(_valid_json(value))
    return str(value)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _json_lines(rows: Iterable[Row], kept: list[str], top_k: int) -> str:
    lines = []
    for row in rows:
        document = dict(zip(kept, map(_valid_json, row.kept), strict=True))
        document |= {"text": row.text, "labels": row.labels}
        values = row.probabilities
        document["probabilities"] = values and [round(value, 6) for value in values]
        if row.known is not None or row.text is None:
            document["known"] = row.known and round(row.known, 6)
        lines.append(_json(document) + "\n")
    return "".join(lines)


def _valid_json(value: object) -> object:
    """Return a value with None for each number that JSON cannot hold."""
    if isinstance(value, list | tuple):
        return list(map(_valid_json, value))
    if isinstance(value, dict):
        return {key: _valid_json(part) for key, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _csv_header(kept: list[str], top_k: int, *, safe: bool) -> str:
    names = ["label", "probability"]
    if top_k > 1:
        names = [f"{name}_{rank}" for rank in range(1, top_k + 1) for name in names]
    return as_csv([[*kept, "text", *names]], safe=safe)


def _csv_lines(rows: Iterable[Row], kept: list[str], top_k: int, *, safe: bool) -> str:
    records = []
    for row in rows:
        record = [*map(_cell, row.kept), row.text or ""]
        for name, value in _pairs(row):
            record += [name, f"{value:.6f}"]
        records.append(record + [""] * (len(kept) + 1 + 2 * top_k - len(record)))
    return as_csv(records, safe=safe)


def as_csv(records: list[list[str]], *, safe: bool) -> str:
    """Return records as lines of CSV; ``safe`` guards cells that a spreadsheet would run."""
    import csv

    lines: list[str] = []
    if safe:
        records = [list(map(for_spreadsheet, record)) for record in records]
    # Python 3.11 quotes "\r" only if the line terminator has it, so that is cut off again.
    csv.writer(SimpleNamespace(write=lines.append), lineterminator="\r\n").writerows(records)
    return "".join(line.removesuffix("\r\n") + "\n" for line in lines)


def _fasttext_lines(rows: Iterable[Row], kept: list[str], top_k: int) -> str:
    return "".join(
        " ".join(f"{label_word('-'.join(name.split()))} {value:g}" for name, value in _pairs(row))
        + "\n"
        for row in rows
    )


def write_parquet(batches: Iterable[pa.RecordBatch], path: Path, empty: pa.Schema) -> int:
    """Write batches of any columns to a Parquet file; return the number of rows.

    Args:
        batches: the rows.
        path: the file.
        empty: the schema if there is no batch.

    Raises:
        DataError: a column changes its type.
    """
    import pyarrow.parquet as pq

    stream = iter(batches)
    first = next(stream, None)
    schema = empty if first is None else first.schema
    # Texts and probabilities rarely repeat, and nobody filters by a range of them: a dictionary and
    # the smallest and largest value of each group would be made in vain.
    repeating = [
        f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name
        for field in schema
        if field.name not in ("text", "probabilities")
    ]
    rows = 0
    options = {"use_dictionary": repeating, "write_statistics": repeating}
    with pq.ParquetWriter(path, schema, **options) as writer:
        # One group is written while the batches of the next one are computed.
        groups = _row_groups(chain([] if first is None else [first], stream), schema)
        for size in map_ahead(partial(_write_group, writer), groups, 1):
            rows += size
    return rows


def _write_group(writer: pq.ParquetWriter, group: pa.Table) -> int:
    writer.write_table(group)
    return len(group)


def _row_groups(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the batches in tables of :data:`ROW_GROUP` rows or a few more; at least one table."""
    waiting: list[pa.RecordBatch] = []
    is_first = True
    for batch in batches:
        waiting.append(_with_schema(batch, schema))
        if sum(map(len, waiting)) >= ROW_GROUP:
            yield pa.Table.from_batches(waiting)
            waiting, is_first = [], False
    if waiting or is_first:
        yield pa.Table.from_batches(waiting, schema)


def _with_schema(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return a batch with the types of the first one: JSON shows its types batch by batch.

    Raises:
        DataError: a value is of another type.
    """
    if batch.schema == schema:
        return batch
    try:
        return batch.cast(schema)
    except (pa.ArrowException, ValueError) as error:
        raise DataError(f"a kept column changes its type ({error}); pass --format jsonl") from None


def write_table(
    batches: Iterable[pa.RecordBatch], path: Path, form: str, empty: pa.Schema, *, safe_csv: bool
) -> int:
    """Write batches of any columns as ``parquet``, ``jsonl`` or ``csv``; return the number of rows.

    Args:
        batches: the rows.
        path: the file.
        form: the format.
        empty: the schema if there is no batch.
        safe_csv: as for :func:`write_predictions`.

    Raises:
        DataError: a column changes its type.
    """
    if form == "parquet":
        return write_parquet(batches, path, empty)
    rows, stream = 0, iter(batches)
    first = next(stream, pa.RecordBatch.from_pylist([], empty))
    with path.open("w", encoding="utf-8", newline="") as file:
        if form == "csv":
            file.write(as_csv([first.schema.names], safe=safe_csv))
        for batch in chain([first], stream):
            file.write(_table_lines(batch, form, safe_csv=safe_csv))
            rows += len(batch)
    return rows


def _table_lines(batch: pa.RecordBatch, form: str, *, safe_csv: bool) -> str:
    """Return rows of any columns as lines of ``jsonl`` or ``csv``."""
    if _can_compile(batch) and form == "jsonl":
        return _json_text(batch.schema.names, map(_json_cells, batch.columns))
    if _can_compile(batch) and not safe_csv:
        return _csv_text(map(_csv_cells, batch.columns))
    columns = [column.to_pylist() for column in batch.columns]
    if form == "csv":
        return as_csv([list(map(_cell, row)) for row in zip(*columns, strict=True)], safe=safe_csv)
    names = batch.schema.names
    return "".join(
        _json(dict(zip(names, map(_valid_json, row), strict=True))) + "\n"
        for row in zip(*columns, strict=True)
    )
