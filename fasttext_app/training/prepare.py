"""From rows to ids: everything that comes before torch.

rows ─► tokens, labels ─► held-out rows ─► vocabulary ─► buckets in use ─► ids, idf, classes

Rows are taken as a stream and tokenized as they come, on all threads. What is kept of them, word
codes first and ids then, goes through a ``core.spill.SpillBuffer``, so that data of
any size is prepared within a bound of memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fasttext_app.config.schema import Config
from fasttext_app.core.arrays import F32, I64, Bool
from fasttext_app.core.arrow import to_arrow
from fasttext_app.core.ragged import Ragged
from fasttext_app.core.spill import SpillBuffer
from fasttext_app.data.fingerprint import Fingerprint
from fasttext_app.data.labels import LabelEncoder, Labels
from fasttext_app.data.split import Examples, choose_validation_rows, load_examples
from fasttext_app.data.weights import text_weights
from fasttext_app.errors import DataError, TrainingError
from fasttext_app.model.adaptive_softmax import with_cutoffs
from fasttext_app.text.encoder import TextEncoder
from fasttext_app.text.tfidf import Occurrences, inverse_document_frequency
from fasttext_app.training.tokenized import (
    EncodedSplit,
    RowSubset,
    TokenizedRows,
    batches_of,
    tokenize,
)
from fasttext_app.training.warm_start import WarmStart


@dataclass(frozen=True)
class Prepared:
    """All that training needs, before torch comes in."""

    config: Config
    encoder: TextEncoder
    labels: Labels
    train: EncodedSplit
    validation: EncodedSplit | None
    idf: F32 | None
    statistics: dict[str, Any]
    trained: Bool
    """Which of the rows that were read are training rows, [rows]."""
    label_sets: Ragged | None = None
    """Where rows may have several labels: their sets of classes, which ``classes`` then number."""
    old_rows: I64 | None = None
    """Where a run begins with a model: the row that each of its rows has now."""

    def source_rows(self, texts: Sequence[int]) -> list[int]:
        """Return the numbers, from 1, that these training texts have among the rows read."""
        rows: list[int] = (np.flatnonzero(self.trained)[list(texts)] + 1).tolist()
        return rows


def prepare_source(config: Config, folder: str, *, prefer_files: bool = False) -> Prepared:
    """Prepare the rows that a configuration names; what memory should not hold goes to ``folder``.

    Args:
        config: the run's settings.
        folder: it must stay until training is over.
        prefer_files: write encoded texts to files, for another process to map.

    Raises:
        DataError: there is no such source, or its rows cannot be read.
        TrainingError: the rows leave nothing to learn.
    """
    spill_buffer = SpillBuffer(config.data.in_memory_mb * 2**20, folder, prefer_files=prefer_files)
    return prepare(config, load_examples(config), spill_buffer)


def prepare(
    config: Config,
    examples: Examples,
    spill_buffer: SpillBuffer | None = None,
    tokenized: TokenizedRows | None = None,
) -> Prepared:
    """Tokenize, build vocabulary and labels, and encode.

    Args:
        config: the run's settings.
        examples: the rows.
        spill_buffer: stores the encoded texts; None: they stay in memory.
        tokenized: the training rows, where :func:`tokenize` has been there before.

    Raises:
        DataError: the rows cannot be read, or there are none.
        TrainingError: the rows leave nothing to learn (one label only, or no usable word).
    """
    threads = config.trainer.threads
    spill_buffer = SpillBuffer(2**63) if spill_buffer is None else spill_buffer
    beginning = WarmStart(config)
    if tokenized is None:
        tokenized = tokenize(config, examples, spill_buffer, beginning)
    parts, fingerprint = tokenized.parts, tokenized.fingerprint.copy()
    row_labels = LabelEncoder.build(
        [part.labels for part in parts],
        beginning.label_order(examples.label_order),
        config.data.label_separator,
        allow_empty=config.model.loss == "ova" and not examples.skip_unlabeled,
        soft=config.data.soft_labels,
        min_count=examples.min_label_count,
    )
    classes = np.concatenate([row_labels.encode(part.labels) for part in parts])
    sets = row_labels.label_sets
    labeled = classes >= 0
    if not (labeled.all() or examples.skip_unlabeled):
        raise DataError(
            f'{examples.source}: a row has no label but the separator; only model.loss = "ova" '
            "learns from such rows"
        )
    held = np.zeros(len(classes), bool)
    seed = config.trainer.seed
    held[labeled] = choose_validation_rows(
        classes[labeled], examples.validation_fraction, seed, sets
    )
    trained = labeled & ~held
    labels = _checked(beginning.counted(row_labels.count(classes[trained])), examples)
    config = with_cutoffs(config, labels.counts)
    given = [part.weights for part in parts if part.weights is not None]
    weights = text_weights(classes, trained, row_labels, config.trainer.class_weights, given)
    sides = [
        RowSubset(parts, classes, chosen, threads, of_side)
        for chosen, of_side in ((trained, weights), (held, None))
    ]
    counted = sides[0] if labeled.all() else RowSubset(parts, classes, ~held, threads)
    vocabulary = beginning.vocabulary(counted.tokens())
    encoder = TextEncoder.from_config(config.text, beginning.tokenizer, vocabulary)
    encoder, found = _prune(encoder, sides[0], config, beginning)
    train, ids = sides[0].encoded(encoder, spill_buffer)
    if not ids:
        raise TrainingError(
            f"{examples.source}: none of the {len(train)} training texts has a word to learn from; "
            "check --text-column and text.min_count"
        )
    if config.model.padding_idx is not None and config.model.padding_idx >= encoder.rows:
        raise TrainingError(
            f"model.padding_idx = {config.model.padding_idx} is outside the table, "
            f"which has {encoder.rows} rows"
        )
    validation, unknown = _validation(
        examples, sides[1], encoder, row_labels, spill_buffer, fingerprint
    )
    lengths = np.concatenate([part.lengths for part in parts])[trained]
    statistics = {
        "source": examples.source,
        "train_rows": len(train),
        "labels": dict(zip(labels.names, labels.counts, strict=True)),
        "empty_texts": int((lengths == 0).sum()),
        "tokens": int(lengths.sum()),
        "median_tokens": float(np.median(lengths)),
        "vocabulary": len(vocabulary),
        "ids": ids,
        "table_rows": encoder.rows,
        "validation_rows": len(validation) if validation else 0,
        "validation_rows_of_unknown_labels": unknown,
        "fingerprint": fingerprint.digest(),
    }
    if beginning.name is not None:
        statistics |= {"started_from": beginning.name, **beginning.of_file}
    old_rows = beginning.places(encoder)
    idf = None if found is None else inverse_document_frequency(found)
    return Prepared(
        config=config,
        encoder=encoder,
        labels=labels,
        train=train,
        validation=validation,
        idf=beginning.weights(idf, old_rows),
        statistics=statistics,
        trained=trained,
        label_sets=row_labels.label_sets,
        old_rows=old_rows,
    )


def _checked(labels: Labels, examples: Examples) -> Labels:
    present = [name for name, count in zip(labels.names, labels.counts, strict=True) if count]
    if not present:
        raise TrainingError(f"{examples.source}: no row has a label to learn")
    if len(present) < 2:
        raise TrainingError(
            f"{examples.source}: every training row has the label {present[0]!r}; "
            "a classifier needs at least two labels"
        )
    return labels


def _prune(
    encoder: TextEncoder, train: RowSubset, config: Config, beginning: WarmStart
) -> tuple[TextEncoder, Occurrences | None]:
    """Leave out the buckets that training does not use; count what tf-idf needs."""
    weighted = config.text.term_weighting == "tfidf"
    if not (weighted or (config.text.prune and encoder.bucket)):
        return encoder, None
    found = train.occurrences(encoder)
    if config.text.prune and encoder.bucket:
        words = len(encoder.vocabulary)
        used = np.flatnonzero(found.counts[words:] >= config.text.min_ngram_count)
        kept = beginning.buckets(used.astype(np.int32))
        encoder = encoder.pruned(kept)
        found = found.take(np.concatenate((np.arange(words), words + kept)))
    return encoder, found if weighted else None


def _validation(
    examples: Examples,
    held: RowSubset,
    encoder: TextEncoder,
    labels: LabelEncoder,
    spill_buffer: SpillBuffer,
    fingerprint: Fingerprint,
) -> tuple[EncodedSplit | None, int]:
    """Encode the validation rows whose label is known; return how many are not."""
    if examples.validation is None:
        return (held.encoded(encoder, spill_buffer)[0] if held.chosen.any() else None), 0
    writer, classes, rows = spill_buffer.writer(), [], 0
    for batch in batches_of(examples.validation):
        fingerprint.update(batch)
        found = labels.encode(batch.column("label"))
        known = batch.filter(to_arrow(found >= 0))
        writer.append(encoder.encode(known.column("text"), held.threads))
        classes.append(found[found >= 0])
        rows += len(batch)
    if not rows:
        raise DataError(f"{examples.source}: there are no validation rows")
    known_rows = sum(map(len, classes))
    if not known_rows:
        return None, rows
    return EncodedSplit((writer.close(),), (np.concatenate(classes),)), rows - known_rows
