"""The Python API: ``train`` and ``load``; the rest is methods of what they return.

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

import pyarrow as pa

from fasttext_app.checkpoints import find_checkpoint, remove_checkpoints
from fasttext_app.config import Config, Layer, flat_layer, load_config_file, resolve
from fasttext_app.errors import ConfigError, DataError
from fasttext_app.predictor import TextClassifier, labelled_table, refuse_labels
from fasttext_app.preparation import Examples, load_examples, split_examples
from fasttext_app.run_manifest import config_of_run
from fasttext_app.sources import Source
from fasttext_app.sources.examples import checked_weights
from fasttext_app.workflows import train as run_training

if TYPE_CHECKING:
    from fasttext_app.events import Callback

__all__ = ["load", "train"]


def train(
    data: str | Path | Sequence[str] | None = None,
    labels: Sequence[str | Mapping[str, float]] | None = None,
    *,
    weights: Sequence[float] | None = None,
    config: str | Path | None = None,
    callback: Callback | None = None,
    checkpoints: str | Path | None = None,
    resume: bool = False,
    **settings: Any,
) -> TextClassifier:
    """Train a classifier, on a data SPEC or on texts with their labels.

    Args:
        data: a SPEC (``"ag_news"``, ``"sample"``, a file, ...; see ``fasttext_app.sources``), or
            texts; left out where ``config`` names the source.
        labels: one label for each text, where ``data`` is texts; with ``soft_labels`` it may be a
            dict of shares.
        weights: how much each text counts in the loss, where ``data`` is texts; 2 is as if it were
            there twice.
        config: a TOML file or the name of a shipped config, to start from.
        callback: receives the trainer's events; what it raises ends the run.
        checkpoints: a folder for the state of the run, saved as ``checkpoint_every`` says (at each
            epoch, if it is not given) and removed when the run has ended.
        resume: go on from the newest checkpoint there, with its settings, on the same data.
        **settings: any setting by its key (``epochs=3``, ``lr=0.1``), or a whole section
            (``text={"word_ngrams": 2}``); they win over ``config``.

    Raises:
        ConfigError: a setting is unknown or impossible.
        DataError: the data cannot be read.
        TrainingError: the data leaves nothing to learn.
        CheckpointError: there is nothing to go on from, or it is of other settings or data.
    """
    if resume and checkpoints is None:
        raise ConfigError("resume: name the folder of the run's checkpoints")
    found = find_checkpoint(checkpoints) if checkpoints is not None and resume else None
    layers: list[Layer] = [] if found is None else [config_of_run(found.run).model_dump()]
    if config is not None:
        layers.append(load_config_file(config))
    layers.append(flat_layer(settings))
    if isinstance(data, str | Path):
        layers.append({"data": {"source": str(data)}})
    resolved = resolve(*layers)
    if checkpoints is not None and resolved.trainer.checkpoint_every is None:
        resolved = resolve(resolved.model_dump(), {"trainer": {"checkpoint_every": "epoch"}})
    if data is None or isinstance(data, str | Path):
        refuse_labels("train", data or "the config's source", labels)
        if weights is not None:
            raise DataError("train: weights go with texts; for data, name data.weight_column")
        examples = load_examples(resolved)
    else:
        examples = _given(data, labels, weights, resolved)
    result = run_training(resolved, examples, callback, checkpoints, found)
    if checkpoints is not None and not result.outcome.interrupted:
        remove_checkpoints(checkpoints)
    return result.model


def load(path: str | Path, *, device: str = "cpu", threads: int = 0) -> TextClassifier:
    """Load a model directory; the CPU needs no torch.

    Args:
        path: the model directory.
        device: ``cpu``, ``cuda``, ``cuda:i`` or ``auto``.
        threads: threads for a column of texts; 0: all cores.

    Raises:
        ArtifactError: the directory is missing, damaged, or of a newer format.
        DeviceError: the device is not there.
    """
    return TextClassifier.load(path, device=device, threads=threads)


def _given(
    texts: Sequence[str],
    labels: Sequence[str | Mapping[str, float]] | None,
    weights: Sequence[float] | None,
    config: Config,
) -> Examples:
    table = labelled_table("train", texts, labels, config.data)
    if not len(table):
        raise DataError("train: there are no texts")
    if config.data.weight_column is not None:
        raise ConfigError("data.weight_column: texts have no columns; pass weights=[...]")
    if weights is not None:
        table = table.append_column("weight", _weights(weights, len(table)))
    source = Source("texts given in Python", {}, single=True)
    return split_examples(table, source, config)


def _weights(weights: Sequence[float], rows: int) -> pa.Array:
    if len(weights) != rows:
        raise DataError(f"train: there are {len(weights)} weights for {rows} texts")
    try:
        column = pa.array(weights, pa.float64())
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(f"train: weights must be numbers: {error}") from None
    return checked_weights(column, "weights", lambda row: f"train, text {row + 1}")
