"""The switch to compiled code, and its compilation with numba: without the GIL, cached on disk.

Every compiled function that a prediction calls has a reference implementation in Python or NumPy
with bit-identical results, so the choice affects only speed. :func:`enabled` makes it, for the
whole process. Numba is imported with the first compiled function, not with this module.

Machine code in a cache is code: a cache folder is used only if nobody else can write to it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

PLAIN_BYTES = 1 << 20
"""Bytes of text that a process handles in plain Python before it loads compiled code."""

Function = TypeVar("Function", bound=Callable[..., Any])

on_compile: Callable[[str], None] | None = None
"""Called before a function is compiled whose machine code is in no cache, with where it goes.

If it raises an error, the function is not compiled."""

PER_MACHINE = "once per machine"

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


def inlined(function: Function) -> Function:
    """Compile a helper of other compiled functions into each of them.

    A call passes an array as seven numbers and counts the references to it, which takes longer than
    many a helper.
    """
    return _compile(function, forceinline=True)


def compiled(function: Function) -> Function:
    """Compile a function on its first call; later processes load the machine code from a cache.

    The cache is beside the module, else in the user's cache folder, else in a private temporary
    folder; one beside the module that an installer has filled need not be writable. If there is
    none, every process compiles. A division by zero gives inf or nan, as in NumPy: Python's check
    of each divisor would prevent vectorization.
    """
    return _compile(function)


def _compile(function: Function, **options: Any) -> Function:
    import numba

    from fasttext_app.core.startup import hide_scipy_linalg

    hide_scipy_linalg()
    if on_compile is not None:
        _announce_compilation()
    options |= {"nogil": True, "error_model": "numpy"}
    config: Any = numba.config
    configured = config.CACHE_DIR
    folder = cache_folder(Path(function.__code__.co_filename).parent, configured)
    try:
        if folder is None:
            raise RuntimeError("no folder is writable and private")
        config.CACHE_DIR = folder
        with _unwritable_folders():
            dispatcher = numba.njit(cache=True, **options)(function)
        _forgive_faults(dispatcher._cache)
    except RuntimeError:  # numba says so too, if it cannot write to the folder
        dispatcher = numba.njit(**options)(function)
    finally:
        config.CACHE_DIR = configured
    return cast("Function", dispatcher)


@contextmanager
def _unwritable_folders() -> Iterator[None]:
    """Let numba read a cache that it cannot write: `cache_folder` has chosen the folder."""
    from numba.core import caching

    locators: Any = caching._CacheLocator
    ensure: Any = locators.ensure_cache_path

    def ensure_cache_path(locator: Any) -> None:
        with suppress(OSError):
            ensure(locator)

    locators.ensure_cache_path = ensure_cache_path
    try:
        yield
    finally:
        locators.ensure_cache_path = ensure


def _forgive_faults(cached: Any) -> None:
    """Let a cache that cannot be read or written cost time only: the function is compiled again."""
    load, save = cached.load_overload, cached.save_overload

    def load_overload(*arguments: Any) -> Any:
        try:
            return load(*arguments)
        except Exception:  # noqa: BLE001 - a damaged file raises anything
            return None

    def save_overload(*arguments: Any) -> None:
        with suppress(OSError):  # a full disk
            try:
                save(*arguments)
            except OSError:
                raise
            except Exception:  # noqa: BLE001 - as above
                cached.flush()
                save(*arguments)

    cached.load_overload, cached.save_overload = load_overload, save_overload


@cache
def cache_folder(modules: Path, configured: str) -> str | None:
    """Return the folder for the machine code of a folder of modules; None: there is none.

    Args:
        modules: the folder of the modules.
        configured: the folder that ``NUMBA_CACHE_DIR`` names, or "".

    Returns:
        The folder, as numba's configuration has it; "": beside the modules.
    """
    if configured and _is_safe(Path(configured)):
        return configured
    beside = modules / "__pycache__"
    if modules.is_dir() and _is_safe(beside, modules.stat().st_uid, or_filled=True):
        return ""
    own = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser(), "numba")
    if _is_safe(own):
        return str(own)
    private = private_folder()
    return None if private is None else str(private)


def _is_filled(folder: Path) -> bool:
    """Return whether a folder holds machine code."""
    return any(folder.glob("*.nbi"))


def _is_safe(folder: Path, other_owner: int | None = None, *, or_filled: bool = False) -> bool:
    """Return whether a folder, which may have to be made, can be written to by its owner only.

    Args:
        folder: the folder.
        other_owner: a user beside the present one and root who may own it, because the code that
            uses the cache is theirs.
        or_filled: whether machine code in it is of use even if this process cannot write to it.
    """
    owners = {os.getuid(), 0, other_owner}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in (folder.resolve(), *folder.resolve().parents):
            status = path.stat()
            open_to_all = status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX
            if status.st_uid not in owners or open_to_all:
                return False
    except OSError:
        return False
    if folder.stat().st_mode & stat.S_IWOTH:
        return False
    if os.access(folder, os.W_OK | os.X_OK):
        return True
    return or_filled and os.access(folder, os.R_OK | os.X_OK) and _is_filled(folder)


@cache
def private_folder() -> Path | None:
    """Return a temporary folder of this user alone, which later processes find again.

    None if there is none, because another user has taken its name, or nothing can be written.
    """
    import tempfile  # late: it imports what makes random names

    folder = Path(tempfile.gettempdir(), f"fasttext_app-{os.getuid()}")
    try:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        status = folder.lstat()
    except OSError:
        return None
    is_own = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
    is_private = not status.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    return folder if is_own and is_private and os.access(folder, os.W_OK) else None


def _folder() -> str | None:
    import numba

    config: Any = numba.config
    return cache_folder(Path(__file__).parent, config.CACHE_DIR)


def _where() -> str:
    """Say where compiled code goes."""
    folder = _folder()
    if folder is None or not os.access(folder or Path(__file__).parent / "__pycache__", os.W_OK):
        return "for this process only: no folder for them is writable and private"
    private = private_folder() if folder else None
    if private is not None and folder == str(private):
        return f"into {folder}, because no other folder for them is writable and private"
    return PER_MACHINE


def cache_place() -> str:
    """Return where compiled code is, in words."""
    folder = _folder()
    if folder is None:
        return "no folder: none is writable and private"
    return folder or str(Path(__file__).parent.parent / "*" / "__pycache__")


@cache
def _announce_compilation() -> None:
    from numba.core import event

    class Announcer(event.Listener):
        def on_start(self, event: Any) -> None:
            if on_compile is not None:
                on_compile(_where())

        def on_end(self, event: Any) -> None:
            pass

    event.register("numba:compile", Announcer())
