"""The jobs of the program, each put together from the parts; nothing here prints.

train      prepare → model → trainer → TextClassifier
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fasttext_app.artifact import Artifact, Tensors, load_artifact
from fasttext_app.checkpoints import Checkpoints, Found
from fasttext_app.config import Config
from fasttext_app.device import resolve_device, torch_threads
from fasttext_app.errors import ConfigError, DataError, TrainingError
from fasttext_app.forward import CpuForward
from fasttext_app.interval import Interval
from fasttext_app.predictor import TextClassifier
from fasttext_app.preparation import Encoded, Examples, Prepared, prepare
from fasttext_app.run_manifest import check_same_run, run_manifest
from fasttext_app.sources import Source
from fasttext_app.text.encoder import tokenize
from fasttext_app.text.ragged import Ragged
from fasttext_app.text.row_labels import split_cell
from fasttext_app.text.soft_labels import LabelShares, shares_of_cell
from fasttext_app.text.spool import Load, Spool
from fasttext_app.text.tokenizers import load_tokenizer
from fasttext_app.text.vocabulary import Vocabulary, label_counts
from fasttext_app.vectors import PretrainedVectors, read_vectors

if TYPE_CHECKING:
    import torch

    from fasttext_app.batch import EncodedDataset, ShardedDataset
    from fasttext_app.events import Callback, TrainOutcome
    from fasttext_app.model import FastTextClassifier

SHOWN = 10  # row numbers in a message
MOST_CALIBRATED = 1 << 26  # logits that a temperature is fitted on

__all__ = ["TrainResult", "describe_data", "train", "train_prepared"]


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
    resume: Found | None = None,
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
    with Spool(config.data.in_memory_mb * 2**20) as spool:
        if config.trainer.device not in ("auto", "cpu"):
            resolve_device(config.trainer.device)  # a device that is not there ends it here
        return train_prepared(prepare(config, examples, spool), callback, output, resume, stop)


def train_prepared(
    prepared: Prepared,
    callback: Callback | None = None,
    output: str | Path | None = None,
    resume: Found | None = None,
    stop: Callable[[], bool] | None = None,
    start: Tensors | None = None,
) -> TrainResult:
    """Train a classifier on rows that have been prepared; see :func:`train`.

    Args:
        prepared: the rows and settings.
        callback: receives the trainer's events.
        output: the folder for checkpoints, where the settings ask for some.
        resume: the checkpoint to go on from.
        stop: is asked after every step whether to end the run.
        start: the weights to start from; None: a new model's.
    """
    from fasttext_app.trainer import NonFiniteLossError, Trainer

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
    if config.trainer.calibrate:
        artifact = _calibrated(prepared, artifact)
    classifier = TextClassifier(artifact, threads=config.trainer.threads)
    return TrainResult(classifier, outcome, prepared.statistics, changed)


def _checkpoints(
    config: Config, run: Mapping[str, Any], output: str | Path | None, resume: Found | None
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

    from fasttext_app.model import FastTextClassifier

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
    from fasttext_app.interop.word_vectors import pretrained_vectors

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
    part: Encoded, prepared: Prepared, device: torch.device
) -> EncodedDataset | ShardedDataset:
    from fasttext_app.batch import ShardedDataset

    if len(part.shards) == 1:
        return _whole(part, prepared, device)
    weights = repeat(None, len(part.shards)) if part.weights is None else part.weights
    loaders = [
        partial(_loaded, shard, classes, own, prepared, device)
        for shard, classes, own in zip(part.shards, part.classes, weights, strict=True)
    ]
    return ShardedDataset(loaders, [len(classes) for classes in part.classes])


def _loaded(
    shard: Load,
    classes: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float32] | None,
    prepared: Prepared,
    device: torch.device,
) -> EncodedDataset:
    """Read a shard, from its beginning to its end: texts taken at random would be slow to come."""
    bags = shard()
    whole = partial(Ragged, bags.indices.copy(), bags.offsets.copy())
    own = None if weights is None else (weights,)
    return _whole(Encoded((whole,), (classes,), own), prepared, device)


def _whole(part: Encoded, prepared: Prepared, device: torch.device) -> EncodedDataset:
    from fasttext_app.batch import EncodedDataset

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


def _calibrated(prepared: Prepared, artifact: Artifact) -> Artifact:
    """Fit the temperature on the validation rows; a model that none fits stays as it is.

    Of very many classes so many rows are taken as memory should hold.
    """
    from fasttext_app.evaluation import calibrate_artifact, linear_outputs

    assert prepared.validation is not None
    linear, sets = CpuForward(linear_outputs(artifact)), prepared.label_sets
    bags = Ragged.concat([load() for load in prepared.validation.shards])
    classes = np.concatenate(prepared.validation.classes)
    rows = np.arange(len(classes))[: max(MOST_CALIBRATED // len(artifact.labels), 1000)]
    classes, several = classes[rows], sets is not None
    if isinstance(sets, LabelShares):
        classes, several = sets.most_likely()[classes], False
    true = sets.take(classes) if sets is not None and several else _one_each(classes)
    origin = {"source": artifact.data["source"], "split": "validation", "rows": len(classes)}
    try:
        outputs = linear(bags.take(rows))
        return calibrate_artifact(artifact, outputs, true, several=several, origin=origin)
    except (DataError, MemoryError) as error:
        prepared.statistics["not_calibrated"] = str(error) or "there is not enough memory"
        return artifact


def _one_each(classes: npt.NDArray[np.int64]) -> Ragged:
    return Ragged(classes, np.arange(len(classes) + 1))


def describe_data(
    source: Source, split: str, separator: str | None = None, *, soft: bool = False
) -> dict[str, Any]:
    """Count rows, lengths and labels of one split, reading it batch by batch.

    Args:
        source: the data.
        split: which of it.
        separator: what parts the labels of a row that may have several; None: it has one.
        soft: whether its labels have shares.

    Raises:
        DataError: the rows cannot be read, or there are none.
    """
    labels_of = shares_of_cell if soft else split_cell
    split_words = load_tokenizer("whitespace")
    rows, lengths, first = 0, [], []
    labels: Counter[str] = Counter()
    for batch in source.scan(split):
        text = batch.column("text")
        if rows < 5:
            first += batch.slice(0, 5 - rows).to_pylist()
        rows += len(batch)
        lengths += [tokens.lengths for tokens in tokenize(split_words, text)]
        for cell, count in label_counts(batch.column("label")).items():
            for label in [cell] if separator is None else labels_of(cell, separator):
                labels[label] += count
    if not rows:
        raise DataError(f"{source.spec}: there are no rows")
    words = np.concatenate(lengths)
    return {
        "source": source.spec,
        "split": split,
        "splits": list(source.splits) if not source.single else [],
        "rows": rows,
        "words": {
            "total": int(words.sum()),
            "mean": float(words.mean()),
            "median": float(np.median(words)),
            "longest": int(words.max()),
        },
        "empty_texts": int((words == 0).sum()),
        "labels": dict(sorted(labels.items(), key=lambda label: (-label[1], label[0]))),
        "first_rows": first,
    }
