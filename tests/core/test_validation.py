"""Types of plain values are checked as pydantic checks them in strict mode."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from fasttext_app.core.validation import (
    NON_FINITE,
    After,
    Before,
    InvalidValueError,
    Limits,
    UnknownKeyError,
    checked,
)

STRICT = ConfigDict(strict=True, allow_inf_nan=False)
KEYS = st.sampled_from(["a", "b", "Ab", "a" * 5])
NUMBERS = st.sampled_from([0, 1, -1, 2**53, 2**70, 0.5, -0.0, 1e300, math.nan, math.inf, True])
LEAVES = st.none() | NUMBERS | st.sampled_from(["", "a", "é", "1", "true"])
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)
)
PAIRS: list[tuple[Any, Any]] = [
    (bool, bool),
    (int, int),
    (float, float),
    (str, str),
    (Annotated[int, Limits(ge=0, le=2**53)], Annotated[int, Field(ge=0, le=2**53)]),
    (Annotated[float, Limits(gt=0, lt=1)], Annotated[float, Field(gt=0, lt=1)]),
    (Annotated[float, NON_FINITE], Annotated[float, Field(allow_inf_nan=True)]),
    (float | None, float | None),
    (int | Literal["a"], int | Literal["a"]),
    (str | Annotated[float, Limits(lt=1)], str | Annotated[float, Field(lt=1)]),
    (Literal["a", ""], Literal["a", ""]),
    (list[float], list[float]),
    (Annotated[list[Any], Limits(min_length=1)], Annotated[list[Any], Field(min_length=1)]),
    (Annotated[str, Limits(max_length=1)], Annotated[str, Field(max_length=1)]),
    (
        dict[Annotated[str, Limits(pattern="[a-z]+")], list[int]],
        dict[Annotated[str, Field(pattern="^[a-z]+$")], list[int]],
    ),
]


@pytest.mark.parametrize(("kind", "reference"), PAIRS)
@given(value=VALUES)
@settings(max_examples=60, deadline=None)
def test_values_are_accepted_and_converted_as_pydantic_does(kind, reference, value):
    adapter: Any = TypeAdapter(reference, config=STRICT)
    try:
        expected = adapter.validate_python(value)
    except ValidationError:
        with pytest.raises(InvalidValueError):
            checked(value, kind)
    else:
        assert repr(checked(value, kind)) == repr(expected)


@dataclass(frozen=True)
class Point:
    x: Annotated[float, Limits(ge=0)]
    name: str = "p"

    def __post_init__(self):
        if self.name == str(self.x):
            raise ValueError("is named by its number")


class Cloud(TypedDict):
    points: list[Point]
    size: NotRequired[tuple[int, int]]


def problem(value, kind):
    with pytest.raises(InvalidValueError) as caught:
        checked(value, kind)
    return ".".join(map(str, caught.value.path)), str(caught.value), caught.value.value


def test_records_and_dicts_are_built_of_checked_values():
    assert checked({"points": [{"x": 1}], "size": [1, 2], "more": None}, Cloud) == {
        "points": [Point(1.0)],
        "size": (1, 2),
        "more": None,
    }


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([], ("", "must be a valid dictionary", [])),
        ({}, ("points", "is missing", {})),
        ({"points": {}}, ("points", "must be a valid list", {})),
        ({"points": [{}]}, ("points.0.x", "is missing", {})),
        ({"points": [{"x": -1}]}, ("points.0.x", "must be greater than or equal to 0", -1.0)),
        ({"points": [{"x": "1"}]}, ("points.0.x", "must be a valid number", "1")),
        ({"points": [{"x": 10**400}]}, ("points.0.x", "must be a finite number", 10**400)),
        ({"points": [{"x": 1, "y": 2}]}, ("points.0.y", "no such key", 2)),
        ({"points": [], "size": [1]}, ("size", "has too few values", [1])),
        ({"points": [], "size": [1, 2, 3]}, ("size", "has too many values", [1, 2, 3])),
    ],
)
def test_the_first_wrong_value_is_located(value, expected):
    assert problem(value, Cloud) == expected


def test_a_check_of_a_whole_record_is_a_problem_of_the_record():
    value = {"x": 1, "name": "1.0"}
    assert problem([value], list[Point])[:2] == ("0", "is named by its number")


def test_an_unknown_key_is_told_from_a_wrong_value():
    with pytest.raises(UnknownKeyError):
        checked({"x": 1, "y": 2}, Point)


def test_of_a_union_the_problem_that_says_most_is_raised():
    kind = str | Annotated[float, Limits(lt=1)] | Literal[5] | None
    assert problem(2.0, kind)[1] == "must be less than 1"
    assert problem([], kind)[1] == "must be a valid string"


def test_functions_run_before_and_after_the_type_is_checked():
    kind = Annotated[str, Before(lambda value: str(value)), After(str.upper), Limits(max_length=2)]
    assert checked(Path("ab"), kind) == "AB"
    assert problem("abc", kind)[1] == "must have at most 2 characters"
    kind = Annotated[str, After(lambda text: json.dumps(json.loads(text)))]
    assert problem("{", kind)[1].startswith("Expecting property name")


def test_a_string_that_is_not_unicode_is_refused():
    assert problem("\udcff", str)[1].startswith("is not valid UTF-8")


def test_a_boolean_is_no_choice_of_numbers():
    assert checked(1, Literal[0, 1]) == 1
    assert problem(True, Literal[0, 1])[1] == "must be 0 or 1"
