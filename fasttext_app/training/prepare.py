"""From rows to ids: everything before torch.

    rows ─► tokens, labels ─► split ─► vocabulary ─► buckets in use ─► ids, idf, classes

Rows are read as a stream and tokenized as they come, on all threads. Tokens and ids go through a
``core.spill.SpillBuffer``, so data of any size is prepared within a bound of memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from fasttext_app.config.auto import DataSize, fill_auto
from fasttext_app.config.loading import Layer, resolve
from fasttext_app.config.schema import Config
from fasttext_app.core.arrays import F32, I32, I64, Bool
from fasttext_app.core.group import Group
from fasttext_app.core.ragged import Ragged
from fasttext_app.core.spill import SpillBuffer
from fasttext_app.data.fingerprint import Fingerprint
from fasttext_app.data.in_memory import IN_MEMORY
from fasttext_app.data.labels import LabelEncoder, Labels, joined_cells
from fasttext_app.data.named_files import stamps
from fasttext_app.data.split import Examples, choose_validation_rows, load_examples
from fasttext_app.data.weights import text_weights
from fasttext_app.errors import ConfigError, DataError, TrainingError
from fasttext_app.model.adaptive_softmax import with_cutoffs
from fasttext_app.model.artifact import Artifact
from fasttext_app.text.encoder import TextEncoder
from fasttext_app.text.tfidf import (
    OccurrenceCounter,
    balance_families,
    char_ngram_counts,
    inverse_document_frequency,
)
from fasttext_app.text.vocabulary import WordCounts
from fasttext_app.training.data_statistics import DataStatistics
from fasttext_app.training.tokenized import (
    EncodedSplit,
    RowSubset,
    TokenizedRows,
    batches_of,
    encode_labeled,
    fingerprinted,
    tokenize,
    weights_of,
)
from fasttext_app.training.warm_start import WarmStart

WITHOUT_VALIDATION: Layer = {
    "data": {"validation": 0.0},
    "trainer": {
        "checkpoint_every": None,
        "keep_checkpoints": 2,
        "patience": 0,
        "monitor": "accuracy",
        "refit": False,
        "calibrate": False,
    },
}
"""The settings of a run that has no validation rows and writes no checkpoints."""


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """Encoded rows, and what it takes to train a model on them."""

    config: Config
    encoder: TextEncoder
    labels: Labels
    label_sets: Ragged | None
    """The label sets that ``classes`` refers to, if a row can have several labels."""
    train: EncodedSplit
    validation: EncodedSplit | None
    idf: F32 | None
    source: str
    train_mask: Bool
    """The training rows among all rows that were read, [rows]."""
    group: Group | None = None
    """The processes that train together; None: this one alone."""

    @property
    def is_main(self) -> bool:
        """Whether this process writes the model."""
        return self.group is None or self.group.is_main

    def source_rows(self, texts: Sequence[int]) -> list[int]:
        """Return the row numbers, counted from 1, of these training texts in the source."""
        rows: list[int] = (np.flatnonzero(self.train_mask)[list(texts)] + 1).tolist()
        return rows


@dataclass(frozen=True, kw_only=True)
class Prepared(TrainingSet):
    """A training set for a new model."""

    statistics: DataStatistics
    row_map: I64 | None
    """The row of the table for each row of the model that the run starts from, if any."""
    missing_texts: Mapping[str, int] = field(default_factory=dict)
    """The number of texts that are what programs write for a missing value."""
    skipped: tuple[str, ...] = ()
    """The problems of the first rows that were skipped."""
    all_rows: Prepared | None = None
    """The same data without validation rows, for ``trainer.refit``."""


def prepare_source(
    config: Config, folder: str, *, prefer_files: bool = False, group: Group | None = None
) -> Prepared:
    """Prepare the rows that a configuration names.

    Args:
        config: the run's settings.
        folder: for data that does not fit in memory; it must exist until training ends.
        prefer_files: write the ids to files for another process to map.
        group: the processes that train together; None: this one alone.

    Raises:
        DataError: there is no such source, or its rows cannot be read.
        TrainingError: the rows leave nothing to learn.
    """
    spill_buffer = SpillBuffer(config.data.in_memory_mb * 2**20, folder, prefer_files=prefer_files)
    return prepare(config, load_examples(config), spill_buffer, group=group)


def prepare(
    config: Config,
    examples: Examples,
    spill_buffer: SpillBuffer | None = None,
    tokenized: TokenizedRows | None = None,
    group: Group | None = None,
) -> Prepared:
    """Tokenize, split, build the vocabulary and the labels, and encode.

    Args:
        config: the run's settings.
        examples: the rows.
        spill_buffer: holds tokens and ids; None: memory.
        tokenized: the training rows, if :func:`tokenize` has read them before.
        group: the processes that train together; None: this one alone.

    Raises:
        DataError: the rows cannot be read, or there are none.
        DeviceError: a process of the group has no GPU of its own, as the settings ask for.
        TrainingError: the rows leave nothing to learn (one label only, or no usable word).
    """
    spill_buffer = SpillBuffer(2**63) if spill_buffer is None else spill_buffer
    if group is not None:
        # The fused step of a divided table is for CPUs; see `optim/build.py`.
        device, implementation = config.trainer.device, config.optimizer.implementation
        on_cpu = device == "auto" and implementation == "fused"
        group.use_device("cpu" if on_cpu else device)
    start = WarmStart(config)
    if tokenized is None:
        tokenized = (
            tokenize(config, examples, spill_buffer, start)
            if group is None
            else _tokenize_divided(config, examples, spill_buffer, start, group)
        )
    prepared = _prepare(config, examples, spill_buffer, tokenized, start, group)
    if not prepared.config.trainer.refit:
        return prepared
    if examples.validation is not None:
        raise ConfigError(
            "trainer.refit needs validation rows that are held out from the training rows; "
            "set data.validation to a fraction, or remove it"
        )
    final_config = resolve(prepared.config.model_dump(), WITHOUT_VALIDATION)
    examples = replace(examples, validation_fraction=0.0)
    all_rows = _prepare(final_config, examples, spill_buffer, tokenized, start, group)
    return replace(prepared, all_rows=all_rows)


def _prepare(
    config: Config,
    examples: Examples,
    spill_buffer: SpillBuffer,
    tokenized: TokenizedRows,
    start: WarmStart,
    group: Group | None,
) -> Prepared:
    parts, threads = tokenized.parts, config.trainer.threads

    # Labels: the class of each row, or the id of its label set.
    label_encoder = LabelEncoder.build(
        [part.labels for part in parts],
        start.label_order(examples.label_order),
        config.data.label_separator,
        allow_empty=config.model.loss == "ova" and not examples.skip_unlabeled,
        soft=config.data.soft_labels,
        min_count=examples.min_label_count,
    )
    if config.data.label_separator is None and not config.data.whole_labels:
        _refuse_joined_labels(label_encoder.labels, examples.source)
    classes = np.concatenate([label_encoder.encode(part.labels) for part in parts])
    labeled = classes >= 0
    if not (labeled.all() or examples.skip_unlabeled):
        raise DataError(
            f"{examples.source}: a row has no label, only the separator; "
            'set model.loss = "ova" to learn from such rows'
        )

    # The split: held-out rows for validation; all other labeled rows train.
    validation_mask = np.zeros(len(classes), bool)
    validation_mask[labeled] = choose_validation_rows(
        classes[labeled],
        examples.validation_fraction,
        config.trainer.seed,
        label_encoder.label_sets,
    )
    train_mask = labeled & ~validation_mask
    labels = start.add_counts(label_encoder.count(classes[train_mask]))
    _check_labels(labels, examples)
    config = with_cutoffs(config, labels.counts)
    row_weights = [part.weights for part in parts if part.weights is not None]
    weights = text_weights(
        classes, train_mask, label_encoder, config.trainer.class_weights, row_weights
    )
    train_rows = tokenized.subset(classes, train_mask, threads, weights)
    held_out = tokenized.subset(classes, validation_mask, threads)

    # The vocabulary counts the words of unlabeled rows too, as fastText does.
    counted = word_counts = train_rows.word_counts()
    if not labeled.all():
        counted = tokenized.subset(classes, ~validation_mask, threads).word_counts()
    vocabulary = start.vocabulary(counted)
    encoder = TextEncoder.from_config(config.text, start.tokenizer, vocabulary)
    encoder, char_counts = _prune(encoder, train_rows, word_counts, config, start)

    # The ids, and the idf weight of each table row.
    is_weighted = config.text.term_weighting == "tfidf"
    counter = OccurrenceCounter(encoder.rows) if is_weighted else None
    train, ids = train_rows.encode(encoder, spill_buffer, counter)
    idf = None
    if counter is not None:
        occurrences = train_rows.total(counter)
        idf = inverse_document_frequency(occurrences)
        assert char_counts is not None
        idf = balance_families(idf, occurrences, char_counts, config.text.char_share)
    if not ids:
        raise TrainingError(
            f"{examples.source}: none of the {len(train)} training texts has a word to learn from; "
            "check --text-column and text.min_count"
        )
    padding = config.model.padding_idx
    if padding is not None and padding >= encoder.rows:
        raise TrainingError(
            f"model.padding_idx = {padding} is outside the table, which has {encoder.rows} rows"
        )
    fingerprint = tokenized.fingerprint.copy()
    if examples.validation is None:
        validation, unknown = _encode_held_out(held_out, encoder, spill_buffer), 0
    elif group is not None:
        validation, unknown = _encode_validation_divided(
            examples, encoder, label_encoder, spill_buffer, threads, fingerprint, group
        )
    else:
        validation, unknown = _encode_validation(
            examples, encoder, label_encoder, spill_buffer, threads, fingerprint
        )
    row_map = start.row_map(encoder)
    config = fill_auto(
        config,
        DataSize(labels.counts, len(train), ids, len(validation) if validation else 0),
        can_refit=examples.validation_fraction > 0 and validation is not None,
    )

    lengths = np.concatenate([part.lengths for part in parts])[train_mask]
    return Prepared(
        config=config,
        encoder=encoder,
        labels=labels,
        label_sets=label_encoder.label_sets,
        train=train,
        validation=validation,
        idf=start.merge_idf(idf, row_map),
        source=examples.source,
        train_mask=train_mask,
        group=group,
        statistics=DataStatistics(
            source=examples.source,
            train_rows=len(train),
            labels=dict(zip(labels.names, labels.counts, strict=True)),
            empty_texts=int((lengths == 0).sum()),
            tokens=int(lengths.sum()),
            median_tokens=float(np.median(lengths)),
            vocabulary=len(vocabulary),
            ids=ids,
            table_rows=encoder.rows,
            validation_rows=len(validation) if validation else 0,
            validation_rows_of_unknown_labels=unknown,
            skipped_rows=examples.bad_rows.count or None,
            fingerprint=fingerprint.digest(),
            files=stamps(config, from_source=examples.source != IN_MEMORY),
            started_from=start.model_name,
            pretrained=start.vectors_name,
            imported=start.imported,
        ),
        row_map=row_map,
        missing_texts=tokenized.missing_texts,
        skipped=examples.bad_rows.problems,
    )


def _refuse_joined_labels(labels: Labels, source: str) -> None:
    joined = joined_cells(
        {name: rows for name, rows in zip(labels.names, labels.counts, strict=True) if rows}
    )
    if joined is not None and joined.are_labels:
        raise TrainingError(
            f"{source}: {joined.rows:,} rows have labels such as {joined.example!r}, whose parts "
            f"are labels too; set data.label_separator = {joined.separator!r} "
            '(and model.loss = "ova") to learn the parts, or data.whole_labels = true to learn '
            "them as they are"
        )


def _check_labels(labels: Labels, examples: Examples) -> None:
    present = [name for name, count in zip(labels.names, labels.counts, strict=True) if count]
    if not present:
        raise TrainingError(f"{examples.source}: no row has a label to learn")
    if len(present) < 2 and not examples.one_label:
        raise TrainingError(
            f"{examples.source}: every training row has the label {present[0]!r}; "
            "a classifier needs at least two labels"
        )


def _prune(
    encoder: TextEncoder,
    train_rows: RowSubset,
    word_counts: WordCounts,
    config: Config,
    start: WarmStart,
) -> tuple[TextEncoder, I32 | None]:
    """Drop the buckets that training does not use.

    Args:
        encoder: the encoder with all buckets.
        train_rows: the training rows.
        word_counts: the words of the training rows.
        config: the run's settings.
        start: what the run starts from.

    Returns:
        The encoder, and the occurrences of character n-grams for each of its rows; None if neither
        pruning nor tf-idf needs them.
    """
    prune = config.text.prune and encoder.bucket
    if not prune and config.text.term_weighting != "tfidf":
        return encoder, None
    char_counts = char_ngram_counts(encoder, word_counts)
    if not prune:
        return encoder, char_counts
    counts, words = char_counts, len(encoder.vocabulary)
    if encoder.word_ngrams > 1:
        counts = counts + train_rows.occurrences(encoder.without_char_ngrams()).counts
    used = np.flatnonzero(counts[words:] >= config.text.min_ngram_count)
    buckets = start.buckets(used.astype(np.int32))
    rows = np.concatenate((np.arange(words), words + buckets))
    return encoder.pruned(buckets), char_counts[rows]


def _encode_held_out(
    held_out: RowSubset, encoder: TextEncoder, spill_buffer: SpillBuffer
) -> EncodedSplit | None:
    return held_out.encode_everywhere(encoder, spill_buffer) if held_out.mask.any() else None


def _encode_validation(
    examples: Examples,
    encoder: TextEncoder,
    labels: LabelEncoder,
    spill_buffer: SpillBuffer,
    threads: int,
    fingerprint: Fingerprint,
) -> tuple[EncodedSplit | None, int]:
    """Encode a validation split; return it with the number of rows that have no known label."""
    assert examples.validation is not None
    batches = fingerprinted(batches_of(examples.validation), fingerprint)
    bags, classes = encode_labeled(batches, encoder, labels, spill_buffer, threads)
    if not len(classes):
        raise _no_validation_rows(examples)
    known = classes[classes >= 0]
    split = EncodedSplit((bags,), (known,)) if len(known) else None
    return split, len(classes) - len(known)


def _encode_validation_divided(
    examples: Examples,
    encoder: TextEncoder,
    labels: LabelEncoder,
    spill_buffer: SpillBuffer,
    threads: int,
    fingerprint: Fingerprint,
    group: Group,
) -> tuple[EncodedSplit | None, int]:
    """Do the same with rows of which each process reads a share."""
    from fasttext_app.training.divided import add_blocks, tokenize_divided

    assert examples.validation is not None
    rows = tokenize_divided(
        examples.validation,
        examples.validation_parts,
        examples.bad_rows,
        encoder.tokenizer,
        threads,
        spill_buffer,
        group,
    )
    if not rows.parts:
        raise _no_validation_rows(examples)
    add_blocks(fingerprint, rows.blocks)
    classes = np.concatenate([labels.encode(part.labels) for part in rows.parts])
    known = rows.subset(classes, classes >= 0, threads)
    return _encode_held_out(known, encoder, spill_buffer), int((classes < 0).sum())


def _no_validation_rows(examples: Examples) -> DataError:
    return DataError(f"{examples.source}: there are no validation rows")


def _tokenize_divided(
    config: Config,
    examples: Examples,
    spill_buffer: SpillBuffer,
    start: WarmStart,
    group: Group,
) -> TokenizedRows:
    """Read and tokenize the share of this process; see :mod:`~fasttext_app.training.divided`."""
    from fasttext_app.training.divided import tokenize_divided

    rows = tokenize_divided(
        examples.train,
        examples.parts,
        examples.bad_rows,
        start.tokenizer,
        config.trainer.threads,
        spill_buffer,
        group,
        config.data.in_memory_mb * 2**20,
    )
    if not rows.parts:
        raise DataError(f"{examples.source}: there are no rows{examples.bad_rows.note}")
    return rows


def prepare_retraining(
    artifact: Artifact, batches: Iterable[pa.RecordBatch], spill_buffer: SpillBuffer
) -> TrainingSet:
    """Encode rows for a model that keeps its vocabulary and labels.

    Args:
        artifact: the model, with the settings of the run.
        batches: the rows; those whose label the model does not know are left out.
        spill_buffer: holds the ids.

    Raises:
        DataError: the rows cannot be read.
        TrainingError: no row has a label that the model knows.
    """
    config, encoder = artifact.config, artifact.encoder()
    labels = LabelEncoder(
        artifact.labels, config.data.label_separator, soft=config.data.soft_labels
    )
    row_weights: list[F32] = []

    def with_weights_noted() -> Iterator[pa.RecordBatch]:
        for batch in batches:
            weights = weights_of(batch)
            if weights is not None:
                row_weights.append(weights)
            yield batch

    bags, classes = encode_labeled(
        with_weights_noted(), encoder, labels, spill_buffer, config.trainer.threads
    )
    train_mask = classes >= 0
    if not train_mask.any():
        raise TrainingError("no row to train on has a label that the model knows")
    weights = text_weights(classes, train_mask, labels, config.trainer.class_weights, row_weights)
    size = DataSize(artifact.labels.counts, int(train_mask.sum()), len(bags().indices))
    config = fill_auto(config, size)
    return TrainingSet(
        config=config,
        encoder=encoder,
        labels=artifact.labels,
        label_sets=labels.label_sets,
        train=EncodedSplit(
            (bags,),
            (classes[train_mask],),
            None if weights is None else (weights[train_mask],),
        ),
        validation=None,
        idf=artifact.tensors.get("idf"),
        source="the rows to retrain on",
        train_mask=train_mask,
    )
