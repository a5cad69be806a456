"""Checks of the arguments of public functions, so that a wrong one is named and not a line of code.

>>> whole_number("top_k", 1.5, 1)
Traceback (most recent call last):
    ...
fasttext_app.errors.ConfigError: top_k = 1.5: must be a whole number of at least 1
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from fasttext_app.errors import ConfigError

SHOWN_CHARACTERS = 100  # of a value in a message
PLAIN = (str, bytes, int, float, bool, list, tuple, dict)


def whole_number(name: str, value: Any, minimum: int) -> int:
    """Return a whole number of at least ``minimum``.

    Raises:
        ConfigError: it is none.
    """
    if type(value) is int and value >= minimum:  # much faster than the general check
        return value
    if isinstance(value, bool) or not isinstance(value, Integral) or value < minimum:
        raise _refused(name, value, f"must be a whole number of at least {minimum}")
    return int(value)


def number(name: str, value: Any) -> float:
    """Return a number.

    Raises:
        ConfigError: it is none.
    """
    if type(value) is float and value == value:  # a number; much faster than the general check
        return value
    if isinstance(value, bool) or not isinstance(value, Real) or math.isnan(value):
        raise _refused(name, value, "must be a number")
    return float(value)


def flag(name: str, value: Any) -> bool:
    """Return True or False.

    Raises:
        ConfigError: it is neither.
    """
    if value is True or value is False:
        return value
    if type(value).__name__ not in ("bool", "bool_"):  # bool_ is NumPy's
        raise _refused(name, value, "must be True or False")
    return bool(value)


def string(name: str, value: Any) -> str:
    """Return a string.

    Raises:
        ConfigError: it is none.
    """
    if not isinstance(value, str):
        raise _refused(name, value, "must be a string")
    return value


def choice(name: str, value: Any, choices: Sequence[str]) -> str:
    """Return one of several strings.

    Raises:
        ConfigError: it is none of them.
    """
    if string(name, value) not in choices:
        raise _refused(name, value, f"must be {', '.join(choices[:-1])} or {choices[-1]}")
    return str(value)


def optional_string(name: str, value: Any) -> str | None:
    """Return a string or None.

    Raises:
        ConfigError: it is neither.
    """
    return None if value is None else string(name, value)


def secret(name: str, value: Any) -> str | None:
    """Return a string that no message repeats, or None.

    Raises:
        ConfigError: it is neither.
    """
    if not isinstance(value, str | None):
        raise ConfigError(f"{name}: must be a string")
    return value


def column(name: str, value: Any) -> str:
    """Return the name of a column; frames may have numbers for names.

    Raises:
        ConfigError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, str | Integral):
        raise _refused(name, value, "must be the name of a column")
    return str(value)


def columns(name: str, value: Any) -> list[str]:
    """Return the names of one column or several.

    Raises:
        ConfigError: it is something else.
    """
    if isinstance(value, list | tuple):
        return [column(name, item) for item in value]
    return [column(name, value)]


def path(name: str, value: Any) -> Path:
    """Return a path.

    Raises:
        ConfigError: it is none.
    """
    if not isinstance(value, str | os.PathLike):
        raise _refused(name, value, "must be a path")
    return Path(value)


def _refused(name: str, value: Any, problem: str) -> ConfigError:
    shown = shown_value(value)
    if shown == describe(value):
        return ConfigError(f"{name}: {problem}; got {shown}")
    return ConfigError(f"{name} = {shown}: {problem}")


def shown_value(value: object) -> str:
    """Return a value for a message: as it is if it is plain and short, else what it is.

    >>> shown_value([1, 2]), shown_value([0] * 100)
    ('[1, 2]', 'a list')
    """
    shown = repr(value) if type(value) in PLAIN else ""
    return shown if 0 < len(shown) <= SHOWN_CHARACTERS else describe(value)


def describe(value: object) -> str:
    """Return what a value is, for a message.

    >>> describe({}), describe(None), describe(3), describe(Path())
    ('a dict', 'None', 'an int', 'a pathlib PosixPath')
    """
    if value is None:
        return "None"
    kind = type(value)
    library = kind.__module__.partition(".")[0]
    name = kind.__name__ if library in ("builtins", "__main__") else f"{library} {kind.__name__}"
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
