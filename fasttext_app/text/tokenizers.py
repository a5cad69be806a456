"""Tokenizers: a column of texts in, the tokens of every text out as numbers of distinct words.

``load_tokenizer`` knows five kinds by name:

==================  ===========================================================================
``basic_english``   torchtext's ``basic_english``, compiled; equal to it on every text
``whitespace``      split on Unicode whitespace, nothing else; compiled too
``fasttext``        as the original reads a line, with ``</s>`` at its end; compiled too.
                    ``fasttext:PREFIX`` where labels do not begin with ``__label__``
``torchtext:NAME``  any tokenizer of torchtext's registry (spacy, moses, toktok, revtok, subword)
``hf:PATH``         a Hugging Face ``tokenizers`` JSON file; it is copied into the saved model
==================  ===========================================================================

To add one: write a ``Callable[[list[str]], list[list[str]]]``, and a branch in ``load_tokenizer``.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cached_property, partial
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow as pa

from fasttext_app.core.arrays import I32, U8
from fasttext_app.core.arrow import string_array, string_buffers, utf8_buffers
from fasttext_app.errors import ConfigError, MissingDependencyError, did_you_mean
from fasttext_app.text.fasttext_tokenizer import PREFIX, fasttext_words
from fasttext_app.text.spans import Span, fasttext_spans, replacement_spans, whitespace_spans
from fasttext_app.text.tokens import Tokens, WordList

# torchtext.data.utils._patterns, in its order: after lower-casing, each is replaced everywhere.
BASIC_ENGLISH_RULES = (
    ("'", " '  "),
    ('"', ""),
    (".", " . "),
    ("<br />", " "),
    (",", " , "),
    ("(", " ( "),
    (")", " ) "),
    ("!", " ! "),
    ("?", " ? "),
    (";", " "),
    (":", " "),
)
REGISTRY_NAMES = ("basic_english", "spacy", "moses", "toktok", "revtok", "subword")

Split = Callable[[list[str]], list[list[str]]]
"""What a tokenizer does: texts to the tokens of each."""


@dataclass(frozen=True)
class Tokenizer:
    """A named tokenizer.

    Attributes:
        name: as it stands in a configuration.
        split: texts to the tokens of each, in plain Python.
        asset: the file that it needs, to be saved with a model.
        rules: for the built-in ones, what the compiled pass over the bytes knows them by.
        prefix: what begins a word that is a label, and no token.
        ends_lines: whether each text ends with the word ``</s>``, which has no character n-grams.
        spans: where the tokens of a text stand in it, for those tokenizers that can tell.
    """

    name: str
    split: Split
    asset: bytes | None = None
    rules: str | None = None
    prefix: str = ""
    ends_lines: bool = False
    spans: Callable[[str], list[Span]] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return load_tokenizer, (self.name, self.asset)  # its function may be a library's object

    def __call__(self, texts: pa.StringArray) -> Tokens:
        """Tokenize a column of texts (no nulls), in one compiled pass where there is one."""
        if self.rules is None:
            return Tokens.from_lists(self.split(texts.to_pylist()))
        if self.rules == "basic_english":
            texts = _lower_others(texts)
        return self._compiled(*string_buffers(texts))

    def of_text(self, text: str, errors: str = "strict") -> Tokens:
        """Tokenize a single text, without the way through Arrow.

        Args:
            text: the text.
            errors: what to do with lone surrogates; ``surrogateescape``: they stand for bytes.

        Raises:
            UnicodeEncodeError: it has a lone surrogate, and ``errors`` does not say what that is.
        """
        if self.rules is None:
            return Tokens.from_lists(self.split([text]))
        if self.rules == "basic_english" and not text.isascii():
            text = text.lower()
        return self._compiled(*utf8_buffers(text, errors))

    def _compiled(self, data: U8, bounds: I32) -> Tokens:
        from fasttext_app.text.token_kernels import RULES, code_column, end_lines

        assert self.rules is not None
        found = code_column(data, bounds, RULES[self.rules])
        if self.ends_lines:
            found = end_lines(*found, self._prefix_bytes)
        codes, offsets, words, starts, hashes = found
        words.flags.writeable = starts.flags.writeable = False  # as those of a column are
        return Tokens(codes, offsets, WordList(words, starts, hashes))

    @cached_property
    def _prefix_bytes(self) -> U8:
        return utf8_buffers(self.prefix)[0]


def whitespace(text: str) -> list[str]:
    """Split on Unicode whitespace."""
    return text.split()


def basic_english(text: str) -> list[str]:
    """Lower-case, set punctuation apart, drop double quotes, split on whitespace.

    >>> basic_english("You can't stop; OK?")
    ['you', 'can', "'", 't', 'stop', 'ok', '?']
    """
    text = text.lower()
    for pattern, replacement in BASIC_ENGLISH_RULES:
        text = text.replace(pattern, replacement)
    return text.split()


def _lower_others(texts: pa.StringArray) -> pa.StringArray:
    """Lower-case the texts that have other letters than A-Z, by Python's rules."""
    import pyarrow.compute as pc

    ascii_only = pc.string_is_ascii(texts)
    if ascii_only.true_count == len(texts):
        return texts
    others = texts.filter(pc.invert(ascii_only)).to_pylist()
    lowered = string_array([text.lower() for text in others])
    return pc.replace_with_mask(texts, pc.invert(ascii_only), lowered)


def load_tokenizer(name: str, asset: bytes | None = None) -> Tokenizer:
    """Return the tokenizer called ``name``.

    Args:
        name: see the table at the top of this module.
        asset: the tokenizer file as it was saved with a model; without it ``hf:PATH`` is read.

    Raises:
        ConfigError: there is no such tokenizer, or its file cannot be used.
        MissingDependencyError: the package behind it is not installed.
    """
    if name == "basic_english":
        spans = partial(replacement_spans, rules=BASIC_ENGLISH_RULES)
        return Tokenizer(name, _one_by_one(basic_english), rules=name, spans=spans)
    if name == "whitespace":
        return Tokenizer(name, _one_by_one(whitespace), rules=name, spans=whitespace_spans)
    family, _, argument = name.partition(":")
    if family == "fasttext":
        return _fasttext(name, argument or PREFIX)
    if family == "torchtext" and argument:
        return Tokenizer(name, _one_by_one(_torchtext_function(argument)))
    if family == "hf" and argument:
        return _hugging_face(name, asset if asset is not None else _read_tokenizer_file(argument))
    names = [
        "basic_english",
        "whitespace",
        "fasttext",
        *(f"torchtext:{known}" for known in REGISTRY_NAMES),
    ]
    hint = did_you_mean(name, names) or f"; known: {', '.join(names)}, hf:PATH"
    raise ConfigError(f"text.tokenizer: {name!r} is not a tokenizer{hint}")


def _one_by_one(function: Callable[[str], list[str]]) -> Split:
    return lambda texts: [list(function(text)) for text in texts]


def _fasttext(name: str, prefix: str) -> Tokenizer:
    return Tokenizer(
        name,
        _one_by_one(partial(fasttext_words, prefix=prefix)),
        rules="fasttext",
        prefix=prefix,
        ends_lines=True,
        spans=partial(fasttext_spans, prefix=prefix),
    )


def _torchtext_function(name: str) -> Callable[[str], list[str]]:
    if name not in REGISTRY_NAMES:
        hint = did_you_mean(name, REGISTRY_NAMES) or f"; known: {', '.join(REGISTRY_NAMES)}"
        raise ConfigError(f"text.tokenizer: torchtext has no tokenizer {name!r}{hint}")
    from torchtext.data.utils import get_tokenizer

    language = "en_core_web_sm" if name == "spacy" else "en"
    try:
        with redirect_stdout(StringIO()):  # torchtext prints where a package is missing
            function: Callable[[str], list[str]] = get_tokenizer(name, language=language)
    except ImportError as error:
        package = (error.name or name).partition(".")[0]
        raise MissingDependencyError(
            f"text.tokenizer: torchtext:{name} needs the package {package!r}; pip install it"
        ) from None
    except OSError as error:  # spaCy's own error for a language model that is not installed
        raise MissingDependencyError(f"text.tokenizer: torchtext:{name}: {error}") from None
    return function


def _read_tokenizer_file(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(
            f"text.tokenizer: hf:{path}: cannot read the tokenizer file: {error.strerror}"
        ) from None


def _hugging_face(name: str, asset: bytes) -> Tokenizer:
    try:
        from tokenizers import Tokenizer as HuggingFaceTokenizer
    except ImportError:
        raise MissingDependencyError(
            f"text.tokenizer: {name} needs the package 'tokenizers'; pip install tokenizers"
        ) from None
    try:
        backend: Any = HuggingFaceTokenizer.from_str(asset.decode("utf-8"))
    except Exception as error:  # noqa: BLE001 - the library raises bare Exception for a bad file
        raise ConfigError(f"text.tokenizer: {name}: not a tokenizer file: {error}") from None
    backend.no_truncation()
    backend.no_padding()

    def split(texts: list[str]) -> list[list[str]]:
        # Not encode_batch_fast: it fills in the ids alone and leaves every token empty.
        encodings = backend.encode_batch(texts, add_special_tokens=False)
        return [encoding.tokens for encoding in encodings]

    def spans(text: str) -> list[Span]:
        offsets: list[Span] = backend.encode(text, add_special_tokens=False).offsets
        return offsets

    return Tokenizer(name, split, asset, spans=spans)
