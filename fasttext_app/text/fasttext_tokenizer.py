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


def label_name(word: str, prefix: str = PREFIX) -> str:
    """Return the name of the label that a word is: what follows the prefix.

    The prefix alone is a label too, as in fastText. Its name is the prefix, because a name is never
    empty, and so for the prefix twice.

    >>> [label_name(word) for word in ("__label__news", "__label__")]
    ['news', '__label__']
    """
    name = word.removeprefix(prefix)
    return name if name.replace(prefix, "") else word


def label_word(name: str, prefix: str = PREFIX) -> str:
    """Return the word that :func:`label_name` gives this name.

    >>> [label_word(name) for name in ("news", "__label__")]
    ['__label__news', '__label__']
    """
    return prefix + name if name.replace(prefix, "") else name


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
