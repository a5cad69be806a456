"""The features of one text by name: its words and n-grams, with the table row of each.

They are what :class:`~fasttext_app.text.encoder.TextEncoder` encodes, in the same order. The row of
a hashed n-gram does not tell its name; the text does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from fasttext_app.text.encoder import TextEncoder
from fasttext_app.text.hashing import reference_word_ngrams

Kind: TypeAlias = Literal["word", "character n-gram", "word n-gram"]
WORD: Kind = "word"
CHAR_NGRAM: Kind = "character n-gram"
WORD_NGRAM: Kind = "word n-gram"


@dataclass(frozen=True)
class TextFeature:
    """A word or an n-gram at its place in a text, ``tokens[start:end]``."""

    name: str
    kind: Kind
    start: int
    end: int
    row: int | None
    """None for a word outside the vocabulary, or an n-gram whose bucket has no row."""


def text_features(tokens: list[str], encoder: TextEncoder) -> list[TextFeature]:
    """Return the features of a tokenized text; those with a row are its bag, in order.

    >>> from fasttext_app.text.tokenizers import load_tokenizer
    >>> from fasttext_app.text.vocabulary import Vocabulary
    >>> from fasttext_app.text.tokens import Tokens
    >>> vocabulary = Vocabulary.build([Tokens.from_lists([["be", "be", "to"]])])
    >>> encoder = TextEncoder(load_tokenizer("whitespace"), vocabulary, word_ngrams=2, bucket=1)
    >>> for feature in text_features(["to", "see"], encoder):
    ...     print(feature.kind, repr(feature.name), feature.row)
    word 'to' 1
    word 'see' None
    word n-gram 'to see' 2
    """
    named: list[tuple[str, Kind, int, int]] = []
    hashes: list[int] = []  # of the n-grams, in order
    for index, token in enumerate(tokens):
        named.append((token, WORD, index, index + 1))
        for name, ngram_hash in encoder.char_ngrams(token):
            named.append((name, CHAR_NGRAM, index, index + 1))
            hashes.append(ngram_hash)
    ranges = [
        (start, start + length)
        for start in range(len(tokens))
        for length in range(2, min(encoder.word_ngrams, len(tokens) - start) + 1)
    ]
    word_ngrams = reference_word_ngrams(tokens, encoder.word_ngrams)
    for (start, end), (name, ngram_hash) in zip(ranges, word_ngrams, strict=True):
        named.append((name, WORD_NGRAM, start, end))
        hashes.append(ngram_hash)
    ngram_rows = iter(encoder.buckets.find(hashes))
    features = []
    for name, kind, start, end in named:
        row = encoder.vocabulary.row(name) if kind == WORD else next(ngram_rows)
        features.append(TextFeature(name, kind, start, end, row if row >= 0 else None))
    return features
