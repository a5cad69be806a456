"""``replacing``: a file that appears under its name once it is whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fasttext_app.errors import FastTextAppError


@contextmanager
def replacing(path: str | Path, refusal: type[FastTextAppError]) -> Iterator[Path]:
    """Yield a temporary name beside ``path``, and rename it to that if all went well.

    What is no file, a pipe or a device, is written to directly.

    Args:
        path: the file, which may be there already.
        refusal: the kind of error to raise.

    Raises:
        FastTextAppError: the file cannot be written.
    """
    place = Path(path)
    if not place.parent.is_dir():
        raise refusal(f"{place}: there is no folder {place.parent}")
    if place.is_dir():
        raise refusal(f"{place}: is a folder; name a file")
    if place.exists() and not place.is_file():
        with _explained(place, refusal):
            yield place
        return
    partial = place.with_name(f".{place.name}.{os.getpid()}.partial")
    try:
        with _explained(place, refusal):
            yield partial
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(place)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def _explained(place: Path, refusal: type[FastTextAppError]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.filename not in (None, str(place)) and ".partial" not in str(error.filename):
            raise  # it is of another file, read meanwhile
        raise refusal(f"{place}: cannot be written: {error.strerror or error}") from None
