"""Every error that fasttext_app raises on purpose, in one tree.

    FastTextAppError            exit code 1
    ├── ConfigError             a setting that is unknown, of the wrong type, or impossible
    ├── DataError               a file, folder or column that cannot be read as texts and labels
    ├── ArtifactError           a model directory that is missing, damaged, or cannot be written
    ├── CheckpointError         a run that cannot be gone on with, or whose state cannot be written
    ├── DeviceError             a device that was asked for and is not there
    ├── MissingDependencyError  an optional package that the request needs
    └── TrainingError           data or settings on which training cannot go on

A message says what is wrong, where (``file:line`` when there is one), and what to do about it.
The command line prints it as one line on stderr; nothing here is ever shown as a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ArtifactError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DeviceError",
    "FastTextAppError",
    "MissingDependencyError",
    "TrainingError",
    "did_you_mean",
]


class FastTextAppError(Exception):
    """The base of all errors that are the caller's to mend; the message is complete by itself."""

    exit_code = 1


class ConfigError(FastTextAppError):
    """A setting that is unknown, of the wrong type, out of range, or impossible with another."""


class DataError(FastTextAppError):
    """Input that cannot be read as texts and labels."""


class ArtifactError(FastTextAppError):
    """A model directory that is missing, damaged, of another format, or cannot be written."""


class CheckpointError(FastTextAppError):
    """Checkpoints that are missing or damaged, of another run, or cannot be written."""


class DeviceError(FastTextAppError):
    """A device that was asked for and is not available."""


class MissingDependencyError(FastTextAppError):
    """An optional package that the request needs and that is not installed."""


class TrainingError(FastTextAppError):
    """Data or settings on which training cannot start or go on."""


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest of ``choices``, or ``""`` if none is near.

    >>> did_you_mean("epoch", ["epochs", "lr"])
    "; did you mean 'epochs'?"
    """
    nearest = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f"; did you mean '{nearest[0]}'?" if nearest else ""
