"""The values of a JSON document: elements of an array, or values one after the other."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

SPACE = re.compile(r"\s*")
LONGEST_TOKEN = 16  # besides strings: a decoder may fail this far before the end of a cut text
MAX_CHARACTERS = 1 << 26  # of a value; as many bytes as `lines.MAX_ROW_BYTES`, or more


class JsonError(Exception):
    """JSON that is malformed; the message says how, and ``line`` says where."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line


def json_values(read: Callable[[], str]) -> Iterator[tuple[int, Any]]:
    r"""Yield (line, value), in constant memory but for the largest value.

    Args:
        read: returns the next characters of the document, ``""`` at its end.

    Raises:
        JsonError: the JSON is malformed.

    >>> parts = iter(['[{"a":', ' 1},\n {"a": 2}]\n', '{"a": 3}', ""])
    >>> list(json_values(lambda: next(parts)))
    [(1, {'a': 1}), (2, {'a': 2}), (3, {'a': 3})]
    """
    document = _Document(read)
    while character := document.peek():
        if character != "[":
            yield document.value()
            continue
        document.skip()
        if document.peek() == "]":
            document.skip()
            continue
        yield document.value()
        while (separator := document.peek()) == ",":
            document.skip()
            yield document.value()
        if separator != "]":
            problem = "expected ',' or ']'" if separator else "the array does not end"
            raise JsonError(document.line, problem)
        document.skip()


class _Document:
    """A document of which a part is in memory.

    Attributes:
        line: the number of the line that is read.
    """

    def __init__(self, read: Callable[[], str]) -> None:
        self.line = 1
        self._read = read
        self._text, self._at = "", 0
        self._ended = False

    def peek(self) -> str:
        """Return the next character that is no space; ``""`` at the end."""
        while True:
            space = SPACE.match(self._text, self._at)
            assert space is not None
            self._advance(space.end())
            if self._at < len(self._text) or not self._read_more():
                return self._text[self._at : self._at + 1]

    def skip(self) -> None:
        """Skip one character."""
        self._at += 1

    def value(self) -> tuple[int, Any]:
        """Return the line of the next value, and the value.

        Raises:
            JsonError: it is malformed.
        """
        self.peek()
        line = self.line
        while True:
            try:
                value, end = json.JSONDecoder().raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                is_cut = error.pos >= len(self._text) - LONGEST_TOKEN
                is_cut |= error.msg.startswith("Unterminated string")
                length = error.pos - self._at
                if is_cut and len(self._text) - self._at > MAX_CHARACTERS:
                    problem = f"a value is longer than {MAX_CHARACTERS >> 20} MB"
                    raise JsonError(line, problem) from None
                if is_cut and self._read_more(at_least=len(self._text) - self._at):
                    continue
                self._advance(self._at + length)
                raise JsonError(self.line, error.msg) from None
            except (ValueError, RecursionError) as error:
                raise JsonError(line, str(error)) from None
            self._advance(end)
            return line, value

    def _advance(self, end: int) -> None:
        self.line += self._text.count("\n", self._at, end)
        self._at = end

    def _read_more(self, at_least: int = 1) -> bool:
        """Read more characters, twice as many for a long value; return whether there were any."""
        blocks, size = [self._text[self._at :]], 0
        while size < max(at_least, 1) and not self._ended:
            block = self._read()
            self._ended = not block
            blocks.append(block)
            size += len(block)
        self._text, self._at = "".join(blocks), 0
        return size > 0
