"""``forgo_blas``: kernels load in half the time where SciPy is installed."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

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


def preload_torch() -> None:
    """Begin to import torch on another thread, so that reading and tokenizing need not wait.

    Whoever imports torch later waits for what is left of it, and gets its error if there is one.
    For a process of its own, as a command is: torch comes without TorchScript, which nothing here
    uses, and whose compiler takes a sixth of the import.
    """
    threading.Thread(target=_import_torch, name="preload torch", daemon=True).start()


def _import_torch() -> None:
    spec = find_spec("torch")
    for folder in (spec and spec.submodule_search_locations) or ():
        with suppress(OSError):  # an import would hold the interpreter's lock for as long as this
            ctypes.CDLL(str(Path(folder, "lib", "libtorch_cpu.so")))
    scripting = os.environ.get("PYTORCH_JIT")
    os.environ["PYTORCH_JIT"] = "0"  # read once, by the import
    gc.disable()  # what an import makes stays
    try:
        with suppress(Exception):  # whoever needs it imports it again, and reports it
            import torch  # noqa: F401
    finally:
        gc.freeze()  # or the first collection would go through all of torch
        gc.enable()
        if scripting is None:
            del os.environ["PYTORCH_JIT"]
        else:
            os.environ["PYTORCH_JIT"] = scripting
