"""The Python API: ``train``, ``tune``, ``review`` and ``load``; a model has methods for the rest.

>>> import fasttext_app as ft
>>> texts = ["great fun, loved it", "a joy to watch", "dull and slow", "a waste of time"] * 5
>>> labels = ["good", "good", "bad", "bad"] * 5
>>> model = ft.train(texts, labels, dim=8, lr=0.5, epochs=20, validation=0.0)
>>> model.predict("what a joy").labels
('good',)
>>> [prediction.labels[0] for prediction in model.predict(["slow and dull", "great fun"])]
['bad', 'good']
>>> model.evaluate(["loved it", "dull"], ["good", "bad"])["accuracy"]
1.0
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fasttext_app.config.loading import Layer, resolve
from fasttext_app.config.schema import Config, DataConfig
from fasttext_app.core import arguments
from fasttext_app.data.in_memory import LabelColumn, ObjectRows, column_settings, refuse_labels
from fasttext_app.data.split import Examples, load_examples, split_examples
from fasttext_app.errors import ConfigError, DataError
from fasttext_app.inference.classifier import TextClassifier
from fasttext_app.inference.load import load
from fasttext_app.pipeline import train as run_training
from fasttext_app.text.chunks import text_column
from fasttext_app.training.checkpoints import (
    CheckpointRef,
    find_checkpoint,
    remove_checkpoints,
)
from fasttext_app.training.progress import PrintedProgress
from fasttext_app.training.run_manifest import (
    config_of_run,
    setting_layers,
    unknown_names,
)
from fasttext_app.tuning.space import SearchSpace
from fasttext_app.tuning.trial import Budget

if TYPE_CHECKING:
    from fasttext_app.reviewing.review import Review
    from fasttext_app.training.events import Callback, Event
    from fasttext_app.tuning.trial import Callback as TuneCallback
    from fasttext_app.tuning.trial import TuneResult

__all__ = ["load", "review", "train", "tune"]


def train(
    rows: Any = None,
    /,
    labels: LabelColumn | None = None,
    *,
    data: Any = None,
    text: str | Sequence[str] | Mapping[str, Any] | None = None,
    label: str | Sequence[str] | None = None,
    weights: Iterable[float] | str | None = None,
    config: str | Path | None = None,
    callback: Callback | None = None,
    verbose: bool | None = None,
    checkpoints: str | Path | None = None,
    resume: bool = False,
    **settings: Any,
) -> TextClassifier:
    """Train a classifier on a data SPEC, on a table, or on texts with their labels.

    ``training_warnings`` of the model tells what else the run has to report.

    With ``shard="columns"`` or ``"rows"``, the processes that ``torchrun`` starts train one model.
    Each of them calls this with the same arguments and gets the model; only the first one shows
    progress, calls ``callback`` and writes checkpoints.

    Args:
        rows: a SPEC (``"ag_news"``, ``"sample"``, a file, ...; see ``fasttext_app.data.spec``); a
            table: a pandas or Polars frame, a Dataset or an Arrow table; or any iterable of texts.
            None if ``config`` names the source.
        labels: the label of each text, if ``rows`` is texts: a string, a whole number or a boolean.
            It can also be a list of labels, or a dict of label probabilities.
        data: the same as ``rows``; or the section ``data`` of the settings, as a dict.
        text: the text column of a table or file, or several to join; or the section ``text`` of the
            settings, as a dict.
        label: the label column of a table or file, or several columns of 0 and 1, one for each
            label.
        weights: the weight of each text in the loss, or the name of a column of weights; a text of
            weight 2 counts as if it were there twice.
        config: a TOML file or the name of a shipped config to start from.
        callback: receives the trainer's events; an exception in it ends the run.
        verbose: whether to write the progress to standard error; None: in a notebook or another
            interactive session, without a ``callback``.
        checkpoints: a folder for checkpoints, written at every ``checkpoint_every`` (by default
            every epoch) and removed when the run is finished.
        resume: resume from the newest checkpoint in that folder, with its settings, on the same
            data.
        **settings: any setting by its key (``epochs=3``, ``lr=0.1``), or a whole section
            (``model={"dim": 100}``); they take precedence over ``config``.
            ``start_from=MODEL`` starts from a trained model, with its settings.

    Raises:
        ConfigError: a setting is unknown or impossible.
        DataError: the data cannot be read.
        TrainingError: the data leaves nothing to learn, or the loss diverged.
        CheckpointError: there is no checkpoint to resume from, or it belongs to other settings or
            data.
    """
    if arguments.flag("resume", resume) and checkpoints is None:
        raise ConfigError("resume: name the folder of the run's checkpoints with checkpoints=")
    if checkpoints is not None:
        checkpoints = arguments.path("checkpoints", checkpoints)
    checkpoint = find_checkpoint(checkpoints) if checkpoints is not None and resume else None
    run_settings = config_of_run(checkpoint.run).model_dump() if checkpoint else {}
    layers = setting_layers(
        config, _call_settings(data, text, label, weights, settings), run_settings
    )
    job = _Job.open("train", _rows(rows, data), labels, weights, layers)
    resolved = job.config
    if checkpoint is not None or settings.get("start_from") is not None:
        _refuse_unknown_names(job, settings, checkpoint, layers[-2 if config is not None else -1 :])
    if checkpoints is not None and resolved.trainer.checkpoint_every is None:
        resolved = resolve(resolved.model_dump(), {"trainer": {"checkpoint_every": "epoch"}})
    shown = _with_progress(callback, verbose)
    result = run_training(resolved, job.examples(resolved), shown, checkpoints, checkpoint)
    if checkpoints is not None and result.is_main and not result.outcome.interrupted:
        remove_checkpoints(checkpoints)
    return result.model


def tune(
    rows: Any = None,
    /,
    labels: LabelColumn | None = None,
    *,
    data: Any = None,
    text: str | Sequence[str] | Mapping[str, Any] | None = None,
    label: str | Sequence[str] | None = None,
    trials: int | None = None,
    seconds: float | None = None,
    metric: str | None = None,
    space: str | Path | Mapping[str, Any] | None = None,
    max_bytes: int | None = None,
    study: str | Path | None = None,
    config: str | Path | None = None,
    callback: TuneCallback | None = None,
    **settings: Any,
) -> TuneResult:
    """Search for the settings that score best on validation rows.

    ``ft.train(rows, labels, **result.settings)`` trains the best model again.

    Args:
        rows: a SPEC, a table or any iterable of texts; see :func:`train`.
        labels: the label of each text, if ``rows`` is texts.
        data: the same as ``rows``; or the section ``data`` of the settings, as a dict.
        text: the text column, or several to join; or the section ``text`` of the settings.
        label: the label column, or several of 0 and 1.
        trials: the number of trials, earlier sessions of the same ``study`` included.
        seconds: the time limit; with ``trials`` too, the first limit that is reached counts.
        metric: the metric to search by (``"macro_f1"``, ``"f1:spam"``); None: ``trainer.monitor``.
        space: the settings to search: a TOML file with a table ``[space]``, or that table as a
            dict; None: a default.
        max_bytes: the largest allowed size of the model directory.
        study: a file that records the trials, so that the same call continues the search; None:
            keep them in memory.
        config: a TOML file or the name of a shipped config to start from.
        callback: receives the events of ``fasttext_app.tuning.trial`` and the trainer's.
        **settings: any setting by its key, or a whole section; they take precedence over
            ``config``.

    Raises:
        ConfigError: a setting or the space is impossible, or the study belongs to another search.
        DataError: the data cannot be read.
        MissingDependencyError: Optuna is not installed.
        TrainingError: the base cannot be trained, or no model is within ``max_bytes``.
    """
    from fasttext_app.tuning.search import base_for_search
    from fasttext_app.tuning.search import tune as run_search

    layers = setting_layers(config, _call_settings(data, text, label, None, settings))
    job = _Job.open("tune", _rows(rows, data), labels, None, layers)
    base = base_for_search(job.config, metric)
    search_space = None
    if isinstance(space, str | Path):
        search_space = SearchSpace.load(space)
    elif isinstance(space, Mapping):
        search_space = SearchSpace.parse(space)
    elif space is not None:
        raise ConfigError("space: must be a file, or a dict of settings and their values")
    return run_search(
        base,
        job.examples,
        Budget(
            None if trials is None else arguments.whole_number("trials", trials, 1),
            None if seconds is None else arguments.number("seconds", seconds),
        ),
        space=search_space,
        max_bytes=None if max_bytes is None else arguments.whole_number("max_bytes", max_bytes, 1),
        study=None if study is None else arguments.path("study", study),
        callback=callback,
    )


def review(
    rows: Any = None,
    /,
    labels: LabelColumn | None = None,
    *,
    data: Any = None,
    text: str | Sequence[str] | Mapping[str, Any] | None = None,
    label: str | Sequence[str] | None = None,
    folds: int = 5,
    pick: int = 100,
    unlabeled: Iterable[str] | None = None,
    keep: str | Sequence[str] = (),
    split: str | None = None,
    config: str | Path | None = None,
    **settings: Any,
) -> Review:
    """List rows that are likely mislabeled, and unlabeled rows that are worth labeling first.

    Each row is judged by a model that was trained without it.

    Args:
        rows: a SPEC, a table or any iterable of texts; see :func:`train`. A row whose label is
            missing or empty is unlabeled.
        labels: the label of each text, if ``rows`` is texts; None for an unlabeled one.
        data: the same as ``rows``; or the section ``data`` of the settings, as a dict.
        text: the text column, or several to join; or the section ``text`` of the settings.
        label: the label column, or several of 0 and 1.
        folds: the number of models, each of which is trained without one fold of the rows.
        pick: how many unlabeled rows to list.
        unlabeled: more texts without labels; their rows are numbered after those of ``rows``.
        keep: columns to copy to the result.
        split: the split of the SPEC; None: ``data.train_split``.
        config: a TOML file or the name of a shipped config.
        **settings: any setting by its key, or a whole section; they take precedence over
            ``config``.

    Returns:
        The rows in ``suspects``, most suspect first; ``to_table()`` returns them as an Arrow table.

    Raises:
        ConfigError: a setting is unknown or impossible.
        DataError: the data cannot be read, or has too few rows or labels.
        TrainingError: the loss diverged.
    """
    from fasttext_app.reviewing.review import review as run_review
    from fasttext_app.reviewing.rows import read_rows, rows_of_objects

    folds = arguments.whole_number("folds", folds, 2)
    pick = arguments.whole_number("pick", pick, 0)
    columns = arguments.columns("keep", keep) if keep else []
    layers = setting_layers(config, _call_settings(data, text, label, None, settings))
    job = _Job.open("review", _rows(rows, data), labels, None, layers)
    if job.objects is not None:
        review_rows = rows_of_objects(job.objects, job.config.data, columns)
    else:
        split = arguments.optional_string("split", split)
        review_rows = read_rows(job.config.data, split or job.config.data.train_split, columns)
    if unlabeled is not None:
        more = text_column(unlabeled, "unlabeled", job.config.data.errors)
        chunks = more.chunks if isinstance(more, pa.ChunkedArray) else [more]
        review_rows = review_rows.with_unlabeled(pa.chunked_array(chunks, pa.string()))
    return run_review(job.config, review_rows, folds=folds, pick=pick)


def _with_progress(callback: Callback | None, verbose: bool | None) -> Callback | None:
    """Return a callback that also writes the progress, if it is to be seen."""
    if callback is not None and not callable(callback):
        raise ConfigError("callback: must be a function of an event")
    if verbose is None:
        ipython = sys.modules.get("IPython")
        in_notebook = ipython is not None and ipython.get_ipython() is not None
        verbose = callback is None and (in_notebook or hasattr(sys, "ps1"))
    if not arguments.flag("verbose", verbose):
        return callback
    show = PrintedProgress()
    if callback is None:
        return show

    def both(event: Event) -> None:
        show(event)
        callback(event)

    return both


def _rows(rows: Any, data: Any) -> Any:
    """Return the rows of a call, which ``data=`` may name too.

    Raises:
        ConfigError: both name rows.
    """
    if data is None or isinstance(data, Mapping):
        return rows
    if rows is not None:
        raise ConfigError("data: the rows are given twice; pass them once")
    return data


def _call_settings(
    data: Any,
    text: str | Sequence[str] | Mapping[str, Any] | None,
    label: str | Sequence[str] | None,
    weights: Iterable[float] | str | None,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the settings of a call, its sections and the columns that it names included."""
    sections = {
        name: value
        for name, value in (("data", data), ("text", text))
        if isinstance(value, Mapping)
    }
    columns = column_settings(None if isinstance(text, Mapping) else text, label)
    if isinstance(weights, str):
        columns["weight_column"] = weights
    return {**settings, **sections, **columns}


@dataclass(frozen=True)
class _Job:
    """The rows of a call and their settings."""

    name: str
    objects: ObjectRows | None
    """The rows, if they are in memory."""
    config: Config
    has_rows: bool
    """Whether the caller passed the rows."""

    @classmethod
    def open(
        cls,
        name: str,
        rows: Any,
        labels: LabelColumn | None,
        weights: Iterable[float] | str | None,
        layers: Sequence[Layer],
    ) -> _Job:
        """Read rows that are in memory, and resolve the settings.

        Raises:
            ConfigError: a setting is unknown or impossible.
            DataError: the rows are not texts with their labels.
        """
        if rows is None or isinstance(rows, str | PathLike):
            refuse_labels(name, rows or "the config's source", labels)
            if weights is not None and not isinstance(weights, str):
                raise DataError(
                    f"{name}: weights can only be passed with texts; for a SPEC, set "
                    "data.weight_column"
                )
            source: Layer = {} if rows is None else {"data": {"source": str(rows)}}
            return cls(name, None, resolve(*layers, source), rows is not None)
        column = None if isinstance(weights, str) else weights
        reading = _reading_settings(layers)
        objects = ObjectRows.open(name, rows, labels, column, config=reading)
        return cls(name, objects, resolve(objects.settings(reading), *layers), True)

    def examples(self, config: Config) -> Examples:
        """Open the rows for the settings of this job or of one of its trials."""
        if self.objects is None:
            return load_examples(config)
        source = self.objects.source(config.data, weights=True)
        return split_examples(source.scan("all"), source, config)


def _refuse_unknown_names(
    job: _Job,
    settings: Mapping[str, Any],
    checkpoint: CheckpointRef | None,
    own_layers: Sequence[Layer],
) -> None:
    """Refuse to read what only a model or a checkpoint names.

    Raises:
        DataError: the run would.
    """
    run = None if checkpoint is None else checkpoint.run
    for name, spec in unknown_names(
        job.config, settings.get("start_from"), run, own_layers, has_rows=job.has_rows
    ):
        raise DataError(
            f"{name} = {spec!r}: the model or checkpoint that the run starts from names this, and "
            "the machine does not know it; pass the rows or the setting yourself to use it"
        )


def _reading_settings(layers: Sequence[Layer]) -> DataConfig:
    """Return how rows in memory are read; their labels decide on the rest of the settings.

    Raises:
        ConfigError: one of these settings is invalid.
    """
    names = ("text_columns", "label_column", "label_columns", "errors")
    settings = {}
    for layer in layers:
        section = layer.get("data", {})
        settings.update({name: section[name] for name in names if name in section})
    return resolve({"data": settings}).data
