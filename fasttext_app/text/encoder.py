"""``TextEncoder``: texts in, row ids of the embedding table out. There is no other way to encode.

Training, evaluation, prediction and ``inspect`` all call it, and a text gets the same ids alone as
in a column of millions. The ids of a text are its words in order, then the character n-grams of
each word, then its word n-grams, shorter ones first:

    rows [0, V)            words of the vocabulary
    rows [V, V + bucket)   hashed character and word n-grams
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fasttext_app.config import TextConfig
from fasttext_app.errors import ConfigError, DataError
from fasttext_app.text.hashing import char_ngram_hashes, fnv1a, word_ngram_hashes
from fasttext_app.text.ragged import Ragged
from fasttext_app.text.tokenizers import Tokenizer, Tokens
from fasttext_app.text.vocabulary import Vocabulary

__all__ = ["TextEncoder", "TextLike", "as_chunks", "map_threads", "tokenize"]

CHUNK_ROWS = 16_384
CHUNK_BYTES = 1 << 26  # an Arrow string column holds 2 GB, and tokenising makes a column longer

TextLike: TypeAlias = pa.Array | pa.ChunkedArray | Sequence[str]

Item = TypeVar("Item")
Result = TypeVar("Result")


class TextEncoder:
    """Turns texts into bags of row ids, by a tokenizer, a vocabulary and fastText's hashing.

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
    ) -> None:
        if (word_ngrams > 1 or maxn > 0) and bucket < 1:
            raise ConfigError(
                f"text.bucket = {bucket}: the n-grams of word_ngrams = {word_ngrams} and "
                f"maxn = {maxn} need a bucket of at least 1"
            )
        self.tokenizer = tokenizer
        self.vocabulary = vocabulary
        self.word_ngrams, self.minn, self.maxn, self.bucket = word_ngrams, minn, maxn, bucket
        self.rows = len(vocabulary) + bucket
        """Rows of the embedding table that ids can name."""
        self._dtype = np.int32 if self.rows <= np.iinfo(np.int32).max else np.int64

    @classmethod
    def from_config(
        cls, config: TextConfig, tokenizer: Tokenizer, vocabulary: Vocabulary
    ) -> TextEncoder:
        """Build the encoder that a configuration describes."""
        return cls(
            tokenizer,
            vocabulary,
            word_ngrams=config.word_ngrams,
            minn=config.minn,
            maxn=config.maxn,
            bucket=config.hashed_rows,
        )

    def encode(self, texts: TextLike, threads: int = 1) -> Ragged:
        """Encode any number of texts; bag ``b`` of the result holds the ids of text ``b``."""
        return self.encode_tokens(tokenize(self.tokenizer, texts, threads), threads)

    def encode_tokens(self, parts: Sequence[Tokens], threads: int = 1) -> Ragged:
        """Encode texts that have been tokenised."""
        encoded = list(map_threads(self._encode_part, parts, threads))
        return Ragged.concat(encoded or [Ragged.from_lists([], self._dtype)])

    def _encode_part(self, tokens: Tokens) -> Ragged:
        coded = tokens.values.dictionary_encode()
        codes, distinct = coded.indices.to_numpy(), coded.dictionary  # [N], [W]
        word_ids = self.vocabulary.ids(distinct)[codes]
        words = Ragged(word_ids.astype(self._dtype, copy=False), tokens.offsets)
        parts = [words.where(word_ids >= 0)]
        if self.maxn:
            characters = char_ngram_hashes(distinct, self.minn, self.maxn).take(codes)
            by_text = Ragged(characters.indices, characters.offsets[tokens.offsets])
            parts.append(self._to_rows(by_text))
        if self.word_ngrams > 1:
            hashes = fnv1a(distinct)[codes]
            by_length = word_ngram_hashes(hashes, tokens.offsets, self.word_ngrams)
            parts += [self._to_rows(ngrams) for ngrams in by_length]
        return Ragged.join(parts)

    def _to_rows(self, hashes: Ragged) -> Ragged:
        buckets: npt.NDArray[np.uint64] = hashes.indices % np.uint64(self.bucket)
        rows: npt.NDArray[Any] = buckets.astype(self._dtype)
        rows += len(self.vocabulary)
        return Ragged(rows, hashes.offsets)


def tokenize(tokenizer: Tokenizer, texts: TextLike, threads: int = 1) -> list[Tokens]:
    """Tokenise texts in chunks, several at a time; the result does not depend on ``threads``."""
    return list(map_threads(tokenizer, as_chunks(texts), threads))


def as_chunks(texts: TextLike) -> list[pa.StringArray]:
    """Cut texts into string arrays of a size that is good to work on.

    Raises:
        DataError: one of the texts is None or no string, or ``texts`` is a single string.
    """
    if isinstance(texts, str):  # it is a sequence of strings too: of its characters
        raise DataError("texts: got a single str where a list or column of texts is expected")
    if not isinstance(texts, pa.Array | pa.ChunkedArray):
        try:
            texts = pa.array(texts, pa.string())
        except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError) as error:
            raise DataError(f"texts: each must be a string: {error}") from None
    if texts.null_count:
        raise DataError("texts: one of them is None")
    whole = texts.chunks if isinstance(texts, pa.ChunkedArray) else [texts]
    return [piece for chunk in whole for piece in _pieces(chunk.cast(pa.string()))]


def _pieces(chunk: pa.StringArray) -> Iterator[pa.StringArray]:
    pieces = max(-(-len(chunk) // CHUNK_ROWS), -(-chunk.nbytes // CHUNK_BYTES))
    rows = -(-len(chunk) // max(pieces, 1))
    for start in range(0, len(chunk), max(rows, 1)):
        yield chunk.slice(start, rows)


def map_threads(
    function: Callable[[Item], Result], items: Sequence[Item], threads: int
) -> Iterator[Result]:
    """Apply ``function`` to each item, results in order, on ``threads`` threads (0: all cores)."""
    workers = min(threads or os.cpu_count() or 1, len(items))
    if workers <= 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(function, items)
