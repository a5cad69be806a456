"""Tokenizers: a column of texts in, the tokens of every text out as numbers of distinct words.

``load_tokenizer`` knows four kinds by name:

==================  ===========================================================================
``basic_english``   torchtext's ``basic_english``, compiled; equal to it on every text
``whitespace``      split on Unicode whitespace, nothing else; compiled too
``torchtext:NAME``  any tokenizer of torchtext's registry (spacy, moses, toktok, revtok, subword)
``hf:PATH``         a Hugging Face ``tokenizers`` JSON file; it is copied into the saved model
==================  ===========================================================================

To add one: write a ``Callable[[list[str]], list[list[str]]]``, and a branch in ``load_tokenizer``.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fasttext_app.errors import ConfigError, MissingDependencyError, did_you_mean
from fasttext_app.text.ragged import Ragged, offsets_of
from fasttext_app.text.strings import string_array, string_buffers, strings_of_buffers

__all__ = ["Tokenizer", "Tokens", "basic_english", "load_tokenizer", "whitespace"]

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


@dataclass(frozen=True, eq=False)
class Tokens:
    """The tokens of B texts, as numbers of distinct words in the order of first appearance.

    Text ``b`` has ``codes[offsets[b]:offsets[b + 1]]``.
    """

    codes: npt.NDArray[np.int32]  # [N]
    offsets: npt.NDArray[np.int64]  # [B + 1]
    words: pa.StringArray  # [W]
    hashes: npt.NDArray[np.uint32]  # [W], FNV-1a

    @classmethod
    def from_lists(cls, tokens: list[list[str]]) -> Tokens:
        """Number the words of Python lists.

        >>> tokens = Tokens.from_lists([["to", "be"], [], ["to"]])
        >>> tokens.codes.tolist(), tokens.offsets.tolist(), tokens.words.to_pylist()
        ([0, 1, 0], [0, 2, 2, 3], ['to', 'be'])
        """
        from fasttext_app.text.kernels import hash_words

        number: dict[str, int] = {}
        codes = [number.setdefault(word, len(number)) for text in tokens for word in text]
        words = string_array(list(number))
        return cls(
            np.array(codes, dtype=np.int32),
            offsets_of([len(text) for text in tokens]),
            words,
            hash_words(*string_buffers(words)),
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """The number of tokens of each text, [B]."""
        return np.diff(self.offsets)

    def word_counts(self) -> npt.NDArray[np.int64]:
        """Return how often each distinct word occurs, [W]."""
        return np.bincount(self.codes, minlength=len(self.words))

    def take(self, texts: npt.NDArray[np.integer[Any]]) -> Tokens:
        """Gather texts by number; the distinct words stay, some perhaps without a token."""
        taken = Ragged(self.codes, self.offsets).take(texts)
        return Tokens(taken.indices, taken.offsets, self.words, self.hashes)

    def to_lists(self) -> list[list[str]]:
        """Return Python lists; for tests and for showing a few texts."""
        words, texts = self.words.to_pylist(), Ragged(self.codes, self.offsets).to_lists()
        return [[words[code] for code in text] for text in texts]


@dataclass(frozen=True)
class Tokenizer:
    """A named tokenizer.

    Attributes:
        name: as it stands in a configuration.
        split: texts to the tokens of each, in plain Python.
        asset: the file that it needs, to be saved with a model.
        english: for the built-in ones, whether the compiled pass follows the rules of
            ``basic_english`` or splits on whitespace alone; None: there is no compiled pass.
    """

    name: str
    split: Split
    asset: bytes | None = None
    english: bool | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return load_tokenizer, (self.name, self.asset)  # its function may be a library's object

    def __call__(self, texts: pa.StringArray) -> Tokens:
        """Tokenise a column of texts (no nulls), in one compiled pass where there is one."""
        if self.english is None:
            return Tokens.from_lists(self.split(texts.to_pylist()))
        from fasttext_app.text.kernels import code_column

        column = _lower_others(texts) if self.english else texts
        codes, offsets, data, bounds, hashes = code_column(*string_buffers(column), self.english)
        return Tokens(codes, offsets, strings_of_buffers(data, bounds), hashes)


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
        return Tokenizer(name, _one_by_one(basic_english), english=True)
    if name == "whitespace":
        return Tokenizer(name, _one_by_one(whitespace), english=False)
    family, _, argument = name.partition(":")
    if family == "torchtext" and argument:
        return Tokenizer(name, _one_by_one(_torchtext_function(argument)))
    if family == "hf" and argument:
        return _hugging_face(name, asset if asset is not None else _read_tokenizer_file(argument))
    names = ["basic_english", "whitespace", *(f"torchtext:{known}" for known in REGISTRY_NAMES)]
    hint = did_you_mean(name, names) or f"; known: {', '.join(names)}, hf:PATH"
    raise ConfigError(f"text.tokenizer: {name!r} is not a tokenizer{hint}")


def _one_by_one(function: Callable[[str], list[str]]) -> Split:
    return lambda texts: [list(function(text)) for text in texts]


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

    return Tokenizer(name, split, asset)
