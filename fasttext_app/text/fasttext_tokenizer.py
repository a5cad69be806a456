"""The ``fasttext`` tokenizer: split a text as the original program splits a line of a file.

Words are separated by ASCII white space. A line ends with the word ``</s>``, which is a feature
like any other and takes part in word n-grams; anything after a ``</s>`` in the text is ignored.
Words that begin with the label prefix are labels, not features. Unlike in the original, the
``</s>`` does not depend on a line feed at the end of the file.
"""

from __future__ import annotations

import re

END = "</s>"
PREFIX = "__label__"
WHITESPACE = " \n\r\t\v\f\0"
"""The characters that separate words in fastText. No other white space does."""
WORD = re.compile(f"[^{WHITESPACE}]+")


def split_words(text: str) -> list[str]:
    r"""Split a text at fastText's white space; labels and ``</s>`` are words too.

    >>> split_words(" __label__news\tStocks fell")
    ['__label__news', 'Stocks', 'fell']
    """
    return WORD.findall(text)


def whole_word(pattern: str) -> str:
    r"""Return a regular expression for words that match ``pattern``; encode it to search bytes.

    >>> re.sub(whole_word("b+"), "x", "bb ab\tb")
    'x ab\tx'
    """
    return f"(?<![^{WHITESPACE}]){pattern}(?![^{WHITESPACE}])"


def fasttext_words(text: str, prefix: str = PREFIX) -> list[str]:
    r"""Return the tokens of one text.

    >>> fasttext_words("__label__news  Stocks\tfell")
    ['Stocks', 'fell', '</s>']
    >>> fasttext_words("one </s> two")
    ['one', '</s>']
    """
    words = split_words(text)
    if END in words:
        words = words[: words.index(END)]
    return [word for word in words if not word.startswith(prefix)] + [END]
