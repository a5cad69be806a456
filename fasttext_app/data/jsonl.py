"""JSON lines, and the errors in them.

Arrow reads the rows. Where it fails, Python's reader goes through the file once more and raises an
error with the line (``_objects``, ``_check_object``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json as arrow_json

from fasttext_app.config.schema import DataConfig
from fasttext_app.data.checked_stream import CheckedStream
from fasttext_app.data.columns import required_columns, to_examples
from fasttext_app.data.lines import scan_lines
from fasttext_app.data.soft_labels import format_soft_labels
from fasttext_app.data.source import Batches
from fasttext_app.errors import DataError

BLOCK_BYTES = 1 << 26  # a line must fit into a block
BATCH_ROWS = 16_384
ARROW_TYPES = {
    str: pa.string(),
    bool: pa.bool_(),
    int: pa.int64(),
    list: pa.list_(pa.string()),
}
PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "int64": (int,),
    "double": (float, int),
    "bool": (bool,),
    "list<item: string>": (list,),
}


def scan_json_lines(path: Path, config: DataConfig, with_labels: bool) -> Batches:
    """Read a file with one JSON object a line. The first object tells the type of the label.

    Raises:
        DataError: the file is missing or empty, a line is not an object, or a field is missing or
            of another type.
    """
    first = _first_object(path, config)
    columns = required_columns(path, config, with_labels, list(first))
    texts = len(config.text_columns)
    fields = [(name, pa.string()) for name in columns]
    read = _arrow_batches
    if not with_labels and columns[texts:]:
        fields, read = fields[:texts], partial(_batches_with, columns[texts:])
    if with_labels:
        label, weights = columns[texts], columns[texts + 1 :]
        fields[texts:] = [(label, ARROW_TYPES.get(type(first[label]), pa.string()))]
        fields += [(name, pa.float64()) for name in weights]
        if config.soft_labels and isinstance(first[label], dict):
            read = _soft_label_batches
    rows = 0
    for batch in read(path, config, pa.schema(fields)):
        locate = partial(_locate, path, config, rows)
        yield to_examples(batch, config, locate, with_labels=with_labels)
        rows += len(batch)


def _arrow_batches(path: Path, config: DataConfig, schema: pa.Schema) -> Batches:
    with CheckedStream(path, config.errors) as stream:
        stream.parsed(0)
        try:
            with arrow_json.open_json(
                stream,
                read_options=arrow_json.ReadOptions(block_size=BLOCK_BYTES),
                parse_options=_parse_options(schema),
            ) as reader:
                for number, block in enumerate(reader):
                    for start in range(0, len(block), BATCH_ROWS):
                        stream.parsed(int((number + start / len(block)) * BLOCK_BYTES))
                        yield block.slice(start, BATCH_ROWS)
        except pa.ArrowInvalid as error:
            if stream.problem:
                raise stream.problem from None
            for line, value in _objects(path, config):
                _check_object(path, line, value, schema)
            _raise_if_refused_by_arrow(path, config, schema)
            raise DataError(f"{path}: {error}") from None


def _soft_label_batches(path: Path, config: DataConfig, schema: pa.Schema) -> Batches:
    """Read rows whose label is an object of probabilities: Arrow would need to know its keys."""
    assert config.label_separator is not None
    objects = _objects(path, config)
    while chunk := list(islice(objects, BATCH_ROWS)):
        rows = []
        for line, value in chunk:
            label = value.get(config.label_column) if isinstance(value, dict) else None
            if isinstance(label, dict):
                try:
                    cell = format_soft_labels(label, config.label_separator)
                except DataError as error:
                    raise DataError(f"{path}:{line}: {error}") from None
                value = value | {config.label_column: cell}
            _check_object(path, line, value, schema)
            rows.append(value)
        columns = [pa.array([row.get(field.name) for row in rows], field.type) for field in schema]
        yield pa.record_batch(columns, schema=schema)


def _batches_with(
    kept: Sequence[str], path: Path, config: DataConfig, schema: pa.Schema
) -> Batches:
    """Read the columns of a schema, and others of any type."""
    objects = _objects(path, config)
    while chunk := list(islice(objects, BATCH_ROWS)):
        for line, value in chunk:
            _check_object(path, line, value, schema)
        rows = [value for _, value in chunk]
        columns = [pa.array([row.get(field.name) for row in rows], field.type) for field in schema]
        columns += [_any_column([row.get(name) for row in rows]) for name in kept]
        yield pa.record_batch(columns, [*schema.names, *kept])


def _any_column(values: list[Any]) -> pa.Array:
    """Return values as a column; those of several types as JSON."""
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError):
        return pa.array([None if value is None else json.dumps(value) for value in values])


def _objects(path: Path, config: DataConfig) -> Iterator[tuple[int, Any]]:
    """Yield (line, value) of each line that is not blank, read by Python."""
    for first, lines in scan_lines(path, config.errors):
        for line, data in enumerate(lines.to_pylist(), start=first):
            if data.strip():
                try:
                    yield line, json.loads(data)
                except (ValueError, RecursionError) as error:
                    reason = str(error)
                    if isinstance(error, json.JSONDecodeError):
                        reason = f"{error.msg} at column {error.colno}"
                    raise DataError(
                        f"{path}:{line}: the line is not one JSON object: {reason}"
                    ) from None


def _first_object(path: Path, config: DataConfig) -> dict[str, Any]:
    for line, value in _objects(path, config):
        if isinstance(value, dict):
            return value
        raise DataError(f"{path}:{line}: expected one JSON object a line")
    raise DataError(f"{path}: the file is empty")


def _check_object(path: Path, line: int, value: Any, schema: pa.Schema) -> None:
    if not isinstance(value, dict):
        raise DataError(f"{path}:{line}: expected one JSON object a line")
    for field in schema:
        types = PYTHON_TYPES[str(field.type)]
        item = value.get(field.name)
        if item is not None and type(item) not in types:
            raise DataError(
                f"{path}:{line}: field {field.name!r} is {type(item).__name__} "
                f"where {types[0].__name__} is expected"
            )


def _raise_if_refused_by_arrow(path: Path, config: DataConfig, schema: pa.Schema) -> None:
    """Raise for the first line that only Arrow refuses: a duplicate key, half a surrogate pair."""
    one_block = arrow_json.ReadOptions(block_size=BLOCK_BYTES, use_threads=False)
    for first, lines in scan_lines(path, config.errors):
        for line, text in enumerate(lines.to_pylist(), start=first):
            data = text.encode()
            if len(data) >= BLOCK_BYTES:
                size = f"longer than {BLOCK_BYTES >> 20} MB"
                raise DataError(f"{path}:{line}: the line is {size}")
            try:
                if data.strip():
                    arrow_json.read_json(pa.BufferReader(data), one_block, _parse_options(schema))
            except pa.ArrowInvalid as error:
                reason = str(error).removesuffix(" in row 0")
                raise DataError(f"{path}:{line}: {reason}") from None


def _parse_options(schema: pa.Schema) -> arrow_json.ParseOptions:
    return arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")


def _locate(path: Path, config: DataConfig, rows_before: int, row: int) -> str:
    """Return ``file:line`` of a row; reads the file again, so only errors should ask."""
    for index, (line, _) in enumerate(_objects(path, config)):
        if index == rows_before + row:
            return f"{path}:{line}"
    return str(path)
