"""One training run: model, data sets, trainer and checkpoints put together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fasttext_app.config.interval import Interval
from fasttext_app.config.schema import Config
from fasttext_app.core.arrays import F32, I64
from fasttext_app.core.device import resolve_device, torch_threads
from fasttext_app.core.ragged import Ragged
from fasttext_app.core.spill import RaggedLoader
from fasttext_app.data.pretrained_vectors import PretrainedVectors, read_vectors
from fasttext_app.errors import ConfigError, TrainingError
from fasttext_app.model.artifact import Artifact, Tensors
from fasttext_app.model.directory import load_artifact
from fasttext_app.text.vocabulary import Vocabulary
from fasttext_app.training.checkpoints import CheckpointRef, Checkpoints
from fasttext_app.training.prepare import Prepared
from fasttext_app.training.run_manifest import check_same_run, run_manifest
from fasttext_app.training.tokenized import EncodedSplit

if TYPE_CHECKING:
    import torch

    from fasttext_app.model.classifier import FastTextClassifier
    from fasttext_app.training.dataset import EncodedDataset, ShardedDataset
    from fasttext_app.training.events import Callback, TrainOutcome

SHOWN = 10  # row numbers in a message


@dataclass(frozen=True)
class TrainedRun:
    """A trained model and the story of its training."""

    artifact: Artifact
    outcome: TrainOutcome
    statistics: dict[str, Any]
    changed_versions: Sequence[str] = ()
    """Where a run was gone on with: what is of another version than at its start."""


def train_prepared(
    prepared: Prepared,
    callback: Callback | None = None,
    output: str | Path | None = None,
    resume: CheckpointRef | None = None,
    stop: Callable[[], bool] | None = None,
    start: Tensors | None = None,
) -> TrainedRun:
    """Train a classifier on rows that have been prepared; see :func:`train`.

    Args:
        prepared: the rows and settings.
        callback: receives the trainer's events.
        output: the folder for checkpoints, where the settings ask for some.
        resume: the checkpoint to go on from.
        stop: is asked after every step whether to end the run.
        start: the weights to start from; None: a new model's.
    """
    from fasttext_app.training.trainer import NonFiniteLossError, Trainer

    config = prepared.config
    if config.trainer.calibrate and prepared.validation is None:
        raise TrainingError("trainer.calibrate: no row is left for validation; give more rows")
    run = run_manifest(config, prepared.statistics)
    changed = check_same_run(resume.path, resume.run, run) if resume else []
    device = resolve_device(config.trainer.device)
    with torch_threads(config.trainer.threads), _memory_explained(prepared):
        model = _build_model(prepared, start)
        model.to(device)
        train_data = _dataset(prepared.train, prepared, device)
        validation = None
        if prepared.validation is not None:
            validation = _whole(prepared.validation, prepared, device)
        trainer = Trainer(model, config, callback, prepared.labels, prepared.label_sets, stop)
        with _checkpoints(config, run, output, resume) as checkpoints:
            snapshot = resume.snapshot() if resume else None
            try:
                outcome = trainer.fit(train_data, validation, checkpoints, snapshot)
            except NonFiniteLossError as error:
                rows = ", ".join(f"{row:,}" for row in prepared.source_rows(error.texts[:SHOWN]))
                more = f" and {len(error.texts) - SHOWN} more" if len(error.texts) > SHOWN else ""
                source = prepared.statistics["source"]
                raise TrainingError(
                    f"{error}; the step had rows {rows}{more} of {source}"
                ) from None
    if outcome.interrupted and not outcome.steps:
        raise KeyboardInterrupt
    artifact = _artifact(prepared, model, outcome, run)
    return TrainedRun(artifact, outcome, prepared.statistics, changed)


def _checkpoints(
    config: Config, run: Mapping[str, Any], output: str | Path | None, resume: CheckpointRef | None
) -> AbstractContextManager[Checkpoints | None]:
    every = config.trainer.checkpoint_every
    if every is None:
        return nullcontext()
    if output is None:
        raise ConfigError("trainer.checkpoint_every is set, and there is no folder for checkpoints")
    keep, resumed = config.trainer.keep_checkpoints, resume.path if resume else None
    return Checkpoints(output, run, Interval.parse(every), keep, resumed)


def _build_model(prepared: Prepared, start: Tensors | None) -> FastTextClassifier:
    import torch

    from fasttext_app.model.classifier import FastTextClassifier

    config = prepared.config
    generator = torch.Generator().manual_seed(config.trainer.seed)
    model = FastTextClassifier.from_config(
        config.model, prepared.encoder.rows, len(prepared.labels), generator
    )
    if start is not None:
        names = model.export_tensors()
        model.load_tensors({name: np.require(start[name], requirements="W") for name in names})
    elif prepared.old_rows is not None:
        assert config.model.start_from is not None
        old = load_artifact(config.model.start_from)
        model.grow_from(old.tensors, prepared.old_rows)
    elif config.model.pretrained is not None:
        vocabulary = prepared.encoder.vocabulary
        found = _read_pretrained(config.model.pretrained, vocabulary, config.model.dim)
        model.set_rows(found.rows, found.vectors, freeze=config.model.freeze_pretrained)
        prepared.statistics["pretrained_coverage"] = found.coverage(vocabulary)
    return model


def _read_pretrained(path: str, vocabulary: Vocabulary, dim: int) -> PretrainedVectors:
    if not path.endswith((".bin", ".ftz")):
        return read_vectors(path, vocabulary, dim)
    from fasttext_app.fasttext.word_vectors import pretrained_vectors

    return pretrained_vectors(path, vocabulary, dim)


@contextmanager
def _memory_explained(prepared: Prepared) -> Iterator[None]:
    """Name the cause where torch ran out of memory; any other error stays itself."""
    try:
        yield
    except RuntimeError as error:
        if "memory" not in str(error).lower():
            raise
        rows, dim = prepared.encoder.rows, prepared.config.model.dim
        raise TrainingError(
            f"not enough memory to train: the table alone is {rows:,} rows x {dim} numbers "
            f"({rows * dim * 4 / 1e9:.1f} GB); lower text.bucket, model.dim or trainer.batch_size"
        ) from error


def _dataset(
    part: EncodedSplit, prepared: Prepared, device: torch.device
) -> EncodedDataset | ShardedDataset:
    from fasttext_app.training.dataset import ShardedDataset

    if len(part.shards) == 1:
        return _whole(part, prepared, device)
    weights = repeat(None, len(part.shards)) if part.weights is None else part.weights
    loaders = [
        partial(_loaded, shard, classes, own, prepared, device)
        for shard, classes, own in zip(part.shards, part.classes, weights, strict=True)
    ]
    return ShardedDataset(loaders, [len(classes) for classes in part.classes])


def _loaded(
    shard: RaggedLoader,
    classes: I64,
    weights: F32 | None,
    prepared: Prepared,
    device: torch.device,
) -> EncodedDataset:
    """Read a shard, from its beginning to its end: texts taken at random would be slow to come."""
    bags = shard()
    whole = partial(Ragged, bags.indices.copy(), bags.offsets.copy())
    own = None if weights is None else (weights,)
    return _whole(EncodedSplit((whole,), (classes,), own), prepared, device)


def _whole(part: EncodedSplit, prepared: Prepared, device: torch.device) -> EncodedDataset:
    from fasttext_app.training.dataset import EncodedDataset

    bags = Ragged.concat([load() for load in part.shards])
    return EncodedDataset(
        bags,
        np.concatenate(part.classes),
        prepared.idf,
        None if part.weights is None else np.concatenate(part.weights),
        device=device,
        include_last_offset=prepared.config.model.include_last_offset,
    )


def _artifact(
    prepared: Prepared,
    model: FastTextClassifier,
    outcome: TrainOutcome,
    run: Mapping[str, Any],
) -> Artifact:
    tensors = model.export_tensors()
    if prepared.idf is not None:
        tensors["idf"] = prepared.idf
    if prepared.encoder.hashed.kept is not None:
        tensors["buckets"] = prepared.encoder.hashed.kept
    history = outcome.as_dict()
    epochs: list[dict[str, Any]] = history["epochs"]
    best = epochs[outcome.best_epoch - 1] if outcome.best_epoch else {}
    return Artifact(
        config=prepared.config,
        vocabulary=prepared.encoder.vocabulary,
        labels=prepared.labels,
        tensors=tensors,
        metrics={key: value for key, value in best.items() if key.startswith("validation_")},
        history=history,
        data=prepared.statistics,
        tokenizer_asset=prepared.encoder.tokenizer.asset,
        run=run,
    )
