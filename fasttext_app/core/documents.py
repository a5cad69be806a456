"""JSON documents whose form is known: a pydantic model for each kind of file.

What a stranger wrote is checked by value before anything relies on it: types are exact, numbers are
finite and in range. Unknown keys are allowed, so that a later version can add some.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Count = Annotated[int, Field(ge=0, le=2**53)]
"""A number of rows, steps or bytes."""
Key = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=100)]
"""A name that the program itself gave."""
Score = Annotated[float, Field(allow_inf_nan=True)]
"""A measured number, which is NaN or infinite if a run diverges."""


class Document(BaseModel):
    """The base of all models of documents."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False, defer_build=True)


def check_document(document: Any, model: type[BaseModel], name: str) -> None:
    """Raise if a document is not of the form of a model.

    >>> class Labels(Document):
    ...     counts: list[Count]
    >>> check_document({"counts": [None]}, Labels, "labels.json")
    Traceback (most recent call last):
        ...
    ValueError: labels.json: counts.0 must be a valid integer

    Raises:
        ValueError: it is not; the message names the first wrong value.
    """
    try:
        model.model_validate(document)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part)[:50] for part in problem["loc"][:4])
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "missing":
            message = "is missing"
        message = message.replace("Input should be", "must be", 1)
        raise ValueError(f"{name}: {f'{where} ' if where else ''}{message}") from None
