"""The pages of the service: one to type a text, and one that describes the interface."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from fasttext_app.pages.templates import page, style_sheet
from fasttext_app.serve.schema import ModelInfo

FOLDER = Path(__file__).parent
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
INNER_TYPES = ("TextPrediction", "LabelExplanation", "TokenPart", "FeaturePart", "ModelHealth")
"""Types of fields, which have a table of their own."""
ASSETS = ("page.css", "page.js", "icon.svg")


class Asset(NamedTuple):
    """What a page loads."""

    content: bytes
    media_type: str


class Field(NamedTuple):
    """A parameter, or a field of a JSON object."""

    name: str
    kind: str
    default: str
    description: str


class Operation(NamedTuple):
    """What can be asked at a path."""

    method: str
    path: str
    summary: str
    parameters: list[Field]
    body: list[Field]
    answers: list[tuple[str, str, list[Field]]]
    """HTTP status, description, and the fields of its JSON."""


def predict_page(models: Sequence[ModelInfo]) -> str:
    """Return the page to type a text or to label the rows of a CSV."""
    return "".join(page("serve/page.html", models=models))


def docs_page(schema: Mapping[str, Any], address: str) -> str:
    """Return the page that describes the interface.

    Args:
        schema: the description in the format of OpenAPI.
        address: the address of the service, for examples.
    """
    operations = [*_operations(schema)]
    types = [
        (name, part.get("description", ""), _fields(schema, part))
        for name, part in schema["components"]["schemas"].items()
        if name in INNER_TYPES
    ]
    values = {"operations": operations, "types": types, "address": address}
    return "".join(page("serve/docs.html", **values))


@cache
def asset(name: str) -> Asset | None:
    """Return what a page loads by its name; None: there is nothing of that name."""
    if name not in ASSETS:
        return None
    content = (FOLDER / name).read_bytes()
    if name.endswith(".css"):
        content = style_sheet().encode() + content
    return Asset(content, MEDIA_TYPES[Path(name).suffix])


def _operations(schema: Mapping[str, Any]) -> Iterator[Operation]:
    for path, methods in schema["paths"].items():
        for method, entry in methods.items():
            content = entry.get("requestBody", {}).get("content", {})
            body = [field for kind in content.values() for field in _fields(schema, kind["schema"])]
            answers = [
                (status, answer["description"], _answer_fields(schema, answer))
                for status, answer in entry["responses"].items()
            ]
            parameters = [
                _field(schema, parameter["name"], parameter["schema"], parameter)
                for parameter in entry.get("parameters", ())
            ]
            summary = entry.get("description", entry["summary"])
            yield Operation(method.upper(), path, summary, parameters, body, answers)


def _answer_fields(schema: Mapping[str, Any], answer: Mapping[str, Any]) -> list[Field]:
    content = answer.get("content", {}).get("application/json")
    return _fields(schema, content["schema"]) if content else []


def _fields(schema: Mapping[str, Any], part: Mapping[str, Any]) -> list[Field]:
    """Return the fields of an object, or of the objects in an array."""
    part = _resolved(schema, part)
    if "items" in part:
        part = _resolved(schema, part["items"])
    return [
        _field(schema, name, entry, entry) for name, entry in part.get("properties", {}).items()
    ]


def _field(
    schema: Mapping[str, Any], name: str, part: Mapping[str, Any], texts: Mapping[str, Any]
) -> Field:
    default = part.get("default")
    return Field(
        name,
        _kind(part),
        "" if default is None or default == [] else str(default).lower(),
        texts.get("description") or _resolved(schema, part).get("description", ""),
    )


def _resolved(schema: Mapping[str, Any], part: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = part.get("$ref")
    if reference is None:
        return part
    found: Mapping[str, Any] = schema["components"]["schemas"][reference.rpartition("/")[2]]
    return found


def _kind(part: Mapping[str, Any]) -> str:
    """Return the type of a value in words.

    >>> _kind({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]})
    'array of string, null'
    """
    if "anyOf" in part:
        return ", ".join(map(_kind, part["anyOf"]))
    if "$ref" in part:
        return str(part["$ref"].rpartition("/")[2])
    if part.get("type") == "array":
        items = part.get("items", {})
        return f"array of {_kind(items) if items else 'pairs'}"
    if isinstance(part.get("additionalProperties"), dict):
        return f"object of {_kind(part['additionalProperties'])}"
    return str(part.get("type", "any"))
