"""JSON lines: one example a line, read by Arrow; Python's reader locates their errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json as arrow_json

from fasttext_app.config.schema import DataConfig
from fasttext_app.data.checked_stream import CheckedStream
from fasttext_app.data.lines import scan_lines
from fasttext_app.data.soft_labels import format_soft_labels
from fasttext_app.data.source import Batches, to_examples, wanted_columns
from fasttext_app.errors import DataError

BLOCK_BYTES = 1 << 26
SHARE_ROWS = 16_384
PYTHON_KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "int64": (int,),
    "double": (float, int),
    "bool": (bool,),
    "list<item: string>": (list,),
}


def scan_json_lines(path: Path, config: DataConfig, *, labels: bool) -> Batches:
    """Read a file of one JSON object a line.

    Raises:
        DataError: the file is missing or empty, a line is not an object, a field is missing or of
            another type.
    """
    first = _first_object(path, config)
    wanted = wanted_columns(path, config, labels, list(first))
    texts = len(config.text_columns)
    fields = [(name, pa.string()) for name in wanted]
    if labels:
        kinds = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), list: pa.list_(pa.string())}
        label = wanted[texts]
        fields[texts:] = [(label, kinds.get(type(first[label]), pa.string()))]
        fields += [(name, pa.float64()) for name in wanted[texts + 1 :]]  # the weight
    shares = labels and config.soft_labels and isinstance(first[config.label_column], dict)
    read = _share_batches if shares else _json_batches
    rows = 0
    for batch in read(path, config, pa.schema(fields)):
        row_name = partial(_json_row_name, path, config, rows)
        yield to_examples(batch, config, labels=labels, row_name=row_name)
        rows += len(batch)


def _json_batches(path: Path, config: DataConfig, schema: pa.Schema) -> Batches:
    with CheckedStream(path, config.errors) as stream:
        try:
            with arrow_json.open_json(
                stream,
                read_options=arrow_json.ReadOptions(block_size=BLOCK_BYTES),
                parse_options=_parse_options(schema),
            ) as reader:
                yield from reader
        except pa.ArrowInvalid as error:
            if stream.problem:
                raise stream.problem from None
            _raise_if_malformed(path, config, schema)
            _raise_if_refused(path, config, schema)
            raise DataError(f"{path}: {error}") from None


def _share_batches(path: Path, config: DataConfig, schema: pa.Schema) -> Batches:
    """Read rows whose label is an object of shares; Arrow would have to know its keys before."""
    assert config.label_separator is not None
    objects = _objects(path, config)
    while some := list(islice(objects, SHARE_ROWS)):
        rows = []
        for line, value in some:
            shares = value.get(config.label_column) if isinstance(value, dict) else None
            if isinstance(shares, dict):
                try:
                    cell = format_soft_labels(shares, config.label_separator)
                except DataError as error:
                    raise DataError(f"{path}:{line}: {error}") from None
                value = value | {config.label_column: cell}
            _check_object(path, line, value, schema)
            rows.append(value)
        columns = [pa.array([row.get(field.name) for row in rows], field.type) for field in schema]
        yield pa.record_batch(columns, schema=schema)


def _objects(path: Path, config: DataConfig) -> Iterator[tuple[int, Any]]:
    for number, lines in scan_lines(path, config.errors):
        for row, line in enumerate(lines.to_pylist()):
            if line.strip():
                try:
                    yield number + row, json.loads(line)
                except (ValueError, RecursionError) as error:
                    reason = str(error)
                    if isinstance(error, json.JSONDecodeError):
                        reason = f"{error.msg} at column {error.colno}"
                    raise DataError(
                        f"{path}:{number + row}: the line is not one JSON object: {reason}"
                    ) from None


def _first_object(path: Path, config: DataConfig) -> dict[str, Any]:
    for line, value in _objects(path, config):
        if isinstance(value, dict):
            return value
        raise DataError(f"{path}:{line}: expected one JSON object a line")
    raise DataError(f"{path}: the file is empty")


def _raise_if_malformed(path: Path, config: DataConfig, schema: pa.Schema) -> None:
    for line, value in _objects(path, config):
        _check_object(path, line, value, schema)


def _check_object(path: Path, line: int, value: Any, schema: pa.Schema) -> None:
    if not isinstance(value, dict):
        raise DataError(f"{path}:{line}: expected one JSON object a line")
    for field in schema:
        kinds = PYTHON_KINDS[str(field.type)]
        found = value.get(field.name)
        if found is not None and type(found) not in kinds:
            raise DataError(
                f"{path}:{line}: field {field.name!r} is {type(found).__name__} "
                f"where {kinds[0].__name__} is expected"
            )


def _raise_if_refused(path: Path, config: DataConfig, schema: pa.Schema) -> None:
    """Raise for the first line that Arrow alone refuses: a key given twice, half a surrogate."""
    whole = arrow_json.ReadOptions(block_size=BLOCK_BYTES, use_threads=False)
    for number, lines in scan_lines(path, config.errors):
        for row, line in enumerate(lines.to_pylist()):
            data = line.encode()
            if len(data) >= BLOCK_BYTES:
                size = f"longer than {BLOCK_BYTES >> 20} MB"
                raise DataError(f"{path}:{number + row}: the line is {size}")
            try:
                if data.strip():
                    arrow_json.read_json(pa.BufferReader(data), whole, _parse_options(schema))
            except pa.ArrowInvalid as error:
                reason = str(error).removesuffix(" in row 0")
                raise DataError(f"{path}:{number + row}: {reason}") from None


def _parse_options(schema: pa.Schema) -> arrow_json.ParseOptions:
    return arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")


def _json_row_name(path: Path, config: DataConfig, rows_before: int, row: int) -> str:
    """Name a row as ``file:line``; the file is read again for it, so only errors ask."""
    for index, (line, _) in enumerate(_objects(path, config)):
        if index == rows_before + row:
            return f"{path}:{line}"
    return str(path)
