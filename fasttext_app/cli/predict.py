"""``fasttext-app predict``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fasttext_app.cli.options import (
    DeviceOption,
    ErrorsOption,
    ModelArgument,
    SetOption,
    TextColumnOption,
    ThreadsOption,
    data_layer,
    given_texts,
    only_section,
    same_file,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from fasttext_app.config.schema import Config


def predict(
    model: ModelArgument,
    texts: Annotated[list[str] | None, typer.Argument(metavar="[TEXT]...")] = None,
    input: Annotated[  # noqa: A002
        Path | None,
        typer.Option(
            "--input", help="A file of texts (a column, or lines); '-': lines of standard input."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="Write to this file instead of stdout.")
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="text|jsonl|csv|parquet|fasttext",
            help="[default: by the name of --output, else text]",
        ),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(
            "--top-k",
            min=1,
            help="Labels for each text.  [default: 1; with --threshold fitted: all]",
        ),
    ] = None,
    threshold: Annotated[
        str | None,
        typer.Option(
            "--threshold",
            metavar="P|fitted",
            help="Leave out less likely labels; fitted: by the model's threshold of each label.",
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option("--label", help="Keep only the texts that reach --threshold for this label."),
    ] = None,
    text_column: TextColumnOption = None,
    errors: ErrorsOption = None,
    settings: SetOption = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Predict the labels of texts: arguments, lines of stdin, or a column of a file.

    There is one row out for every text in, in their order, also for empty texts; with --label only
    for the texts that are kept.
    """
    from fasttext_app.config.loading import parse_assignments, resolve
    from fasttext_app.core.jit import PLAIN_BYTES
    from fasttext_app.inference.load import load_classifier
    from fasttext_app.inference.writers import FORMATS, format_for, write_predictions

    if form is not None and form not in FORMATS:
        raise typer.BadParameter(
            f"{form!r} is not one of {', '.join(FORMATS)}", param_hint="--format"
        )
    texts, input = _where_from(texts, input)  # noqa: A001
    if same_file(input, output):
        raise typer.BadParameter(f"{output} is the input too", param_hint="--output")
    if label is not None and top_k is not None:
        raise typer.BadParameter("goes not with --label", param_hint="--top-k")
    chosen, least = format_for(output, form), _threshold(threshold)
    if threads is None and input == Path("-"):
        threads = 1  # so that each line is answered before the next one comes
    classifier = load_classifier(model, device=device or "cpu", threads=threads or 0)
    config = resolve(
        classifier.config.model_dump(),
        only_section("data", parse_assignments(settings or [])),
        data_layer(str(input), text_column, None, errors),
    )
    batches = _given(given_texts(texts, config.data.errors)) if texts else _read(config)
    if input is not None and input.is_file() and input.stat().st_size > PLAIN_BYTES:
        classifier.warm_up()
    if label is not None:
        from fasttext_app.inference.select import keep_texts

        answers = keep_texts(classifier, batches, label, least)
    else:
        answers = classifier.predict_batches(batches, top_k, least)
    most = 1 if label is not None or least != "fitted" else len(classifier.labels)
    rows = write_predictions(answers, output, chosen, min(top_k or most, len(classifier.labels)))
    if output is not None:
        typer.echo(f"wrote {rows:,} row{'s' * (rows != 1)} to {output}", err=True)


def _where_from(texts: list[str] | None, file: Path | None) -> tuple[list[str] | None, Path | None]:
    if texts == ["-"] and file is None:  # fastText's own way to name stdin
        return None, Path("-")
    if texts and file is not None:
        raise typer.BadParameter("give texts or --input, not both", param_hint="TEXT")
    if not texts and file is None:
        if sys.stdin is None or sys.stdin.isatty():
            raise typer.BadParameter(
                "give texts, --input FILE, or lines on stdin", param_hint="TEXT"
            )
        file = Path("-")
    return texts, file


def _threshold(text: str | None) -> float | str:
    if text is None or text == "fitted":
        return text or 0.0
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise typer.BadParameter(
            f"{text!r} is not a number from 0 to 1, nor fitted", param_hint="--threshold"
        )
    return number


def _given(texts: list[str]) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    from fasttext_app.core.arrow import string_array

    yield pa.record_batch({"text": string_array(texts)})


def _read(config: Config) -> Iterator[pa.RecordBatch]:
    from fasttext_app.data.spec import open_texts

    return open_texts(config.data)
