"""Write files so that their paths never hold a partial version."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
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
    partials = [path.with_name(f".{path.name}.{os.getpid()}.partial") for path in paths]
    try:
        with _translate_errors(paths[0], error_type):
            yield partials
            for partial in partials:
                with partial.open("rb") as file:
                    os.fsync(file.fileno())
            for partial, path in zip(partials, paths, strict=True):
                partial.replace(path)
    finally:
        for partial in partials:
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
