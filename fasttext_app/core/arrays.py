"""NumPy arrays: type aliases, and what NumPy lacks."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Bool = npt.NDArray[np.bool_]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I8 = npt.NDArray[np.int8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""Steps of this size visit every 64-bit number."""

_Array = TypeVar("_Array", bound=Array)


def constant(array: _Array) -> _Array:
    """Return a read-only view of an array.

    Numba compiles a function once for arrays that can be written to and once for others: what
    belongs to a model is read-only, wherever it came from.
    """
    view = array.view()
    view.flags.writeable = False
    return view


def on_cache_lines(rows: int, columns: int) -> F32:
    """Return room for a matrix that begins on a cache line.

    NumPy asks the system for large pages, which torch does not: an epoch over a table of hundreds
    of megabytes takes a sixth less time.
    """
    room = np.empty(rows * columns + 16, np.float32)
    start = -room.ctypes.data % 64 // 4
    return room[start : start + rows * columns].reshape(rows, columns)


def mix_bits(numbers: U64) -> U64:
    """Scramble each number; the finalizer of SplitMix64 (Steele, Lea and Flood, 2014)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
