"""JSON documents whose form is known: a ``TypedDict`` for each kind of file.

What a stranger wrote is checked by value before anything relies on it: types are exact, numbers are
finite and in range. Unknown keys are allowed, so that a later version can add some.
"""

from __future__ import annotations

from typing import Annotated, Any

from fasttext_app.core.validation import NON_FINITE, InvalidValueError, Limits, checked

Count = Annotated[int, Limits(ge=0, le=2**53)]
"""A number of rows, steps or bytes."""
Key = Annotated[str, Limits(pattern=r"[a-z][a-z0-9_]*", max_length=100)]
"""A name that the program itself gave."""
Score = Annotated[float, NON_FINITE]
"""A measured number, which is NaN or infinite if a run diverges."""


def check_document(document: Any, kind: Any, name: str) -> None:
    """Raise if a document is not of its kind.

    >>> check_document({"a": [None]}, dict[Key, list[Count]], "labels.json")
    Traceback (most recent call last):
        ...
    ValueError: labels.json: a.0 must be a valid integer

    Raises:
        ValueError: it is not; the message names the first wrong value.
    """
    try:
        checked(document, kind)
    except InvalidValueError as error:
        where = ".".join(str(part)[:50] for part in error.path[:4])
        raise ValueError(f"{name}: {f'{where} ' if where else ''}{error}") from None
