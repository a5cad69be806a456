"""The tokenizer ``fasttext``: a text as the original program reads a line of a file.

Words stand between ASCII spaces. A line ends with the word ``</s>``, which is a feature like any
other, and part of word n-grams; what follows one in the text is not read. Words that begin with the
label prefix are labels, and no features. Unlike in the original, the ``</s>`` does not depend on a
line feed at the end of the file.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fasttext_app.text.hashing import reference_fnv1a
from fasttext_app.text.strings import string_buffers, strings_of_buffers
from fasttext_app.text.tokens import Tokens

__all__ = ["END", "PREFIX", "fasttext_tokens", "fasttext_words"]

END = "</s>"
PREFIX = "__label__"
SPACES = re.compile("[ \n\r\t\v\f\0]+")


def fasttext_words(text: str, prefix: str = PREFIX) -> list[str]:
    r"""Split one text.

    >>> fasttext_words("__label__news  Stocks\tfell")
    ['Stocks', 'fell', '</s>']
    >>> fasttext_words("one </s> two")
    ['one', '</s>']
    """
    words = [word for word in SPACES.split(text) if word]
    if END in words:
        words = words[: words.index(END)]
    return [word for word in words if not word.startswith(prefix)] + [END]


def fasttext_tokens(texts: pa.StringArray, prefix: str = PREFIX) -> Tokens:
    """Do the same for a column in compiled code, whatever its bytes, UTF-8 or not."""
    from fasttext_app.text.token_kernels import FASTTEXT, code_column, end_lines

    codes, offsets, data, bounds, hashes = code_column(*string_buffers(texts), FASTTEXT)
    ends = np.flatnonzero(_begins(data, bounds, END) & (np.diff(bounds) == len(END)))
    end = int(ends[0]) if len(ends) else len(hashes)
    if end == len(hashes):
        data = np.concatenate((data, np.frombuffer(END.encode(), np.uint8)))
        bounds = np.append(bounds, np.int32(len(data)))
        hashes = np.append(hashes, np.uint32(reference_fnv1a(END.encode())))
    labels = _begins(data, bounds, prefix).view(np.uint8)
    codes, offsets = end_lines(codes, offsets, labels, end)
    return Tokens(codes, offsets, strings_of_buffers(data, bounds), hashes)


def _begins(
    data: npt.NDArray[np.uint8], bounds: npt.NDArray[np.int32], prefix: str
) -> npt.NDArray[np.bool_]:
    """Say of each word whether it begins with the prefix, [W]."""
    wanted = np.frombuffer(prefix.encode(), np.uint8)
    begins = np.diff(bounds) >= len(wanted)
    places = bounds[:-1][begins, None] + np.arange(len(wanted))
    begins[begins] = (data[places] == wanted).all(axis=1)
    return begins
