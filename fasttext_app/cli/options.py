"""Options that several commands share, and the layers of settings that they make."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from fasttext_app.errors import ConfigError, DataError

__all__ = [
    "DeviceOption",
    "ErrorsOption",
    "JsonOption",
    "LabelColumnOption",
    "ModelArgument",
    "SetOption",
    "TextColumnOption",
    "ThreadsOption",
    "data_layer",
    "given_texts",
    "only_section",
    "print_json",
]

ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL", help="A model directory.")]
TextColumnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--text-column",
        metavar="NAME",
        help="Column with the text; several are joined by a space.",
        rich_help_panel="Reading data",
    ),
]
LabelColumnOption = Annotated[
    str | None,
    typer.Option(
        "--label-column",
        metavar="NAME",
        help="Column with the label.",
        rich_help_panel="Reading data",
    ),
]
ErrorsOption = Annotated[
    str | None,
    typer.Option(
        "--errors",
        metavar="strict|replace",
        help="Refuse bad bytes and missing texts, or replace them.",
        rich_help_panel="Reading data",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Any other setting; may be repeated."),
]
DeviceOption = Annotated[
    str | None, typer.Option("--device", metavar="auto|cpu|cuda[:i]", help="Where to compute.")
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=0, help="Threads; 0: as many as are useful.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON object on stdout.")
]


def data_layer(
    source: str | None = None,
    text_columns: list[str] | None = None,
    label_column: str | None = None,
    errors: str | None = None,
) -> dict[str, dict[str, Any]]:
    """Return the ``data`` settings that were given on the command line."""
    given = {
        "source": source,
        "text_columns": text_columns or None,
        "label_column": label_column,
        "errors": errors,
    }
    return {"data": {key: value for key, value in given.items() if value is not None}}


def given_texts(texts: list[str], errors: str = "strict") -> list[str]:
    """Return the texts of the command line; a shell can pass on bytes that are not UTF-8.

    Raises:
        DataError: a text has such bytes, and ``errors`` is not ``replace``.
    """
    if errors == "replace":
        return [text.encode(errors="surrogateescape").decode(errors="replace") for text in texts]
    for number, text in enumerate(texts, start=1):
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise DataError(f"text {number} of the command line is not UTF-8; pass it as UTF-8")
    return texts


def only_section(section: str, layer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return ``layer`` if it has nothing but this section: the rest was settled in training.

    Raises:
        ConfigError: another section is set.
    """
    for other in layer:
        if other != section:
            raise ConfigError(f"--set {other}...: only {section}.* can be set here")
    return layer


def print_json(document: Any) -> None:
    """Print one JSON object on stdout."""
    typer.echo(json.dumps(document, ensure_ascii=False))
