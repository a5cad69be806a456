"""``compiled``: how the hot loops become machine code (numba, without the GIL, cached on disk)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

__all__ = ["compiled"]

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a function at its first call; later processes load the machine code from a cache.

    The cache is beside the module, or in the user's cache folder where that is read-only. Where
    neither can be written, every process compiles anew.
    """
    try:
        made = numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # numba found no place for a cache
        made = numba.njit(nogil=True)(function)
    return cast("Function", made)
