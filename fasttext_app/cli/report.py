"""``fasttext-app report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from fasttext_app.cli.messages import note
from fasttext_app.cli.options import (
    DelimiterOption,
    EncodingOption,
    ErrorsOption,
    LabelColumnOption,
    ModelArgument,
    Reading,
    ScoredDataOption,
    SetOption,
    SkipBadOption,
    SplitOption,
    TextColumnsOption,
    ask_to_read,
    load_model,
    report_skipped,
    scored_rows,
)
from fasttext_app.cli.outputs import OverwriteOption, check_new_file
from fasttext_app.cli.review import review_rows

if TYPE_CHECKING:
    from fasttext_app.inference.classifier import TextClassifier
    from fasttext_app.reporting.rows import Rows
    from fasttext_app.reviewing.review import Review

_output = Option("--output", "-o", metavar="FILE.html", help="The page to write.")
_folds = Option(
    metavar="K",
    min=2,
    help="Also review the labels of the model's training rows, with K models, each trained "
    "without one part of them.",
    show_default="none",
)
_compare = Option(metavar="MODEL", help="Compare the model with this one, on the same rows.")


def report(
    model: ModelArgument,
    output: Annotated[Path, _output],
    data: ScoredDataOption = None,
    split: SplitOption = None,
    compare: Annotated[Path | None, _compare] = None,
    folds: Annotated[int | None, _folds] = None,
    overwrite: OverwriteOption = False,
    text_column: TextColumnsOption = None,
    label_column: LabelColumnOption = None,
    errors: ErrorsOption = None,
    delimiter: DelimiterOption = None,
    encoding: EncodingOption = None,
    skip_bad: SkipBadOption = False,
    settings: SetOption = None,
) -> None:
    """Write a page about a model: scores, confusions, calibration, words, and suspicious texts.

    The page is one file that loads nothing.

    Examples:
        fasttext-app report models/tickets -o report.html
        fasttext-app report models/new -d test.csv --compare models/old -o page.html
    """
    from fasttext_app.inference.writers import text_output
    from fasttext_app.reporting.page import report as pages

    check_new_file(output, overwrite=overwrite, inputs=data)
    models = [load_model(path) for path in (model, compare) if path is not None]
    names = [str(path) for path in (model, compare) if path is not None]
    reading = Reading(text_column, label_column, errors, settings, delimiter, encoding, skip_bad)
    try:
        rows = _rows(models[0], data, split, reading)
    finally:
        reading.report_skipped()
    review = None if folds is None else _review(models[0], folds, agreed=data is None)
    with text_output(output) as file:
        file.writelines(pages(names, models, rows, review))
    note(f"wrote {output}")


def _review(model: TextClassifier, folds: int, *, agreed: bool) -> Review:
    """Review the rows that a model was trained on, with its own settings.

    Args:
        model: the model.
        folds: how many models to train.
        agreed: whether the user has agreed already to read them.
    """
    from fasttext_app.data.bad_rows import BadRows
    from fasttext_app.errors import DataError
    from fasttext_app.reviewing.rows import read_rows

    data = model.config.data
    if not data.source:
        raise DataError("the model does not name its training rows; use fasttext-app review")
    if not agreed:
        ask_to_read(model)
    bad_rows = BadRows()
    try:
        rows = read_rows(data, data.train_split, bad_rows=bad_rows)
    finally:
        report_skipped(bad_rows.count, bad_rows.problems)
    return review_rows(model.config, rows, folds, 0)


def _rows(
    model: TextClassifier, data: list[str] | None, split: str | None, reading: Reading
) -> Rows:
    """Read the rows, and look for what is odd about them."""
    from fasttext_app.reporting.rows import described_rows

    rows = scored_rows(model, data, split, reading)
    batches = [batch for batch in rows.scan() if len(batch)]
    return described_rows(model, rows.source, rows.split, batches, rows.config)
