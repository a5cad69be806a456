"""The one place where the parts are put together: training and retraining.

``train`` takes settings and rows, and returns a model:

1. ``tokenize`` reads the rows and cuts the texts into tokens   (training.tokenized)
2. ``prepare`` splits them, builds vocabulary and labels, and encodes the texts   (training.prepare)
3. ``train_prepared`` builds the model and the datasets   (training.run)
4. ``Trainer.fit`` takes the optimizer steps and keeps the best epoch   (training.trainer)
5. ``_calibrate`` fits a temperature on the validation rows   (inference.calibrate)
6. ``_refit`` trains the model again on all rows, for as many epochs and with that temperature
7. ``fold_if_smaller`` multiplies the linear layer into the table   (model.fold)

``TextClassifier.predict`` takes texts, and returns labels and probabilities:

1. ``load_classifier`` loads the model directory or the fastText file   (inference.load)
2. ``TextEncoder`` turns texts into bags of ids   (text.encoder)
3. ``forward_on`` gives the function from bags to logits   (inference.forward)
4. ``Predictor.rank`` picks the best classes and their probabilities   (inference.predictor)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa

from fasttext_app.config.auto import known
from fasttext_app.config.loading import Layer, resolve
from fasttext_app.config.schema import Config
from fasttext_app.core.arrays import I64
from fasttext_app.core.device import resolve_device
from fasttext_app.core.group import Group, joined
from fasttext_app.core.ragged import Ragged
from fasttext_app.core.spill import SpillBuffer
from fasttext_app.data.soft_labels import SoftLabels
from fasttext_app.data.split import Examples
from fasttext_app.errors import ConfigError, DataError, TrainingError
from fasttext_app.inference.calibrate import calibrate_artifact, linear_outputs, scaled_tensors
from fasttext_app.inference.classifier import TextClassifier
from fasttext_app.inference.forward import CpuForward
from fasttext_app.model.artifact import Artifact
from fasttext_app.model.directory import load_artifact, save_artifact
from fasttext_app.model.fold import average, fold_if_smaller
from fasttext_app.model.quantize import check_not_quantized
from fasttext_app.model.scoring import Scorer
from fasttext_app.model.train_warnings import Interrupted, NotCalibrated, TrainWarning
from fasttext_app.training.advice import advice, assist_advice
from fasttext_app.training.checkpoints import CheckpointRef
from fasttext_app.training.data_statistics import DataStatistics
from fasttext_app.training.events import Callback, Event, TrainBegin, TrainOutcome
from fasttext_app.training.prepare import WITHOUT_VALIDATION, Prepared, prepare, prepare_retraining
from fasttext_app.training.run import TrainedRun, retrain_prepared, train_prepared

MAX_CALIBRATION_LOGITS = 1 << 26
MIN_CALIBRATION_ROWS = 1000


@dataclass(frozen=True)
class TrainResult:
    """A trained model, with the outcome, the statistics and the warnings of its training."""

    model: TextClassifier
    outcome: TrainOutcome
    statistics: DataStatistics
    warnings: tuple[TrainWarning, ...] = ()
    is_main: bool = True
    """Whether this process is the only one, or the one that reports and writes."""


def train(
    config: Config,
    examples: Examples,
    callback: Callback | None = None,
    output: str | Path | None = None,
    resume: CheckpointRef | None = None,
    stop: Callable[[], bool] | None = None,
) -> TrainResult:
    """Train a classifier, with ``trainer.shard`` on all processes that torchrun has started.

    Args:
        config: the run's settings.
        examples: the rows.
        callback: receives the trainer's events, on the main process.
        output: the folder for checkpoints, if the settings ask for any.
        resume: the checkpoint to resume from.
        stop: called between steps; True ends the run.

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
    sharded = config.trainer.shard != "none"
    with (
        joined(config.trainer.shard_timeout) if sharded else nullcontext() as group,
        SpillBuffer(config.data.in_memory_mb * 2**20) as spill_buffer,
    ):
        prepared = prepare(config, examples, spill_buffer, group=group)
        if prepared.is_main:
            result = run_prepared(prepared, callback, output, resume, stop)
            if group is not None:
                _share_model(result.model, group, config.trainer.threads)
            return result
        assert group is not None
        outcome = assist(prepared, output, resume, stop)
        model = _share_model(None, group, config.trainer.threads)
        return TrainResult(model, outcome, prepared.statistics, is_main=False)


def run_prepared(
    prepared: Prepared,
    callback: Callback | None = None,
    output: str | Path | None = None,
    resume: CheckpointRef | None = None,
    stop: Callable[[], bool] | None = None,
) -> TrainResult:
    """Train a classifier on rows that are prepared; see :func:`train`.

    Of several processes that train together, the main one calls this, the others :func:`assist`.
    """
    run = _train_members(prepared, callback, output, resume, stop)
    artifact, statistics = run.artifact, run.statistics
    warnings = run.warnings
    if not run.outcome.interrupted:
        warnings = (*advice(prepared, run.outcome), *warnings)
    if prepared.config.trainer.calibrate:
        try:
            artifact = _calibrate(prepared, artifact)
        except (DataError, MemoryError) as error:
            reason = str(error) or "there is not enough memory"
            warnings = (NotCalibrated(reason), *warnings)
            statistics = replace(statistics, not_calibrated=reason)
            artifact = replace(artifact, data=statistics.as_dict())
    outcome = run.outcome
    if prepared.all_rows is not None and not outcome.interrupted:
        refitted = _refit(prepared.all_rows, run, artifact, callback, stop)
        if refitted is None:
            outcome = _interrupted(outcome, prepared, output)
            warnings += (Interrupted(),)
        else:
            artifact, statistics = refitted
    artifact = fold_if_smaller(artifact)
    model = TextClassifier(artifact, threads=prepared.config.trainer.threads)
    model.training_warnings = warnings
    return TrainResult(model, outcome, statistics, warnings)


def assist(
    prepared: Prepared,
    output: str | Path | None = None,
    resume: CheckpointRef | None = None,
    stop: Callable[[], bool] | None = None,
) -> TrainOutcome:
    """Take part in the training of a model that the main process of the group writes."""
    run = train_prepared(prepared, None, output, resume, stop)
    if not run.outcome.interrupted:
        assist_advice(prepared)
    if prepared.all_rows is not None and not run.outcome.interrupted:
        _train_on_all_rows(prepared.all_rows, run, None, stop)
    return run.outcome


def _share_model(model: TextClassifier | None, group: Group, threads: int) -> TextClassifier:
    """Return the model of the main process on all of them.

    One process of each machine writes it to a temporary folder, and the others map it from there.
    """
    if group.size == 1:
        assert model is not None
        return model
    with TemporaryDirectory(prefix="fasttext_app-") as temporary:
        folder = Path(temporary)

        def save() -> None:
            if model is not None:
                save_artifact(model.artifact, folder)

        def load() -> TextClassifier:
            return model or TextClassifier(load_artifact(source, packages=True), threads=threads)

        group.all_or_none(save)
        try:
            source = group.copy_from_main(folder)
        except OSError as error:
            raise TrainingError(
                f"{folder.parent}: the model cannot be written there ({error.strerror or error}); "
                "set TMPDIR to another folder"
            ) from None
        return group.all_or_none(load)


def _train_members(
    prepared: Prepared,
    callback: Callback | None,
    output: str | Path | None = None,
    resume: CheckpointRef | None = None,
    stop: Callable[[], bool] | None = None,
) -> TrainedRun:
    """Train the models of the ensemble and merge them; by default there is one."""
    run = train_prepared(prepared, callback, output, resume, stop)
    members, trainer = [run.artifact], prepared.config.trainer

    def emit(event: Event) -> None:
        if callback is not None:
            if isinstance(event, TrainBegin):
                event = replace(event, member=len(members) + 1)
            callback(event)

    while len(members) < trainer.ensemble and not run.outcome.interrupted:
        seed = trainer.seed + len(members)
        layer = {"trainer": {"seed": seed, "checkpoint_every": None, "keep_checkpoints": 2}}
        config = resolve(prepared.config.model_dump(), layer)
        try:
            member = train_prepared(replace(prepared, config=config), emit, stop=stop)
            interrupted = member.outcome.interrupted
        except KeyboardInterrupt:  # before the first step
            interrupted = True
        if interrupted:  # the models that are complete make a smaller ensemble
            outcome = _interrupted(run.outcome, prepared, output)
            run = replace(run, outcome=outcome, warnings=(*run.warnings, Interrupted()))
            break
        members.append(member.artifact)
    if len(members) == 1:
        return run
    artifact = average(members)
    if prepared.validation is not None:
        artifact = replace(artifact, metrics=_validation_metrics(prepared, artifact))
    return replace(run, artifact=artifact)


def _interrupted(
    outcome: TrainOutcome, prepared: Prepared, output: str | Path | None
) -> TrainOutcome:
    """Return the outcome of a run that was interrupted after its first model was complete."""
    checkpoint = "" if prepared.config.trainer.checkpoint_every is None else str(output)
    return replace(outcome, interrupted=True, checkpoint=checkpoint)


def _validation_metrics(prepared: Prepared, artifact: Artifact) -> dict[str, Any]:
    """Score a model on the validation rows."""
    assert prepared.validation is not None
    bags, classes, _ = prepared.validation.load()
    true, multi_label = _true_classes(prepared, classes)
    logits = CpuForward(artifact)(bags)
    scorer = Scorer(artifact.labels.names, multi_label=multi_label)
    scorer.add(true, logits, artifact.head().probabilities(logits) if multi_label else None)
    scores = scorer.scores()
    return {
        "validation_accuracy": scores["precision_at_k"]["1"],
        "validation_macro_f1": scores["macro_f1"],
    }


def _refit(
    all_rows: Prepared,
    run: TrainedRun,
    artifact: Artifact,
    callback: Callback | None,
    stop: Callable[[], bool] | None,
) -> tuple[Artifact, DataStatistics] | None:
    """Train the model on all rows; keep its scores, temperature and settings.

    Args:
        all_rows: the rows, without validation rows.
        run: the run that chose the epoch.
        artifact: its model, calibrated.
        callback: receives the events, between a ``TrainBegin`` that says ``refit`` and its end.
        stop: called between steps; True ends the run, and its model is not used.

    Returns:
        The model and the counts of its rows; None if the run was interrupted.
    """
    final = _train_on_all_rows(all_rows, run, callback, stop)
    if final is None:
        return None
    statistics = replace(
        final.statistics,
        validation_rows=run.statistics.validation_rows,
        refit_rows=final.statistics.train_rows,
        not_calibrated=artifact.data.get("not_calibrated"),
    )
    refitted = replace(
        artifact,
        vocabulary=final.artifact.vocabulary,
        labels=final.artifact.labels,
        tensors=final.artifact.tensors,
        data=statistics.as_dict(),
    )
    if "temperature" in artifact.calibration:
        temperature = artifact.calibration["temperature"]["value"]
        refitted = replace(refitted, tensors=scaled_tensors(refitted, temperature))
    return refitted, statistics


def _train_on_all_rows(
    all_rows: Prepared,
    run: TrainedRun,
    callback: Callback | None,
    stop: Callable[[], bool] | None,
) -> TrainedRun | None:
    """Train up to the best epoch of a run; return None if this was interrupted."""
    epochs = known(all_rows.config.trainer.epochs)
    stop_after = run.outcome.best_epoch if run.outcome.best_epoch < epochs else 0
    config = resolve(all_rows.config.model_dump(), {"trainer": {"stop_after": stop_after}})

    def emit(event: Event) -> None:
        if callback is not None:
            callback(replace(event, refit=True) if isinstance(event, TrainBegin) else event)

    try:
        final = _train_members(replace(all_rows, config=config), emit, stop=stop)
    except KeyboardInterrupt:  # before the first step
        return None
    if final.outcome.interrupted:
        return None
    return final


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
    true, multi_label = _true_classes(prepared, classes[rows])
    outputs = CpuForward(linear_outputs(artifact))(bags.take(rows))
    origin = {"source": prepared.source, "split": "validation", "rows": len(rows)}
    return calibrate_artifact(artifact, outputs, true, multi_label=multi_label, origin=origin)


def _true_classes(prepared: Prepared, classes: I64) -> tuple[Ragged, bool]:
    """Return the classes of each row, and whether it may have several labels."""
    sets = prepared.label_sets
    if isinstance(sets, SoftLabels):  # the most likely label counts as the true one
        classes, sets = sets.most_likely()[classes], None
    if sets is None:
        return Ragged.one_each(classes), False
    return sets.take(classes), True


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
    layer = {"model": {"dim": artifact.dim}, "trainer": WITHOUT_VALIDATION["trainer"]}
    config = resolve(model_settings, layer, settings)
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
