"""Optuna, as a search uses it: values are asked of it, and its journal keeps the trials.

The file of a search says which search it is, and has a line of JSON for each trial that came to an
end. It is Optuna's journal, so Optuna's own tools read it. A trial is written when it is over; one
that a kill cuts short leaves at most half a line, which the next search takes away.
"""

from __future__ import annotations

import fcntl
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fasttext_app.errors import ConfigError, MissingDependencyError
from fasttext_app.tuning.space import Choice, Dimension

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial


NAME = "fasttext-app tune"
IDENTITY = "search"
FIRST_LINE = b'{"op_code":0,'  # of every journal
NO_STUDY = "{}: is not the file of a search; name another with --study"
SHOWN = 3  # differences between two searches


@contextmanager
def quiet_optuna() -> Iterator[Any]:
    """Import Optuna and yield it, without its log and its remarks on what is experimental in it.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise MissingDependencyError(
            "tune needs Optuna; pip install 'fasttext-app[tune]', or pip install optuna"
        ) from None
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield optuna
    finally:
        optuna.logging.set_verbosity(before)


def suggest(asked: optuna.Trial, dimension: Dimension) -> Sequence[Any]:
    """Let Optuna choose a value of a dimension; it comes alone in a tuple."""
    of, name = dimension.of, dimension.name
    if isinstance(of, Choice):
        params = [as_param(value) for value in of.values]
        return (of.values[params.index(asked.suggest_categorical(name, params))],)
    if isinstance(of.low, int):
        step = int(of.step or 1)
        return (asked.suggest_int(name, of.low, int(of.high), log=of.log, step=step),)
    return (asked.suggest_float(name, of.low, of.high, log=of.log, step=of.step),)


def as_param(value: Any) -> Any:
    """Return a value as Optuna takes it: a group of settings as JSON text."""
    return json.dumps(value) if isinstance(value, dict | list) else value


class StudyFile:
    """The trials of earlier sessions, and the place for those to come; see :meth:`opened`."""

    def __init__(self, study: optuna.Study) -> None:
        self._study = study

    @classmethod
    @contextmanager
    def opened(
        cls, path: Path, identity: Mapping[str, Any], direction: Literal["minimize", "maximize"]
    ) -> Iterator[StudyFile]:
        """Open a study, or begin one, for this process alone.

        Args:
            path: the file.
            identity: what defines the search, by names that a message can show.
            direction: ``maximize`` or ``minimize``.

        Raises:
            ConfigError: the file is no study, or that of another search, or another process has it.
        """
        import optuna
        from optuna.storages.journal import JournalFileBackend

        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigError(
                    f"{path}: another search is at work on this study; wait for it, or name "
                    "another file with --study"
                ) from None
            Path(f"{path}.lock").unlink(missing_ok=True)  # Optuna's own, left by a kill
            study = _read(path) if _mended(path, file) else None
            if study is not None and study.get_trials(deepcopy=False):
                _refuse_another(path, study.user_attrs[IDENTITY], identity)
            else:  # a search that ended before its first trial leaves no claim
                file.truncate(0)
                storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
                study = optuna.create_study(storage=storage, study_name=NAME, direction=direction)
                study.set_user_attr(IDENTITY, dict(identity))
            yield cls(study)

    @property
    def trials(self) -> list[FrozenTrial]:
        """The trials that came to an end, by number."""
        return self._study.get_trials(deepcopy=False)

    def add(self, trial: FrozenTrial) -> None:
        """Write a trial."""
        self._study.add_trial(trial)


def _mended(path: Path, file: Any) -> bool:
    """Take away half a line at the end of a journal; return whether anything is left."""
    file.seek(0)
    content: bytes = file.read()
    if not FIRST_LINE.startswith(content[: len(FIRST_LINE)]):
        raise ConfigError(NO_STUDY.format(path))
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        file.truncate(whole)
    return whole > 0


def _read(path: Path) -> optuna.Study:
    import optuna
    from optuna.storages.journal import JournalFileBackend

    try:
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
        return optuna.load_study(storage=storage, study_name=NAME)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(NO_STUDY.format(path)) from None


def _refuse_another(path: Path, known: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    differing = [
        f"{name} was {_shown(known.get(name))} and is {_shown(identity.get(name))}"
        for name in dict.fromkeys((*known, *identity))
        if known.get(name) != identity.get(name)
    ]
    if differing:
        more = len(differing) - SHOWN
        raise ConfigError(
            f"{path}: is the study of another search: {'; '.join(differing[:SHOWN])}"
            f"{f'; and {more} more' if more > 0 else ''}. Name another file with --study, or "
            "another folder with --output, or delete it"
        )


def _shown(value: Any) -> str:
    return "not there" if value is None else str(value)
