"""``without_blas``: kernels load in half the time where SciPy is installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

__all__ = ["without_blas"]

BLAS = "scipy.linalg"


@contextmanager
def without_blas() -> Iterator[None]:
    """Have numba not find SciPy's linear algebra while it loads what all kernels need.

    No kernel here has any, and importing it takes as long as all else that numba loads. For a
    process of its own, as a command is: numba then compiles no ``np.dot`` in it.
    """
    if BLAS in sys.modules:
        yield
        return
    empty = sys.modules[BLAS] = ModuleType(BLAS)
    try:
        yield
    finally:
        if sys.modules.get(BLAS) is empty:  # who needs it later gets the real one
            del sys.modules[BLAS]
