"""``fasttext-app explain``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, TypeAlias

import typer

from fasttext_app.cli.options import (
    ErrorsOption,
    LabelColumnOption,
    ModelArgument,
    SetOption,
    TextColumnOption,
    data_layer,
    given_texts,
    only_section,
    open_scored,
    same_file,
)

if TYPE_CHECKING:
    from rich.console import Console

    from fasttext_app.inference.classifier import TextClassifier
    from fasttext_app.inference.explain import Explanation, LabelFeature, TextScan


FORMATS = ("text", "html", "json")
SUFFIX_FORMATS = {".html": "html", ".htm": "html", ".json": "json", ".jsonl": "json"}
FILE_WIDTH = 100  # columns of a table in a file

Reading: TypeAlias = tuple[list[str] | None, str | None, str | None]
"""Text columns, label column and what to do with errors."""


def explain(
    model: ModelArgument,
    texts: Annotated[list[str] | None, typer.Argument(metavar="[TEXT]...")] = None,
    label: Annotated[
        str | None, typer.Option("--label", help="Explain this label; without it, the best one.")
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", help="Why the label rather than this other one.")
    ] = None,
    top: Annotated[
        int, typer.Option("--top", min=1, help="Features to show for a label, and against it.")
    ] = 10,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="|".join(FORMATS),
            help="Without it, by the name of --output, else text.",
        ),
    ] = None,
    input: Annotated[  # noqa: A002
        Path | None,
        typer.Option(
            "--input", help="A file of texts (a column, or lines); '-': lines of standard input."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="Write to this file instead of stdout.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="SPEC", help="Without texts: name the n-grams of these."),
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="The split of --data; without it, train.")
    ] = None,
    text_column: TextColumnOption = None,
    label_column: LabelColumnOption = None,
    errors: ErrorsOption = None,
    settings: SetOption = None,
) -> None:
    """Show what each word and n-gram of a text adds to the logit of a label.

    Without texts: the features that speak most for --label.
    """
    from fasttext_app.inference.explain import label_features
    from fasttext_app.inference.load import load_classifier
    from fasttext_app.inference.writers import text_output

    if texts == ["-"] and input is None:
        texts, input = None, Path("-")  # noqa: A001 - as for predict
    chosen, has_texts = _format(form, output), bool(texts) or input is not None
    wrong = {
        "TEXT": (bool(texts) and input is not None, "give texts or --input, not both"),
        "--label": (
            not has_texts and label is None,
            "give texts, --input FILE (- for stdin), or a label to show its strongest features",
        ),
        "--data": (data is not None and has_texts, "goes with --label and no texts"),
        "--split": (split is not None and data is None, "goes with --data"),
        "--format": (chosen == "html" and not has_texts, "html is for texts; there are none"),
        "--output": (same_file(input, output), f"{output} is the input too"),
    }
    for option, (is_so, reason) in wrong.items():
        if is_so:
            raise typer.BadParameter(reason, param_hint=option)
    classifier = load_classifier(model)
    reading = text_column, label_column, errors
    with text_output(output) as file:
        if has_texts:
            rows = _rows(classifier, texts, input, reading, settings)
            explanations = (classifier.explain(text, label, against) for text in rows)
            _write_explanations(explanations, file, chosen, top, f"Explanations by {model}")
        else:
            assert label is not None
            scan = _scan(classifier, data, split, reading, settings)
            features = label_features(classifier, label, top, against=against, scan=scan)
            asked = {"label": label, "against": against, "data": data}
            has_ngrams = classifier.encoder.bucket > 0
            _write_features(features, file, chosen, asked, has_ngrams=has_ngrams)
    if output is not None:
        typer.echo(f"wrote {output}", err=True)


def _format(form: str | None, output: Path | None) -> str:
    if form is not None and form not in FORMATS:
        raise typer.BadParameter(
            f"{form!r} is not one of {', '.join(FORMATS)}", param_hint="--format"
        )
    named = SUFFIX_FORMATS.get(output.suffix.lower(), "text") if output is not None else "text"
    return form or named


def _rows(
    model: TextClassifier,
    texts: list[str] | None,
    input: Path | None,  # noqa: A002
    reading: Reading,
    settings: list[str] | None,
) -> Iterable[str]:
    """Return the texts of the command line, or read those of a file."""
    from fasttext_app.config.loading import parse_assignments, resolve
    from fasttext_app.core.arrow import python_strings
    from fasttext_app.data.spec import open_texts

    config = resolve(
        model.config.model_dump(),
        only_section("data", parse_assignments(settings or [])),
        data_layer(str(input), *reading),
    )
    if texts:
        return given_texts(texts, config.data.errors)
    batches = open_texts(config.data)
    return (text for batch in batches for text in python_strings(batch.column("text")))


def _scan(
    model: TextClassifier,
    data: str | None,
    split: str | None,
    reading: Reading,
    settings: list[str] | None,
) -> TextScan | None:
    """Return what reads the texts of a data SPEC from the start."""
    if data is None:
        return None
    split = split or model.config.data.train_split
    batches, _ = open_scored(model, data, split, reading, settings)
    return lambda: (batch.column("text") for batch in batches())


def _write_explanations(
    explanations: Iterable[Explanation], file: IO[str], form: str, top: int, title: str
) -> None:
    from fasttext_app.cli.render.explanation import html_page, show_explanation

    if form == "html":
        file.writelines(html_page(explanations, title, top))
        return
    for explanation in explanations:
        if form == "json":
            file.write(json.dumps(explanation.as_dict(), ensure_ascii=False) + "\n")
        else:
            show_explanation(explanation, top, _console(file))


def _write_features(
    features: list[LabelFeature],
    file: IO[str],
    form: str,
    asked: dict[str, str | None],
    *,
    has_ngrams: bool,
) -> None:
    from fasttext_app.cli.render.explanation import show_label_features

    if form == "json":
        document = {**asked, "features": [asdict(feature) for feature in features]}
        file.write(json.dumps(document, ensure_ascii=False) + "\n")
        return
    title = f"What speaks most for {asked['label']}"
    if asked["against"] is not None:
        title += f" rather than {asked['against']}"
    counted = f"Words and n-grams of {asked['data']}, counted there."
    if asked["data"] is None:
        counted = "Words, counted in the training texts."
        if has_ngrams:
            counted += " N-grams have no names in a model: --data SPEC names those of its texts."
    show_label_features(features, title, counted, _console(file))


def _console(file: IO[str]) -> Console:
    """Return what draws on standard output, or in a file in plain characters."""
    from fasttext_app.cli.render import tables as console

    if file is sys.stdout:
        return console.out
    from rich.console import Console

    return Console(file=file, width=FILE_WIDTH, highlight=False, soft_wrap=True)
