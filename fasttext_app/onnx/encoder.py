r"""The encoder of a model as a JSON document: everything to get from a text to row ids.

    format, format_version   what the document is; a reader refuses a newer version
    labels                   names of the classes
    rewriting                replace: regular expressions, and the word in place of each match;
                             lowercase: the regular expression of what is made small, or null
    tokenizer                name; lowercase; replace: strings, and what stands in their place;
                             token: the regular expression of a token
                             (``fasttext``: end, label_prefix; ``unicode``: classes, segment)
    word_ngrams, minn, maxn, bucket
    words                    word ``i`` is row ``i``
    bucket_gaps              gaps between the buckets that have a row; null: every bucket has one

The regular expressions mean the same in Python, with ``re.ASCII``, and in JavaScript, with the
flags ``su``. Tables of characters are written out, because engines know different versions of
Unicode.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from fasttext_app._version import __version__
from fasttext_app.core.arrow import python_strings
from fasttext_app.errors import ConfigError
from fasttext_app.model.artifact import Artifact
from fasttext_app.text.fasttext_tokenizer import END, PREFIX, WHITESPACE
from fasttext_app.text.rewriting import compiled_pattern, word_for
from fasttext_app.text.tokenizers import BASIC_ENGLISH_RULES
from fasttext_app.text.unicode_data import WORD_BREAK
from fasttext_app.text.word_break import CLASSES, SEGMENT

FORMAT, FORMAT_VERSION = "fasttext_app encoder", 1
TOKENIZERS = "basic_english", "unicode", "whitespace", "fasttext"

PORTABLE = (
    (
        r"(?i:https?://|ftp://|www\.)",
        r"(?:[hH][tT][tT][pP][sS]?://|[fF][tT][pP]://|[wW][wW][wW]\.)",
    ),
    (r"\d*+(?:[.,]\d++)*+", r"(?=(\d*(?:[.,]\d+)*))\1"),
)
"""Parts of regular expressions that JavaScript lacks, and the same in other words."""


def encoder_document(artifact: Artifact) -> dict[str, Any]:
    """Return the document of a model.

    Raises:
        ConfigError: its tokenizer is a program of its own.
    """
    text, buckets = artifact.config.text, artifact.tensors.get("buckets")
    tokenizer, rewriting = _tokenizer(text.tokenizer), artifact.encoder().tokenizer.rewriting
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "created_with": f"fasttext_app {__version__}",
        "labels": artifact.labels.names,
        "rewriting": {
            "replace": [[_portable(name), word_for(name)] for name in rewriting.names],
            "lowercase": _cased() if rewriting.lowercase else None,
        },
        "tokenizer": tokenizer,
        "word_ngrams": text.word_ngrams,
        "minn": text.minn,
        "maxn": text.maxn,
        "bucket": text.bucket_count,
        "words": [_valid(word) for word in python_strings(artifact.vocabulary.words)],
        "bucket_gaps": None if buckets is None else np.diff(buckets, prepend=0).tolist(),
    }


def _valid(word: str) -> str | None:
    """Return a word, or None if it is not valid Unicode, as in a fastText file: no text has it."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return None
    return word


def _tokenizer(name: str) -> dict[str, Any]:
    family, _, prefix = name.partition(":")
    if family not in TOKENIZERS:
        raise ConfigError(
            f'text.tokenizer = "{name}": runs only in Python, so the model cannot be exported to '
            f"ONNX; train with one of {', '.join(TOKENIZERS)}"
        )
    rules: dict[str, Any] = {"name": family}
    if family == "unicode":
        classes = {CLASSES[key]: "".join(value) for key, value in WORD_BREAK.items()}
        return rules | {"classes": classes, "segment": _compact(SEGMENT.pattern.decode())}
    if family == "fasttext":
        word = {"end": END, "label_prefix": prefix or PREFIX}
        return rules | {"token": f"[^{WHITESPACE}]+"} | word
    if family == "basic_english":
        rules |= {"lowercase": _cased(), "replace": BASIC_ENGLISH_RULES}
    return rules | {"token": f"[^{_members(str.isspace)}]+"}


def _cased() -> str:
    """Return the regular expression of texts without characters that Unicode has no name for yet.

    Newer versions of Unicode may make them letters with a lower case.
    """
    return f"[^{_members(_is_unassigned)}]+"


def _is_unassigned(character: str) -> bool:
    return unicodedata.category(character) == "Cn"


def _portable(name: str) -> str:
    """Return a pattern of ``text/rewriting.py`` in a form that JavaScript reads, too."""
    pattern = compiled_pattern(name).pattern
    for part, portable in PORTABLE:
        pattern = pattern.replace(part, portable)
    pattern = re.sub(r"\\U([0-9a-f]{8})", lambda match: chr(int(match[1], 16)), pattern)
    return pattern.replace(r"\d", f"[{_members(str.isdecimal)}]")


@cache
def _members(is_member: Callable[[str], bool]) -> str:
    """Return the characters of a kind as the ranges of a character class."""
    codes = np.array([is_member(chr(code)) for code in range(sys.maxunicode + 1)], np.int8)
    changes = np.flatnonzero(np.diff(codes, prepend=0, append=0)).reshape(-1, 2).tolist()
    return "".join(f"{chr(start)}-{chr(end - 1)}" for start, end in changes)


def _compact(verbose: str) -> str:
    """Return a verbose regular expression without its comments and layout."""
    return re.sub(r"(\[[^]]*\])|\s+|#[^\n]*", lambda match: match[1] or "", verbose)
