"""Text files of one example a line: JSON lines, fastText's ``__label__`` form, and plain lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as arrow_json

from fasttext_app.config.schema import DataConfig
from fasttext_app.core.arrow import string_array
from fasttext_app.data.checked_stream import CheckedStream
from fasttext_app.data.soft_labels import soft_cell
from fasttext_app.data.source import SEVERAL, Batches, checked_shares, to_examples, wanted_columns
from fasttext_app.errors import DataError

BLOCK_BYTES = 1 << 26
LINE_BLOCK_BYTES = 1 << 22
SHARE_ROWS = 16_384
PYTHON_KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "int64": (int,),
    "double": (float, int),
    "bool": (bool,),
    "list<item: string>": (list,),
}


def scan_lines(path: Path, errors: str = "strict") -> Iterator[tuple[int, pa.StringArray]]:
    r"""Yield (number of the first line, lines) in blocks; ``\n`` or ``\r\n`` ends a line.

    Raises:
        DataError: the file is missing, or holds bytes that are not text.
    """
    number, carried = 1, []
    with CheckedStream(path, errors) as stream:
        while block := stream.read(LINE_BLOCK_BYTES):
            head, newline, tail = block.rpartition(b"\n")
            if not newline:
                carried.append(block)
                continue
            lines = _split(b"".join([*carried, head]))
            yield number, lines
            number, carried = number + len(lines), [tail] if tail else []
        if carried:
            yield number, _split(b"".join(carried))


def _split(data: bytes) -> pa.StringArray:
    lines = pc.split_pattern(string_array([data.decode("utf-8")]), "\n").flatten()
    return pc.utf8_rtrim(lines, "\r") if b"\r" in data else lines


def scan_fasttext(path: Path, config: DataConfig, *, labels: bool) -> Batches:
    """Read a fastText file: words that begin with the label prefix are labels, the rest is text.

    Where labels are wanted, a line must have exactly one, or with ``data.label_separator`` one or
    more, and lines of white space are passed over, as fastText does. Where they are not, every line
    is a text.

    Raises:
        DataError: as :func:`scan_lines`; or a line has no label, or several; or weights are wanted.
    """
    if labels and config.weight_column is not None:
        raise DataError(
            f"{path}: fastText text has no columns, and so no data.weight_column; "
            "use CSV, TSV, JSON lines or Parquet"
        )
    any_line = False
    for number, lines in scan_lines(path, config.errors):
        any_line = True
        if not labels:
            yield pa.record_batch({"text": _without_labels(lines, config.label_prefix)})
            continue
        blank = pc.equal(pc.utf8_trim_whitespace(lines), "")
        line_name = partial(_line_name, path, number)
        label, text = _split_labels(lines, config, line_name)
        batch = pa.record_batch({"text": text, "label": checked_shares(label, config, line_name)})
        yield batch.filter(pc.invert(blank))
    if not any_line and str(path) != "-":  # a pipe may carry nothing
        raise DataError(f"{path}: the file is empty")


def _line_name(path: Path, first: int, row: int) -> str:
    return f"{path}:{first + row}"


def _label_pattern(prefix: str) -> str:
    return rf"(^|\s){re.escape(prefix)}\S"


def _without_labels(lines: pa.StringArray, prefix: str) -> pa.StringArray:
    labeled = pc.match_substring_regex(lines, _label_pattern(prefix))
    if not pc.any(labeled).as_py():
        return lines
    rest = pc.replace_substring_regex(lines, _label_pattern(prefix) + r"\S*", " ")
    return pc.if_else(labeled, pc.utf8_trim_whitespace(rest), lines)


def _split_labels(
    lines: pa.StringArray, config: DataConfig, row_name: partial[str]
) -> tuple[pa.StringArray, pa.StringArray]:
    prefix, separator = config.label_prefix, config.label_separator
    leading = pc.extract_regex(lines, rf"^\s*{re.escape(prefix)}(?P<label>\S+)(?P<text>.*)$")
    label, text = leading.field("label"), pc.utf8_trim_whitespace(leading.field("text"))
    more = pc.match_substring_regex(text.fill_null(""), _label_pattern(prefix))
    found = pc.and_(leading.is_valid(), pc.invert(more))
    if pc.all(found).as_py():
        return label, text
    labels, texts = label.to_pylist(), text.to_pylist()
    for row in pc.indices_nonzero(pc.invert(found)).to_pylist():  # no label in front, or several
        line = lines[row].as_py()
        words = [word for word in line.split() if word.startswith(prefix) and word != prefix]
        if len(words) > 1 and separator is None:
            raise DataError(
                f"{row_name(row)}: the line has {len(words)} labels ({', '.join(words[:3])}); "
                f"a row must have exactly one{SEVERAL}"
            )
        if not words and line.strip():
            raise DataError(f"{row_name(row)}: the line has no word that begins with {prefix}")
        labels[row] = (separator or "").join(word.removeprefix(prefix) for word in words) or None
        texts[row] = _without_labels(lines.slice(row, 1), prefix)[0].as_py() if words else None
    return string_array(labels), string_array(texts)


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
                    cell = soft_cell(shares, config.label_separator)
                except ValueError as error:
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
