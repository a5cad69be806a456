"""The models of a service by name, each replaced when its files are.

A model is held in memory, not mapped: files that are overwritten in place cannot change it. New
files are loaded once they have stayed the same for one look, so that a copy that is under way is
left alone. A request keeps the model with which it began.
"""

from __future__ import annotations

import gc
import mmap
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from fasttext_app.core.arrays import Array
from fasttext_app.errors import (
    ConfigError,
    DataError,
    FastTextAppError,
    did_you_mean,
)
from fasttext_app.foreign_text import for_terminal
from fasttext_app.hub import local_model
from fasttext_app.inference.artifacts import load_artifact_or_fasttext, model_digest
from fasttext_app.inference.classifier import TextClassifier

NAMED = re.compile(r"([\w.-]+)=(.+)", re.DOTALL)
SHOWN_VERSION = 12  # digits of a SHA-256

Say: TypeAlias = Callable[[str], None]
"""Takes a message for the person who runs the service."""
Stamp: TypeAlias = tuple[tuple[str, int, int, int], ...]
"""Name, inode, time and size of each file of a model; empty: there are none."""


@dataclass(frozen=True)
class Served:
    """A loaded model."""

    name: str
    classifier: TextClassifier
    version: str
    loaded: str

    @property
    def explains(self) -> bool:
        """Whether its logits are sums over the features of a text."""
        return not self.classifier.head.not_additive


class Watched:
    """A model at a path.

    Args:
        name: its name in the service.
        path: a model directory, a fastText file, or the id of a model of the hub.
        packages: whether its tokenizer may run an optional package.

    Raises:
        ArtifactError, ConfigError: it cannot be loaded.
    """

    def __init__(self, name: str, path: Path, *, packages: bool) -> None:
        self.name = name
        self.error: str | None = None
        """Why the files at the path are not served."""
        self._path = path if path.exists() else local_model(path)
        self._packages = packages
        self._tried = self._seen = _stamp(self._path)
        self.current = self._load()

    def refresh(self, note: Say, warn: Say) -> None:
        """Load the files at the path if they are new, and have not changed since the last look."""
        stamp = _stamp(self._path)
        is_settled, self._seen = stamp == self._seen, stamp
        if stamp == self._tried or not is_settled:
            return
        try:
            loaded = self._load()
        except FastTextAppError as error:
            if _stamp(self._path) != stamp:  # it was replaced meanwhile
                return
            self._tried, self.error = stamp, str(error)
            warn(f"{self.name}: {error}; still serving version {self.current.version}")
            return
        if _stamp(self._path) == stamp:
            self._tried, self.error = stamp, None
            self.current = loaded
            gc.collect()  # the earlier model is large, and in reference cycles
            note(f"{self.name}: now serving version {loaded.version}")

    def _load(self) -> Served:
        artifact = load_artifact_or_fasttext(self._path, packages=self._packages)
        tensors = {name: _copy(tensor) for name, tensor in artifact.tensors.items()}
        classifier = TextClassifier(replace(artifact, tensors=tensors), threads=1).warm_up()
        loaded = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
        return Served(self.name, classifier, model_digest(self._path)[:SHOWN_VERSION], loaded)


class Models:
    """The models of a service; the first one answers where a request names none.

    Args:
        models: paths or ids, or ``name=path``. The name is otherwise that of the folder or file.
        note: is told what is loaded later.
        warn: is told what cannot be loaded.
        packages: whether their tokenizers may run optional packages.

    Raises:
        ConfigError: two have the same name.
        ArtifactError: one cannot be loaded.
    """

    def __init__(
        self, models: Sequence[str], note: Say, warn: Say, *, packages: bool = False
    ) -> None:
        paths: dict[str, Path] = {}
        for text in models:
            name, path = named_model(text)
            if name in paths:
                raise ConfigError(
                    f"{text}: another model is named {name} too; name one with NAME={path}"
                )
            paths[name] = path
        self.watched = {
            name: Watched(name, path, packages=packages) for name, path in paths.items()
        }
        self._first = next(iter(self.watched.values()))
        self._note, self._warn = note, warn

    def get(self, name: str | None) -> Served:
        """Return a model as it is now.

        Raises:
            DataError: there is none of this name.
        """
        watched = self._first if name is None else self.watched.get(name)
        if watched is None:
            hint = did_you_mean(str(name), self.watched)
            names = ", ".join(self.watched)
            raise DataError(f"model: there is none named {name!r}{hint or f'; choose {names}'}")
        return watched.current

    def refresh(self) -> None:
        """Load the models whose files have been replaced."""
        for watched in self.watched.values():
            watched.refresh(self._note, self._warn)


def named_model(text: str) -> tuple[str, Path]:
    """Return the name and the path of a model.

    >>> named_model("models/tickets")[0], named_model("en=a/lid.176.bin")[0]
    ('tickets', 'en')
    >>> named_model("owner/name@v1")[0], named_model("lid.176.ftz")[0]
    ('name', 'lid.176')
    """
    match = NAMED.fullmatch(text)
    if match and not Path(text).exists():
        return match[1], Path(match[2])
    path = Path(text)
    name = (path if path.exists() else Path(text.partition("@")[0])).resolve().name
    return for_terminal(re.sub(r"\.(bin|ftz)$", "", name)), path


def _stamp(path: Path) -> Stamp:
    try:
        files = [path] if path.is_file() else [file for file in path.iterdir() if file.is_file()]
        states = [(file.name, file.stat()) for file in sorted(files)]
    except OSError:  # it is being replaced
        return ()
    return tuple((name, s.st_ino, s.st_mtime_ns, s.st_size) for name, s in states)


def _copy(tensor: Array) -> Array:
    """Return a copy that begins at a page of memory, which forked processes share."""
    if not tensor.nbytes:
        return tensor.copy()
    copy = np.frombuffer(mmap.mmap(-1, tensor.nbytes), tensor.dtype, tensor.size)
    copy = copy.reshape(tensor.shape)
    copy[...] = tensor
    return copy
