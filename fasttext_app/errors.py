"""Every error that fasttext_app raises deliberately, in one tree.

    FastTextAppError            exit code 1
    ├── ConfigError             an unknown setting, an invalid value, an impossible combination
    ├── DataError               a file, folder or column that cannot be read as texts and labels
    ├── ArtifactError           a model directory that is missing, damaged, or cannot be written
    ├── CheckpointError         a run that cannot be resumed, or whose state cannot be written
    ├── DeviceError             a device that is not available
    ├── MissingDependencyError  an optional package that is not installed
    └── TrainingError           data or settings with which training cannot start or continue

A message says what is wrong, where (``file:line`` if there is one), and what to do about it.
The command line prints it as one line on stderr, never as a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from fasttext_app.foreign_text import for_terminal

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
    """Base class of all errors that the caller can fix; the message is complete by itself."""

    def __str__(self) -> str:
        """Return the message on one line; names in it cannot control a terminal."""
        return for_terminal(super().__str__().replace("\n", " "))


class ConfigError(FastTextAppError):
    """A setting that is unknown, invalid, or impossible in combination with another."""


class DataError(FastTextAppError):
    """Input that cannot be read as texts and labels."""


class ArtifactError(FastTextAppError):
    """A model directory that is missing, damaged, of another format, or cannot be written."""


class CheckpointError(FastTextAppError):
    """Checkpoints that are missing, damaged, of another run, or cannot be written."""


class DeviceError(FastTextAppError):
    """A device that is not available."""


class MissingDependencyError(FastTextAppError):
    """An optional package that is required here and not installed."""


class TrainingError(FastTextAppError):
    """Data or settings with which training cannot start or continue."""


def missing_package(user: str, package: str, extra: str | None = None) -> MissingDependencyError:
    """Return the error for a package that is not installed, with the command that installs it.

    >>> missing_package("tune", "optuna", "tune").args[0]
    "tune needs the package optuna; pip install -c constraints.txt '.[tune]', or pip install optuna"

    Args:
        user: what needs the package.
        package: its name on PyPI.
        extra: the extra of this project that contains it, if one does.
    """
    in_clone = f"pip install -c constraints.txt '.[{extra}]', or " if extra else ""
    return MissingDependencyError(
        f"{user} needs the package {package}; {in_clone}pip install {package}"
    )


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest choice, or ``""`` if none is close.

    >>> did_you_mean("epoch", ["epochs", "lr"])
    "; did you mean 'epochs'?"
    """
    closest = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f"; did you mean '{closest[0]}'?" if closest else ""
