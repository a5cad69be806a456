"""The features of one text by name: its words and n-grams, and the table row of each.

It is what :class:`~fasttext_app.text.encoder.TextEncoder` encodes, in the same order, but with
names: a hashed n-gram has its name from the text alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from fasttext_app.text.encoder import TextEncoder
from fasttext_app.text.hashing import reference_word_ngrams

__all__ = ["CHARACTERS", "WORD", "WORDS", "Kind", "TextFeature", "text_features"]

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

    def row(value: int) -> int | None:
        return next(iter(encoder.hashed.rows([value])), None)

    found = []
    for place, token in enumerate(tokens):
        known = encoder.vocabulary.row(token)
        found.append(TextFeature(token, WORD, place, place + 1, known if known >= 0 else None))
        for name, value in encoder.char_ngrams(token):
            found.append(TextFeature(name, CHARACTERS, place, place + 1, row(value)))
    places = [
        (start, start + length)
        for start in range(len(tokens))
        for length in range(2, min(encoder.word_ngrams, len(tokens) - start) + 1)
    ]
    ngrams = reference_word_ngrams(tokens, encoder.word_ngrams)
    for (start, end), (name, value) in zip(places, ngrams, strict=True):
        found.append(TextFeature(name, WORDS, start, end, row(value)))
    return found
