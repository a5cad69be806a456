"""Tokenizers over Arrow columns: a column of texts in, the tokens of every text out.

``load_tokenizer`` knows four kinds by name:

==================  ===========================================================================
``basic_english``   torchtext's ``basic_english``, as Arrow kernels; equal to it on every text
``whitespace``      split on Unicode whitespace, nothing else
``torchtext:NAME``  any tokenizer of torchtext's registry (spacy, moses, toktok, revtok, subword)
``hf:PATH``         a Hugging Face ``tokenizers`` JSON file; it is copied into the saved model
==================  ===========================================================================

To add one: write a ``Callable[[pa.StringArray], Tokens]``, and a branch in ``load_tokenizer``.
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
import pyarrow.compute as pc

from fasttext_app.errors import ConfigError, MissingDependencyError, did_you_mean
from fasttext_app.text.ragged import offsets_of

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


@dataclass(frozen=True, eq=False)
class Tokens:
    """The tokens of B texts: text ``b`` has ``values[offsets[b]:offsets[b + 1]]``."""

    values: pa.StringArray  # [N]
    offsets: npt.NDArray[np.int64]  # [B + 1]

    @classmethod
    def from_lists(cls, tokens: list[list[str]]) -> Tokens:
        """Build from Python lists."""
        flat = [token for text in tokens for token in text]
        return cls(pa.array(flat, pa.string()), offsets_of([len(text) for text in tokens]))

    def to_lists(self) -> list[list[str]]:
        """Return Python lists; for tests and for showing a few texts."""
        flat = self.values.to_pylist()
        bounds = zip(self.offsets, self.offsets[1:], strict=False)
        return [flat[start:end] for start, end in bounds]


@dataclass(frozen=True)
class Tokenizer:
    """A named tokenizer; ``asset`` is the file that it needs, to be saved with a model."""

    name: str
    tokenize: Callable[[pa.StringArray], Tokens]
    asset: bytes | None = None

    def __call__(self, texts: pa.StringArray) -> Tokens:
        """Tokenise a column of texts (no nulls)."""
        return self.tokenize(texts)


def whitespace(texts: pa.StringArray) -> Tokens:
    """Split on Unicode whitespace, as ``str.split()`` does.

    >>> whitespace(pa.array(["Hello,  World", ""])).to_lists()
    [['Hello,', 'World'], []]
    """
    # Trimmed first: Arrow's split of a text that ends in a space reads one byte past it, and with
    # a bad byte there the space stays in the last token (seen with pyarrow 26).
    split = pc.utf8_split_whitespace(pc.utf8_rtrim_whitespace(texts))
    values, offsets = split.flatten(), split.offsets.to_numpy().astype(np.int64)
    offsets -= offsets[0]
    full = pc.not_equal(values, "").to_numpy(zero_copy_only=False)
    if not full.all():  # an empty text, or spaces before a text, leave an empty token
        values = values.filter(pa.array(full))
        offsets = np.concatenate(([0], np.cumsum(full)))[offsets]
    return Tokens(values, offsets)


def basic_english(texts: pa.StringArray) -> Tokens:
    """Lower-case, set punctuation apart, drop double quotes, split on whitespace.

    Equal to torchtext's ``basic_english`` on every text. Texts with non-ASCII characters are
    lower-cased by Python, whose rules (final sigma, dotted I) Arrow does not follow.

    >>> basic_english(pa.array(["You can't stop; OK?"])).to_lists()
    [['you', 'can', "'", 't', 'stop', 'ok', '?']]
    """
    column = _lower(texts)
    for pattern, replacement in BASIC_ENGLISH_RULES:
        column = pc.replace_substring(column, pattern, replacement)
    return whitespace(column)


def _lower(texts: pa.StringArray) -> pa.StringArray:
    ascii_only = pc.string_is_ascii(texts)
    if ascii_only.true_count == len(texts):
        return pc.ascii_lower(texts)
    others = pa.array(
        [text.lower() for text in texts.filter(pc.invert(ascii_only)).to_pylist()], pa.string()
    )
    return pc.replace_with_mask(pc.ascii_lower(texts), pc.invert(ascii_only), others)


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
        return Tokenizer(name, basic_english)
    if name == "whitespace":
        return Tokenizer(name, whitespace)
    family, _, argument = name.partition(":")
    if family == "torchtext" and argument:
        return Tokenizer(name, _per_text(_torchtext_function(argument)))
    if family == "hf" and argument:
        return _hugging_face(name, asset if asset is not None else _read_tokenizer_file(argument))
    names = ["basic_english", "whitespace", *(f"torchtext:{known}" for known in REGISTRY_NAMES)]
    hint = did_you_mean(name, names) or f"; known: {', '.join(names)}, hf:PATH"
    raise ConfigError(f"text.tokenizer: {name!r} is not a tokenizer{hint}")


def _per_text(function: Callable[[str], list[str]]) -> Callable[[pa.StringArray], Tokens]:
    return lambda texts: Tokens.from_lists([list(function(text)) for text in texts.to_pylist()])


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

    def tokenize(texts: pa.StringArray) -> Tokens:
        # Not encode_batch_fast: it fills in the ids alone and leaves every token empty.
        encodings = backend.encode_batch(texts.to_pylist(), add_special_tokens=False)
        return Tokens.from_lists([encoding.tokens for encoding in encodings])

    return Tokenizer(name, tokenize, asset)
