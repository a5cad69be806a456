"""Errors of this program that are also of a built-in kind, for callers that expect that kind.

Code that was written for the original fastText or for scikit-learn catches ``ValueError``; the
original raises a ``RuntimeError`` if the loss diverges.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fasttext_app.errors import (
    ArtifactError,
    ConfigError,
    DataError,
    FastTextAppError,
    TrainingError,
)


class ConfigValueError(ConfigError, ValueError):
    """An option with an invalid value, or something that a model cannot do."""


class DataValueError(DataError, ValueError):
    """A text file or vectors that cannot be read."""


class ArtifactValueError(ArtifactError, ValueError):
    """A model file that cannot be read or written."""


class TrainingValueError(TrainingError, ValueError, RuntimeError):
    """A file with nothing to learn, or a loss that diverged."""


KINDS: dict[type[FastTextAppError], type[FastTextAppError]] = {
    ConfigError: ConfigValueError,
    DataError: DataValueError,
    ArtifactError: ArtifactValueError,
    TrainingError: TrainingValueError,
}


@contextmanager
def built_in_kinds() -> Iterator[None]:
    """Raise errors as the built-in kind too; a decorator for the public functions and methods."""
    try:
        yield
    except FastTextAppError as error:
        kind = KINDS.get(type(error))
        if kind is None:
            raise
        raise kind(str(error)).with_traceback(error.__traceback__) from None
