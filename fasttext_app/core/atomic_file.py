"""Write a file so that its path never holds a partial version."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    if not path.parent.is_dir():
        raise error_type(f"{path}: there is no folder {path.parent}")
    if path.is_dir():
        raise error_type(f"{path}: is a folder; name a file")
    if path.exists() and not path.is_file():
        with _translate_errors(path, error_type):
            yield path
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with _translate_errors(path, error_type):
            yield partial
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def _translate_errors(path: Path, error_type: type[FastTextAppError]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.filename not in (None, str(path)) and ".partial" not in str(error.filename):
            raise  # it concerns another file, such as the input
        raise error_type(f"{path}: cannot be written: {error.strerror or error}") from None
