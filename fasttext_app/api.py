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

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fasttext_app.config import Config, flat_layer, load_config_file, resolve
from fasttext_app.errors import DataError
from fasttext_app.predictor import TextClassifier
from fasttext_app.preparation import Examples, load_examples, split_examples
from fasttext_app.sources import Source
from fasttext_app.sources.examples import labelled_table, refuse_labels
from fasttext_app.workflows import train as run_training

if TYPE_CHECKING:
    from fasttext_app.events import Callback

__all__ = ["load", "train"]


def train(
    data: str | Path | Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    *,
    config: str | Path | None = None,
    callback: Callback | None = None,
    **settings: Any,
) -> TextClassifier:
    """Train a classifier, on a data SPEC or on texts with their labels.

    Args:
        data: a SPEC (``"ag_news"``, ``"sample"``, a file, ...; see ``fasttext_app.sources``), or
            texts; left out where ``config`` names the source.
        labels: one label for each text, where ``data`` is texts.
        config: a TOML file or the name of a shipped config, to start from.
        callback: receives the trainer's events.
        **settings: any setting by its key (``epochs=3``, ``lr=0.1``), or a whole section
            (``text={"word_ngrams": 2}``); they win over ``config``.

    Raises:
        ConfigError: a setting is unknown or impossible.
        DataError: the data cannot be read.
        TrainingError: the data leaves nothing to learn.
    """
    layers = [load_config_file(config)] if config is not None else []
    layers.append(flat_layer(settings))
    if isinstance(data, str | Path):
        layers.append({"data": {"source": str(data)}})
    resolved = resolve(*layers)
    if data is None or isinstance(data, str | Path):
        refuse_labels("train", data or "the config's source", labels)
        examples = load_examples(resolved)
    else:
        examples = _given(data, labels, resolved)
    return run_training(resolved, examples, callback).model


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


def _given(texts: Sequence[str], labels: Sequence[str] | None, config: Config) -> Examples:
    table = labelled_table("train", texts, labels)
    if not len(table):
        raise DataError("train: there are no texts")
    source = Source("texts given in Python", {}, single=True)
    return split_examples(table, source, config)
