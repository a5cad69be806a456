"""Check plain values, of JSON, TOML or Python, against types.

>>> checked([3, -1], list[Annotated[int, Limits(ge=0)]])
Traceback (most recent call last):
    ...
fasttext_app.core.validation.InvalidValueError: must be greater than or equal to 0

A type is ``bool``, ``int``, ``float``, ``str``, ``None``, ``Any``, a ``Literal``, a union, a list,
a tuple, a dict, a dataclass, which has no keys but its fields, a ``TypedDict``, which may have
others, or one of these ``Annotated`` with :class:`Limits`, :class:`Before`, :class:`After` or
``NON_FINITE``.

Types are exact: a string or a boolean is no number. A whole number may stand for a float, and a
list for a tuple. Floats are finite, and strings valid UTF-8.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache, partial
from operator import ge, gt, le, lt
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NoReturn,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

Check = Callable[[Any], Any]
"""Returns a value as one of the type, or raises InvalidValueError."""

NON_FINITE = "non-finite"
"""Allows a float to be NaN or infinite."""

NULL, CHOICE, TYPE, VALUE = range(4)
"""How much a problem says about a value that is of none of the types of a union."""


class InvalidValueError(ValueError):
    """A value that is not of its type.

    Args:
        problem: what is wrong: ``must be ...``.
        value: the innermost value that is wrong.
        rank: how much the problem says.
    """

    def __init__(self, problem: str, value: Any, rank: int = VALUE) -> None:
        super().__init__(problem)
        self.value, self.rank = value, rank
        self.path: list[str | int] = []
        """The keys and indices that lead to the value."""


class UnknownKeyError(InvalidValueError):
    """A key that is no field of a dataclass; it is the end of the path."""


class Limits(NamedTuple):
    """Bounds of a number, of the length of a string or a list, and the form of a string."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None


class Before:
    """A function that changes a value before its type is checked; it may raise ValueError."""

    def __init__(self, function: Check) -> None:
        self.function = function


class After:
    """A function that changes a value of the right type; it may raise ValueError."""

    def __init__(self, function: Check) -> None:
        self.function = function


def checked(value: Any, kind: Any) -> Any:
    """Return a value as one of a type.

    Raises:
        InvalidValueError: it is not of the type.
    """
    return _check_of(kind)(value)


@cache
def _check_of(kind: Any) -> Check:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in SCALARS:
        return SCALARS[kind]
    if origin is Annotated:
        return _annotated(*arguments)
    if origin is Literal:
        return _choice(arguments)
    if origin in (Union, UnionType):
        return _union(arguments)
    if origin is dict:
        return partial(_dict, *map(_check_of, arguments))
    if origin is list or (origin is tuple and arguments[1:] == (...,)):
        return partial(_items, origin, _check_of(arguments[0]))
    if origin is tuple:
        return partial(_pair, [_check_of(argument) for argument in arguments])
    return _dataclass(kind) if is_dataclass(kind) else _typed_dict(kind)


def _wrong_type(name: str, value: Any) -> NoReturn:
    raise InvalidValueError(f"must be a valid {name}", value, TYPE)


def _none(value: Any) -> None:
    if value is not None:
        raise InvalidValueError("must be None", value, NULL)


def _bool(value: Any) -> bool:
    return value if isinstance(value, bool) else _wrong_type("boolean", value)


def _int(value: Any) -> int:
    is_int = isinstance(value, int) and not isinstance(value, bool)
    return int(value) if is_int else _wrong_type("integer", value)


def _number(value: Any) -> float:
    if not isinstance(value, float | int) or isinstance(value, bool):
        _wrong_type("number", value)
    try:
        return float(value)
    except OverflowError:
        raise InvalidValueError("must be a finite number", value) from None


def _finite(value: Any) -> float:
    number = _number(value)
    if not math.isfinite(number):
        raise InvalidValueError("must be a finite number", value)
    return number


def _str(value: Any) -> str:
    if not isinstance(value, str):
        _wrong_type("string", value)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            problem = "is not valid UTF-8, so it cannot be saved with the model"
            raise InvalidValueError(problem, value) from None
    return str.__str__(value)


SCALARS: dict[Any, Check] = {
    NoneType: _none,
    bool: _bool,
    int: _int,
    float: _finite,
    str: _str,
    Any: lambda value: value,
}


def _annotated(kind: Any, *rules: Any) -> Check:
    is_any_float = kind is float and NON_FINITE in rules
    before = [rule.function for rule in rules if isinstance(rule, Before)]
    after = [_within(rule) for rule in rules if isinstance(rule, Limits)]
    after += [rule.function for rule in rules if isinstance(rule, After)]
    steps = [*before, _number if is_any_float else _check_of(kind), *after]

    def check(value: Any) -> Any:
        for step in steps:
            value = _applied(step, value)
        return value

    return check


def _applied(function: Check, value: Any) -> Any:
    """Return what a function makes of a value, and locate the ValueError that it raises."""
    try:
        return function(value)
    except InvalidValueError:
        raise
    except ValueError as error:
        raise InvalidValueError(str(error), value) from None


def _within(limits: Limits) -> Check:
    """Return a check that a value of the right type is within limits."""
    tests: dict[str, tuple[Any, float | None]] = {
        "must be greater than or equal to": (ge, limits.ge),
        "must be greater than": (gt, limits.gt),
        "must be less than or equal to": (le, limits.le),
        "must be less than": (lt, limits.lt),
    }
    bounds = [
        (compare, bound, words) for words, (compare, bound) in tests.items() if bound is not None
    ]
    least, most = limits.min_length, limits.max_length
    pattern = None if limits.pattern is None else re.compile(limits.pattern)

    def check(value: Any) -> Any:
        for compare, bound, words in bounds:
            if not compare(value, bound):
                shown = bound if isinstance(bound, int) else f"{bound:g}"
                raise InvalidValueError(f"{words} {shown}", value)
        if least is not None and len(value) < least:
            raise InvalidValueError(f"must have at least {_count(least, value)}", value)
        if most is not None and len(value) > most:
            raise InvalidValueError(f"must have at most {_count(most, value)}", value)
        if pattern is not None and not pattern.fullmatch(value):
            raise InvalidValueError(f"must match {pattern.pattern}", value)
        return value

    return check


def _count(number: int, value: Any) -> str:
    return f"{number} {'character' if isinstance(value, str) else 'item'}{'s' * (number != 1)}"


def _choice(choices: Sequence[Any]) -> Check:
    *others, last = map(repr, choices)
    problem = f"must be {', '.join(others)}{' or ' if others else ''}{last}"

    def check(value: Any) -> Any:
        if not isinstance(value, bool):
            for choice in choices:
                if isinstance(value, type(choice)) and value == choice:
                    return choice
        raise InvalidValueError(problem, value, CHOICE)

    return check


def _union(kinds: Sequence[Any]) -> Check:
    checks = [_check_of(kind) for kind in kinds]

    def check(value: Any) -> Any:
        problems = []
        for check_kind in checks:
            try:
                return check_kind(value)
            except InvalidValueError as error:
                problems.append(error)
        raise max(problems, key=lambda problem: problem.rank)

    return check


def _items(kind: type, check: Check, value: Any) -> Any:
    if not isinstance(value, list | tuple):
        _wrong_type(kind.__name__, value)
    items: list[Any] = []
    try:
        for item in value:
            items.append(check(item))  # noqa: PERF401 - their number locates a wrong one
    except InvalidValueError as error:
        error.path.insert(0, len(items))
        raise
    return kind(items)


def _pair(checks: Sequence[Check], value: Any) -> tuple[Any, ...]:
    """Check a tuple with a type for each item."""
    if not isinstance(value, list | tuple):
        _wrong_type("tuple", value)
    if len(value) != len(checks):
        problem = f"has too {'few' if len(value) < len(checks) else 'many'} values"
        raise InvalidValueError(problem, value)
    return tuple(check(item) for check, item in zip(checks, value, strict=True))


def _dict(check_key: Check, check: Check, value: Any) -> dict[Any, Any]:
    if not isinstance(value, dict):
        _wrong_type("dictionary", value)
    items = {}
    for key, item in value.items():
        try:
            items[check_key(key)] = check(item)
        except InvalidValueError as error:
            error.path.insert(0, key)
            raise
    return items


def _dataclass(kind: Any) -> Check:
    hints = get_type_hints(kind, include_extras=True)
    checks = {name: _check_of(hint) for name, hint in hints.items()}
    required = {
        field.name
        for field in fields(kind)
        if field.default is MISSING and field.default_factory is MISSING
    }

    def check(value: Any) -> Any:
        if isinstance(value, kind):
            return value
        items = _checked_items(value, checks, required)
        for name in value:
            if name not in checks:
                unknown = UnknownKeyError("no such key", value[name])
                unknown.path.append(name)
                raise unknown
        return _applied(lambda items: kind(**items), items)

    return check


def _typed_dict(kind: Any) -> Check:
    hints = get_type_hints(kind, include_extras=True)
    optional = {name for name, hint in hints.items() if get_origin(hint) is NotRequired}
    required = set(hints) - optional if kind.__total__ else set[str]()
    checks = {
        name: _check_of(get_args(hint)[0] if name in optional else hint)
        for name, hint in hints.items()
    }

    def check(value: Any) -> Any:
        items = _checked_items(value, checks, required)
        return {**value, **items}

    return check


def _checked_items(value: Any, checks: Mapping[str, Check], required: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        _wrong_type("dictionary", value)
    items = {}
    for name, check in checks.items():
        try:
            if name in value:
                items[name] = check(value[name])
            elif name in required:
                raise InvalidValueError("is missing", value)
        except InvalidValueError as error:
            error.path.insert(0, name)
            raise
    return items
