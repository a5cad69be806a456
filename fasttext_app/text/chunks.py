"""Cut texts into chunks: string columns of a size that one core works on at a time."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import pyarrow as pa

from fasttext_app.core.arrow import string_array, string_buffers
from fasttext_app.core.threads import CORES
from fasttext_app.errors import DataError

CHUNK_ROWS = 1 << 14  # the larger a chunk, the more of its words are repeats
CHUNK_BYTES = 1 << 22  # the limit for chunks of long texts
MIN_ROWS_PER_CORE = 1024  # fewer texts are not worth another core
BATCH_BYTES = 1 << 26  # far below the 2 GB that an Arrow string column can hold

TextLike: TypeAlias = pa.Array | pa.ChunkedArray | Sequence[str]


def as_chunks(texts: TextLike, max_rows: int = sys.maxsize) -> list[pa.StringArray]:
    """Return any number of texts as chunks, in order.

    Args:
        texts: a column or a sequence of strings.
        max_rows: a limit on the texts of a chunk, beside the usual ones.

    Raises:
        DataError: a text is None or not a string, or ``texts`` is a single string.
    """
    if isinstance(texts, str):  # a string is a sequence of strings, too
        raise DataError("texts: got a single str where a list or column of texts is expected")
    if not isinstance(texts, pa.Array | pa.ChunkedArray):
        try:
            texts = string_array(texts)
        except (pa.ArrowInvalid, TypeError, UnicodeEncodeError) as error:
            raise not_a_string(error) from None
    if texts.null_count:
        raise DataError("texts: one of them is None")
    columns = texts.chunks if isinstance(texts, pa.ChunkedArray) else [texts]
    max_rows = min(max_rows, CHUNK_ROWS)
    return [chunk for column in columns for chunk in _cut(column, max_rows)]


def not_a_string(error: Exception) -> DataError:
    """Return the error for a text that is not a string, or not valid Unicode."""
    return DataError(f"texts: each must be a string: {error}")


def chunk_rows(batch: pa.RecordBatch, max_rows: int) -> Iterator[pa.RecordBatch]:
    """Cut a batch with a column ``text`` into batches of bounded length and size."""
    for start, rows in _ranges(batch.column("text"), max_rows, BATCH_BYTES):
        yield batch.slice(start, rows)


def text_bytes(texts: pa.StringArray) -> int:
    """Return the size of a column of texts in UTF-8."""
    _, bounds = string_buffers(texts)
    return int(bounds[-1] - bounds[0])


def _cut(column: pa.Array, max_rows: int) -> Iterator[pa.StringArray]:
    if column.type != pa.string():
        column = column.cast(pa.string())
    for start, rows in _ranges(column, max_rows, CHUNK_BYTES, CORES):
        yield column.slice(start, rows)


def _ranges(
    texts: pa.StringArray, max_rows: int, max_bytes: int, cores: int = 1
) -> Iterator[tuple[int, int]]:
    """Yield (start, rows) of equally long pieces, the same number for each core."""
    pieces = max(-(-len(texts) // max_rows), -(-text_bytes(texts) // max_bytes))
    even = -(-pieces // cores) * cores
    pieces = max(pieces, min(even, len(texts) // MIN_ROWS_PER_CORE))
    rows = max(-(-len(texts) // max(pieces, 1)), 1)
    for start in range(0, len(texts), rows):
        yield start, rows
