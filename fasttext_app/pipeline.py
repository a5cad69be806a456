"""The one place where the parts are put together: training and retraining.

``train`` takes settings and rows, and returns a model:

1. ``tokenize`` reads the rows and cuts the texts into tokens   (training.tokenized)
2. ``prepare`` splits them, builds vocabulary and labels, and encodes the texts   (training.prepare)
3. ``train_prepared`` builds the model and the datasets   (training.run)
4. ``Trainer.fit`` takes the optimizer steps and keeps the best epoch   (training.trainer)
5. ``_calibrate`` fits a temperature, if the settings ask for one   (inference.calibrate)

``TextClassifier.predict`` takes texts, and returns labels and probabilities:

1. ``load_classifier`` loads the model directory or the fastText file   (inference.load)
2. ``TextEncoder`` turns texts into bags of ids   (text.encoder)
3. ``forward_on`` gives the function from bags to logits   (inference.forward)
4. ``Predictor.rank`` picks the best classes and their probabilities   (inference.predictor)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from fasttext_app.config.loading import Layer, resolve
from fasttext_app.config.schema import Config
from fasttext_app.core.device import resolve_device
from fasttext_app.core.ragged import Ragged
from fasttext_app.core.spill import SpillBuffer
from fasttext_app.data.soft_labels import SoftLabels
from fasttext_app.data.split import Examples
from fasttext_app.errors import ConfigError, DataError
from fasttext_app.inference.calibrate import calibrate_artifact, linear_outputs
from fasttext_app.inference.classifier import TextClassifier
from fasttext_app.inference.forward import CpuForward
from fasttext_app.model.artifact import Artifact
from fasttext_app.model.quantize import check_not_quantized
from fasttext_app.model.train_warnings import NotCalibrated, TrainWarning
from fasttext_app.training.checkpoints import CheckpointRef
from fasttext_app.training.data_statistics import DataStatistics
from fasttext_app.training.events import Callback, TrainOutcome
from fasttext_app.training.prepare import Prepared, prepare, prepare_retraining
from fasttext_app.training.run import retrain_prepared, train_prepared

MAX_CALIBRATION_LOGITS = 1 << 26
MIN_CALIBRATION_ROWS = 1000
WITHOUT_VALIDATION: Layer = {
    "trainer": {
        "checkpoint_every": None,
        "keep_checkpoints": 2,
        "patience": 0,
        "monitor": "accuracy",
        "calibrate": False,
    }
}
"""The settings of a run that has no validation rows and writes no checkpoints."""


@dataclass(frozen=True)
class TrainResult:
    """A trained model, with the outcome, the statistics and the warnings of its training."""

    model: TextClassifier
    outcome: TrainOutcome
    statistics: DataStatistics
    warnings: tuple[TrainWarning, ...] = ()


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
        output: the folder for checkpoints, if the settings ask for any.
        resume: the checkpoint to resume from.
        stop: called after every step; True ends the run.

    Raises:
        DeviceError: the device is not available.
        TrainingError: the rows leave nothing to learn, the loss diverged, or memory is too small.
        CheckpointError: the checkpoint belongs to other settings or data, or another run writes
            there.
        DataError: the rows or the pretrained vectors cannot be read.
        KeyboardInterrupt: Ctrl-C before the first step was done.
    """
    if config.trainer.device not in ("auto", "cpu"):
        resolve_device(config.trainer.device)  # fail before the data is read
    with SpillBuffer(config.data.in_memory_mb * 2**20) as spill_buffer:
        return run_prepared(prepare(config, examples, spill_buffer), callback, output, resume, stop)


def run_prepared(
    prepared: Prepared,
    callback: Callback | None = None,
    output: str | Path | None = None,
    resume: CheckpointRef | None = None,
    stop: Callable[[], bool] | None = None,
) -> TrainResult:
    """Train a classifier on rows that are prepared; see :func:`train`."""
    run = train_prepared(prepared, callback, output, resume, stop)
    artifact, statistics, warnings = run.artifact, run.statistics, run.warnings
    if prepared.config.trainer.calibrate:
        try:
            artifact = _calibrate(prepared, artifact)
        except (DataError, MemoryError) as error:
            reason = str(error) or "there is not enough memory"
            warnings += (NotCalibrated(reason),)
            statistics = replace(statistics, not_calibrated=reason)
            artifact = replace(artifact, data=statistics.as_dict())
    model = TextClassifier(artifact, threads=prepared.config.trainer.threads)
    model.training_warnings = warnings
    return TrainResult(model, run.outcome, statistics, warnings)


def _calibrate(prepared: Prepared, artifact: Artifact) -> Artifact:
    """Fit the temperature on the validation rows, or with very many classes on the first of them.

    Raises:
        DataError: no temperature fits.
        MemoryError: the logits need more memory than there is.
    """
    assert prepared.validation is not None
    bags, classes, _ = prepared.validation.load()
    rows = np.arange(len(classes))
    rows = rows[: max(MAX_CALIBRATION_LOGITS // len(artifact.labels), MIN_CALIBRATION_ROWS)]
    classes, sets = classes[rows], prepared.label_sets
    if isinstance(sets, SoftLabels):  # the most likely label counts as the true one
        classes, sets = sets.most_likely()[classes], None
    true = Ragged.one_each(classes) if sets is None else sets.take(classes)
    outputs = CpuForward(linear_outputs(artifact))(bags.take(rows))
    origin = {"source": prepared.source, "split": "validation", "rows": len(classes)}
    return calibrate_artifact(artifact, outputs, true, multi_label=sets is not None, origin=origin)


def retrain(
    artifact: Artifact,
    rows: Iterable[pa.RecordBatch],
    settings: Layer | None = None,
    callback: Callback | None = None,
) -> Artifact:
    """Train a model further; its table rows and labels stay, and their weights change.

    Args:
        artifact: a model with 32-bit weights.
        rows: batches of ``text`` and ``label``; rows whose label the model does not know are left
            out.
        settings: how to train, on top of the model's own settings.
        callback: receives the trainer's events.

    Raises:
        ConfigError: the model is quantized, or has frozen pretrained rows.
        TrainingError: no row has a label that the model knows, or the loss diverged.
        KeyboardInterrupt: Ctrl-C.
    """
    check_not_quantized(artifact)
    model_settings, settings = artifact.config.model_dump(), settings or {}
    config = resolve(model_settings, WITHOUT_VALIDATION, settings)
    if config.model.freeze_pretrained:
        raise ConfigError(
            "model.freeze_pretrained: a saved model does not say which rows are frozen; "
            "train a new model"
        )
    with SpillBuffer(config.data.in_memory_mb * 2**20) as spill_buffer:
        prepared = prepare_retraining(replace(artifact, config=config), rows, spill_buffer)
        tensors, outcome = retrain_prepared(prepared, artifact.tensors, callback)
    if outcome.interrupted:
        raise KeyboardInterrupt  # half-retrained weights belong to neither model
    recorded = {name: layer for name, layer in settings.items() if name != "data"}
    return replace(
        artifact,
        config=resolve(model_settings, recorded),
        tensors=tensors,
        metrics={},
        calibration={},
    )
