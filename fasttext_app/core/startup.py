"""Start-up time and memory of the command line: for a process that runs one command and ends."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

is_command = False
"""True in a process of the command line, False in a program that imports the package."""

BLAS, METADATA = "scipy.linalg", "importlib.metadata"

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # of glibc's malloc.h
MMAP_BYTES = 1 << 22
"""Size from which a block gets pages of its own, which are returned when it is freed."""
TRIM_BYTES = 1 << 24
"""Free memory at the end of the heap that is kept, because it is soon needed again."""


def begin_command(*, keeps_all: bool) -> None:
    """Prepare a process that runs one command, before it imports anything large.

    Args:
        keeps_all: whether it keeps most objects that it makes, so that few searches for cycles pay.
    """
    global is_command  # noqa: PLW0603 - true from here on
    is_command = True
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # unused threads that spin on import
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")  # looking for plugins takes time
    if keeps_all:
        gc.set_threshold(100_000, 50, 100)
    _defer_entry_points()


def _defer_entry_points() -> None:
    """Let pydantic import ``importlib.metadata`` only when it looks for plugins: in no command."""
    if METADATA in sys.modules:
        return

    def entry_points(**selection: Any) -> Any:
        return import_module(METADATA).entry_points(**selection)

    with _stand_in(METADATA) as module, suppress(ImportError, AttributeError):
        vars(module)["entry_points"] = entry_points
        import pydantic.plugin._loader  # noqa: F401  # other versions may need more of the module


@contextmanager
def _stand_in(name: str) -> Iterator[ModuleType]:
    """Let imports of a module find an empty one during this block; later ones get the real one."""
    empty = sys.modules[name] = ModuleType(name)
    try:
        yield empty
    finally:
        if sys.modules.get(name) is empty:
            del sys.modules[name]


def tune_malloc() -> None:
    """Limit the memory that glibc keeps after it is freed; other C libraries are left alone."""
    with suppress(AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_ARENA_MAX, 1)  # all threads share one arena instead of keeping one each
        mallopt(M_TRIM_THRESHOLD, TRIM_BYTES)
        # glibc then no longer raises it; large arrays would leave holes in the heap when freed.
        mallopt(M_MMAP_THRESHOLD, MMAP_BYTES)


def hide_scipy_linalg() -> None:
    """Keep numba from importing ``scipy.linalg``, which takes as long as the rest of numba.

    Only in a command: numba then cannot compile ``np.dot``, which no kernel here uses but another
    program may.
    """
    if not is_command or BLAS in sys.modules:
        return
    with _stand_in(BLAS):
        import numba.np.arraymath  # noqa: F401  # the only place that looks for it


def preload_torch() -> None:
    """Start to import torch on another thread, while data is read and tokenized.

    A later ``import torch`` waits for it, and raises its error if it failed. TorchScript, which
    nothing here uses, is disabled: its compiler takes a sixth of the import.
    """
    threading.Thread(target=_import_torch, name="preload torch", daemon=True).start()


def _import_torch() -> None:
    spec = find_spec("torch")
    for folder in (spec and spec.submodule_search_locations) or ():
        with suppress(OSError):  # ctypes releases the interpreter lock, an import does not
            ctypes.CDLL(str(Path(folder, "lib", "libtorch_cpu.so")))
    torchscript = os.environ.get("PYTORCH_JIT")
    os.environ["PYTORCH_JIT"] = "0"  # read once, by the import
    gc.disable()  # an import creates no garbage
    try:
        with suppress(Exception):  # the import that needs it will raise it
            import torch  # noqa: F401
    finally:
        gc.freeze()  # or the first collection would traverse all of torch
        gc.enable()
        if torchscript is None:
            del os.environ["PYTORCH_JIT"]
        else:
            os.environ["PYTORCH_JIT"] = torchscript
