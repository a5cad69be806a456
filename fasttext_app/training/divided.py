"""Rows divided over the processes of a group: each reads, tokenizes and encodes its share.

A *block* is up to ``PART_ROWS`` rows of one file. A process has the tokens and ids of its own
blocks. What decides about rows and is small, all processes have of all blocks, in the order of the
files: labels, weights, lengths. So all of them compute the same labels, split, vocabulary and
batches, and nothing depends on which process reads which file.

If there are fewer files than processes, they are read in pieces (``Part.pieces``). A piece yields
the batches that the file yields there, so the blocks are the same. If there are still too few
pieces, each process reads all files and tokenizes its share of the blocks. Validation rows
are read by shares too, but then every process has them all: it must pool them after each epoch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from fasttext_app.core.arrays import F32, I32, I64, U64, Array, Bool
from fasttext_app.core.group import Group
from fasttext_app.core.ragged import Ragged, offsets_from_lengths
from fasttext_app.core.spill import RaggedLoader, SpillBuffer
from fasttext_app.core.threads import map_threads
from fasttext_app.data.bad_rows import BadRows
from fasttext_app.data.findings import missing_texts
from fasttext_app.data.fingerprint import Fingerprint
from fasttext_app.data.source import Part
from fasttext_app.data.split import Rows
from fasttext_app.text.chunks import chunk_rows
from fasttext_app.text.encoder import TextEncoder
from fasttext_app.text.tfidf import OccurrenceCounter, Occurrences
from fasttext_app.text.tokenizers import Tokenizer
from fasttext_app.text.tokens import Tokens
from fasttext_app.text.vocabulary import WordCounts, sum_counts
from fasttext_app.training.tokenized import (
    PART_ROWS,
    SHARD_IDS,
    EncodedSplit,
    RowSubset,
    TokenizedPart,
    TokenizedRows,
    batches_of,
    tokenized_part,
)


@dataclass(frozen=True)
class Block:
    """What all processes know of a block of rows, apart from its labels, weights and lengths."""

    file: int
    number: int
    """Of the block in its file."""
    rows: int
    digest: str
    """Of its rows."""
    code_bytes: int
    """Memory that its tokens take."""
    owner: int
    """The process that has its tokens."""


@dataclass(frozen=True, kw_only=True)
class DividedRows(TokenizedRows):
    """The rows of all processes; a part that another one has is without tokens."""

    group: Group
    blocks: tuple[Block, ...]
    ledger: SpillBuffer
    """Counts the memory that one process would use for all rows, to cut the shards that it would
    cut; see ``RowSubset.encode``."""

    def subset(
        self, classes: I64, mask: Bool, threads: int, weights: F32 | None = None
    ) -> DividedSubset:
        """Return the rows in ``mask``; the arguments match :class:`RowSubset`."""
        return DividedSubset(self.parts, classes, mask, threads, weights, rows=self)


def tokenize_divided(
    rows: Rows,
    parts: Sequence[Part],
    bad_rows: BadRows,
    tokenizer: Tokenizer,
    threads: int,
    spill_buffer: SpillBuffer,
    group: Group,
    limit: int = 2**63,
) -> DividedRows:
    """Read and tokenize the share of this process; exchange what all processes need of it.

    Args:
        rows: the rows, where they are not in files that can be read alone.
        parts: the files.
        bad_rows: counts the rows that are skipped, in the end those of all processes.
        tokenizer: the tokenizer.
        threads: the number of threads.
        spill_buffer: holds the tokens.
        group: the processes.
        limit: bytes that one process alone would hold in memory.

    Raises:
        DataError: a process cannot read its rows.
    """
    parts = _cut(parts, group)
    missing: Counter[str] = Counter()

    def with_tokens(
        entry: tuple[int, int, pa.RecordBatch],
    ) -> tuple[int, int, pa.RecordBatch, str, Tokens]:
        file, number, chunk = entry
        fingerprint = Fingerprint()
        fingerprint.update(chunk)
        return file, number, chunk, fingerprint.digest(), tokenizer(chunk.column("text"))

    def read() -> list[tuple[Block, TokenizedPart]]:
        own = []
        chunks = _own_chunks(rows, parts, bad_rows, group)
        for file, number, chunk, digest, tokens in map_threads(with_tokens, chunks, threads):
            missing.update(missing_texts(chunk.column("text")))
            part, size = tokenized_part(chunk, tokens, spill_buffer)
            own.append((Block(file, number, len(chunk), digest, size, group.rank), part))
        return own

    blocks, tokenized = _exchange(group.all_or_none(read), group)
    missing_total: Counter[str] = Counter()
    for counts in group.share(missing):
        missing_total.update(counts)
    bad_rows.merge(group.share(bad_rows.found()))
    ledger = SpillBuffer(limit)
    for block in blocks:
        ledger.reserve(block.code_bytes)
    fingerprint = Fingerprint()
    add_blocks(fingerprint, blocks)
    return DividedRows(
        parts=tuple(tokenized),
        fingerprint=fingerprint,
        missing_texts=missing_total,
        group=group,
        blocks=tuple(blocks),
        ledger=ledger,
    )


def add_blocks(fingerprint: Fingerprint, blocks: Sequence[Block]) -> None:
    """Add the digests of blocks to a fingerprint, in place of their rows."""
    digests = pa.array([block.digest for block in blocks], pa.string())
    fingerprint.update(pa.record_batch({"text": digests, "label": digests}))


def _cut(parts: Sequence[Part], group: Group) -> Sequence[Part]:
    """Cut files that are fewer than the processes; each process surveys a share of each.

    Raises:
        DataError: a process cannot read a file.
    """
    if len(parts) >= group.size:
        return parts
    own = group.all_or_none(lambda: [part.survey(group.rank, group.size) for part in parts])
    surveys = group.share(own)
    return [
        piece
        for number, part in enumerate(parts)
        for piece in part.pieces([surveys_of[number] for surveys_of in surveys])
    ]


def _own_chunks(
    rows: Rows, parts: Sequence[Part], bad_rows: BadRows, group: Group
) -> Iterator[tuple[int, int, pa.RecordBatch]]:
    """Yield the blocks of this process: the number of the file, that of the block, and the rows."""
    if len(parts) >= group.size:
        for file in own_files([part.size for part in parts], group):
            bad_rows.part = file
            chunks = _chunks(parts[file].scan(True))
            yield from ((file, number, chunk) for number, chunk in enumerate(chunks))
        return
    count = 0
    streams: list[Rows] = [part.scan(True) for part in parts] or [rows]
    for file, stream in enumerate(streams):
        for number, chunk in enumerate(_chunks(stream)):
            if count % group.size == group.rank:
                yield file, number, chunk
            count += 1


def _chunks(batches: Rows) -> Iterator[pa.RecordBatch]:
    for batch in batches_of(batches):
        yield from chunk_rows(batch, PART_ROWS)


def own_files(sizes: Sequence[int], group: Group) -> list[int]:
    """Return the files that this process reads, in order: each goes to the one with the least.

    >>> [own_files([5, 1, 2, 3], Group(rank, 2)) for rank in range(2)]
    [[0, 1], [2, 3]]
    """
    loads, owners = [0] * group.size, [0] * len(sizes)
    for file in sorted(range(len(sizes)), key=lambda file: -sizes[file]):
        owners[file] = loads.index(min(loads))
        loads[owners[file]] += sizes[file]
    return [file for file, owner in enumerate(owners) if owner == group.rank]


def _exchange(
    own: Sequence[tuple[Block, TokenizedPart]], group: Group
) -> tuple[list[Block], list[TokenizedPart]]:
    """Return all blocks in the order of the files, and their rows."""
    parts = [part for _, part in own]
    blocks_of = group.share([list(vars(block).values()) for block, _ in own])
    weighted = any(group.share(any(part.weights is not None for part in parts)))
    lengths_of = group.gather(_joined([part.lengths for part in parts], np.int64))
    labels_of = gather_strings([part.labels for part in parts], group)
    weights_of: list[Array] = [np.empty(0, np.float32)] * group.size
    if weighted:
        own_weights = [part.weights for part in parts if part.weights is not None]
        weights_of = group.gather(_joined(own_weights, np.float32))

    entries = []
    for rank in range(group.size):
        start = 0
        for number, fields in enumerate(blocks_of[rank]):
            block = Block(*fields)
            rows = slice(start, start := start + block.rows)
            part = TokenizedPart(
                codes=parts[number].codes if rank == group.rank else None,
                words=parts[number].words if rank == group.rank else None,
                labels=labels_of[rank][rows],
                lengths=lengths_of[rank][rows],
                weights=weights_of[rank][rows] if weighted else None,
            )
            entries.append((block, part))
    entries.sort(key=lambda entry: (entry[0].file, entry[0].number))
    return [block for block, _ in entries], [part for _, part in entries]


def _joined(arrays: Sequence[Array], dtype: type) -> Array:
    return np.concatenate([np.empty(0, dtype), *arrays]).astype(dtype, copy=False)


def gather_strings(columns: Sequence[pa.StringArray], group: Group) -> list[pa.StringArray]:
    """Return the strings of every process, those of its columns end to end."""
    column = pa.concat_arrays([pa.array([], pa.string()), *columns])
    sink = pa.BufferOutputStream()
    batch = pa.record_batch({"": column.dictionary_encode()})
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    received = group.gather(np.frombuffer(sink.getvalue(), np.uint8))
    tables = [pa.ipc.open_stream(pa.py_buffer(data.tobytes())).read_all() for data in received]
    return [
        pa.concat_arrays([pa.array([], pa.string()), *table[0].cast(pa.string()).chunks])
        for table in tables
    ]


def gather_in_order(own: Ragged, owners: I32, lengths: I64, group: Group) -> Ragged:
    """Return the bags of all processes, in the order of the texts.

    Args:
        own: the bags of this process, in the same order.
        owners: the process that has each text, [texts].
        lengths: the number of ids of each text, [texts].
        group: the processes.
    """
    sizes = np.bincount(owners, lengths, group.size).astype(np.int64).tolist()
    ids = np.concatenate(group.gather_sized(own.indices.astype(np.int32, copy=False), sizes))
    # The ids come process by process, each in the order of the texts.
    by_owner = np.argsort(owners, kind="stable")
    place_of = np.empty(len(owners), np.int64)
    place_of[by_owner] = np.arange(len(owners))
    return Ragged(ids, offsets_from_lengths(lengths[by_owner])).take(place_of)


@dataclass(frozen=True, kw_only=True)
class DividedSplit(EncodedSplit):
    """The encoded training rows; each process has the ids of some.

    ``shards`` has the ids of this process in one piece; ``classes`` and ``weights`` are those of
    all rows, cut into the shards in which one process alone would train on them.
    """

    group: Group
    owners: I32
    """The process that has the ids of each text, [texts]."""
    places: I64
    """The index of each text among those of its owner, [texts]."""
    lengths: I64
    """The number of ids of each text, [texts]."""

    def text_hashes(self) -> U64:
        """Return a number for each text of all processes, [texts]; collective."""
        hashes = np.empty(len(self.owners), np.uint64)
        for rank, own in enumerate(self.group.gather(super().text_hashes().view(np.int64))):
            hashes[self.owners == rank] = own.view(np.uint64)
        return hashes


@dataclass(frozen=True, kw_only=True)
class DividedSubset(RowSubset):
    """Some of the rows of all processes."""

    rows: DividedRows

    def _own_slices(self) -> Iterator[tuple[TokenizedPart, slice]]:
        return ((part, rows) for part, rows in self._slices() if part.codes is not None)

    def word_counts(self) -> WordCounts:
        """Count the words of the subset on all processes."""
        own, group = super().word_counts(), self.rows.group
        words = gather_strings([own.words], group)
        return sum_counts(map(WordCounts, words, group.gather(own.counts)))

    def total(self, counter: OccurrenceCounter) -> Occurrences:
        """Return what all processes counted."""
        own, group = super().total(counter), self.rows.group
        counts, text_counts = map(np.ascontiguousarray, (own.counts, own.text_counts))
        group.sum(counts)
        group.sum(text_counts)
        return Occurrences(own.texts, counts, text_counts)

    def encode(
        self,
        encoder: TextEncoder,
        spill_buffer: SpillBuffer,
        counter: OccurrenceCounter | None = None,
    ) -> tuple[EncodedSplit, int]:
        """Encode the share of this process; return the split, and the number of ids of all."""
        own = self._encode_own(encoder, spill_buffer, counter)
        texts_of = self._texts_of()
        lengths, owners, places = self._in_order(texts_of, own().lengths)
        bounds = self._shard_bounds(texts_of, lengths)
        rows, weights = np.flatnonzero(self.mask), self.weights
        split = DividedSplit(
            shards=(own,),
            classes=tuple(self.classes[rows[texts]] for texts in bounds),
            weights=None if weights is None else tuple(weights[rows[texts]] for texts in bounds),
            group=self.rows.group,
            owners=owners,
            places=places,
            lengths=lengths,
        )
        return split, int(lengths.sum())

    def encode_everywhere(self, encoder: TextEncoder, spill_buffer: SpillBuffer) -> EncodedSplit:
        """Encode the share of this process, and return the rows of all."""
        own, group = self._encode_own(encoder, spill_buffer)(), self.rows.group
        texts_of = self._texts_of()
        lengths, owners, _ = self._in_order(texts_of, own.lengths)
        for texts in texts_of:
            self.rows.ledger.reserve(_size(lengths[texts]))
        writer = spill_buffer.writer()
        writer.append(gather_in_order(own, owners, lengths, group))
        return EncodedSplit((writer.close(),), (self.classes[self.mask],))

    def _encode_own(
        self,
        encoder: TextEncoder,
        spill_buffer: SpillBuffer,
        counter: OccurrenceCounter | None = None,
    ) -> RaggedLoader:
        writer = spill_buffer.writer()
        for bags in self._bags(encoder, counter):
            writer.append(bags)
        return writer.close()

    def _texts_of(self) -> list[slice]:
        """Return the texts of each part among those of the subset."""
        counts = [int(self.mask[rows].sum()) for _, rows in self._slices()]
        bounds = offsets_from_lengths(counts).tolist()
        return [slice(*pair) for pair in pairwise(bounds)]

    def _in_order(self, texts_of: Sequence[slice], own_lengths: I64) -> tuple[I64, I32, I64]:
        """Return the length, the owner and the place with the owner of each text, in order."""
        lengths_of = self.rows.group.gather(own_lengths.astype(np.int32))
        count = texts_of[-1].stop
        lengths, owners = np.empty(count, np.int64), np.empty(count, np.int32)
        places, next_place = np.empty(count, np.int64), [0] * len(lengths_of)
        for block, texts in zip(self.rows.blocks, texts_of, strict=True):
            start = next_place[block.owner]
            stop = next_place[block.owner] = start + texts.stop - texts.start
            lengths[texts] = lengths_of[block.owner][start:stop]
            owners[texts], places[texts] = block.owner, np.arange(start, stop)
        return lengths, owners, places

    def _shard_bounds(self, texts_of: Sequence[slice], lengths: I64) -> list[slice]:
        """Return the texts of each shard, as ``RowSubset.encode`` in one process would cut them."""
        bounds, ids, ledger = [0], 0, self.rows.ledger
        for texts in texts_of:
            count = int(lengths[texts].sum())
            if ledger.spilled and ids and ids + count > SHARD_IDS:
                bounds.append(texts.start)
                ids = 0
            ledger.reserve(_size(lengths[texts]))
            ids += count
        bounds.append(len(lengths))
        return [slice(*pair) for pair in pairwise(bounds)]


def _size(lengths: I64) -> int:
    """Return the memory that bags of these lengths take."""
    return 4 * int(lengths.sum()) + 8 * (len(lengths) + 1)
