"""From rows to ids: everything that comes before torch.

rows ─► tokens, labels ─► held-out rows ─► vocabulary ─► buckets in use ─► ids, idf, classes

Rows are taken as a stream and tokenised as they come, on all threads. What is kept of them, word
codes first and ids then, goes through a :class:`~fasttext_app.text.spool.Spool`, so that data of
any size is prepared within a bound of memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fasttext_app.config import Config
from fasttext_app.errors import DataError, TrainingError
from fasttext_app.parallel import map_threads
from fasttext_app.sources import Source, open_source
from fasttext_app.text.encoder import TextEncoder, chunk_rows
from fasttext_app.text.fingerprint import Fingerprint
from fasttext_app.text.ragged import Ragged
from fasttext_app.text.row_labels import RowLabels
from fasttext_app.text.spool import Load, Spool
from fasttext_app.text.strings import flag_array, numbers_of
from fasttext_app.text.tokenizers import Tokenizer, load_tokenizer
from fasttext_app.text.tokens import Tokens
from fasttext_app.text.vocabulary import LabelSet, Vocabulary
from fasttext_app.text.weighting import Occurrences, inverse_document_frequency
from fasttext_app.training_rows import held_out_rows, text_weights

__all__ = [
    "Encoded",
    "Examples",
    "Prepared",
    "load_examples",
    "prepare",
    "prepare_source",
]

AUTO_FRACTION = 0.1
PART_ROWS = 16_384  # of rows that stay: each part has its own list of words, so few and large
SHARD_IDS = 1 << 25  # ids of a shard that is shuffled in memory (128 MB)

Rows: TypeAlias = pa.Table | Iterable[pa.RecordBatch]
"""Columns ``text`` and ``label``, and ``weight`` where rows have one; a stream is read once."""
Flags = npt.NDArray[np.bool_]
F32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Examples:
    """The rows of a run."""

    train: Rows
    validation: Rows | None = None
    label_order: Sequence[str] | None = None
    source: str = "texts given in Python"
    held_out: float = 0.0
    """The fraction of the training rows that becomes validation rows."""


@dataclass(frozen=True)
class Encoded:
    """Encoded rows with their classes, in one piece or in shards."""

    shards: tuple[Load, ...]
    classes: tuple[npt.NDArray[np.int64], ...]
    """The class of each text, or the number of its set of classes, shard by shard."""
    weights: tuple[F32, ...] | None = None
    """How much each text counts in the loss, shard by shard; None: all the same."""

    def __len__(self) -> int:
        return sum(len(classes) for classes in self.classes)


@dataclass(frozen=True)
class Prepared:
    """All that training needs, before torch comes in."""

    config: Config
    encoder: TextEncoder
    labels: LabelSet
    train: Encoded
    validation: Encoded | None
    idf: npt.NDArray[np.float32] | None
    statistics: dict[str, Any]
    held: Flags
    """Which of the rows that were read are held out, [rows]."""
    label_sets: Ragged | None = None
    """Where rows may have several labels: their sets of classes, which ``classes`` then number."""

    def source_rows(self, texts: Sequence[int]) -> list[int]:
        """Return the numbers, from 1, that these training texts have among the rows read."""
        rows: list[int] = (np.flatnonzero(~self.held)[list(texts)] + 1).tolist()
        return rows


@dataclass(frozen=True)
class _Part:
    """Some rows, tokenised; their codes may be in a file."""

    codes: Load
    words: pa.StringArray
    hashes: npt.NDArray[np.uint32]
    labels: pa.StringArray
    lengths: npt.NDArray[np.int64]  # tokens of each row
    weights: F32 | None

    def tokens(self, chosen: Flags) -> Tokens:
        codes = self.codes()
        tokens = Tokens(codes.indices, codes.offsets, self.words, self.hashes)
        return tokens if chosen.all() else tokens.take(np.flatnonzero(chosen))


def load_examples(config: Config) -> Examples:
    """Open the training rows that a configuration names, and its validation rows.

    Raises:
        DataError: there is no such source or split.
    """
    source = training = open_source(config.data)
    if config.data.weight_column is not None:
        training = open_source(config.data, weights=True)
    return split_examples(training.scan(config.data.train_split), source, config)


def split_examples(rows: Rows, source: Source, config: Config) -> Examples:
    """Say where validation rows come from, as ``data.validation`` has it."""
    wanted = config.data.validation
    if wanted == "auto":
        wanted = "validation" if source.has("validation") else AUTO_FRACTION
    if not isinstance(wanted, str):
        return Examples(rows, None, source.label_names, source.spec, wanted)
    if source.single:
        raise DataError(
            f"data.validation: {source.spec}: there are no splits, and so no {wanted!r}; "
            "give a fraction"
        )
    return Examples(rows, source.scan(wanted), source.label_names, source.spec)


def prepare_source(config: Config, folder: str, *, hand_over: bool = False) -> Prepared:
    """Prepare the rows that a configuration names; what memory should not hold goes to ``folder``.

    Args:
        config: the run's settings.
        folder: it must stay until training is over.
        hand_over: the result is for another process, which maps the encoded texts.

    Raises:
        DataError: there is no such source, or its rows cannot be read.
        TrainingError: the rows leave nothing to learn.
    """
    spool = Spool(config.data.in_memory_mb * 2**20, folder, hand_over=hand_over)
    return prepare(config, load_examples(config), spool)


def prepare(config: Config, examples: Examples, spool: Spool | None = None) -> Prepared:
    """Tokenise, build vocabulary and labels, and encode.

    Args:
        config: the run's settings.
        examples: the rows.
        spool: where encoded texts are kept; without one they stay in memory.

    Raises:
        DataError: the rows cannot be read, or there are none.
        TrainingError: the rows leave nothing to learn (one label only, or no usable word).
    """
    threads = config.trainer.threads
    spool = Spool(2**63) if spool is None else spool
    tokenizer = load_tokenizer(config.text.tokenizer)
    fingerprint = Fingerprint()
    parts = list(_tokenise(examples, tokenizer, threads, spool, fingerprint))
    row_labels = RowLabels.build(
        [part.labels for part in parts],
        examples.label_order,
        config.data.label_separator,
        may_be_none=config.model.loss == "ova",
        soft=config.data.soft_labels,
    )
    classes = np.concatenate([row_labels.numbers(part.labels) for part in parts])
    sets = row_labels.sets
    if (classes < 0).any():
        raise DataError(
            f'{examples.source}: a row has no label but the separator; only model.loss = "ova" '
            "learns from such rows"
        )
    held = held_out_rows(classes, examples.held_out, config.trainer.seed, sets)
    labels = _checked(row_labels.counted(classes[~held]), examples)
    given = [part.weights for part in parts if part.weights is not None]
    weights = text_weights(classes, ~held, row_labels, config.trainer.class_weights, given)
    sides = [
        _Side(parts, classes, chosen, threads, of_side)
        for chosen, of_side in ((~held, weights), (held, None))
    ]
    vocabulary = Vocabulary.build(sides[0].tokens(), config.text.min_count, config.text.max_size)
    encoder = TextEncoder.from_config(config.text, tokenizer, vocabulary)
    encoder, found = _prune(encoder, sides[0], config)
    train, ids = sides[0].encoded(encoder, spool)
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
    validation, unknown = _validation(examples, sides[1], encoder, row_labels, spool, fingerprint)
    lengths = np.concatenate([part.lengths for part in parts])[~held]
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
    idf = None if found is None else inverse_document_frequency(found)
    return Prepared(
        config, encoder, labels, train, validation, idf, statistics, held, row_labels.sets
    )


def _batches(rows: Rows) -> Iterable[pa.RecordBatch]:
    if isinstance(rows, pa.Table):
        whole: list[pa.RecordBatch] = rows.to_batches()
        return whole
    return rows


def _tokenise(
    examples: Examples,
    tokenizer: Tokenizer,
    threads: int,
    spool: Spool,
    fingerprint: Fingerprint,
) -> Iterator[_Part]:
    """Tokenise the training rows as they are read."""

    def tokenise(batch: pa.RecordBatch) -> tuple[Tokens, pa.RecordBatch]:
        return tokenizer(batch.column("text")), batch

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in _batches(examples.train):
            fingerprint.update(batch)
            yield batch

    pieces = (piece for batch in batches() for piece in chunk_rows(batch, PART_ROWS))
    found = False
    for tokens, piece in map_threads(tokenise, pieces, threads):
        codes, labels = spool.keep(Ragged(tokens.codes, tokens.offsets)), piece.column("label")
        weights = numbers_of(piece.column("weight")) if "weight" in piece.schema.names else None
        yield _Part(codes, tokens.words, tokens.hashes, labels, tokens.lengths, weights)
        found = True
    if not found:
        raise DataError(f"{examples.source}: there are no rows")


@dataclass(frozen=True)
class _Side:
    """The rows of one side of the split: training or held out."""

    parts: Sequence[_Part]
    classes: npt.NDArray[np.int64]
    chosen: Flags
    threads: int
    weights: F32 | None = None

    def _pieces(self) -> Iterator[tuple[_Part, slice]]:
        start = 0
        for part in self.parts:
            yield part, slice(start, start + len(part.lengths))
            start += len(part.lengths)

    def tokens(self) -> Iterator[Tokens]:
        """Give the tokens of the rows, part by part."""
        pieces = self._pieces()
        yield from map_threads(lambda p: p[0].tokens(self.chosen[p[1]]), pieces, self.threads)

    def bags(self, encoder: TextEncoder) -> Iterator[Ragged]:
        """Give the ids of the rows, part by part."""
        yield from map_threads(encoder.encode_tokens, self.tokens(), self.threads)

    def encoded(self, encoder: TextEncoder, spool: Spool) -> tuple[Encoded, int]:
        """Encode the rows into one piece, or into shards where the spool is full; count the ids."""
        pieces, total = [spool.piece()], 0
        chosen: list[list[npt.NDArray[np.int64]]] = [[]]  # the rows of each piece
        for (_, rows), bags in zip(self._pieces(), self.bags(encoder), strict=True):
            if spool.spilled and pieces[-1].ids + len(bags.indices) > SHARD_IDS:
                pieces.append(spool.piece())
                chosen.append([])
            pieces[-1].add(bags)
            chosen[-1].append(np.flatnonzero(self.chosen[rows]) + rows.start)
            total += len(bags.indices)
        shards = tuple(piece.close() for piece in pieces)
        of_shards = [np.concatenate(group) for group in chosen]
        weights = self.weights
        return Encoded(
            shards,
            tuple(self.classes[found] for found in of_shards),
            None if weights is None else tuple(weights[found] for found in of_shards),
        ), total


def _checked(labels: LabelSet, examples: Examples) -> LabelSet:
    present = [name for name, count in zip(labels.names, labels.counts, strict=True) if count]
    if len(present) < 2:
        raise TrainingError(
            f"{examples.source}: every training row has the label {present[0]!r}; "
            "a classifier needs at least two labels"
        )
    return labels


def _prune(
    encoder: TextEncoder, train: _Side, config: Config
) -> tuple[TextEncoder, Occurrences | None]:
    """Leave out the buckets that training does not use; count what tf-idf needs."""
    weighted = config.text.term_weighting == "tfidf"
    if not (weighted or (config.text.prune and encoder.bucket)):
        return encoder, None
    found = Occurrences.count(train.bags(encoder), encoder.rows)
    if config.text.prune and encoder.bucket:
        words = len(encoder.vocabulary)
        kept = np.flatnonzero(found.counts[words:] >= config.text.min_ngram_count)
        encoder = encoder.pruned(kept.astype(np.int32))
        found = found.take(np.concatenate((np.arange(words), words + kept)))
    return encoder, found if weighted else None


def _validation(
    examples: Examples,
    held: _Side,
    encoder: TextEncoder,
    labels: RowLabels,
    spool: Spool,
    fingerprint: Fingerprint,
) -> tuple[Encoded | None, int]:
    """Encode the validation rows whose label is known; return how many are not."""
    if examples.validation is None:
        return (held.encoded(encoder, spool)[0] if held.chosen.any() else None), 0
    piece, classes, rows = spool.piece(), [], 0
    for batch in _batches(examples.validation):
        fingerprint.update(batch)
        found = labels.numbers(batch.column("label"))
        known = batch.filter(flag_array(found >= 0))
        piece.add(encoder.encode(known.column("text"), held.threads))
        classes.append(found[found >= 0])
        rows += len(batch)
    if not rows:
        raise DataError(f"{examples.source}: there are no validation rows")
    known_rows = sum(map(len, classes))
    if not known_rows:
        return None, rows
    return Encoded((piece.close(),), (np.concatenate(classes),)), rows - known_rows
