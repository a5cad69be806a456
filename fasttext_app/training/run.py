"""One training run: puts together the model, the datasets, the trainer and the checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fasttext_app.config.interval import Interval
from fasttext_app.config.schema import Config
from fasttext_app.core.arrays import F32, I32, I64
from fasttext_app.core.device import resolve_device, torch_threads
from fasttext_app.core.ragged import Ragged
from fasttext_app.core.spill import RaggedLoader
from fasttext_app.errors import ConfigError, TrainingError
from fasttext_app.model.artifact import Artifact
from fasttext_app.model.directory import load_artifact
from fasttext_app.model.shard import SHARES, Share
from fasttext_app.model.tensor_file import Tensors
from fasttext_app.model.train_warnings import (
    ChangedVersions,
    DamagedCheckpoint,
    Interrupted,
    PretrainedCoverage,
    TrainWarning,
    UnknownValidationLabels,
)
from fasttext_app.training.checkpoints import CheckpointRef, Checkpoints
from fasttext_app.training.data_statistics import DataStatistics
from fasttext_app.training.prepare import Prepared, TrainingSet
from fasttext_app.training.pretrained import pretrained_vectors
from fasttext_app.training.run_manifest import check_same_run, run_manifest
from fasttext_app.training.sharded_checkpoints import ShardedCheckpoints, sharded_snapshot
from fasttext_app.training.tokenized import EncodedSplit

if TYPE_CHECKING:
    import torch

    from fasttext_app.model.classifier import FastTextClassifier
    from fasttext_app.training.dataset import EncodedDataset
    from fasttext_app.training.events import Callback, TrainOutcome
    from fasttext_app.training.trainer import TrainingData

SHOWN_ROWS = 10  # in an error message


@dataclass(frozen=True)
class TrainedRun:
    """The artifact that a run trained, and the story of the run."""

    artifact: Artifact
    outcome: TrainOutcome
    statistics: DataStatistics
    warnings: tuple[TrainWarning, ...]


def train_prepared(
    prepared: Prepared,
    callback: Callback | None = None,
    output: str | Path | None = None,
    resume: CheckpointRef | None = None,
    stop: Callable[[], bool] | None = None,
) -> TrainedRun:
    """Train a model on rows that are prepared.

    Args:
        prepared: the rows and settings.
        callback: receives the trainer's events.
        output: the folder for checkpoints, if the settings ask for any.
        resume: the checkpoint to resume from.
        stop: called between steps; True ends the run.

    Raises:
        ConfigError: the settings ask for checkpoints without ``output``, or monitor a label that
            is not there.
        TrainingError: the loss diverged, memory is too small, or there are no rows to calibrate on.
        CheckpointError: the checkpoint is of other settings or data, or another run writes there.
        DataError: pretrained vectors cannot be read.
        DeviceError: the device is not available.
        KeyboardInterrupt: Ctrl-C before the first step was done.
    """
    config, statistics = prepared.config, prepared.statistics
    if config.trainer.calibrate and prepared.validation is None:
        raise TrainingError("trainer.calibrate: no row is left for validation; give more rows")
    manifest = run_manifest(config, statistics)
    changed = check_same_run(resume.path, resume.run, manifest) if resume else {}
    shard = _shard(prepared)
    checkpoints = _checkpoints(config, manifest, output, resume, shard)
    if shard is not None:
        stop = shard.group.agreed(stop)
    with torch_threads(1), _memory_explained(prepared):
        model, coverage = _build_model(prepared)
        outcome = _fit(model, prepared, callback, checkpoints, resume, stop)
    if outcome.interrupted and not outcome.steps:
        raise KeyboardInterrupt

    warnings: list[TrainWarning] = []
    warnings += [DamagedCheckpoint(problem) for problem in (resume.damaged if resume else [])]
    if changed:
        warnings.append(ChangedVersions(changed))
    if outcome.interrupted:
        warnings.append(Interrupted())
    if statistics.validation_rows_of_unknown_labels:
        warnings.append(UnknownValidationLabels(statistics.validation_rows_of_unknown_labels))
    if coverage is not None:
        warnings.append(PretrainedCoverage(**coverage))
        statistics = replace(statistics, pretrained_coverage=coverage)
    artifact = build_artifact(prepared, model.export_tensors(), outcome, statistics, manifest)
    return TrainedRun(artifact, outcome, statistics, tuple(warnings))


def retrain_prepared(
    rows: TrainingSet, tensors: Tensors, callback: Callback | None = None
) -> tuple[Tensors, TrainOutcome]:
    """Train a model further from its weights; return the new weights and the outcome of the run.

    Args:
        rows: the rows and settings.
        tensors: the weights to start from.
        callback: receives the trainer's events.

    Raises:
        TrainingError: the loss diverged, or memory is too small.
    """
    with torch_threads(1), _memory_explained(rows):
        model = _new_model(rows)
        names = model.export_tensors()
        model.load_tensors({name: np.require(tensors[name], requirements="W") for name in names})
        outcome = _fit(model, rows, callback)
    return _with_encoding(rows, model.export_tensors()), outcome


def _fit(
    model: FastTextClassifier,
    rows: TrainingSet,
    callback: Callback | None,
    checkpoints: AbstractContextManager[Checkpoints | None] | None = None,
    resume: CheckpointRef | None = None,
    stop: Callable[[], bool] | None = None,
) -> TrainOutcome:
    from fasttext_app.training.trainer import NonFiniteLossError, Trainer

    device = resolve_device(rows.group.device if rows.group else rows.config.trainer.device)
    model.to(device)
    train_data = _training_data(rows, device)
    validation = None
    if rows.validation is not None:
        validation = _dataset(rows, device, *rows.validation.load())
    trainer = Trainer(model, rows.config, callback, rows.labels, rows.label_sets, stop)
    with checkpoints or nullcontext() as opened:
        snapshot = None
        if resume is not None:
            shard = model.shard
            snapshot = sharded_snapshot(resume, shard) if shard else resume.snapshot()
        try:
            return trainer.fit(train_data, validation, opened, snapshot)
        except NonFiniteLossError as error:
            numbers = rows.source_rows(error.texts[:SHOWN_ROWS])
            shown = ", ".join(f"{number:,}" for number in numbers)
            more = len(error.texts) - SHOWN_ROWS
            raise TrainingError(
                f"{error}; the step had rows {shown}"
                f"{f' and {more} more' if more > 0 else ''} of {rows.source}"
            ) from None


def _checkpoints(
    config: Config,
    manifest: Mapping[str, Any],
    output: str | Path | None,
    resume: CheckpointRef | None,
    shard: Share | None,
) -> Checkpoints | None:
    every = config.trainer.checkpoint_every
    if every is None:
        return None
    if output is None:
        raise ConfigError(
            "trainer.checkpoint_every is set, but there is no folder for checkpoints; "
            "name one with checkpoints="
        )
    keep, resumed = config.trainer.keep_checkpoints, resume.path if resume else None
    arguments = output, manifest, Interval.parse(every), keep, resumed
    if shard is None:
        return Checkpoints(*arguments)
    rowwise = config.optimizer.name == "rowwise_adagrad"
    return ShardedCheckpoints(*arguments, shard, rowwise=rowwise)


def _build_model(prepared: Prepared) -> tuple[FastTextClassifier, dict[str, Any] | None]:
    """Build the model and set its first weights; return the coverage of pretrained vectors too."""
    config, model = prepared.config.model, _new_model(prepared)
    if prepared.row_map is not None:
        assert config.start_from is not None
        model.grow_from(load_artifact(config.start_from).tensors, prepared.row_map)
    elif config.pretrained is not None:
        vocabulary = prepared.encoder.vocabulary
        tokens = prepared.config.text.yields_subwords
        pretrained = pretrained_vectors(config, vocabulary, tokens=tokens)
        model.set_rows(pretrained.rows, pretrained.vectors, freeze=config.freeze_pretrained)
        return model, pretrained.coverage(vocabulary)
    return model, None


def _new_model(rows: TrainingSet) -> FastTextClassifier:
    import torch

    from fasttext_app.model.classifier import FastTextClassifier

    generator = torch.Generator().manual_seed(rows.config.trainer.seed)
    return FastTextClassifier.from_config(
        rows.config.model, rows.encoder.rows, len(rows.labels), generator, _shard(rows)
    )


def _shard(rows: TrainingSet) -> Share | None:
    """Return the part of the table that this process holds; None: all of it."""
    if rows.group is None:
        return None
    share = SHARES[rows.config.trainer.shard]
    return share(rows.group, max(rows.encoder.rows, 1), rows.config.model.dim)


@contextmanager
def _memory_explained(rows: TrainingSet) -> Iterator[None]:
    """Reword the errors of torch and NumPy for too little memory; pass on all others."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "memory" not in str(error).lower():
            raise
        table_rows, dim = rows.encoder.rows, rows.config.model.dim
        raise TrainingError(
            f"not enough memory to train: the table alone is {table_rows:,} rows x {dim} numbers "
            f"({table_rows * dim * 4 / 1e9:.1f} GB); lower text.bucket, model.dim or "
            "trainer.batch_size"
        ) from error


def _training_data(rows: TrainingSet, device: torch.device) -> TrainingData:
    from fasttext_app.training.dataset import DividedDataset, ShardedDataset
    from fasttext_app.training.divided import DividedSplit

    train: EncodedSplit = rows.train
    by_word = rows.encoder.maxn > 0 and device.type == "cpu"  # only its step cuts texts into words
    word_lengths = rows.encoder.word_lengths() if by_word else None
    if isinstance(train, DividedSplit):
        return DividedDataset(
            train,
            rows.idf,
            word_lengths,
            device=device,
            include_last_offset=rows.config.model.include_last_offset,
        )
    if len(train.shards) == 1:
        return _dataset(rows, device, *train.load(), word_lengths)

    def load(shard: RaggedLoader, classes: I64, weights: F32 | None) -> EncodedDataset:
        bags = shard()
        # A copy reads the file from front to back; batches would read it in random order.
        in_memory = Ragged(bags.indices.copy(), bags.offsets.copy())
        return _dataset(rows, device, in_memory, classes, weights, word_lengths)

    weights = train.weights or [None] * len(train.shards)
    shards = zip(train.shards, train.classes, weights, strict=True)
    return ShardedDataset(
        [partial(load, *shard) for shard in shards], [len(classes) for classes in train.classes]
    )


def _dataset(
    rows: TrainingSet,
    device: torch.device,
    bags: Ragged,
    classes: I64,
    weights: F32 | None,
    word_lengths: I32 | None = None,
) -> EncodedDataset:
    from fasttext_app.training.dataset import EncodedDataset

    return EncodedDataset(
        bags,
        classes,
        rows.idf,
        weights,
        word_lengths,
        device=device,
        include_last_offset=rows.config.model.include_last_offset,
    )


def _with_encoding(rows: TrainingSet, weights: Tensors) -> Tensors:
    """Add the tensors of a model that belong to its encoder."""
    tensors = dict(weights)
    if rows.idf is not None:
        tensors["idf"] = rows.idf
    if rows.encoder.buckets.ids is not None:
        tensors["buckets"] = rows.encoder.buckets.ids
    return tensors


def build_artifact(
    prepared: Prepared,
    weights: Tensors,
    outcome: TrainOutcome,
    statistics: DataStatistics,
    manifest: Mapping[str, Any],
) -> Artifact:
    """Return the artifact of a run, whose model has these weights."""
    history = outcome.as_dict()
    epochs: list[dict[str, Any]] = history["epochs"]
    best = epochs[outcome.best_epoch - 1] if outcome.best_epoch else {}
    return Artifact(
        config=prepared.config,
        vocabulary=prepared.encoder.vocabulary,
        labels=prepared.labels,
        tensors=_with_encoding(prepared, weights),
        metrics={key: value for key, value in best.items() if key.startswith("validation_")},
        history=history,
        data=statistics.as_dict(),
        tokenizer_asset=prepared.encoder.tokenizer.asset,
        run=manifest,
    )
