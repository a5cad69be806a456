r"""Text that others wrote (labels, texts, names of columns and files), as people get to see it.

One function for each place that interprets characters: a terminal, HTML, Markdown, a spreadsheet.
Output for programs (JSON, CSV, Parquet to a file or a pipe) holds such text unchanged.

>>> for_terminal("red \x1b[31m, reversed \u202e")
'red \\u001b[31m, reversed \\u202e'
"""

from __future__ import annotations

import re

UNSAFE = (
    "\x00-\x1f\x7f-\x9f"  # control characters: escape sequences begin with one
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # they reorder the text around them
    "\u2028\u2029"  # line breaks of Unicode
    "\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff"  # invisible
    "\ud800-\udfff"  # bytes that are not UTF-8, which no stream can encode
)
_unsafe = re.compile(f"[{UNSAFE}]")
_unsafe_in_lines = re.compile(f"(?![\n\t])[{UNSAFE}]")

_SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}

_html = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"})
_markup = re.compile(
    r"[\\`*\[\]<>&|~$#@]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=[Ww]{3})\."  # not the _ in "a_b"
)
"""What begins or ends markup in Markdown, in its HTML, and in the links that GitHub adds."""
_BACKSLASHED = set("\\`*_[]~#|")

_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001


def for_terminal(text: str, *, lines: bool = False) -> str:
    r"""Return text in which no character can control a terminal, or reorder or break its lines.

    Such characters are written as ``\uXXXX``, which is an escape sequence in JSON too.

    Args:
        text: any text.
        lines: whether it is several lines or fields: line feeds and tabs are kept.
    """
    if text.isprintable():
        return text
    return (_unsafe_in_lines if lines else _unsafe).sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    letter = match[0]
    code = ord(letter)
    return _SHORT.get(letter) or (f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}")


def for_html(text: str) -> str:
    """Return text for HTML or SVG, between tags or in a quoted attribute.

    >>> for_html('<img src="x">')
    '&lt;img src=&quot;x&quot;&gt;'
    """
    return for_terminal(text, lines=True).translate(_html)


def for_markdown(text: str) -> str:
    r"""Return text for one line of Markdown or a cell of its tables, in which nothing is markup.

    >>> for_markdown("news|sport"), for_markdown("<b> https://x.org"), for_markdown("Sci/Tech")
    ('news\\|sport', '&lt;b&gt; https&#58;//x.org', 'Sci/Tech')
    """

    def replaced(match: re.Match[str]) -> str:
        letter = match[0]
        if letter in _BACKSLASHED:
            return f"\\{letter}"
        return letter.translate(_html) if letter in "<>&" else f"&#{ord(letter)};"

    return _markup.sub(replaced, for_terminal(text))


def for_spreadsheet(cell: str) -> str:
    """Return a cell of a CSV file that no spreadsheet runs as a formula: ``'`` comes before it.

    >>> for_spreadsheet("=1+1"), for_spreadsheet("-0.5"), for_spreadsheet("a=b")
    ("'=1+1", '-0.5', 'a=b')
    """
    if cell.startswith(FORMULA_STARTS) and not _NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell
