"""Tokenizers: split a column of texts into tokens. ``load_tokenizer`` finds them by name.

==================  ===========================================================================
``basic_english``   torchtext's ``basic_english``, compiled; the same tokens for every text
``unicode``         words by UAX #29; letters and pairs of them for Chinese, Japanese, Thai, Khmer,
                    ... (``word_break.py``); compiled
``whitespace``      splits on Unicode white space; compiled
``fasttext``        splits as the original splits a line, with ``</s>`` at its end; compiled.
                    ``fasttext:PREFIX`` if labels do not begin with ``__label__``
``torchtext:NAME``  any tokenizer of torchtext's registry (spacy, moses, toktok, revtok, subword)
``hf:PATH``         a Hugging Face ``tokenizers`` JSON file, which is copied into the saved model
==================  ===========================================================================

Before any of them, a text can be rewritten (``rewriting.py``): lower case, URLs and the like.

To add a tokenizer, write a function from a text to its tokens, and a branch in ``load_tokenizer``.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import cached_property, partial
from io import StringIO
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from fasttext_app.config.schema import TextConfig
from fasttext_app.core.arrays import I32, U8
from fasttext_app.core.arrow import (
    bytes_buffers,
    string_array,
    string_buffers,
    to_arrow,
)
from fasttext_app.errors import ConfigError, MissingDependencyError, did_you_mean, missing_package
from fasttext_app.text.fasttext_tokenizer import PREFIX, fasttext_words
from fasttext_app.text.rewriting import Rewriting, rewritten_spans
from fasttext_app.text.spans import Span, fasttext_spans, replacement_spans, whitespace_spans
from fasttext_app.text.tokens import Tokens, WordList

# torchtext.data.utils._patterns, in its order; each is replaced everywhere, after lower-casing.
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

AS_IT_IS = Rewriting()

Split: TypeAlias = Callable[[list[str]], list[list[str]]]
"""A function from texts to the tokens of each."""


@dataclass(frozen=True)
class Tokenizer:
    """A named tokenizer.

    Attributes:
        name: the name in the configuration.
        split: the reference implementation in Python, and the only one of most tokenizers.
        asset: the content of the tokenizer's file, which is saved with a model.
        rules: the rules for the compiled pass, if there is one: ``unicode``, or a key of
            ``token_kernels.RULES``.
        prefix: the prefix of words that are labels, not tokens.
        ends_lines: whether each text ends with the word ``</s>``, which has no character n-grams.
        spans: a function from a text to the spans of its tokens, if the tokenizer can tell them.
        rewriting: what changes in a text beforehand; ``split`` and ``spans`` do it too.
    """

    name: str
    split: Split
    asset: bytes | None = None
    rules: str | None = None
    prefix: str = ""
    ends_lines: bool = False
    spans: Callable[[str], list[Span]] | None = None
    rewriting: Rewriting = AS_IT_IS

    def __reduce__(self) -> tuple[Any, ...]:
        # `split` may not be picklable.
        return load_tokenizer, (self.name, self.asset, self.rewriting)

    def __call__(self, texts: pa.StringArray) -> Tokens:
        """Tokenize a column of texts without nulls, in one compiled pass if there is one."""
        if self.rules is None:
            return Tokens.from_lists(self.split(texts.to_pylist()))
        if self.rewriting:
            texts = self.rewriting.column(texts)
        if self.rules == "basic_english":
            texts = _lower_non_ascii(texts)
        return self._compiled(*self._spaced(*string_buffers(texts)))

    def tokenize_text(self, text: str, errors: str = "strict") -> Tokens:
        """Tokenize a single text, without the detour through Arrow.

        Args:
            text: the text.
            errors: how to encode lone surrogates, as in ``str.encode``.

        Raises:
            UnicodeEncodeError: the text has a lone surrogate, and ``errors`` is ``strict``.
        """
        if self.rules is None:
            return Tokens.from_lists(self.split([text]))
        return self._compiled(*self.text_buffers(text, errors))

    def text_buffers(self, text: str, errors: str = "strict") -> tuple[U8, I32]:
        """Return the bytes and bounds of one text for :meth:`_compiled`, after its rewriting."""
        return bytes_buffers(self.text_bytes(text, errors))

    def text_bytes(self, text: str, errors: str = "strict") -> bytes:
        """Return the bytes of one text whose words ``kernel_rules`` tell, after its rewriting."""
        if self.rewriting:
            text = self.rewriting.text(text)
        if self.rules == "basic_english" and not text.isascii():
            text = text.lower()
        data = text.encode(errors=errors)
        if self.rules == "unicode":
            data = self._spaced(*bytes_buffers(data))[0].tobytes()
        return data

    def possible_tokens(self, words: pa.StringArray) -> pa.StringArray:
        """Return the words without those that no text has as a token, as far as this can be told.

        >>> words = string_array(["to", "Be", "new york", "."])
        >>> load_tokenizer("basic_english").possible_tokens(words).to_pylist()
        ['to', '.']
        """
        if self.rules is None:  # a piece such as "##ing" is no token of itself
            return words
        import pyarrow.compute as pc

        tokens = self(words)
        rows = np.repeat(np.arange(len(words)), tokens.lengths)
        texts = words.take(to_arrow(rows))
        is_itself = pc.equal(tokens.words.column.take(to_arrow(tokens.codes)), texts)
        return words.take(to_arrow(np.unique(rows[np.asarray(is_itself)])))

    def _spaced(self, data: U8, bounds: I32) -> tuple[U8, I32]:
        """Return texts whose words ``kernel_rules`` tell: with spaces between them, if need be."""
        if self.rules == "unicode":
            from fasttext_app.text.word_break import class_table
            from fasttext_app.text.word_break_kernels import spaced_words

            data, bounds = spaced_words(data, bounds, class_table())
            data.flags.writeable = bounds.flags.writeable = False
        return data, bounds

    @property
    def kernel_rules(self) -> int:
        """The rules by which compiled code splits the texts of :meth:`_spaced`."""
        from fasttext_app.text.token_kernels import RULES

        return RULES["fasttext" if self.rules == "unicode" else str(self.rules)]

    def _compiled(self, data: U8, bounds: I32) -> Tokens:
        from fasttext_app.text.token_kernels import code_column, end_lines

        coded = code_column(data, bounds, self.kernel_rules)
        if self.ends_lines:
            coded = end_lines(*coded, self.prefix_bytes)
        codes, offsets, words, word_bounds, hashes = coded
        # Read-only like the buffers of a column, so that numba compiles only one version.
        words.flags.writeable = word_bounds.flags.writeable = False
        return Tokens(codes, offsets, WordList(words, word_bounds, hashes))

    @cached_property
    def prefix_bytes(self) -> U8:
        """The bytes of the prefix."""
        return bytes_buffers(self.prefix.encode())[0]


def whitespace(text: str) -> list[str]:
    """Split on Unicode white space."""
    return text.split()


def basic_english(text: str) -> list[str]:
    """Lower-case a text, separate its punctuation, drop double quotes, split on white space.

    >>> basic_english("You can't stop; OK?")
    ['you', 'can', "'", 't', 'stop', 'ok', '?']
    """
    text = text.lower()
    for pattern, replacement in BASIC_ENGLISH_RULES:
        text = text.replace(pattern, replacement)
    return text.split()


def _lower_non_ascii(texts: pa.StringArray) -> pa.StringArray:
    """Lower-case the texts that are not ASCII, by Python's rules; the kernel does the others."""
    import pyarrow.compute as pc

    non_ascii = pc.invert(pc.string_is_ascii(texts))
    if not non_ascii.true_count:
        return texts
    lowered = string_array([text.lower() for text in texts.filter(non_ascii).to_pylist()])
    return pc.replace_with_mask(texts, non_ascii, lowered)


def tokenizer_from_config(
    config: TextConfig, asset: bytes | None = None, *, sealed: bool = False
) -> Tokenizer:
    """Return the tokenizer that a configuration describes; see :func:`load_tokenizer`."""
    rewriting = Rewriting(config.lowercase, config.replace)
    return load_tokenizer(config.tokenizer, asset, rewriting, sealed=sealed)


def load_tokenizer(
    name: str,
    asset: bytes | None = None,
    rewriting: Rewriting | None = None,
    *,
    sealed: bool = False,
) -> Tokenizer:
    """Return the tokenizer with this name.

    Args:
        name: a name from the table at the top of this module.
        asset: the content of its file, as saved with a model; without it, the file is read.
        rewriting: what changes in a text before it is cut into tokens.
        sealed: whether a stranger may have named the tokenizer: it then imports no optional package
            and reads no file.

    Raises:
        ConfigError: there is no such tokenizer, its file cannot be used, or it is sealed and needs
            more than its asset.
        MissingDependencyError: the package that it needs is not installed.

    >>> load_tokenizer("whitespace", rewriting=Rewriting(lowercase=True)).split(["To Be"])
    [['to', 'be']]
    """
    tokenizer = _load(name, asset, sealed=sealed)
    return _rewriting_first(tokenizer, rewriting) if rewriting else tokenizer


def _rewriting_first(tokenizer: Tokenizer, rewriting: Rewriting) -> Tokenizer:
    def split(texts: list[str]) -> list[list[str]]:
        return tokenizer.split([rewriting.text(text) for text in texts])

    def spans(text: str) -> list[Span]:
        assert tokenizer.spans is not None
        rewritten, origins = rewriting.traced(text)
        return rewritten_spans(tokenizer.spans(rewritten), origins, len(text))

    return replace(
        tokenizer,
        split=split,
        spans=None if tokenizer.spans is None else spans,
        rewriting=rewriting,
    )


def _load(name: str, asset: bytes | None, *, sealed: bool) -> Tokenizer:
    if name == "basic_english":
        spans = partial(replacement_spans, rules=BASIC_ENGLISH_RULES)
        return Tokenizer(name, _one_by_one(basic_english), rules=name, spans=spans)
    if name == "whitespace":
        return Tokenizer(name, _one_by_one(whitespace), rules=name, spans=whitespace_spans)
    if name == "unicode":
        from fasttext_app.text.word_break import unicode_spans, unicode_words

        return Tokenizer(name, _one_by_one(unicode_words), rules=name, spans=unicode_spans)
    family, _, argument = name.partition(":")
    if family == "fasttext":
        return _fasttext(name, argument or PREFIX)
    if name == "torchtext:basic_english":  # the same tokens without torchtext
        return Tokenizer(name, _one_by_one(basic_english))
    if family == "torchtext" and argument in REGISTRY_NAMES and sealed:
        raise ConfigError(
            f"text.tokenizer: the model names {name}, which runs a package of this machine; "
            "to allow it, pass --yes, or packages=True in Python"
        )
    if family == "torchtext" and argument:
        return Tokenizer(name, _one_by_one(_torchtext_function(argument)))
    if family == "hf" and argument:
        if sealed and asset is None:
            raise ConfigError(f"text.tokenizer: {name}: its file is not in the model")
        return _hugging_face(name, asset if asset is not None else _read_tokenizer_file(argument))
    names = [
        "basic_english",
        "unicode",
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
        with redirect_stdout(StringIO()):  # torchtext prints if a package is missing
            function: Callable[[str], list[str]] = get_tokenizer(name, language=language)
    except ImportError as error:
        package = (error.name or name).partition(".")[0]
        raise missing_package(f"text.tokenizer: torchtext:{name}", package) from None
    except OSError as error:  # spaCy's error for a language model that is not installed
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
        raise missing_package(f"text.tokenizer: {name}", "tokenizers", "hf") from None
    try:
        backend: Any = HuggingFaceTokenizer.from_str(asset.decode("utf-8"))
    except Exception as error:  # noqa: BLE001 - the library raises bare Exception for a bad file
        raise ConfigError(f"text.tokenizer: {name}: not a tokenizer file: {error}") from None
    backend.no_truncation()
    backend.no_padding()

    def split(texts: list[str]) -> list[list[str]]:
        # Not encode_batch_fast, which sets only the ids and leaves the tokens empty.
        encodings = backend.encode_batch(texts, add_special_tokens=False)
        return [encoding.tokens for encoding in encodings]

    def spans(text: str) -> list[Span]:
        offsets: list[Span] = backend.encode(text, add_special_tokens=False).offsets
        return offsets

    return Tokenizer(name, split, asset, spans=spans)
