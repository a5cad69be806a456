"""``TextEncoder``: texts in, row ids of the embedding table out. There is no other way to encode.

Training, evaluation, prediction and ``inspect`` all use it, and a text gets the same ids alone as
in a column of millions. The ids of a text are its words in order, each followed by its character
n-grams, then its word n-grams. N-grams are ordered by their start, shorter ones first. This is
fastText's order, which makes sums of vectors bit-identical to its own:

    rows [0, V)          words of the vocabulary
    rows [V, V + K)      hash buckets of character and word n-grams

Columns go through compiled code (``kernels.py``), the first few texts of a process through plain
Python, which starts faster (see ``core/jit.py``). Both give the same ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import chain, islice, pairwise
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from fasttext_app.config.schema import TextConfig
from fasttext_app.core import jit
from fasttext_app.core.arrays import F64, I32, I64, constant
from fasttext_app.core.arrow import python_strings
from fasttext_app.core.pickling import state_without_caches
from fasttext_app.core.ragged import Ragged
from fasttext_app.core.threads import map_threads
from fasttext_app.errors import ConfigError
from fasttext_app.text.buckets import Buckets
from fasttext_app.text.chunks import TextLike, as_chunks, not_unicode, one_text, text_bytes
from fasttext_app.text.fasttext_tokenizer import END
from fasttext_app.text.hashing import (
    char_ngram_hashes,
    reference_char_ngrams,
    reference_fnv1a,
    signed,
    word_ngram_hashes,
)
from fasttext_app.text.tokenizers import Tokenizer
from fasttext_app.text.tokens import Tokens, WordList
from fasttext_app.text.vocabulary import Vocabulary

TEXT_BYTES = 64  # the overhead of a text in plain Python, as bytes of text
NO_CHAR_NGRAMS = np.empty(0, np.uint32), np.zeros(1, np.int64)
NO_ROWS = constant(np.empty(0, np.int32))
CACHED_WORDS = 1 << 16

EncodedWord: TypeAlias = tuple[list[int], int, int]
"""The rows of a word and of its character n-grams, the word's hash as a signed number, and how many
features they are, those without a row included."""

TokenizedTexts: TypeAlias = Tokens | list[list[str]]
"""Texts as tokens, for compiled code or for plain Python."""


class TextEncoder:
    """Encodes texts as bags of row ids.

    Args:
        tokenizer: splits texts into tokens.
        vocabulary: the words that have a row.
        word_ngrams: the maximum length of word n-grams; 1: none.
        minn: the minimum length of character n-grams.
        maxn: the maximum length of character n-grams; 0: none.
        bucket: the number of hash buckets for n-grams.
        bucket_ids: the buckets that have a row, ascending; None: all.

    Raises:
        ConfigError: there are n-grams and no buckets, or more rows than 32-bit ids can name.

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
        bucket_ids: I32 | None = None,
    ) -> None:
        if (word_ngrams > 1 or maxn > 0) and bucket < 1:
            raise ConfigError(
                f"text.bucket = {bucket}: the n-grams of word_ngrams = {word_ngrams} and "
                f"maxn = {maxn} need a bucket of at least 1"
            )
        self.tokenizer = tokenizer
        self.vocabulary = vocabulary
        self.word_ngrams, self.minn, self.maxn, self.bucket = word_ngrams, minn, maxn, bucket
        self.buckets = Buckets(bucket, len(vocabulary), bucket_ids)
        self.rows = len(vocabulary) + len(self.buckets)
        """The number of rows of the embedding table."""
        if self.rows > np.iinfo(np.int32).max:
            raise ConfigError(
                f"text.bucket = {bucket}: with {len(vocabulary):,} words there would be more than "
                "2^31 rows"
            )
        self._words: dict[str, EncodedWord] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**state_without_caches(self), "_words": {}}

    @classmethod
    def from_config(
        cls,
        config: TextConfig,
        tokenizer: Tokenizer,
        vocabulary: Vocabulary,
        bucket_ids: I32 | None = None,
    ) -> TextEncoder:
        """Build the encoder that a configuration describes."""
        return cls(
            tokenizer,
            vocabulary,
            word_ngrams=config.word_ngrams,
            minn=config.minn,
            maxn=config.maxn,
            bucket=config.bucket_count,
            bucket_ids=bucket_ids,
        )

    def without_char_ngrams(self) -> TextEncoder:
        """Return the same encoder, which leaves the character n-grams out of the bags."""
        return TextEncoder(
            self.tokenizer,
            self.vocabulary,
            word_ngrams=self.word_ngrams,
            bucket=self.bucket,
            bucket_ids=self.buckets.ids,
        )

    def pruned(self, bucket_ids: I32) -> TextEncoder:
        """Return the same encoder with rows only for these buckets, [K] ascending."""
        return TextEncoder(
            self.tokenizer,
            self.vocabulary,
            word_ngrams=self.word_ngrams,
            minn=self.minn,
            maxn=self.maxn,
            bucket=self.bucket,
            bucket_ids=bucket_ids,
        )

    def encode(self, texts: TextLike, threads: int = 1) -> Ragged:
        """Encode any number of texts; bag ``b`` of the result has the ids of text ``b``."""
        bags = list(map_threads(self.encode_chunk, as_chunks(texts), threads))
        return Ragged.concat(bags or [Ragged.from_lists([], np.int32)])

    def encode_chunk(self, texts: pa.StringArray) -> Ragged:
        """Encode one column of texts without nulls."""
        return self.encode_tokens(self.tokenize(texts))

    def tokenize(self, texts: pa.StringArray) -> TokenizedTexts:
        """Tokenize a column of texts without nulls; the first few of a process in plain Python."""
        if not jit.enabled(text_bytes(texts) + TEXT_BYTES * len(texts)):
            return self.tokenizer.split(python_strings(texts))
        return self.tokenizer(texts)

    def encode_text(self, text: str, errors: str = "strict") -> Ragged:
        """Encode a single text, faster than a column of one; see :meth:`tokenize_text`."""
        return self.encode_tokens(self.tokenize_text(text, errors))

    def tokenize_text(self, text: str, errors: str = "strict") -> TokenizedTexts:
        """Tokenize a single text.

        Args:
            text: the text.
            errors: how to encode lone surrogates, as in ``str.encode``.

        Raises:
            DataError: the text has a lone surrogate, and ``errors`` is ``strict``.
        """
        if not isinstance(text, str):
            text = one_text(text)
        text, size = _valid_text(text, errors)
        if not jit.enabled(size + TEXT_BYTES):
            return self.tokenizer.split([text])
        return self.tokenizer.tokenize_text(text, errors)

    def text_bytes(self, text: str, errors: str = "strict") -> bytes:
        """Return the bytes of one text as :class:`.TextForward` reads them.

        Args:
            text: the text.
            errors: as for :meth:`tokenize_text`.

        Raises:
            DataError: as for :meth:`tokenize_text`.
        """
        if text.isascii():
            return text.encode() if self._ascii_as_it_is else self.tokenizer.text_bytes(text)
        return self.tokenizer.text_bytes(_valid_text(text, errors)[0], errors)

    @cached_property
    def _ascii_as_it_is(self) -> bool:
        """Whether the bytes of an ASCII text are those of the text."""
        return not self.tokenizer.rewriting and self.tokenizer.rules != "unicode"

    def encode_tokens(self, tokens: TokenizedTexts) -> Ragged:
        """Encode tokenized texts."""
        if isinstance(tokens, Tokens):
            return self._encode(tokens, self._end_code(tokens))
        bags = self._bags(tokens)
        return Ragged.single(bags[0]) if len(bags) == 1 else Ragged.from_lists(bags, np.int32)

    def count_features(self, tokens: TokenizedTexts) -> I64:
        """Return how many words and n-grams each text has, with or without a row, [B].

        The word that ends each line is not one of the text's.
        """
        if isinstance(tokens, Tokens):
            from fasttext_app.text.kernels import count_features

            return count_features(
                tokens.codes,
                tokens.offsets,
                tokens.words.data,
                tokens.words.bounds,
                self.minn,
                self.maxn,
                self.word_ngrams,
                self._end_code(tokens),
            )
        words = self._encoded_words(tokens)
        return np.array(
            [
                sum(words[token][2] for token in text)
                + sum(max(len(text) - length + 1, 0) for length in range(2, self.word_ngrams + 1))
                for text in tokens
            ],
            np.int64,
        )

    def count_known(self, bags: Ragged) -> I64:
        """Return how many words and n-grams of each text have a row, [B]; 0: nothing is known.

        Args:
            bags: the encoded texts.
        """
        return bags.lengths - 1 if self.has_end else bags.lengths

    @cached_property
    def has_end(self) -> bool:
        """Whether each bag ends with the row of the word ``</s>``."""
        return self.tokenizer.ends_lines and self.vocabulary.row(END) >= 0

    def known_shares(self, tokens: TokenizedTexts, bags: Ragged) -> F64:
        """Return the share of each text's words and n-grams that have a row, [B]; 0 if it has none.

        Args:
            tokens: the texts.
            bags: the same texts, encoded.
        """
        features = self.count_features(tokens)
        if len(features) == 1:  # much faster than arrays
            return np.array([(len(bags.indices) - self.has_end) / max(int(features[0]), 1)])
        return self.count_known(bags) / np.maximum(features, 1)

    def _end_code(self, tokens: Tokens) -> int:
        """Return the code of the word ``</s>``, with which each text ends; -1 if none does.

        It has no character n-grams.
        """
        return int(tokens.codes[-1]) if self.tokenizer.ends_lines and len(tokens.codes) else -1

    def encode_words(self, words: pa.StringArray) -> Ragged:
        """Return a bag for each of some distinct words: its row, and its character n-grams."""
        import pyarrow.compute as pc

        codes = np.arange(len(words) + 1)
        tokens = Tokens(codes[:-1].astype(np.int32), codes, WordList.from_column(words))
        ends = self.tokenizer.ends_lines
        return self._encode(tokens, pc.index(words, END).as_py() if ends else -1)

    def word_lengths(self) -> I32:
        """Return the number of ids of each word: its row and its character n-grams, [V]."""
        lengths: I32 = self.encode_words(self.vocabulary.words).lengths.astype(np.int32)
        return lengths

    def _encode(self, tokens: Tokens, end_code: int) -> Ragged:
        """Encode tokenized texts; the word ``end_code`` has no character n-grams."""
        from fasttext_app.text import kernels

        words, char_ngrams = tokens.words, NO_CHAR_NGRAMS
        if self.maxn:
            char_ngrams = kernels.char_ngram_hashes(
                words.data, words.bounds, self.minn, self.maxn, end_code
            )
        rows, offsets = kernels.emit_rows(
            tokens.codes,
            tokens.offsets,
            self.vocabulary.rows(words),
            words.hashes,
            *char_ngrams,
            self.word_ngrams,
            *self._bucket_arguments,
        )
        if self.buckets.ranges is not None:
            rows, offsets = kernels.place_rows(
                rows, offsets, len(self.vocabulary), self.bucket, *self.buckets.ranges
            )
        return Ragged(rows, offsets)

    @property
    def _bucket_arguments(self) -> tuple[Any, ...]:
        return max(self.bucket, 1), len(self.vocabulary), *self.buckets.bitmap

    def kernel_arguments(self) -> tuple[Any, ...]:
        """Return the arguments of ``kernels.encode_text`` after the text."""
        return (
            self.tokenizer.kernel_rules,
            self.tokenizer.prefix_bytes,
            self.tokenizer.ends_lines,
            self.vocabulary.index,
            self.minn,
            self.maxn,
            self.word_ngrams,
            self._bucket_arguments,
            self.buckets.ranges or (NO_ROWS, NO_ROWS),
        )

    def encode_plain(self, texts: list[str]) -> Ragged:
        """Encode texts in plain Python: the reference implementation, and fast for a few texts."""
        return self.encode_tokens(self.tokenizer.split(texts))

    def char_ngrams(self, token: str) -> list[tuple[str, int]]:
        """Return the character n-grams of a token with their hashes."""
        if not self.maxn or (self.tokenizer.ends_lines and token == END):
            return []
        return reference_char_ngrams(token, self.minn, self.maxn)

    def _bags(self, texts: list[list[str]]) -> list[list[int]]:
        words, bags, hashes = self._encoded_words(texts), [], []
        for text in texts:
            encoded = [words[token] for token in text]
            bags.append([row for word_rows, _, _ in encoded for row in word_rows])
            word_hashes = [word_hash for _, word_hash, _ in encoded]
            hashes.append(word_ngram_hashes(word_hashes, self.word_ngrams))
        rows = iter(self.buckets.find(list(chain.from_iterable(hashes))))
        for bag, ngrams in zip(bags, hashes, strict=True):
            bag += [row for row in islice(rows, len(ngrams)) if row >= 0]
        return bags

    def _encoded_words(self, texts: list[list[str]]) -> Mapping[str, EncodedWord]:
        """Return the words of texts, encoded; those of earlier texts are remembered."""
        words = self._words
        new = [token for token in dict.fromkeys(chain.from_iterable(texts)) if token not in words]
        if len(words) + len(new) > CACHED_WORDS:
            words = self._words = {}  # another thread may still read the old ones
            new = list(dict.fromkeys(chain.from_iterable(texts)))
        if new:
            words.update(zip(new, self._encode_new(new), strict=True))
        return words

    def _encode_new(self, tokens: list[str]) -> Iterator[EncodedWord]:
        data = [token.encode("utf-8", "surrogateescape") for token in tokens]
        hashes, offsets = char_ngram_hashes(data, self.minn, self.maxn)
        ngram_rows = self.buckets.find(hashes.tolist())
        bounds, word_rows = pairwise(offsets.tolist()), self.vocabulary.rows_of(tokens)
        for token, word, row, (start, end) in zip(tokens, data, word_rows, bounds, strict=True):
            word_hash = signed(reference_fnv1a(word))
            rows = [row] if row >= 0 else []
            if self.tokenizer.ends_lines and token == END:
                yield rows, word_hash, 0
            else:
                rows += [ngram_row for ngram_row in ngram_rows[start:end] if ngram_row >= 0]
                yield rows, word_hash, 1 + end - start


def _valid_text(text: str, errors: str) -> tuple[str, int]:
    """Return a text whose lone surrogates are those of single bytes, and its size in bytes.

    Raises:
        DataError: it has others, or ``errors`` is ``strict`` and it has any.
    """
    try:
        data = text.encode(errors=errors)
    except UnicodeEncodeError as error:
        raise not_unicode("text", error) from None
    if errors != "strict":
        text = data.decode(errors=errors)  # escaped bytes may form a character
    return text, len(data)
