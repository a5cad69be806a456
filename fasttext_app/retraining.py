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
from fasttext_app.text.strings import flag_array, numbers_of
from fasttext_app.training_rows import text_weights
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
    # Of a run with validation rows, which there are none of here.
    without = {
        "trainer": {
            "checkpoint_every": None,
            "keep_checkpoints": 2,
            "patience": 0,
            "monitor": "accuracy",
            "calibrate": False,
        }
    }
    config = resolve(artifact.config.model_dump(), without, settings or {})
    if config.model.freeze_pretrained:
        raise ConfigError("model.freeze_pretrained: which rows were frozen is not known any more")
    with Spool(config.data.in_memory_mb * 2**20) as spool:
        prepared = _prepared(replace(artifact, config=config), rows, spool)
        result = train_prepared(prepared, callback, start=artifact.tensors)
    if result.outcome.interrupted:
        raise KeyboardInterrupt  # half of it would be neither the one model nor the other
    how = {name: layer for name, layer in (settings or {}).items() if name != "data"}
    trained = resolve(artifact.config.model_dump(), how)
    tensors = result.model.artifact.tensors
    return replace(artifact, config=trained, tensors=tensors, metrics={}, calibration={})


def _prepared(artifact: Artifact, rows: Iterable[pa.RecordBatch], spool: Spool) -> Prepared:
    config, encoder = artifact.config, TextClassifier(artifact).encoder
    separator, soft = config.data.label_separator, config.data.soft_labels
    labels = RowLabels(artifact.labels, separator, soft=soft)
    piece, numbers, given = spool.piece(), [], []
    for batch in rows:
        numbers.append(labels.numbers(batch.column("label")))
        if "weight" in batch.schema.names:
            given.append(numbers_of(batch.column("weight")))
        known = batch.filter(flag_array(numbers[-1] >= 0))
        piece.add(encoder.encode(known.column("text"), config.trainer.threads))
    classes = np.concatenate([np.empty(0, np.int64), *numbers])
    if not (classes >= 0).any():
        raise TrainingError("no row to train on has a label that the model knows")
    known = classes >= 0
    weights = text_weights(classes, known, labels, config.trainer.class_weights, given)
    return Prepared(
        config=config,
        encoder=encoder,
        labels=artifact.labels,
        train=Encoded(
            (piece.close(),),
            (classes[known],),
            None if weights is None else (weights[known],),
        ),
        validation=None,
        idf=artifact.tensors.get("idf"),
        statistics={**artifact.data, "source": "the rows to retrain on"},
        trained=known,
        label_sets=labels.sets,
    )
