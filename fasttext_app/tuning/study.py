"""Optuna as a search uses it: it chooses the values, and its journal keeps the trials.

The study file is Optuna's journal, so Optuna's own tools read it: lines of JSON that say which
search it is, then one for each trial that ended. A trial is written when it is over; a process that
is killed while it writes leaves a partial line, which the next session removes.
"""

from __future__ import annotations

import fcntl
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from fasttext_app.core.documents import Count, Document, Score, check_document
from fasttext_app.errors import ConfigError, missing_package
from fasttext_app.tuning.space import Choice, Dimension
from fasttext_app.tuning.trial import State

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial


STUDY_NAME = "fasttext-app tune"
IDENTITY = "search"
FIRST_BYTES = b'{"op_code":0,'  # of every journal
NOT_A_STUDY = "{}: not a study file of fasttext-app tune; name another with --study"
SHOWN_DIFFERENCES = 3
MALFORMED = (
    *(ValueError, LookupError, TypeError, AttributeError, AssertionError),
    *(ArithmeticError, RecursionError),
)
"""Exceptions of Optuna for a journal that another program wrote."""


class _StudyLine(Document):
    """The first line: Optuna creates a study."""

    op_code: Literal[0]
    worker_id: str
    study_name: Literal["fasttext-app tune"]
    directions: list[Literal[1, 2]]


class _Identity(Document):
    search: dict[str, Any]


class _IdentityLine(Document):
    """The second line: which search it is."""

    op_code: Literal[2]
    worker_id: str
    study_id: Literal[0]
    user_attr: _Identity


class _Trial(Document):
    """A trial as ``Trial.as_dict`` writes it."""

    model_config = ConfigDict(extra="forbid")

    number: Count
    settings: dict[str, Any]
    state: State
    figure: float | None
    scores: list[float]
    loss: float | None
    epoch: Count
    epochs_done: Count
    seconds: Annotated[float, Field(ge=0)]
    bytes: Count | None
    reason: str

    @model_validator(mode="after")
    def _check_score(self) -> Self:
        if self.state == "finished" and self.figure is None:
            raise ValueError("is finished without a score")
        return self


class _TrialAttributes(Document):
    trial: _Trial


class _TrialLine(Document):
    """A line for each trial that ended."""

    op_code: Literal[4]
    worker_id: str
    study_id: Literal[0]
    datetime_start: str
    datetime_complete: str
    state: Literal[1, 2, 3]
    value: float | None
    values: None
    distributions: dict[str, str]
    params: dict[str, Any]
    user_attrs: _TrialAttributes
    system_attrs: dict[str, Any]
    intermediate_values: dict[str, Score]


@contextmanager
def quiet_optuna() -> Iterator[Any]:
    """Import Optuna and yield it, with its log and its experimental warnings turned off.

    Raises:
        MissingDependencyError: Optuna is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise missing_package("tune", "optuna", "tune") from None
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield optuna
    finally:
        optuna.logging.set_verbosity(verbosity)


def suggest(trial: optuna.Trial, dimension: Dimension) -> Sequence[Any]:
    """Let Optuna choose a value of a dimension; return it in a tuple of one."""
    domain, name = dimension.domain, dimension.name
    if isinstance(domain, Choice):
        params = [as_param(value) for value in domain.values]
        return (domain.values[params.index(trial.suggest_categorical(name, params))],)
    low, high, log, step = domain.low, domain.high, domain.log, domain.step
    if isinstance(low, int):
        return (trial.suggest_int(name, low, int(high), log=log, step=int(step or 1)),)
    return (trial.suggest_float(name, low, high, log=log, step=step),)


def as_param(value: Any) -> Any:
    """Return a value in the form that Optuna takes: a group of settings as JSON text."""
    return json.dumps(value) if isinstance(value, dict | list) else value


LINES: dict[int, type[Document]] = {1: _StudyLine, 2: _IdentityLine}
"""The models of the first lines; the others are trials."""


class StudyFile:
    """The trials of earlier sessions, and a file for those to come; see :meth:`opened`."""

    def __init__(self, study: optuna.Study) -> None:
        self._study = study

    @classmethod
    @contextmanager
    def opened(
        cls, path: Path, identity: Mapping[str, Any], direction: Literal["minimize", "maximize"]
    ) -> Iterator[StudyFile]:
        """Open a study file, or create it, for this process alone.

        Args:
            path: the file.
            identity: what defines the search; a message shows its keys.
            direction: ``maximize`` or ``minimize``.

        Raises:
            ConfigError: the file is not a study, belongs to another search, or is in use.
        """
        import optuna
        from optuna.storages.journal import JournalFileBackend

        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigError(
                    f"{path}: another search is using this study; wait for it, or name another "
                    "file with --study"
                ) from None
            Path(f"{path}.lock").unlink(missing_ok=True)  # Optuna's own, left by a killed process
            study = _load(path) if _repair(path, file) else None
            if study is not None and study.get_trials(deepcopy=False):
                _check_identity(path, study.user_attrs[IDENTITY], identity)
            else:  # a search that ended before its first trial claims nothing
                file.truncate(0)
                storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
                study = optuna.create_study(
                    storage=storage, study_name=STUDY_NAME, direction=direction
                )
                study.set_user_attr(IDENTITY, dict(identity))
            try:
                yield cls(study)
            finally:
                with suppress(OSError):
                    _repair(path, file)  # a write that failed left a partial line

    @property
    def trials(self) -> list[FrozenTrial]:
        """The trials that ended, by number."""
        return self._study.get_trials(deepcopy=False)

    def add(self, trial: FrozenTrial) -> None:
        """Write a trial."""
        self._study.add_trial(trial)


def _repair(path: Path, file: BinaryIO) -> bool:
    """Remove a partial line at the end of a journal; return whether any line is left."""
    file.seek(0)
    content = file.read()
    if not FIRST_BYTES.startswith(content[: len(FIRST_BYTES)]):
        raise ConfigError(NOT_A_STUDY.format(path))
    complete = content.rfind(b"\n") + 1
    trials = 0
    for number, line in enumerate(content[:complete].splitlines(), start=1):
        model = LINES.get(number, _TrialLine)
        try:
            document = json.loads(line)
            check_document(document, model, f"line {number}")
            if model is _TrialLine:
                if document["user_attrs"]["trial"]["number"] != trials:
                    raise ValueError(f"line {number}: is not the trial {trials}")
                trials += 1
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{NOT_A_STUDY.format(path)} ({error})") from None
    if complete < len(content):
        file.truncate(complete)
    return complete > 0


def _load(path: Path) -> optuna.Study:
    import optuna
    from optuna.storages.journal import JournalFileBackend

    try:
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
        return optuna.load_study(storage=storage, study_name=STUDY_NAME)
    except MALFORMED:
        raise ConfigError(NOT_A_STUDY.format(path)) from None


def _check_identity(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    differences = [
        f"{name} was {_shown(before.get(name))} and is {_shown(now.get(name))}"
        for name in dict.fromkeys((*before, *now))
        if before.get(name) != now.get(name)
    ]
    if differences:
        more = len(differences) - SHOWN_DIFFERENCES
        raise ConfigError(
            f"{path}: belongs to another search: {'; '.join(differences[:SHOWN_DIFFERENCES])}"
            f"{f'; and {more} more' if more > 0 else ''}. Name another file with --study or "
            "another folder with --output, or delete the file"
        )


def _shown(value: Any) -> str:
    return "not set" if value is None else str(value)
