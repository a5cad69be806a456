"""The switch to compiled code, and its compilation with numba: without the GIL, cached on disk.

Every compiled function that a prediction calls has a reference implementation in Python or NumPy
with bit-identical results, so the choice affects only speed. :func:`enabled` makes it, for the
whole process. Numba is imported with the first compiled function, not with this module.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, cast

PLAIN_BYTES = 1 << 20
"""Bytes of text that a process handles in plain Python before it loads compiled code."""

Function = TypeVar("Function", bound=Callable[..., Any])

on_compile: Callable[[], None] | None = None
"""Called before a function is compiled whose machine code is in no cache."""

_enabled = False
_plain_bytes = 0


def enabled(text_bytes: int = 0) -> bool:
    """Return whether to run compiled code.

    A process starts in plain Python, because loading machine code takes longer than a few
    predictions. It switches for good after :data:`PLAIN_BYTES` of text, or with :func:`enable`.

    Args:
        text_bytes: size of the text that the caller is about to handle.
    """
    global _enabled, _plain_bytes  # noqa: PLW0603 - the one switch of the process
    if not _enabled:
        _plain_bytes += text_bytes
        _enabled = _plain_bytes >= PLAIN_BYTES
    return _enabled


def enable() -> None:
    """Run compiled code from now on."""
    global _enabled  # noqa: PLW0603
    _enabled = True


def compiled(function: Function) -> Function:
    """Compile a function on its first call; later processes load the machine code from a cache.

    The cache is beside the module, or in the user's cache folder if that is read-only. If neither
    can be written, every process compiles. A division by zero gives inf or nan, as in NumPy:
    Python's check of each divisor would prevent vectorization.
    """
    import numba

    from fasttext_app.core.startup import hide_scipy_linalg

    hide_scipy_linalg()
    if on_compile is not None:
        _announce_compilation()
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        dispatcher = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # numba found no folder for the cache
        dispatcher = numba.njit(**options)(function)
    return cast("Function", dispatcher)


@cache
def _announce_compilation() -> None:
    from numba.core import event

    class Announcer(event.Listener):
        def on_start(self, event: Any) -> None:
            if on_compile is not None:
                on_compile()

        def on_end(self, event: Any) -> None:
            pass

    event.register("numba:compile", Announcer())
