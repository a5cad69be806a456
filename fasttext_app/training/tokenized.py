"""Rows on their way from text to ids: tokenized first, encoded once the vocabulary is known.

    tokenize        training rows ─► TokenizedRows   the tokens, as codes into a list of words
    RowSubset       rows of one side of the split    counts words and ids, part by part
    RowSubset.encode              ─► EncodedSplit    the ids, in one piece or in shards

Codes and ids go through a :class:`~fasttext_app.core.spill.SpillBuffer`, so data of any size is
prepared within a bound of memory.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fasttext_app.config.schema import Config
from fasttext_app.core.arrays import F32, I64, U64, Bool
from fasttext_app.core.arrow import to_arrow, to_numpy
from fasttext_app.core.ragged import Ragged
from fasttext_app.core.spill import RaggedLoader, SpillBuffer
from fasttext_app.core.threads import map_threads
from fasttext_app.data.findings import missing_texts
from fasttext_app.data.fingerprint import Fingerprint
from fasttext_app.data.labels import LabelEncoder
from fasttext_app.data.split import Examples, Rows
from fasttext_app.errors import DataError
from fasttext_app.text.chunks import chunk_rows
from fasttext_app.text.encoder import TextEncoder
from fasttext_app.text.tfidf import OccurrenceCounter, Occurrences
from fasttext_app.text.tokens import Tokens, WordList
from fasttext_app.text.vocabulary import WordCounts, count_words
from fasttext_app.training.warm_start import WarmStart

PART_ROWS = 16_384  # large, because each part has a word list of its own
SHARD_IDS = 1 << 25  # a shard is shuffled in memory (128 MB of ids)
SHORT_CODES = 1 << 16  # the codes of a part with at most this many words take 16 bits


@dataclass(frozen=True)
class EncodedSplit:
    """The encoded rows of one side of the split, in one piece or in shards."""

    shards: tuple[RaggedLoader, ...]
    classes: tuple[I64, ...]
    """The class of each text, or the number of its label set, shard by shard."""
    weights: tuple[F32, ...] | None = None
    """The weight of each text in the loss, shard by shard; None: all the same."""

    def __len__(self) -> int:
        return sum(len(classes) for classes in self.classes)

    @property
    def is_whole(self) -> bool:
        """Whether one process can hold all rows, in one piece."""
        return len(self.classes) == 1

    def load(self) -> tuple[Ragged, I64, F32 | None]:
        """Return bags, classes and weights in one piece."""
        return (
            Ragged.concat([load() for load in self.shards]),
            np.concatenate(self.classes),
            None if self.weights is None else np.concatenate(self.weights),
        )

    def text_hashes(self) -> U64:
        """Return a number for each text, [texts]; see :meth:`.Ragged.hashes`."""
        return np.concatenate([load().hashes() for load in self.shards])


@dataclass(frozen=True)
class TokenizedPart:
    """Some tokenized rows; their codes may be in a file, or with another process."""

    codes: RaggedLoader | None
    words: WordList | None
    labels: pa.StringArray
    lengths: I64
    """The number of tokens in each row."""
    weights: F32 | None

    def tokens(self, mask: Bool) -> Tokens:
        """Return the tokens of the rows in ``mask``."""
        assert self.codes is not None
        assert self.words is not None
        codes = self.codes()
        tokens = Tokens(codes.indices.astype(np.int32, copy=False), codes.offsets, self.words)
        return tokens if mask.all() else tokens.take(np.flatnonzero(mask))


@dataclass(frozen=True)
class TokenizedRows:
    """All tokenized training rows, before any are held out."""

    parts: tuple[TokenizedPart, ...]
    fingerprint: Fingerprint
    missing_texts: Mapping[str, int]
    """The number of texts that are what programs write for a missing value."""

    def subset(
        self, classes: I64, mask: Bool, threads: int, weights: F32 | None = None
    ) -> RowSubset:
        """Return the rows in ``mask``; the arguments match :class:`RowSubset`."""
        return RowSubset(self.parts, classes, mask, threads, weights)


def tokenize(
    config: Config, examples: Examples, spill_buffer: SpillBuffer, start: WarmStart | None = None
) -> TokenizedRows:
    """Read and tokenize the training rows; the result can be prepared more than once.

    Raises:
        DataError: the rows cannot be read, or there are none.
    """
    tokenizer, fingerprint = (start or WarmStart(config)).tokenizer, Fingerprint()

    missing: Counter[str] = Counter()

    def with_tokens(rows: pa.RecordBatch) -> tuple[pa.RecordBatch, Tokens]:
        return rows, tokenizer(rows.column("text"))

    batches = fingerprinted(batches_of(examples.train), fingerprint)
    chunks = (chunk for batch in batches for chunk in chunk_rows(batch, PART_ROWS))

    def noted(rows: pa.RecordBatch) -> pa.RecordBatch:
        missing.update(missing_texts(rows.column("text")))
        return rows

    parts = tuple(
        tokenized_part(rows, tokens, spill_buffer)[0]
        for rows, tokens in map_threads(with_tokens, map(noted, chunks), config.trainer.threads)
    )
    if not parts:
        raise DataError(f"{examples.source}: there are no rows{examples.bad_rows.note}")
    return TokenizedRows(parts, fingerprint, missing)


def tokenized_part(
    rows: pa.RecordBatch, tokens: Tokens, spill_buffer: SpillBuffer
) -> tuple[TokenizedPart, int]:
    """Store the tokens of some rows; return them, and the number of bytes that they take."""
    dtype = np.uint16 if len(tokens.words) <= SHORT_CODES else np.int32
    codes = Ragged(tokens.codes.astype(dtype, copy=False), tokens.offsets)
    part = TokenizedPart(
        spill_buffer.store(codes),
        tokens.words,
        rows.column("label"),
        tokens.lengths,
        weights_of(rows),
    )
    return part, codes.indices.nbytes + codes.offsets.nbytes


def batches_of(rows: Rows) -> Iterable[pa.RecordBatch]:
    """Return the batches of a table, or the stream itself."""
    if isinstance(rows, pa.Table):
        batches: list[pa.RecordBatch] = rows.to_batches()
        return batches
    return rows


def fingerprinted(
    batches: Iterable[pa.RecordBatch], fingerprint: Fingerprint
) -> Iterator[pa.RecordBatch]:
    """Yield the batches, each after it went into the fingerprint."""
    for batch in batches:
        fingerprint.update(batch)
        yield batch


def weights_of(rows: pa.RecordBatch) -> F32 | None:
    """Return the column ``weight``, [B]; None if there is none."""
    return to_numpy(rows.column("weight")) if "weight" in rows.schema.names else None


def encode_labeled(
    batches: Iterable[pa.RecordBatch],
    encoder: TextEncoder,
    labels: LabelEncoder,
    spill_buffer: SpillBuffer,
    threads: int,
) -> tuple[RaggedLoader, I64]:
    """Encode the rows that have a known label.

    Returns:
        The bags of those rows, and the class of every row, [rows]: -1 where its label is unknown.

    Raises:
        DataError: the rows cannot be read.
    """
    writer, classes = spill_buffer.writer(), [np.empty(0, np.int64)]
    for batch in batches:
        classes.append(labels.encode(batch.column("label")))
        known = batch.filter(to_arrow(classes[-1] >= 0))
        writer.append(encoder.encode(known.column("text"), threads))
    return writer.close(), np.concatenate(classes)


@dataclass(frozen=True)
class RowSubset:
    """Some of the tokenized rows, such as one side of the split."""

    parts: Sequence[TokenizedPart]
    classes: I64
    """The class of every row, or the number of its label set, [rows]."""
    mask: Bool
    """The rows of the subset, [rows]."""
    threads: int
    weights: F32 | None = None
    """The weight of every row in the loss, [rows]."""

    def _slices(self) -> Iterator[tuple[TokenizedPart, slice]]:
        """Yield each part with the slice of its rows."""
        first = 0
        for part in self.parts:
            yield part, slice(first, first + len(part.lengths))
            first += len(part.lengths)

    def _own_slices(self) -> Iterator[tuple[TokenizedPart, slice]]:
        """Yield those parts whose tokens this process has."""
        return self._slices()

    def tokens(self) -> Iterator[Tokens]:
        """Yield the tokens of the subset, part by part."""
        yield from map_threads(
            lambda entry: entry[0].tokens(self.mask[entry[1]]), self._own_slices(), self.threads
        )

    def word_counts(self) -> WordCounts:
        """Count the words of the subset."""
        return count_words(self.tokens())

    def _bags(self, encoder: TextEncoder, counter: OccurrenceCounter | None) -> Iterator[Ragged]:
        """Encode the parts, and count their ids."""

        def encode(entry: tuple[TokenizedPart, slice]) -> Ragged:
            part, rows = entry
            bags = encoder.encode_tokens(part.tokens(self.mask[rows]))
            if counter is not None:
                counter.add(bags, rows.start)
            return bags

        return map_threads(encode, self._own_slices(), self.threads)

    def occurrences(self, encoder: TextEncoder) -> Occurrences:
        """Count the ids of the subset."""
        counter = OccurrenceCounter(encoder.rows)
        deque(self._bags(encoder, counter), maxlen=0)
        return self.total(counter)

    def total(self, counter: OccurrenceCounter) -> Occurrences:
        """Return what was counted while the subset was encoded."""
        return counter.total(int(self.mask.sum()))

    def encode(
        self,
        encoder: TextEncoder,
        spill_buffer: SpillBuffer,
        counter: OccurrenceCounter | None = None,
    ) -> tuple[EncodedSplit, int]:
        """Encode the subset: in one piece, or in shards once the buffer has spilled.

        Args:
            encoder: the encoder.
            spill_buffer: holds the ids.
            counter: counts the ids; see :meth:`total`.

        Returns:
            The encoded rows, and the number of their ids.
        """
        writers = [spill_buffer.writer()]
        rows_of_writers: list[list[I64]] = [[]]
        for (_, rows), bags in zip(self._slices(), self._bags(encoder, counter), strict=True):
            ids = writers[-1].id_count
            if spill_buffer.spilled and ids and ids + len(bags.indices) > SHARD_IDS:
                writers.append(spill_buffer.writer())
                rows_of_writers.append([])
            writers[-1].append(bags)
            rows_of_writers[-1].append(np.flatnonzero(self.mask[rows]) + rows.start)
        rows_of_shards = [np.concatenate(rows) for rows in rows_of_writers]
        weights = self.weights
        split = EncodedSplit(
            tuple(writer.close() for writer in writers),
            tuple(self.classes[rows] for rows in rows_of_shards),
            None if weights is None else tuple(weights[rows] for rows in rows_of_shards),
        )
        return split, sum(writer.id_count for writer in writers)

    def encode_everywhere(self, encoder: TextEncoder, spill_buffer: SpillBuffer) -> EncodedSplit:
        """Encode the subset such that every process of a run has it."""
        return self.encode(encoder, spill_buffer)[0]
