"""``TextEncoder``: texts in, row ids of the embedding table out. There is no other way to encode.

Training, evaluation, prediction and ``inspect`` all call it, and a text gets the same ids alone as
in a column of millions. The ids of a text are its words in order, each with its character n-grams
after it, then its word n-grams; n-grams go by where they begin, shorter ones first. It is the order
of fastText, so that sums come out the same to the last bit:

    rows [0, V)          words of the vocabulary
    rows [V, V + K)      hashed character and word n-grams

A column goes through compiled code (``kernels``), the first few texts of a process through plain
Python, which starts at once (see ``core/jit.py``). Both give the same ids.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from fasttext_app.config.schema import TextConfig
from fasttext_app.core import jit
from fasttext_app.core.arrays import I32
from fasttext_app.core.arrow import python_strings, string_array, string_buffers
from fasttext_app.core.ragged import Ragged
from fasttext_app.core.threads import CORES, map_threads
from fasttext_app.errors import ConfigError, DataError
from fasttext_app.text.buckets import HashSpace
from fasttext_app.text.fasttext_tokenizer import END
from fasttext_app.text.hashing import (
    reference_char_ngrams,
    reference_fnv1a,
    signed,
    word_ngram_hashes,
)
from fasttext_app.text.tokenizers import Tokenizer
from fasttext_app.text.tokens import Tokens
from fasttext_app.text.vocabulary import Vocabulary

CHUNK_ROWS = 1 << 14  # texts that a core encodes at a time: of many, most words come again
CHUNK_BYTES = 1 << 22  # the same where they are long
LEAST_ROWS = 1024  # so few are one core's work
PART_BYTES = 1 << 26  # an Arrow string column holds 2 GB
TEXT_BYTES = 64  # overhead of a text in plain Python, as bytes of text
NO_CHARS = np.empty(0, np.uint32), np.zeros(1, np.int64)
REMEMBERED_WORDS = 1 << 16

TextLike: TypeAlias = pa.Array | pa.ChunkedArray | Sequence[str]
Word = tuple[list[int], int]
"""What a text needs of a word: its row and those of its character n-grams, and its hash, signed."""


class TextEncoder:
    """Turns texts into bags of row ids, by a tokenizer, a vocabulary and fastText's hashing.

    Args:
        tokenizer: cuts texts into tokens.
        vocabulary: the words that have a row.
        word_ngrams: the longest word n-gram; 1: words alone.
        minn: the shortest character n-gram.
        maxn: the longest character n-gram; 0: none.
        bucket: the hash space of n-grams.
        kept: the buckets that have a row, ascending; None: all.

    Raises:
        ConfigError: n-grams are wanted, and there is no bucket for them.

    >>> from fasttext_app.text.tokenizers import load_tokenizer
    >>> tokenizer = load_tokenizer("whitespace")
    >>> vocabulary = Vocabulary.build([Tokens.from_lists([["to", "be", "or", "not", "to", "be"]])])
    >>> vocabulary.words.to_pylist()
    ['be', 'to', 'not', 'or']
    >>> TextEncoder(tokenizer, vocabulary).encode(["to be", "", "be unknown"]).to_lists()
    [[1, 0], [], [0]]
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        vocabulary: Vocabulary,
        *,
        word_ngrams: int = 1,
        minn: int = 0,
        maxn: int = 0,
        bucket: int = 0,
        kept: I32 | None = None,
    ) -> None:
        if (word_ngrams > 1 or maxn > 0) and bucket < 1:
            raise ConfigError(
                f"text.bucket = {bucket}: the n-grams of word_ngrams = {word_ngrams} and "
                f"maxn = {maxn} need a bucket of at least 1"
            )
        self.tokenizer = tokenizer
        self.vocabulary = vocabulary
        self.word_ngrams, self.minn, self.maxn, self.bucket = word_ngrams, minn, maxn, bucket
        self.hashed = HashSpace(bucket, len(vocabulary), kept)
        self.rows = len(vocabulary) + len(self.hashed)
        """Rows of the embedding table that ids can name."""
        if self.rows > np.iinfo(np.int32).max:
            raise ConfigError(
                f"text.bucket = {bucket}: with {len(vocabulary):,} words there would be more than "
                "2^31 rows"
            )
        self._words: dict[str, Word] = {}

    @classmethod
    def from_config(
        cls,
        config: TextConfig,
        tokenizer: Tokenizer,
        vocabulary: Vocabulary,
        kept: I32 | None = None,
    ) -> TextEncoder:
        """Build the encoder that a configuration describes."""
        return cls(
            tokenizer,
            vocabulary,
            word_ngrams=config.word_ngrams,
            minn=config.minn,
            maxn=config.maxn,
            bucket=config.bucket_count,
            kept=kept,
        )

    def pruned(self, kept: I32) -> TextEncoder:
        """Return the same encoder with rows for these buckets alone, [K] ascending."""
        return TextEncoder(
            self.tokenizer,
            self.vocabulary,
            word_ngrams=self.word_ngrams,
            minn=self.minn,
            maxn=self.maxn,
            bucket=self.bucket,
            kept=kept,
        )

    def encode(self, texts: TextLike, threads: int = 1) -> Ragged:
        """Encode any number of texts; bag ``b`` of the result holds the ids of text ``b``."""
        chunks = as_chunks(texts)
        encoded = list(map_threads(self.encode_chunk, chunks, threads))
        return Ragged.concat(encoded or [Ragged.from_lists([], np.int32)])

    def encode_chunk(self, texts: pa.StringArray) -> Ragged:
        """Encode one column of texts (no nulls)."""
        if not jit.enabled(_text_bytes(texts) + TEXT_BYTES * len(texts)):
            return self.encode_few(python_strings(texts))
        return self.encode_tokens(self.tokenizer(texts))

    def encode_text(self, text: str, errors: str = "strict") -> Ragged:
        """Encode a single text, sooner than a column of one.

        Args:
            text: the text.
            errors: as for :meth:`.Tokenizer.of_text`.

        Raises:
            DataError: it has a lone surrogate, and ``errors`` does not say what that is.
        """
        try:
            data = text.encode(errors=errors)
        except UnicodeEncodeError as error:
            raise _no_text(error) from None
        if errors != "strict":
            text = data.decode(errors=errors)  # bytes may make up a character
        if not jit.enabled(len(data) + TEXT_BYTES):
            return Ragged.single(self._bag(self.tokenizer.split([text])[0]))
        return self.encode_tokens(self.tokenizer.of_text(text, errors))

    def encode_tokens(self, tokens: Tokens) -> Ragged:
        """Encode texts that have been tokenized, in compiled code."""
        from fasttext_app.text.kernels import char_hashes, emit_rows

        words, chars = tokens.words, NO_CHARS
        if self.maxn:
            end = self._end_in(tokens) if self.tokenizer.ends_lines else -1
            chars = char_hashes(words.data, words.bounds, self.minn, self.maxn, end)
        rows, offsets = emit_rows(
            tokens.codes,
            tokens.offsets,
            self.vocabulary.rows(words),
            words.hashes,
            *chars,
            self.word_ngrams,
            max(self.bucket, 1),
            len(self.vocabulary),
            *self.hashed.index,
        )
        return Ragged(rows, offsets)

    def _end_in(self, tokens: Tokens) -> int:
        """Return the number of the word that ends lines: the last token of every text."""
        return int(tokens.codes[-1]) if len(tokens.codes) else -1

    def char_ngrams(self, token: str) -> list[tuple[str, int]]:
        """Return the character n-grams of a token, with their hashes."""
        if not self.maxn or (self.tokenizer.ends_lines and token == END):
            return []
        return reference_char_ngrams(token, self.minn, self.maxn)

    def encode_few(self, texts: list[str]) -> Ragged:
        """Encode texts in plain Python: the rules as they read, and quick for a text or two."""
        return Ragged.from_lists([self._bag(t) for t in self.tokenizer.split(texts)], np.int32)

    def _bag(self, tokens: list[str]) -> list[int]:
        words = [self._words.get(token) or self._word(token) for token in tokens]
        rows = [row for word_rows, _ in words for row in word_rows]
        hashes = word_ngram_hashes([hashed for _, hashed in words], self.word_ngrams)
        return rows + self.hashed.rows(hashes)

    def _word(self, token: str) -> Word:
        row = self.vocabulary.row(token)
        rows = [row] if row >= 0 else []
        rows += self.hashed.rows([value for _, value in self.char_ngrams(token)])
        word = rows, signed(reference_fnv1a(token.encode("utf-8", "surrogateescape")))
        if len(self._words) >= REMEMBERED_WORDS:
            self._words.clear()
        self._words[token] = word
        return word


def tokenize(tokenizer: Tokenizer, texts: TextLike, threads: int = 1) -> list[Tokens]:
    """Tokenize texts in chunks, several at a time; the result does not depend on ``threads``."""
    jit.enable()
    return list(map_threads(tokenizer, as_chunks(texts), threads))


def as_chunks(texts: TextLike, most: int = sys.maxsize) -> list[pa.StringArray]:
    """Cut texts into string arrays of a size that is good to work on.

    Args:
        texts: any number of them.
        most: that an array may have.

    Raises:
        DataError: one of the texts is None or no string, or ``texts`` is a single string.
    """
    if isinstance(texts, str):  # it is a sequence of strings too: of its characters
        raise DataError("texts: got a single str where a list or column of texts is expected")
    if not isinstance(texts, pa.Array | pa.ChunkedArray):
        try:
            texts = string_array(texts)
        except (pa.ArrowInvalid, TypeError, UnicodeEncodeError) as error:
            raise _no_text(error) from None
    if texts.null_count:
        raise DataError("texts: one of them is None")
    whole = texts.chunks if isinstance(texts, pa.ChunkedArray) else [texts]
    return [piece for chunk in whole for piece in _pieces(chunk, min(most, CHUNK_ROWS))]


def _no_text(error: Exception) -> DataError:
    return DataError(f"texts: each must be a string: {error}")


def _pieces(chunk: pa.Array, most: int) -> Iterator[pa.StringArray]:
    if chunk.type != pa.string():
        chunk = chunk.cast(pa.string())
    for start, rows in _cuts(chunk, most, CHUNK_BYTES, CORES):
        yield chunk.slice(start, rows)


def chunk_rows(batch: pa.RecordBatch, most: int) -> Iterator[pa.RecordBatch]:
    """Cut rows with a ``text`` into batches of at most ``most`` rows and a bounded size."""
    for start, rows in _cuts(batch.column("text"), most, PART_BYTES):
        yield batch.slice(start, rows)


def _cuts(
    texts: pa.StringArray, most: int, most_bytes: int, cores: int = 1
) -> Iterator[tuple[int, int]]:
    pieces = max(-(-len(texts) // most), -(-_text_bytes(texts) // most_bytes))
    shared = -(-pieces // cores) * cores  # no core waits for another's last piece
    pieces = max(pieces, min(shared, len(texts) // LEAST_ROWS))
    rows = max(-(-len(texts) // max(pieces, 1)), 1)
    for start in range(0, len(texts), rows):
        yield start, rows


def _text_bytes(texts: pa.StringArray) -> int:
    _, bounds = string_buffers(texts)
    return int(bounds[-1] - bounds[0])
