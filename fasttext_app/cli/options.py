"""Options that several commands share, and the layers of settings that they make."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fasttext_app.errors import ConfigError, DataError

if TYPE_CHECKING:
    from fasttext_app.config.schema import DataConfig
    from fasttext_app.data.source import Batches
    from fasttext_app.inference.classifier import TextClassifier


ModelArgument = Annotated[
    Path, typer.Argument(metavar="MODEL", help="A model directory, or a fastText .bin or .ftz.")
]
DataOption = Annotated[
    str | None,
    typer.Option("--data", metavar="SPEC", help="As for train.  [default: the data of training]"),
]
SpecOption = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="SPEC",
        help="ag_news, sample, a file, a folder, 'a/{split}.csv', or owner/name.",
    ),
]
SplitOption = Annotated[
    str | None,
    typer.Option("--split", help="The split to score: train, validation, test.  [default: test]"),
]
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


def bytes_of(model: Path) -> int:
    """Return the size of a model on disk, a directory's or a file's."""
    files = [model] if model.is_file() else model.iterdir()
    return sum(file.stat().st_size for file in files)


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


def same_file(input: Path | None, output: Path | None) -> bool:  # noqa: A002
    """Say whether what is written would take the place of what is read."""
    if input is None or output is None:
        return False
    return input.exists() and output.is_file() and input.samefile(output)


def print_json(document: Any) -> None:
    """Print one JSON object on stdout."""
    typer.echo(json.dumps(document, ensure_ascii=False))


def check_other_folder(model: Path, output: Path) -> None:
    """Refuse an output folder where a model made of ``model`` could not be saved, or that it is in.

    Raises:
        ArtifactError: it is the model's own folder, or no model can be saved there.
        CheckpointError: a run that did not end has its checkpoints there.
    """
    from fasttext_app.errors import ArtifactError
    from fasttext_app.model.directory import check_target

    check_target(output)
    if output.exists() and output.resolve() == model.resolve():
        raise ArtifactError(f"{output}: is the model itself; name another folder")


def open_scored(
    model: TextClassifier,
    data: str | None,
    split: str | None,
    reading: tuple[list[str] | None, str | None, str | None],
    settings: list[str] | None,
) -> tuple[Callable[[], Batches], DataConfig]:
    """Find the rows to score a model on, and how their labels are to be read.

    Each call of what is returned reads the rows from the start.

    Args:
        model: its own data settings hold where no option says otherwise.
        data: the SPEC; None: the data that the model was trained on.
        split: None: the test split.
        reading: text columns, label column and what to do with errors.
        settings: assignments of the section ``data``.

    Raises:
        DataError: there is no such data, or it is what the model was trained on.
    """
    from fasttext_app.config.loading import parse_assignments, resolve
    from fasttext_app.data.spec import open_source

    config = resolve(
        model.config.model_dump(),
        only_section("data", parse_assignments(settings or [])),
        data_layer(data, *reading),
    )
    source = open_source(config.data)
    if source.single and data is None:
        raise DataError(
            f"{source.spec}: the model was trained on this very file; pass --data SPEC to score it "
            "on other rows"
        )
    return partial(source.scan, split or config.data.test_split), config.data
