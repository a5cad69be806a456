"""Rows as tokens, which stay until all that decides their ids is known, and as ids.

What is kept of them goes through a :class:`~fasttext_app.core.spill.SpillBuffer`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fasttext_app.config.schema import Config
from fasttext_app.core.arrays import F32, I64, Bool
from fasttext_app.core.arrow import to_numpy
from fasttext_app.core.ragged import Ragged
from fasttext_app.core.spill import RaggedLoader, SpillBuffer
from fasttext_app.core.threads import map_threads
from fasttext_app.data.fingerprint import Fingerprint
from fasttext_app.data.split import Examples, Rows
from fasttext_app.errors import DataError
from fasttext_app.text.encoder import TextEncoder, chunk_rows
from fasttext_app.text.tfidf import OccurrenceCounter, Occurrences
from fasttext_app.text.tokenizers import Tokenizer
from fasttext_app.text.tokens import Tokens, WordList
from fasttext_app.training.warm_start import WarmStart

PART_ROWS = 16_384  # of rows that stay: each part has its own list of words, so few and large
SHARD_IDS = 1 << 25  # ids of a shard that is shuffled in memory (128 MB)
FEW_WORDS = 1 << 16  # words of a part whose numbers are kept in 16 bits


@dataclass(frozen=True)
class EncodedSplit:
    """Encoded rows with their classes, in one piece or in shards."""

    shards: tuple[RaggedLoader, ...]
    classes: tuple[I64, ...]
    """The class of each text, or the number of its set of classes, shard by shard."""
    weights: tuple[F32, ...] | None = None
    """How much each text counts in the loss, shard by shard; None: all the same."""

    def __len__(self) -> int:
        return sum(len(classes) for classes in self.classes)


@dataclass(frozen=True)
class TokenizedPart:
    """Some rows, tokenized; their codes may be in a file."""

    codes: RaggedLoader
    words: WordList
    labels: pa.StringArray
    lengths: I64  # tokens of each row
    weights: F32 | None

    def tokens(self, chosen: Bool) -> Tokens:
        """Return the tokens of some of its rows."""
        codes = self.codes()
        numbers = codes.indices.astype(np.int32, copy=False)
        tokens = Tokens(numbers, codes.offsets, self.words)
        return tokens if chosen.all() else tokens.take(np.flatnonzero(chosen))


@dataclass(frozen=True)
class TokenizedRows:
    """The training rows, tokenized, and the fingerprint of them."""

    parts: tuple[TokenizedPart, ...]
    fingerprint: Fingerprint


def tokenize(
    config: Config,
    examples: Examples,
    spill_buffer: SpillBuffer,
    beginning: WarmStart | None = None,
) -> TokenizedRows:
    """Read and tokenize the training rows, to prepare them more than once.

    Raises:
        DataError: the rows cannot be read, or there are none.
    """
    tokenizer, fingerprint = (beginning or WarmStart(config)).tokenizer, Fingerprint()
    threads = config.trainer.threads
    parts = tuple(_tokenize(examples, tokenizer, threads, spill_buffer, fingerprint))
    return TokenizedRows(parts, fingerprint)


def _tokenize(
    examples: Examples,
    tokenizer: Tokenizer,
    threads: int,
    spill_buffer: SpillBuffer,
    fingerprint: Fingerprint,
) -> Iterator[TokenizedPart]:
    """Tokenize the training rows as they are read."""

    def split(batch: pa.RecordBatch) -> tuple[Tokens, pa.RecordBatch]:
        return tokenizer(batch.column("text")), batch

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in batches_of(examples.train):
            fingerprint.update(batch)
            yield batch

    pieces = (piece for batch in batches() for piece in chunk_rows(batch, PART_ROWS))
    found = False
    for tokens, piece in map_threads(split, pieces, threads):
        narrow = np.uint16 if len(tokens.words) <= FEW_WORDS else np.int32
        numbers = tokens.codes.astype(narrow, copy=False)
        codes, labels = spill_buffer.store(Ragged(numbers, tokens.offsets)), piece.column("label")
        weights = to_numpy(piece.column("weight")) if "weight" in piece.schema.names else None
        yield TokenizedPart(codes, tokens.words, labels, tokens.lengths, weights)
        found = True
    if not found:
        raise DataError(f"{examples.source}: there are no rows")


def batches_of(rows: Rows) -> Iterable[pa.RecordBatch]:
    """Return the batches of a table, or of a stream."""
    if isinstance(rows, pa.Table):
        whole: list[pa.RecordBatch] = rows.to_batches()
        return whole
    return rows


@dataclass(frozen=True)
class RowSubset:
    """The rows of one side of the split: training or held out."""

    parts: Sequence[TokenizedPart]
    classes: I64
    chosen: Bool
    threads: int
    weights: F32 | None = None

    def _pieces(self) -> Iterator[tuple[TokenizedPart, slice]]:
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

    def occurrences(self, encoder: TextEncoder) -> Occurrences:
        """Count the ids of the rows."""
        counter = OccurrenceCounter(encoder.rows)

        def count(piece: tuple[TokenizedPart, slice]) -> None:
            part, rows = piece
            counter.add(encoder.encode_tokens(part.tokens(self.chosen[rows])), rows.start)

        deque(map_threads(count, self._pieces(), self.threads), maxlen=0)
        return counter.found(int(self.chosen.sum()))

    def encoded(self, encoder: TextEncoder, spill_buffer: SpillBuffer) -> tuple[EncodedSplit, int]:
        """Encode the rows into one shard, or several if the buffer spilled; count the ids."""
        writers, total = [spill_buffer.writer()], 0
        chosen: list[list[I64]] = [[]]  # the rows of each shard
        for (_, rows), bags in zip(self._pieces(), self.bags(encoder), strict=True):
            if spill_buffer.spilled and writers[-1].id_count + len(bags.indices) > SHARD_IDS:
                writers.append(spill_buffer.writer())
                chosen.append([])
            writers[-1].append(bags)
            chosen[-1].append(np.flatnonzero(self.chosen[rows]) + rows.start)
            total += len(bags.indices)
        shards = tuple(writer.close() for writer in writers)
        of_shards = [np.concatenate(group) for group in chosen]
        weights = self.weights
        return EncodedSplit(
            shards,
            tuple(self.classes[found] for found in of_shards),
            None if weights is None else tuple(weights[found] for found in of_shards),
        ), total
