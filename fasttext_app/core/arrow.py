"""Conversions between Arrow columns, NumPy arrays and Python strings.

The first call of ``pa.array`` or ``Array.to_numpy`` imports pandas if it is installed, which takes
longer than a whole prediction. ``pyarrow.compute`` wraps all of Arrow's functions when it is
imported; as :data:`compute`, it is imported when one of them is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from fasttext_app.core.arrays import I32, U8, Array, Bool

FEW_STRINGS = 64
"""Number of strings up to which Arrow's builder, which takes them one by one, is as fast."""
JOINED_STRINGS = 1 << 11
"""Number of strings to join at a time: one that is not ASCII makes all of them wider."""
MAX_STRING_BYTES = 1 << 31
"""Size that the offsets of a string column can address."""


class _Compute:
    def __getattr__(self, name: str) -> Any:
        import pyarrow.compute

        return getattr(pyarrow.compute, name)


compute: Any = _Compute()
"""The module ``pyarrow.compute``."""


def string_array(strings: Sequence[str | None]) -> pa.StringArray:
    """Return a string column of Python strings.

    Raises:
        TypeError: an element is not a string.
        UnicodeEncodeError: an element has a lone surrogate.
    """
    if len(strings) > FEW_STRINGS:
        column = _joined_strings(strings)
        if column is not None:
            return column
    for string in strings:  # the builder would accept bytes as text
        if not isinstance(string, str) and string is not None:
            raise TypeError(f"got {type(string).__name__}")
    builder = pa.lib.StringBuilder()
    builder.append_values(strings)
    return builder.finish()


def _joined_strings(strings: Sequence[str | None]) -> pa.StringArray | None:
    """Return a string column of Python strings, converted many at a time.

    None if it cannot be made so: an element is no string or has a NUL, or the column is too large.
    """
    parts, offsets = [], np.zeros(len(strings) + 1, np.int64)
    for start in range(0, len(strings), JOINED_STRINGS):
        piece = strings[start : start + JOINED_STRINGS]
        try:
            parts.append("".join(piece).encode())  # type: ignore[arg-type]  # None is a TypeError
        except TypeError:
            return None
        # A NUL after each string but the last tells where it ends.
        marked = np.frombuffer("\0".join(piece).encode(), np.uint8)  # type: ignore[arg-type]
        ends = np.flatnonzero(marked == 0)
        if len(ends) != len(piece) - 1:
            return None
        stop = start + len(piece)
        offsets[start + 1 : stop] = ends - np.arange(len(ends)) + offsets[start]
        offsets[stop] = offsets[start] + len(parts[-1])
    if offsets[-1] >= MAX_STRING_BYTES:
        return None
    return strings_from_buffers(np.frombuffer(b"".join(parts), np.uint8), offsets.astype(np.int32))


def is_string(kind: pa.DataType) -> bool:
    """Return whether a type is one of strings, in any layout."""
    return kind in (pa.string(), pa.large_string(), pa.string_view())


def without_nulls(strings: pa.StringArray) -> pa.StringArray:
    """Return a string column with empty strings for missing ones."""
    return strings.fill_null(string_array([""])[0]) if strings.null_count else strings


def with_nulls(column: pa.Array, mask: pa.BooleanArray | None) -> pa.Array:
    """Return a column with null where a mask is true; the column itself if there is no mask."""
    if mask is None:
        return column
    import pyarrow.compute as pc

    return pc.if_else(mask, pa.nulls(1, column.type)[0], column)


def python_strings(strings: pa.StringArray) -> list[str]:
    """Return a string column as Python strings; invalid UTF-8 becomes lone surrogates."""
    try:
        texts: list[str] = strings.to_pylist()
    except UnicodeDecodeError:
        data, offsets = string_buffers(strings)
        bounds = zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
        return [data[a:b].tobytes().decode("utf-8", "surrogateescape") for a, b in bounds]
    return texts


def string_buffers(strings: pa.StringArray) -> tuple[U8, I32]:
    """Return the bytes and the offsets [W+1] of a string column, without a copy.

    Both are read-only, whatever they came from, so that numba compiles only one version.

    >>> data, offsets = string_buffers(string_array(["to", "", "be"]))
    >>> bytes(data), offsets.tolist()
    (b'tobe', [0, 2, 2, 4])
    """
    _, offset_buffer, data_buffer = strings.buffers()
    if offset_buffer is None or not len(strings):  # Arrow may omit the buffers of an empty column
        return np.frombuffer(b"", np.uint8), np.frombuffer(bytes(4), np.int32)
    all_offsets = np.frombuffer(offset_buffer, dtype=np.int32)
    offsets: I32 = all_offsets[strings.offset :][: len(strings) + 1]
    data = np.frombuffer(data_buffer or b"", dtype=np.uint8)
    data.flags.writeable = offsets.flags.writeable = False
    return data, offsets


def bytes_buffers(data: bytes) -> tuple[U8, I32]:
    """Return the :func:`string_buffers` of the UTF-8 bytes of one string."""
    return np.frombuffer(data, dtype=np.uint8), _offsets_of_one(len(data))


@lru_cache(maxsize=1 << 12)
def _offsets_of_one(size: int) -> I32:
    """Return the offsets of a column of one string; cached, because making them is slow."""
    offsets = np.array([0, size], dtype=np.int32)
    offsets.flags.writeable = False
    return offsets


def strings_from_buffers(data: U8, offsets: I32) -> pa.StringArray:
    """Return a string column of its buffers; the inverse of :func:`string_buffers`."""
    buffers: Any = pa.py_buffer(offsets), pa.py_buffer(data)
    return pa.StringArray.from_buffers(len(offsets) - 1, *buffers)


def strings_from_bytes(values: Sequence[bytes]) -> pa.StringArray:
    r"""Return a string column of bytes, which need not be valid UTF-8.

    >>> python_strings(strings_from_bytes([b"to", b"", b"be\xff"]))
    ['to', '', 'be\udcff']
    """
    offsets = np.zeros(len(values) + 1, np.int32)
    np.cumsum([len(value) for value in values], out=offsets[1:])
    return strings_from_buffers(np.frombuffer(b"".join(values), np.uint8), offsets)


def rows_containing(strings: pa.StringArray, character: str) -> Bool:
    """Return a mask [W] of the strings with an ASCII character; faster than Arrow's own search.

    >>> rows_containing(string_array(["a|b", "", "c"]), "|").tolist()
    [True, False, False]
    """
    data, offsets = string_buffers(strings)
    mask = np.zeros(len(strings), dtype=np.bool_)
    positions = np.flatnonzero(data[offsets[0] : offsets[-1]] == ord(character)) + offsets[0]
    mask[np.searchsorted(offsets, positions, side="right") - 1] = True
    return mask


def to_numpy(column: pa.Array) -> Array:
    """Return a numeric column without nulls as an array, without a copy."""
    dtype = column.type.to_pandas_dtype()
    values = column.buffers()[1]
    if values is None:
        return np.empty(0, dtype=dtype)
    return np.frombuffer(values, dtype=dtype)[column.offset :][: len(column)]


def to_arrow(values: Array) -> pa.Array:
    """Return an array of numbers or booleans as a column.

    >>> to_arrow(np.array([True, False])).to_pylist()
    [True, False]
    """
    dtype = pa.from_numpy_dtype(values.dtype)
    if values.dtype == np.bool_:  # Arrow packs eight booleans into a byte
        data = np.packbits(values, bitorder="little")
    else:
        data = np.ascontiguousarray(values)
    return pa.Array.from_buffers(dtype, len(values), [None, pa.py_buffer(data)])
