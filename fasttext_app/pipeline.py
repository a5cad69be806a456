"""The parts put together: train and retrain.

train      prepare → model → trainer → TextClassifier
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fasttext_app.config.loading import Layer, resolve
from fasttext_app.config.schema import Config
from fasttext_app.core.arrays import I64
from fasttext_app.core.arrow import to_arrow, to_numpy
from fasttext_app.core.device import resolve_device
from fasttext_app.core.ragged import Ragged
from fasttext_app.core.spill import SpillBuffer
from fasttext_app.data.labels import LabelEncoder
from fasttext_app.data.soft_labels import SoftLabels
from fasttext_app.data.split import Examples
from fasttext_app.data.weights import text_weights
from fasttext_app.errors import ConfigError, DataError, TrainingError
from fasttext_app.inference.calibrate import calibrate_artifact, linear_outputs
from fasttext_app.inference.classifier import TextClassifier
from fasttext_app.inference.forward import CpuForward
from fasttext_app.model.artifact import Artifact
from fasttext_app.model.quantize import check_whole
from fasttext_app.training.checkpoints import CheckpointRef
from fasttext_app.training.events import Callback, TrainOutcome
from fasttext_app.training.prepare import Prepared, prepare
from fasttext_app.training.run import train_prepared
from fasttext_app.training.tokenized import EncodedSplit

MOST_CALIBRATED = 1 << 26  # logits that a temperature is fitted on


@dataclass(frozen=True)
class TrainResult:
    """A trained model and the story of its training."""

    model: TextClassifier
    outcome: TrainOutcome
    statistics: dict[str, Any]
    changed_versions: Sequence[str] = ()
    """Where a run was gone on with: what is of another version than at its start."""


def train(
    config: Config,
    examples: Examples,
    callback: Callback | None = None,
    output: str | Path | None = None,
    resume: CheckpointRef | None = None,
    stop: Callable[[], bool] | None = None,
) -> TrainResult:
    """Train a classifier.

    Args:
        config: the run's settings.
        examples: the rows.
        callback: receives the trainer's events.
        output: the folder for checkpoints, where the settings ask for some.
        resume: the checkpoint to go on from.
        stop: is asked after every step whether to end the run.

    Raises:
        DeviceError: the device is not there.
        TrainingError: the rows leave nothing to learn, the loss ran away, or memory is too small.
        CheckpointError: the checkpoint is of other settings or data, or another run writes there.
        DataError: pretrained vectors cannot be read.
        KeyboardInterrupt: Ctrl-C came before the first step was done.
    """
    with SpillBuffer(config.data.in_memory_mb * 2**20) as spill_buffer:
        if config.trainer.device not in ("auto", "cpu"):
            resolve_device(config.trainer.device)  # a device that is not there ends it here
        return run_prepared(prepare(config, examples, spill_buffer), callback, output, resume, stop)


def run_prepared(
    prepared: Prepared,
    callback: Callback | None = None,
    output: str | Path | None = None,
    resume: CheckpointRef | None = None,
    stop: Callable[[], bool] | None = None,
) -> TrainResult:
    """Train a classifier on rows that have been prepared; see :func:`train`."""
    run = train_prepared(prepared, callback, output, resume, stop)
    artifact = run.artifact
    if prepared.config.trainer.calibrate:
        artifact = _calibrated(prepared, artifact)
    classifier = TextClassifier(artifact, threads=prepared.config.trainer.threads)
    return TrainResult(classifier, run.outcome, run.statistics, run.changed_versions)


def _calibrated(prepared: Prepared, artifact: Artifact) -> Artifact:
    """Fit the temperature on the validation rows; a model that none fits stays as it is.

    Of very many classes so many rows are taken as memory should hold.
    """
    assert prepared.validation is not None
    linear, sets = CpuForward(linear_outputs(artifact)), prepared.label_sets
    bags = Ragged.concat([load() for load in prepared.validation.shards])
    classes = np.concatenate(prepared.validation.classes)
    rows = np.arange(len(classes))[: max(MOST_CALIBRATED // len(artifact.labels), 1000)]
    classes, several = classes[rows], sets is not None
    if isinstance(sets, SoftLabels):
        classes, several = sets.most_likely()[classes], False
    true = sets.take(classes) if sets is not None and several else _one_each(classes)
    origin = {"source": artifact.data["source"], "split": "validation", "rows": len(classes)}
    try:
        outputs = linear(bags.take(rows))
        return calibrate_artifact(artifact, outputs, true, several=several, origin=origin)
    except (DataError, MemoryError) as error:
        prepared.statistics["not_calibrated"] = str(error) or "there is not enough memory"
        return artifact


def _one_each(classes: I64) -> Ragged:
    return Ragged(classes, np.arange(len(classes) + 1))


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
        ConfigError: the model is quantized, or keeps its pretrained rows as they are.
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
    with SpillBuffer(config.data.in_memory_mb * 2**20) as spill_buffer:
        prepared = _prepare_for_retraining(replace(artifact, config=config), rows, spill_buffer)
        result = train_prepared(prepared, callback, start=artifact.tensors)
    if result.outcome.interrupted:
        raise KeyboardInterrupt  # half of it would be neither the one model nor the other
    how = {name: layer for name, layer in (settings or {}).items() if name != "data"}
    trained = resolve(artifact.config.model_dump(), how)
    tensors = result.artifact.tensors
    return replace(artifact, config=trained, tensors=tensors, metrics={}, calibration={})


def _prepare_for_retraining(
    artifact: Artifact, rows: Iterable[pa.RecordBatch], spill_buffer: SpillBuffer
) -> Prepared:
    config, encoder = artifact.config, artifact.encoder()
    separator, soft = config.data.label_separator, config.data.soft_labels
    labels = LabelEncoder(artifact.labels, separator, soft=soft)
    writer, numbers, given = spill_buffer.writer(), [], []
    for batch in rows:
        numbers.append(labels.encode(batch.column("label")))
        if "weight" in batch.schema.names:
            given.append(to_numpy(batch.column("weight")))
        known = batch.filter(to_arrow(numbers[-1] >= 0))
        writer.append(encoder.encode(known.column("text"), config.trainer.threads))
    classes = np.concatenate([np.empty(0, np.int64), *numbers])
    if not (classes >= 0).any():
        raise TrainingError("no row to train on has a label that the model knows")
    known = classes >= 0
    weights = text_weights(classes, known, labels, config.trainer.class_weights, given)
    return Prepared(
        config=config,
        encoder=encoder,
        labels=artifact.labels,
        train=EncodedSplit(
            (writer.close(),),
            (classes[known],),
            None if weights is None else (weights[known],),
        ),
        validation=None,
        idf=artifact.tensors.get("idf"),
        statistics={**artifact.data, "source": "the rows to retrain on"},
        trained=known,
        label_sets=labels.label_sets,
    )
