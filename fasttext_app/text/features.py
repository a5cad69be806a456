"""The features of one text by name: its words and n-grams, and the table row of each.

It is what :class:`~fasttext_app.text.encoder.TextEncoder` encodes, in the same order, but with
names: a hashed n-gram has its name from the text alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from fasttext_app.text.encoder import TextEncoder
from fasttext_app.text.hashing import reference_word_ngrams

Kind: TypeAlias = Literal["word", "character n-gram", "word n-gram"]
WORD: Kind = "word"
CHARACTERS: Kind = "character n-gram"
WORDS: Kind = "word n-gram"


@dataclass(frozen=True)
class TextFeature:
    """A word or an n-gram where it stands in a text: in ``tokens[start:end]``."""

    name: str
    kind: Kind
    start: int
    end: int
    row: int | None
    """None for a word outside the vocabulary, and for an n-gram whose hash bucket has no row."""


def text_features(tokens: list[str], encoder: TextEncoder) -> list[TextFeature]:
    """Return the features of a text with these tokens; those with a row are its bag, in order.

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
    hashes: list[int] = []  # of the n-grams
    for place, token in enumerate(tokens):
        named.append((token, WORD, place, place + 1))
        for name, value in encoder.char_ngrams(token):
            named.append((name, CHARACTERS, place, place + 1))
            hashes.append(value)
    places = [
        (start, start + length)
        for start in range(len(tokens))
        for length in range(2, min(encoder.word_ngrams, len(tokens) - start) + 1)
    ]
    joined = reference_word_ngrams(tokens, encoder.word_ngrams)
    for (start, end), (name, value) in zip(places, joined, strict=True):
        named.append((name, WORDS, start, end))
        hashes.append(value)
    rows = iter(encoder.hashed.find(hashes))
    features = []
    for name, kind, start, end in named:
        row = encoder.vocabulary.row(name) if kind == WORD else next(rows)
        features.append(TextFeature(name, kind, start, end, row if row >= 0 else None))
    return features
