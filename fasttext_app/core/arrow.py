"""Arrow columns and the buffers that they are made of.

Where ``pa.array`` or ``to_numpy`` would do, their first call imports pandas if that is installed,
which takes longer than a whole prediction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from fasttext_app.core.arrays import I32, U8, Array, Bool

FEW = 1 << 20  # with more, pa.array() saves more than the import of pandas takes


def string_array(strings: Sequence[str]) -> pa.StringArray:
    """Make a string column of Python strings.

    Raises:
        TypeError: one of them is no string.
        UnicodeEncodeError: one of them has a lone surrogate.
    """
    if len(strings) > FEW:
        return pa.array(strings, pa.string())
    if any(not isinstance(string, str) and string is not None for string in strings):
        raise TypeError("one of them is not")  # the builder would take bytes for text
    builder = pa.lib.StringBuilder()
    builder.append_values(strings)
    return builder.finish()


def python_strings(strings: pa.StringArray) -> list[str]:
    """Return a string column as Python strings; bytes that are no UTF-8 become lone surrogates."""
    try:
        texts: list[str] = strings.to_pylist()
    except UnicodeDecodeError:
        data, bounds = string_buffers(strings)
        ends = zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
        return [data[a:b].tobytes().decode("utf-8", "surrogateescape") for a, b in ends]
    return texts


def string_buffers(
    strings: pa.StringArray,
) -> tuple[U8, I32]:
    """Return (bytes, offsets [W + 1]) of a string column; nothing is copied.

    Both are made read-only, wherever they come from: compiled code has a version for either kind.

    >>> data, offsets = string_buffers(string_array(["to", "", "be"]))
    >>> bytes(data), offsets.tolist()
    (b'tobe', [0, 2, 2, 4])
    """
    _, offset_buffer, data_buffer = strings.buffers()
    if offset_buffer is None or not len(strings):  # Arrow may leave out an empty column's buffers
        return np.frombuffer(b"", np.uint8), np.frombuffer(bytes(4), np.int32)
    raw = np.frombuffer(offset_buffer, dtype=np.int32)
    bounds: I32 = raw[strings.offset :][: len(strings) + 1]
    data = np.frombuffer(data_buffer or b"", dtype=np.uint8)
    data.flags.writeable = bounds.flags.writeable = False
    return data, bounds


def utf8_buffers(string: str, errors: str = "strict") -> tuple[U8, I32]:
    """Return the same of one string.

    Raises:
        UnicodeEncodeError: it has a lone surrogate, and ``errors`` does not say what that is.
    """
    data = np.frombuffer(string.encode(errors=errors), dtype=np.uint8)
    bounds = np.array([0, len(data)], dtype=np.int32)
    bounds.flags.writeable = False
    return data, bounds


def strings_from_buffers(data: U8, offsets: I32) -> pa.StringArray:
    """Make a string column of its two buffers, the reverse of :func:`string_buffers`."""
    buffers: Any = pa.py_buffer(offsets), pa.py_buffer(data)
    return pa.StringArray.from_buffers(len(offsets) - 1, *buffers)


def rows_containing(strings: pa.StringArray, sign: str) -> Bool:
    """Say which strings have an ASCII character in them, [W]; Arrow's own search is slower.

    >>> rows_containing(string_array(["a|b", "", "c"]), "|").tolist()
    [True, False, False]
    """
    data, bounds = string_buffers(strings)
    found = np.zeros(len(strings), dtype=np.bool_)
    at = np.flatnonzero(data[bounds[0] : bounds[-1]] == ord(sign)) + bounds[0]
    found[np.searchsorted(bounds, at, side="right") - 1] = True
    return found


def to_numpy(column: pa.Array) -> Array:
    """Return a numeric column without nulls as an array that shares its memory."""
    dtype = column.type.to_pandas_dtype()
    values = column.buffers()[1]
    if values is None:
        return np.empty(0, dtype=dtype)
    return np.frombuffer(values, dtype=dtype)[column.offset :][: len(column)]


def to_arrow(values: Array) -> pa.Array:
    """Return an array of numbers or booleans as a column without nulls.

    >>> to_arrow(np.array([True, False])).to_pylist()
    [True, False]
    """
    dtype = pa.from_numpy_dtype(values.dtype)
    if values.dtype == np.bool_:  # Arrow stores eight booleans in a byte
        data = np.packbits(values, bitorder="little")
    else:
        data = np.ascontiguousarray(values)
    return pa.Array.from_buffers(dtype, len(values), [None, pa.py_buffer(data)])
