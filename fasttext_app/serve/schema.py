"""Requests and answers of the service, and what is said of a request that is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fasttext_app.config.loading import plain_words
from fasttext_app.core.arguments import shown_value
from fasttext_app.errors import DataError, did_you_mean
from fasttext_app.inference.predictions import FITTED

EXAMPLE: dict[str, Any] = {"text": "oil prices push inflation higher", "top_k": 2}
USAGE = 'send {"text": "..."} or {"texts": ["...", "..."]}'

PLACES = {"query", "path", "float", "str"}
"""Parts of the place of a problem that say where FastAPI found the value, and which type failed."""


def parse_threshold(text: str) -> float | str:
    """Return the threshold that a query string holds.

    Raises:
        DataError: it is neither a number from 0 to 1 nor ``fitted``.
    """
    threshold: float | str = text
    with suppress(ValueError):
        threshold = float(text)
    try:
        check_threshold(threshold)
    except ValueError as error:
        raise DataError(str(error)) from None
    return threshold


def check_threshold(threshold: float | str) -> None:
    """Raise for a threshold that no probability can be compared with.

    Raises:
        ValueError: it is neither a number from 0 to 1 nor ``fitted``.
    """
    if threshold != FITTED and not (isinstance(threshold, float) and 0 <= threshold <= 1):
        shown = shown_value(threshold)
        raise ValueError(f"threshold: must be a number from 0 to 1 or {FITTED!r}; got {shown}")


class PredictRequest(BaseModel):
    """One text or several, and what to answer."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [EXAMPLE]}
    )

    text: str | None = Field(None, description="One text.")
    texts: list[str] | None = Field(None, description="Several texts, in place of `text`.")
    model: str | None = Field(None, description="Name of the model; null: the first one.")
    top_k: int | None = Field(
        None,
        ge=1,
        description="Labels per text; null: 1, or all that reach the threshold if a text can have "
        "several, or with `fitted`.",
    )
    threshold: float | str = Field(
        0.0,
        description="Leave out labels with a smaller probability, 0 to 1; `fitted`: the fitted "
        "threshold of each label.",
    )
    explain: bool = Field(
        False, description="Whether to tell what each word and n-gram adds to each label."
    )

    @model_validator(mode="after")
    def _has_texts(self) -> Self:
        if (self.text is None) == (self.texts is None):
            problem = "is missing" if self.text is None else "cannot be combined with texts"
            raise ValueError(f"text: {problem}; {USAGE}")
        check_threshold(self.threshold)
        return self


class TokenPart(BaseModel):
    """A token of a text, and what it adds to a logit."""

    token: str
    start: int | None = Field(description="Position in the text; null: the tokenizer has none.")
    end: int | None
    value: float


class FeaturePart(BaseModel):
    """A word or n-gram of a text, and what it adds to a logit."""

    name: str
    kind: str
    start: int = Field(description="The first token.")
    end: int = Field(description="The token after the last one.")
    row: int | None = Field(description="Row of the table; null: unknown, and adds 0.")
    value: float


class LabelExplanation(BaseModel):
    """A logit in parts: `bias` and the values of all features sum to `logit`."""

    label: str
    probability: float
    logit: float
    bias: float
    tokens: list[TokenPart]
    features: list[FeaturePart]
    pieces: list[tuple[str, float | None]] = Field(
        description="The whole text: tokens with their values, and the text between them with null."
    )


class TextPrediction(BaseModel):
    """The labels of one text, best first."""

    labels: list[str]
    probabilities: list[float]
    known: float = Field(description="Share of the text's words and n-grams that the model knows.")
    explanations: list[LabelExplanation] | None = Field(
        None, description="With `explain`: one for each label."
    )


class PredictResponse(BaseModel):
    """The answer to one text: its fields; to several: `predictions`, in their order."""

    model: str
    labels: list[str] | None = None
    probabilities: list[float] | None = None
    known: float | None = None
    explanations: list[LabelExplanation] | None = None
    predictions: list[TextPrediction] | None = None


class ErrorResponse(BaseModel):
    """What is wrong with a request, and what to do."""

    detail: str


class ModelInfo(BaseModel):
    """A model of the service."""

    name: str
    version: str = Field(description="Begins the SHA-256 of the manifest or the file.")
    loaded: str = Field(description="When it was loaded, in UTC.")
    labels: list[str]
    facts: dict[str, str]
    loss: str
    explains: bool = Field(description="Whether its predictions can be explained.")
    text_columns: list[str] = Field(description="The text columns of its training data.")
    several_labels: bool = Field(description="Whether a text can have several labels.")
    fitted_thresholds: bool


class ModelHealth(BaseModel):
    """The state of a model."""

    status: Literal["ok", "stale"]
    version: str
    error: str | None = Field(description="Why a newer version at its path is not served.")


class Health(BaseModel):
    """The state of the service; `stale`: an earlier version of a model is served."""

    status: Literal["ok", "stale"]
    version: str = Field(description="Version of fasttext-app.")
    models: dict[str, ModelHealth]


def parse_request(body: bytes) -> PredictRequest:
    """Read the body of a request.

    Raises:
        DataError: it is not JSON, or not a request.
    """
    try:
        return PredictRequest.model_validate_json(body)
    except ValidationError as error:
        raise DataError(shown_problem(error.errors(include_url=False)[0])) from None


def shown_problem(problem: Mapping[str, Any]) -> str:
    """Return a problem that pydantic found in one line, in our words.

    Args:
        problem: one of the ``errors()`` of a failed validation.
    """
    kind = problem["type"]
    where = ".".join(str(part) for part in problem["loc"] if part not in PLACES)
    if kind == "json_invalid":
        return f"the body is not JSON ({problem['ctx']['error']}); {USAGE}"
    if kind == "value_error":
        return str(problem["ctx"]["error"])
    if not where:
        return f"the body must be a JSON object; {USAGE}"
    if kind == "extra_forbidden":
        return f"{where}: there is no such field{did_you_mean(where, PredictRequest.model_fields)}"
    reason = plain_words(kind, problem["msg"]).partition(", unable to parse")[0]
    return f"{where}: {reason}; got {shown_value(problem['input'])}"
