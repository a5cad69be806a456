"""The Python API: ``train``, ``tune`` and ``load``; all else is a method of what they return.

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

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fasttext_app.config.loading import Layer, flat_layer, load_config_file, resolve
from fasttext_app.config.schema import Config
from fasttext_app.data.in_memory import IN_MEMORY, LabelColumn, labeled_table, refuse_labels
from fasttext_app.data.source import Source
from fasttext_app.data.split import Examples, load_examples, split_examples
from fasttext_app.errors import ConfigError, DataError
from fasttext_app.inference.classifier import TextClassifier
from fasttext_app.inference.load import load_classifier
from fasttext_app.pipeline import train as run_training
from fasttext_app.training.checkpoints import find_checkpoint, remove_checkpoints
from fasttext_app.training.run_manifest import config_of_run, settings_of_model
from fasttext_app.tuning.space import SearchSpace
from fasttext_app.tuning.trial import Budget

if TYPE_CHECKING:
    from fasttext_app.training.events import Callback
    from fasttext_app.tuning.trial import Callback as TuneCallback
    from fasttext_app.tuning.trial import TuneResult

__all__ = ["load", "train", "tune"]

Data = str | Path | Sequence[str] | None


def train(
    data: Data = None,
    labels: LabelColumn | None = None,
    *,
    weights: Sequence[float] | None = None,
    config: str | Path | None = None,
    callback: Callback | None = None,
    checkpoints: str | Path | None = None,
    resume: bool = False,
    **settings: Any,
) -> TextClassifier:
    """Train a classifier on a data SPEC, or on texts with their labels.

    ``training_warnings`` of the model tells what else the run has to report.

    Args:
        data: a SPEC (``"ag_news"``, ``"sample"``, a file, ...; see ``fasttext_app.data.spec``) or a
            sequence of texts; None if ``config`` names the source.
        labels: the label of each text, if ``data`` is texts; with ``soft_labels``, a label may be
            a dict of probabilities.
        weights: the weight of each text in the loss, if ``data`` is texts; a text of weight 2
            counts as if it were there twice.
        config: a TOML file or the name of a shipped config to start from.
        callback: receives the trainer's events; an exception in it ends the run.
        checkpoints: a folder for checkpoints, written at every ``checkpoint_every`` (by default
            every epoch) and removed when the run is finished.
        resume: resume from the newest checkpoint in that folder, with its settings, on the same
            data.
        **settings: any setting by its key (``epochs=3``, ``lr=0.1``), or a whole section
            (``text={"word_ngrams": 2}``); they take precedence over ``config``.
            ``start_from=MODEL`` starts from a trained model, with its settings.

    Raises:
        ConfigError: a setting is unknown or impossible.
        DataError: the data cannot be read.
        TrainingError: the data leaves nothing to learn, or the loss diverged.
        CheckpointError: there is no checkpoint to resume from, or it belongs to other settings or
            data.
    """
    if resume and checkpoints is None:
        raise ConfigError("resume: name the folder of the run's checkpoints with checkpoints=")
    checkpoint = find_checkpoint(checkpoints) if checkpoints is not None and resume else None
    run_settings = config_of_run(checkpoint.run).model_dump() if checkpoint else {}
    resolved = _resolve(data, config, settings, run_settings)
    if checkpoints is not None and resolved.trainer.checkpoint_every is None:
        resolved = resolve(resolved.model_dump(), {"trainer": {"checkpoint_every": "epoch"}})
    examples = _examples("train", data, labels, resolved, weights)
    result = run_training(resolved, examples, callback, checkpoints, checkpoint)
    if checkpoints is not None and not result.outcome.interrupted:
        remove_checkpoints(checkpoints)
    return result.model


def tune(
    data: Data = None,
    labels: LabelColumn | None = None,
    *,
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

    ``ft.train(data, labels, **result.settings)`` trains the best model again.

    Args:
        data: a SPEC or a sequence of texts; see :func:`train`.
        labels: the label of each text, if ``data`` is texts.
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

    base = base_for_search(_resolve(data, config, settings), metric)
    search_space = None
    if isinstance(space, str | Path):
        search_space = SearchSpace.load(space)
    elif space is not None:
        search_space = SearchSpace.parse(space)
    return run_search(
        base,
        lambda trial_config: _examples("tune", data, labels, trial_config),
        Budget(trials, seconds),
        space=search_space,
        max_bytes=max_bytes,
        study=study,
        callback=callback,
    )


def load(path: str | Path, *, device: str = "cpu", threads: int = 0) -> TextClassifier:
    """Load a model directory, or a ``.bin`` or ``.ftz`` file of fastText; the CPU needs no torch.

    Args:
        path: the model.
        device: ``cpu``, ``cuda``, ``cuda:i`` or ``auto``.
        threads: threads for a column of texts; 0: all cores.

    Raises:
        ArtifactError: the model is missing, damaged, of a newer format, or not a classifier.
        DeviceError: the device is not available.
    """
    return load_classifier(path, device=device, threads=threads)


def _resolve(
    data: Data,
    config: str | Path | None,
    settings: Mapping[str, Any],
    run_settings: Layer | None = None,
) -> Config:
    """Combine the settings of a resumed run, a model, a config and keyword arguments."""
    layers = [run_settings or {}]
    if settings.get("start_from") is not None:
        layers.append(settings_of_model(settings["start_from"]))
    if config is not None:
        layers.append(load_config_file(config))
    layers.append(flat_layer(settings))
    if isinstance(data, str | Path):
        layers.append({"data": {"source": str(data)}})
    return resolve(*layers)


def _examples(
    job: str,
    data: Data,
    labels: LabelColumn | None,
    config: Config,
    weights: Sequence[float] | None = None,
) -> Examples:
    """Open the rows of a SPEC, or wrap texts that are in memory."""
    if data is None or isinstance(data, str | Path):
        refuse_labels(job, data or "the config's source", labels)
        if weights is not None:
            raise DataError(
                f"{job}: weights can only be passed with texts; for a SPEC, set data.weight_column"
            )
        return load_examples(config)
    table = labeled_table(job, data, labels, config.data, weights)
    if not len(table):
        raise DataError(f"{job}: there are no texts")
    if config.data.weight_column is not None:
        raise ConfigError("data.weight_column: texts have no columns; pass weights=[...]")
    source = Source(IN_MEMORY, {}, single=True)
    return split_examples(table, source, config)
