"""The tokenizer ``fasttext``: a text as the original program reads a line of a file.

Words stand between ASCII spaces. A line ends with the word ``</s>``, which is a feature like any
other, and part of word n-grams; what follows one in the text is not read. Words that begin with the
label prefix are labels, and no features. Unlike in the original, the ``</s>`` does not depend on a
line feed at the end of the file.
"""

from __future__ import annotations

import re

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
