"""JSON: an object on each line, or objects in an array or on several lines; and the errors in them.

Arrow reads objects on lines. Where it fails, Python's reader goes through the file once more and
raises an error with the line. Python also reads all other layouts, rows of which the bad ones are
skipped, and labels that are objects, since Arrow would have to know their keys.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json as arrow_json

from fasttext_app.config.schema import DataConfig
from fasttext_app.core.threads import map_ahead
from fasttext_app.data.bad_rows import FileErrors
from fasttext_app.data.byte_stream import InputFile, whole
from fasttext_app.data.checked_stream import CheckedStream
from fasttext_app.data.columns import required_columns, rows_on_lines, to_examples
from fasttext_app.data.json_values import JsonError, json_values
from fasttext_app.data.lines import Survey, line_blocks, lines_of, survey_lines
from fasttext_app.data.soft_labels import format_soft_labels
from fasttext_app.data.source import Batches
from fasttext_app.errors import DataError

BLOCK_BYTES, PARSERS = 1 << 22, 2
BATCH_ROWS, PYTHON_BLOCK_BYTES = 16_384, 1 << 16
ARROW_TYPES = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "int64": (int,),
    "double": (float, int),
    "bool": (bool,),
}
LONGEST_ESCAPE = len(r"\ud83d\ude00")
INT64 = range(-(2**63), 2**63)

HALF_A_PAIR = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F]"
    rb"|\\\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F]"
)
"""What may be half of a surrogate pair. A backslash may be the second one of ``\\\\``."""
ESCAPE = re.compile(
    rb"\\(?:[^u]|u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F]..)|u....)", re.DOTALL
)
"""Any escape sequence; the group is half of a surrogate pair."""


def scan_json(
    path: InputFile, config: DataConfig, with_labels: bool, errors: FileErrors
) -> Batches:
    """Read a file of JSON objects. The first object tells the type of the label.

    Raises:
        DataError: the file is missing or empty, does not hold objects, or a field is missing or of
            another type.
    """
    file = _JsonFile.open(path, config)
    fields, soft_label = _fields_of(file, with_labels)
    convert = partial(to_examples, config=config, with_labels=with_labels, errors=errors)
    if file.is_for_arrow(fields, soft_label, errors.skip):
        rows = 0
        for batch in file.arrow_batches(fields):
            yield convert(batch, locate=partial(file.locate, rows))
            rows += len(batch)
        return
    for batch, lines in file.python_batches(fields, soft_label, errors):
        yield convert(batch, locate=rows_on_lines(path, lines))


def survey_json(path: Path, config: DataConfig, number: int, count: int) -> Survey:
    """Find out where the last line of a share of a file ends.

    Raises:
        DataError: the file is missing or empty, or a field is missing.
    """
    file = _JsonFile.open(path, config)
    fields, soft_label = _fields_of(file, with_labels=True)
    if config.errors != "strict" or not file.is_for_arrow(fields, soft_label, config.skip_bad):
        return None
    with _JsonStream.of(path, config) as stream:
        return survey_lines(stream, BLOCK_BYTES, number, count)


def _fields_of(file: _JsonFile, with_labels: bool) -> tuple[list[_Field], _Field | None]:
    """Return the fields to read, by the first object; and among them a label that is an object."""
    config, first = file.config, file.first_object()
    columns = required_columns(
        file.path, config, with_labels, list(first), inner=_inner_paths(first)
    )
    texts = len(config.text_columns)
    fields = [_Field(name, _keys(name, first), pa.string()) for name in columns[:texts]]
    fields += [_Field(name, _keys(name, first)) for name in columns[texts:]]
    soft_label = None
    if with_labels:
        items = {field.name: field.of(first) for field in fields[texts:]}
        if config.soft_labels and isinstance(items[config.label_column], dict):
            soft_label = fields[texts]
        fields[texts:] = [
            replace(
                field,
                type=pa.float64()
                if field.name == config.weight_column
                else _type_of_label(items[field.name]),
            )
            for field in fields[texts:]
        ]
    return fields, soft_label


@dataclass(frozen=True)
class _Field:
    """A field of the objects: its name or path in the settings, its keys, its type."""

    name: str
    keys: tuple[str, ...]
    type: pa.DataType | None = None
    """None: any type."""

    def of(self, value: dict[str, Any]) -> Any:
        """Return the field of an object; None if there is none.

        Raises:
            DataError: it would be inside of something else than an object.
        """
        item: Any = value
        for depth, key in enumerate(self.keys):
            if item is None:
                return None
            if not isinstance(item, dict):
                raise _wrong_type(".".join(self.keys[:depth]), item, dict)
            item = item.get(key)
        return item

    def check(self, item: Any) -> None:
        """Raise if an item is not of the type.

        Raises:
            DataError: it is not.
        """
        if item is None or self.type is None:
            return
        items, kind = [item], self.type
        if pa.types.is_list(kind):
            if type(item) is not list:
                raise _wrong_type(self.name, item, list)
            items, kind = item, kind.value_type
        types = PYTHON_TYPES[str(kind)]
        for part in items:
            if part is not None and type(part) not in types:
                raise _wrong_type(self.name, part, types[0])
            if type(part) is int and part not in INT64:
                raise DataError(f"field {self.name!r} is too large a number: {part}")
            if type(part) is str and not part.isascii():
                try:
                    part.encode()
                except UnicodeEncodeError:
                    raise DataError(
                        f"field {self.name!r} has half of a surrogate pair; pass --errors replace "
                        "to read it as U+FFFD"
                    ) from None


def _wrong_type(name: str, item: Any, expected: type) -> DataError:
    return DataError(
        f"field {name!r} is {type(item).__name__} where {expected.__name__} is expected"
    )


def _inner_paths(value: dict[str, Any]) -> list[str]:
    return [
        f"{key}.{name}"
        for key, item in value.items()
        if isinstance(item, dict)
        for name in [*item, *_inner_paths(item)]
    ]


def _keys(name: str, value: dict[str, Any]) -> tuple[str, ...]:
    """Return the keys that lead to a name or a path.

    >>> _keys("doc.text", {"doc": {"text": "a"}})
    ('doc', 'text')
    """
    if name in value:
        return (name,)
    key = next(key for key in value if name.startswith(f"{key}."))
    return (key, *_keys(name.removeprefix(f"{key}."), value[key]))


def _type_of_label(item: Any) -> pa.DataType:
    if isinstance(item, list):
        return pa.list_(ARROW_TYPES.get(type(item[0]) if item else str, pa.string()))
    return ARROW_TYPES.get(type(item), pa.string())


def _schema(fields: Sequence[_Field]) -> pa.Schema:
    """Return the schema of objects with these fields, which may be in inner objects."""
    tree: dict[str, Any] = {}
    for field in fields:
        inner = tree
        for key in field.keys[:-1]:
            inner = inner.setdefault(key, {})
        inner[field.keys[-1]] = field.type

    def columns(tree: dict[str, Any]) -> list[pa.Field]:
        return [
            pa.field(key, pa.struct(columns(kind)) if isinstance(kind, dict) else kind)
            for key, kind in tree.items()
        ]

    return pa.schema(columns(tree))


@dataclass(frozen=True)
class _JsonFile:
    path: InputFile
    config: DataConfig
    has_lines: bool
    """Whether each line is to hold an object."""

    @classmethod
    def open(cls, path: InputFile, config: DataConfig) -> _JsonFile:
        """Tell the layout by the first line that is not blank."""
        start = b""
        with _JsonStream.of(whole(path), config) as stream:
            while not start and (block := stream.read(PYTHON_BLOCK_BYTES)):
                start = block.lstrip()
        line, *_ = start.splitlines() or [b""]
        return cls(path, config, not (line.startswith(b"[") or line.strip() == b"{"))

    def first_object(self) -> dict[str, Any]:
        """Return the first object.

        Raises:
            DataError: the file is missing or empty, or has another value before.
        """
        errors = FileErrors(self.config.skip_bad)
        for line, value in self.objects(errors):
            if isinstance(value, dict):
                return value
            errors.refuse(f"{self.path}:{line}: {self._expected}")
        raise DataError(f"{self.path}: {(*errors.problems, 'the file is empty')[0]}")

    def is_for_arrow(
        self, fields: Sequence[_Field], soft_label: _Field | None, skips_bad_rows: bool
    ) -> bool:
        """Return whether Arrow can read these fields."""
        has_types = soft_label is None and all(field.type is not None for field in fields)
        return self.has_lines and has_types and not skips_bad_rows

    @property
    def _expected(self) -> str:
        if self.has_lines:
            return "expected one JSON object a line"
        return "expected objects, in an array or one after the other"

    def objects(self, errors: FileErrors) -> Iterator[tuple[int, Any]]:
        """Yield (line, value) of each value, read by Python."""
        with _JsonStream.of(whole(self.path), self.config) as stream:
            if self.has_lines:
                yield from self._values_of_lines(stream, errors)
                return
            try:
                yield from json_values(lambda: stream.read(PYTHON_BLOCK_BYTES).decode())
            except JsonError as error:
                where = f"{self.path}:{error.line}"
                raise DataError(f"{where}: the JSON is malformed: {error}") from None

    def _values_of_lines(
        self, stream: CheckedStream, errors: FileErrors
    ) -> Iterator[tuple[int, Any]]:
        for first, lines in lines_of(stream):
            for line, data in enumerate(lines.to_pylist(), start=first):
                if not data.strip():
                    continue
                try:
                    value = json.loads(data)
                except (ValueError, RecursionError) as error:
                    reason = str(error)
                    if isinstance(error, json.JSONDecodeError):
                        reason = f"{error.msg} at column {error.colno}"
                    errors.refuse(f"{self.path}:{line}: the line is not one JSON object: {reason}")
                else:
                    yield line, value

    def arrow_batches(self, fields: Sequence[_Field]) -> Batches:
        """Yield batches of objects on lines.

        The file is parsed block by block, as far as the batches are used. Arrow's own reader would
        read up to 32 blocks ahead of them.
        """
        schema = _schema(fields)
        with _JsonStream.of(self.path, self.config) as stream:
            parsed = 0
            stream.parsed(parsed)
            blocks = line_blocks(lambda: stream.read(BLOCK_BYTES), self.path)
            try:
                for table, size in map_ahead(partial(_parse, schema=schema), blocks, PARSERS):
                    yield from table.to_batches(max_chunksize=BATCH_ROWS)
                    parsed += size
                    stream.parsed(parsed)
            except pa.ArrowInvalid as error:
                strict = FileErrors(skip=False)
                for line, value in self.objects(strict):
                    self._row(line, value, fields, None, strict)
                self._raise_if_refused_by_arrow(schema)
                raise DataError(f"{self.path}: {error}") from None

    def python_batches(
        self, fields: Sequence[_Field], soft_label: _Field | None, errors: FileErrors
    ) -> Iterator[tuple[pa.RecordBatch, list[int]]]:
        """Yield batches of fields, with the line of each row."""
        objects = self.objects(errors)
        while chunk := list(islice(objects, BATCH_ROWS)):
            rows, lines = [], []
            for line, value in chunk:
                row = self._row(line, value, fields, soft_label, errors)
                if row is not None:
                    rows.append(row)
                    lines.append(line)
            columns = [
                _column([row[index] for row in rows], field.type)
                for index, field in enumerate(fields)
            ]
            yield pa.record_batch(columns, [field.name for field in fields]), lines

    def _row(
        self,
        line: int,
        value: Any,
        fields: Sequence[_Field],
        soft_label: _Field | None,
        errors: FileErrors,
    ) -> list[Any] | None:
        """Return the fields of an object; None if it is refused."""
        try:
            if not isinstance(value, dict):
                raise DataError(self._expected)
            row = [field.of(value) for field in fields]
            if soft_label is not None:
                label = soft_label.of(value)
                assert self.config.label_separator is not None
                if isinstance(label, dict):
                    cell = format_soft_labels(label, self.config.label_separator)
                    row[len(self.config.text_columns)] = cell
            for field, item in zip(fields, row, strict=True):
                field.check(item)
        except DataError as error:
            errors.refuse(f"{self.path}:{line}: {error}")
            return None
        return row

    def _raise_if_refused_by_arrow(self, schema: pa.Schema) -> None:
        """Raise for the first line that only Arrow refuses, for a duplicate key."""
        with _JsonStream.of(self.path, self.config) as stream:
            for first, lines in lines_of(stream):
                for line, text in enumerate(lines.to_pylist(), start=first):
                    try:
                        _parse(text.encode(), schema)
                    except pa.ArrowInvalid as error:
                        reason = str(error).removesuffix(" in row 0")
                        raise DataError(f"{self.path}:{line}: {reason}") from None

    def locate(self, rows_before: int, row: int) -> str:
        """Return ``file:line`` of a row; reads the file again, so only errors should ask."""
        objects = self.objects(FileErrors(skip=False))
        for index, (line, _) in enumerate(objects):
            if index == rows_before + row:
                return f"{self.path}:{line}"
        return str(self.path)


def _column(values: list[Any], kind: pa.DataType | None) -> pa.Array:
    """Return values as a column; without a type, values of mixed types become JSON text."""
    try:
        return pa.array(values, kind)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        if kind is not None:
            raise
        return pa.array([None if value is None else json.dumps(value) for value in values])


def _parse(lines: bytes, schema: pa.Schema) -> tuple[pa.Table, int]:
    """Parse lines of objects; return their size too.

    Raises:
        pa.ArrowInvalid: a line is malformed, or a field is of another type.
    """
    if not lines or lines.isspace():  # which Arrow refuses
        return schema.empty_table(), len(lines)
    table = arrow_json.read_json(
        pa.BufferReader(lines),
        arrow_json.ReadOptions(use_threads=False, block_size=len(lines) + 1),
        arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
    )
    return table, len(lines)


class _JsonStream(CheckedStream):
    """A checked stream in which ``errors="replace"`` also replaces halves of surrogate pairs."""

    _held = b""  # from the end of the last block, which may have cut an escape sequence

    def read(self, size: int = -1) -> bytes:
        """Return at most ``size`` checked bytes, and ``b""`` only at the end."""
        if self._errors != "replace":
            return super().read(size)
        while True:
            block = super().read(max(size - len(self._held), LONGEST_ESCAPE))
            data = self._held + block
            # No escape sequence contains any of these.
            cut = 1 + max(map(data.rfind, (b" ", b",", b":", b"}", b"\n"))) if block else len(data)
            if not cut and len(data) > size - LONGEST_ESCAPE:  # a long text without any of them
                starts = [escape.start() for escape in ESCAPE.finditer(data)]
                last = len(data) - LONGEST_ESCAPE
                cut = max((start for start in starts if start <= last), default=0) or last
            data, self._held = data[:cut], data[cut:]
            if data or not block:
                return ESCAPE.sub(_replace_half, data) if HALF_A_PAIR.search(data) else data


def _replace_half(escape: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if escape[1] else escape[0]
