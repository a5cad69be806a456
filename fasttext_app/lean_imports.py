"""``forgo_blas``: kernels load in half the time where SciPy is installed."""

from __future__ import annotations

import sys
from types import ModuleType

__all__ = ["forgo_blas"]

own_process = False
"""Whether the process runs a command of this program, and nothing else."""

BLAS = "scipy.linalg"


def forgo_blas() -> None:
    """Have numba not find SciPy's linear algebra, in a process of one's own.

    No kernel here has any, and importing it takes as long as all else that numba loads. Numba then
    compiles no ``np.dot`` in this process, so a program that merely uses this one is left alone.
    """
    if not own_process or BLAS in sys.modules:
        return
    empty = sys.modules[BLAS] = ModuleType(BLAS)
    try:
        import numba.np.arraymath  # noqa: F401  # it looks for it once
    finally:
        if sys.modules.get(BLAS) is empty:  # who needs it later gets the real one
            del sys.modules[BLAS]
