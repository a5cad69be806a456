"""Write files so that their paths never hold a partial version.

A file is written under a hidden name beside its path and then renamed. The process that writes it
holds its lock; the next one that writes to the path takes over what a killed process left.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path

from fasttext_app.errors import FastTextAppError


@contextmanager
def atomic_file(path: str | Path, error_type: type[FastTextAppError]) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` unless the block raises.

    A pipe or a device is written to directly.

    Args:
        path: the file to create or replace.
        error_type: the class of the error to raise.

    Raises:
        FastTextAppError: the file cannot be written.
    """
    path = Path(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        with _translate_errors(path, error_type):
            yield path
        return
    with atomic_files([path], error_type) as (partial,):
        yield partial


@contextmanager
def atomic_files(
    paths: Sequence[Path], error_type: type[FastTextAppError]
) -> Iterator[Sequence[Path]]:
    """Yield a temporary path beside each path; rename all of them unless the block raises.

    They are renamed once all are on the disk. An error of the block names the first path.

    Raises:
        FastTextAppError: a file cannot be written.
    """
    for path in paths:
        if not path.parent.is_dir():
            raise error_type(f"{path}: there is no folder {path.parent}")
        if path.is_dir():
            raise error_type(f"{path}: is a folder; name a file")
    with _translate_errors(paths[0], error_type), ExitStack() as stack:
        partials = [stack.enter_context(_partial_file(path)) for path in paths]
        yield partials
        flush(partials)
        for partial, path in zip(partials, paths, strict=True):
            partial.replace(path)


def flush(files: Iterable[Path]) -> None:
    """Wait until the contents of files are on the disk.

    Raises:
        OSError: they cannot be written.
    """
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())


@contextmanager
def _partial_file(path: Path) -> Iterator[Path]:
    """Yield a hidden file beside ``path`` that only this block writes; remove it if it stays."""
    names = (path.with_name(f".{path.name}.{number}.partial") for number in count())
    partial, lock = next((name, lock) for name in names if (lock := _lock(name)) is not None)
    try:
        yield partial
    finally:
        with suppress(OSError):
            if _is_at(lock, partial):
                partial.unlink()
        os.close(lock)


def _lock(partial: Path) -> int | None:
    """Create and lock a file, or take over what a killed process left; None: it is in use.

    Raises:
        OSError: the file cannot be created.
    """
    flags, is_new = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, True
    try:
        handle = os.open(partial, flags | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        is_new = False
        try:
            handle = os.open(partial, flags)
        except OSError:  # a link, of another user, or gone
            return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_locked = True
    except BlockingIOError:
        is_locked = False
    except OSError:  # a file system without locks
        is_locked = is_new
    status = os.fstat(handle)
    is_own = stat.S_ISREG(status.st_mode) and (status.st_uid, status.st_nlink) == (os.geteuid(), 1)
    if is_locked and is_own and _is_at(handle, partial):
        return handle
    os.close(handle)
    return None


def _is_at(handle: int, path: Path) -> bool:
    """Return whether an open file is the one at ``path``."""
    try:
        return os.path.samestat(os.fstat(handle), path.lstat())
    except FileNotFoundError:
        return False


@contextmanager
def _translate_errors(path: Path, error_type: type[FastTextAppError]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.filename not in (None, str(path)) and ".partial" not in str(error.filename):
            raise  # it concerns another file, such as the input
        raise error_type(f"{path}: cannot be written: {error.strerror or error}") from None
