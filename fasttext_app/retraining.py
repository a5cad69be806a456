"""``retrain``: a model learns more, from where it is, with the words and labels that it has.

It is what fastText's ``quantize -retrain`` does with a table that has lost most of its rows: those
that are left learn to do without the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from fasttext_app.artifact import Artifact
from fasttext_app.config import Layer, resolve
from fasttext_app.errors import ConfigError, TrainingError
from fasttext_app.predictor import TextClassifier
from fasttext_app.preparation import Encoded, Prepared
from fasttext_app.quantization import check_whole
from fasttext_app.text.row_labels import RowLabels
from fasttext_app.text.spool import Spool
from fasttext_app.text.strings import flag_array
from fasttext_app.workflows import train_prepared

if TYPE_CHECKING:
    from fasttext_app.events import Callback

__all__ = ["retrain"]


def retrain(
    artifact: Artifact,
    rows: Iterable[pa.RecordBatch],
    settings: Layer | None = None,
    callback: Callback | None = None,
) -> Artifact:
    """Train a model on; its rows and labels stay, and their numbers change.

    Args:
        artifact: a model of 32-bit floats.
        rows: batches of ``text`` and ``label``; rows of labels that it does not know are left out.
        settings: how to train, over the settings that the model has.
        callback: receives the trainer's events.

    Raises:
        ConfigError: the model is quantised, or keeps its pretrained rows as they are.
        TrainingError: no row has a label that it knows, or the loss ran away.
        KeyboardInterrupt: Ctrl-C came.
    """
    check_whole(artifact)
    without = {"trainer": {"checkpoint_every": None, "keep_checkpoints": 2, "patience": 0}}
    config = resolve(artifact.config.model_dump(), without, settings or {})
    if config.model.freeze_pretrained:
        raise ConfigError("model.freeze_pretrained: which rows were frozen is not known any more")
    with Spool(config.data.in_memory_mb * 2**20) as spool:
        prepared = _prepared(replace(artifact, config=config), rows, spool)
        result = train_prepared(prepared, callback, start=artifact.tensors)
    if result.outcome.interrupted:
        raise KeyboardInterrupt  # half of it would be neither the one model nor the other
    trained = config.model_copy(update={"data": artifact.config.data})
    return replace(artifact, config=trained, tensors=result.model.artifact.tensors, metrics={})


def _prepared(artifact: Artifact, rows: Iterable[pa.RecordBatch], spool: Spool) -> Prepared:
    config, encoder = artifact.config, TextClassifier(artifact).encoder
    labels = RowLabels(artifact.labels, config.data.label_separator)
    piece, numbers = spool.piece(), []
    for batch in rows:
        numbers.append(labels.numbers(batch.column("label")))
        known = batch.filter(flag_array(numbers[-1] >= 0))
        piece.add(encoder.encode(known.column("text"), config.trainer.threads))
    classes = np.concatenate([np.empty(0, np.int64), *numbers])
    if not (classes >= 0).any():
        raise TrainingError("no row to train on has a label that the model knows")
    return Prepared(
        config=config,
        encoder=encoder,
        labels=artifact.labels,
        train=Encoded((piece.close(),), (classes[classes >= 0],)),
        validation=None,
        idf=artifact.tensors.get("idf"),
        statistics=dict(artifact.data),
        trained=classes >= 0,
        label_sets=labels.sets,
    )
