"""Cut texts into chunks: string columns of a size that one core works on at a time."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias, cast

import pyarrow as pa

from fasttext_app.core.arguments import describe
from fasttext_app.core.arrow import is_string, string_array, string_buffers
from fasttext_app.core.objects import arrow_column, as_list, as_table, is_missing
from fasttext_app.core.threads import CORES
from fasttext_app.errors import DataError

CHUNK_ROWS = 1 << 14  # the larger a chunk, the more of its words are repeats
CHUNK_BYTES = 1 << 22  # the limit for chunks of long texts
LIST_ROWS = 1 << 12  # of a long list that become a column at a time
MIN_ROWS_PER_CORE = 1024  # fewer texts are not worth another core
MAX_STRING_BYTES = 1 << 31  # of an Arrow string column
BATCH_BYTES = 1 << 26  # far below the 2 GB that an Arrow string column can hold

TextLike: TypeAlias = pa.Array | pa.ChunkedArray | Iterable[str | bytes]
"""Any column or iterable of texts; bytes are UTF-8."""


def as_chunks(
    texts: TextLike, max_rows: int = sys.maxsize, nulls: str = "error"
) -> list[pa.StringArray]:
    """Return any number of texts as chunks, in order.

    Args:
        texts: a column, or an iterable of strings.
        max_rows: a limit on the texts of a chunk, beside the usual ones.
        nulls: ``error`` refuses a missing text, ``null`` leaves it null.

    Raises:
        DataError: a text is missing or not a string, or ``texts`` is not a column of texts.
    """
    column = text_column(texts)
    _refuse_nulls(column, nulls)
    columns = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    max_rows = min(max_rows, CHUNK_ROWS)
    return [chunk for column in columns for chunk in _cut(column, max_rows)]


def read_chunks(
    texts: TextLike, max_rows: int = sys.maxsize, nulls: str = "error"
) -> Iterator[pa.StringArray]:
    """Yield any number of texts as chunks, in order; those of a long list are made one by one.

    So the texts of the first chunks are in use while later ones are still Python strings.

    Args:
        texts: as for :func:`as_chunks`.
        max_rows: as for :func:`as_chunks`.
        nulls: as for :func:`as_chunks`.

    Raises:
        DataError: as for :func:`as_chunks`, before the first chunk that has such a text.
    """
    rows = 0
    if isinstance(texts, list):
        rows = _even_rows(len(texts), -(-len(texts) // LIST_ROWS), CORES)
    if not isinstance(texts, list) or rows >= len(texts):
        yield from as_chunks(texts, max_rows, nulls)
        return
    for start in range(0, len(texts), rows):
        column = _strings(texts[start : start + rows], "texts", "strict", start)
        _refuse_nulls(column, nulls, start)
        for first, size in _ranges(column, max_rows, CHUNK_BYTES):
            yield column.slice(first, size)


def _refuse_nulls(column: pa.StringArray | pa.ChunkedArray, nulls: str, first: int = 0) -> None:
    """Raise an error if a text is missing and ``nulls`` says so.

    Args:
        column: the texts.
        nulls: as for :func:`as_chunks`.
        first: the number of texts before them.
    """
    if column.null_count and nulls == "error":
        row = first + column.is_null().to_pylist().index(True) + 1
        raise DataError(
            f"texts, row {row}: there is no text; fill it in, or pass nulls= to predict"
        )


def text_column(
    texts: TextLike, where: str = "texts", errors: str = "strict"
) -> pa.StringArray | pa.ChunkedArray:
    """Return texts that are in memory as a column of strings; a missing one is null.

    >>> text_column(["to", b"be", None]).to_pylist()
    ['to', 'be', None]

    Args:
        texts: a column, or an iterable of strings.
        where: what they are, for messages.
        errors: ``strict`` refuses bytes that are not UTF-8 and lone surrogates, ``replace`` puts
            U+FFFD in their place.

    Raises:
        DataError: a text is not a string, or ``texts`` is not a column of texts.
    """
    column = arrow_column(texts)
    if column is None:
        return _strings(as_list(texts, where), where, errors)
    if column.type == pa.string():
        return column
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    kind = column.type
    if pa.types.is_dictionary(kind):  # the categories of a categorical
        chunks, kind = [chunk.dictionary_decode() for chunk in chunks], kind.value_type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return _strings([item for chunk in chunks for item in chunk.to_pylist()], where, errors)
    if not (is_string(kind) or pa.types.is_null(kind)):
        if as_table(texts) is not None:
            raise DataError(f"{where}: got {describe(texts)}; pass one of its columns")
        raise DataError(f"{where}: the column holds {kind}, not texts; pass another column")
    return pa.chunked_array([part for chunk in chunks for part in _cast(chunk)], pa.string())


def one_text(text: str | bytes) -> str:
    """Return one text as a valid string.

    Raises:
        DataError: it is not a string.
    """
    string = _text(text, "text", "strict")
    if string is None:
        raise DataError(f"text: got {describe(text)}; pass a string")
    return string


def _cast(chunk: pa.Array) -> list[pa.StringArray]:
    """Return texts of any length in parts that 32-bit offsets can address."""
    if chunk.nbytes < MAX_STRING_BYTES or len(chunk) < 2:
        return [chunk.cast(pa.string())]
    half = len(chunk) // 2
    return _cast(chunk.slice(0, half)) + _cast(chunk.slice(half))


def _strings(items: list[Any], where: str, errors: str, first: int = 0) -> pa.StringArray:
    try:
        return string_array(items)
    except (pa.ArrowException, TypeError, UnicodeEncodeError):
        rows = enumerate(items, first + 1)
        texts = [_text(item, f"{where}, row {row}", errors) for row, item in rows]
        return string_array(cast("list[str]", texts))


def _text(item: object, where: str, errors: str) -> str | None:
    """Return one text as a valid string; None if it is missing."""
    if isinstance(item, bytes | str):
        try:
            data = item if isinstance(item, bytes) else item.encode()
            return data.decode(errors=errors)
        except UnicodeError as error:
            if isinstance(item, str) and errors == "replace":  # lone surrogates
                return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in item)
            raise not_unicode(where, error) from None
    if is_missing(item):
        return None
    hint = "pass strings"
    if isinstance(item, tuple | list):
        hint = "pass the texts as one list, and the labels as another"
    elif isinstance(item, Mapping):
        hint = "pass only the texts, such as [row['text'] for row in rows]"
    raise DataError(f"{where}: got {describe(item)} where a text is expected; {hint}")


def not_unicode(where: str, error: UnicodeError) -> DataError:
    """Return the error for a text that is not valid Unicode."""
    return DataError(f"{where}: is not valid Unicode ({error}); correct its encoding")


def chunk_rows(batch: pa.RecordBatch, max_rows: int) -> Iterator[pa.RecordBatch]:
    """Cut a batch with a column ``text`` into batches of bounded length and size."""
    for start, rows in _ranges(batch.column("text"), max_rows, BATCH_BYTES):
        yield batch.slice(start, rows)


def text_bytes(texts: pa.StringArray) -> int:
    """Return the size of a column of texts in UTF-8."""
    _, bounds = string_buffers(texts)
    return int(bounds[-1] - bounds[0])


def _cut(column: pa.Array, max_rows: int) -> Iterator[pa.StringArray]:
    for start, rows in _ranges(column, max_rows, CHUNK_BYTES, CORES):
        yield column.slice(start, rows)


def _ranges(
    texts: pa.StringArray, max_rows: int, max_bytes: int, cores: int = 1
) -> Iterator[tuple[int, int]]:
    """Yield (start, rows) of equally long pieces, the same number for each core."""
    pieces = max(-(-len(texts) // max_rows), -(-text_bytes(texts) // max_bytes))
    rows = _even_rows(len(texts), pieces, cores)
    for start in range(0, len(texts), rows):
        yield start, rows


def _even_rows(texts: int, pieces: int, cores: int) -> int:
    """Return the texts of a piece if there are at least so many pieces, as many for each core."""
    even = -(-pieces // cores) * cores
    pieces = max(pieces, min(even, texts // MIN_ROWS_PER_CORE))
    return max(-(-texts // max(pieces, 1)), 1)
