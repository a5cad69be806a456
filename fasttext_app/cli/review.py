"""``fasttext-app review``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import BadParameter, Option

from fasttext_app.cli.messages import note
from fasttext_app.cli.options import (
    AnySetOption,
    ConfigOption,
    DataOption,
    DelimiterOption,
    EncodingOption,
    ErrorsOption,
    LabelColumnOption,
    Reading,
    SkipBadOption,
    TextColumnsOption,
    TrainDeviceOption,
    TrainThreadsOption,
    check_choice,
    column_names,
    complete,
    resolved_config,
)
from fasttext_app.cli.outputs import (
    OutputFileOption,
    OverwriteOption,
    SafeCsvOption,
    check_new_file,
)

if TYPE_CHECKING:
    from fasttext_app.config.schema import Config
    from fasttext_app.reviewing.review import Review
    from fasttext_app.reviewing.rows import ReviewRows

FORMATS = ("csv", "jsonl", "html")
SUFFIX_FORMATS = {
    **{".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"},
    **{".html": "html", ".htm": "html"},
}

_folds = Option(metavar="K", min=2, help="Models to train, each without one fold of the rows.")
_pick = Option(metavar="N", min=0, help="Unlabeled rows to list.")
_unlabeled = Option(
    metavar="PATH",
    help="Texts without labels: a file, a folder or 'a/*.csv'; repeatable. Rows of --data with an "
    "empty label count too.",
)
_keep = Option(
    metavar="NAME,...", help="Columns of the data to copy to the output.", show_default="none"
)
_seed = Option(metavar="N", help="Random seed of the folds and the models.", show_default="0")
_format = Option(
    "--format",
    "-f",
    metavar="|".join(FORMATS),
    help="Output format.",
    autocompletion=complete(*FORMATS),
    show_default="by the suffix of --output, else csv",
)


def review(
    data: DataOption = None,
    folds: Annotated[int, _folds] = 5,
    pick: Annotated[int, _pick] = 100,
    unlabeled: Annotated[list[str] | None, _unlabeled] = None,
    keep: Annotated[list[str] | None, _keep] = None,
    output: OutputFileOption = None,
    overwrite: OverwriteOption = False,
    form: Annotated[str | None, _format] = None,
    safe_csv: SafeCsvOption = False,
    config_file: ConfigOption = None,
    split: Annotated[
        str | None,
        Option(metavar="NAME", help="Split to review.", show_default="train"),
    ] = None,
    seed: Annotated[int | None, _seed] = None,
    device: TrainDeviceOption = None,
    threads: TrainThreadsOption = None,
    text_column: TextColumnsOption = None,
    label_column: LabelColumnOption = None,
    errors: ErrorsOption = None,
    delimiter: DelimiterOption = None,
    encoding: EncodingOption = None,
    skip_bad: SkipBadOption = False,
    settings: AnySetOption = None,
) -> None:
    """List rows that are likely mislabeled, and unlabeled rows that are worth labeling first.

    Each row is judged by a model that was trained without it. Most suspect rows
    come first, then near-duplicates with different labels, then unlabeled rows.

    Examples:
        fasttext-app review -d tickets.csv -o rows.csv
        fasttext-app review -d tickets.csv -o review.html
        fasttext-app review -d tickets.csv --keep id --unlabeled new.csv -o rows.csv
    """
    from fasttext_app.inference.writers import format_for

    check_choice(form, FORMATS, "--format")
    form = format_for(output, form, SUFFIX_FORMATS, "csv")
    if safe_csv and form != "csv":
        raise BadParameter("needs --format csv", param_hint="--safe-csv")
    check_new_file(output, overwrite=overwrite, inputs=[*(data or ()), *(unlabeled or ())])
    reading = Reading(text_column, label_column, errors, None, delimiter, encoding, skip_bad)
    config = resolved_config(
        reading, config_file, settings, data, seed=seed, device=device, threads=threads
    )
    try:
        rows = _rows(config, split, column_names(keep or ()), unlabeled, reading)
    finally:
        reading.report_skipped()
    result = review_rows(config, rows, folds, pick)
    _write(result, rows.spec, output, form, safe_csv=safe_csv)
    _say(result)
    if output is not None:
        note(f"wrote {output}")


def _rows(
    config: Config,
    split: str | None,
    keep: list[str],
    unlabeled: list[str] | None,
    reading: Reading,
) -> ReviewRows:
    from fasttext_app.reviewing.rows import read_rows, unlabeled_texts

    data = config.data
    rows = read_rows(data, split or data.train_split, keep, reading.bad_rows)
    if unlabeled:
        rows = rows.with_unlabeled(unlabeled_texts(data, unlabeled, reading.bad_rows))
    return rows


def review_rows(config: Config, rows: ReviewRows, folds: int, pick: int) -> Review:
    """Review rows, and say which model is being trained."""
    from fasttext_app.core.startup import preload_torch
    from fasttext_app.reviewing.review import review

    preload_torch()

    def progress(run: int, runs: int) -> None:
        note(f"training model {run} of {runs}")

    return review(config, rows, folds=folds, pick=pick, progress=progress)


def _write(result: Review, spec: str, output: Path | None, form: str, *, safe_csv: bool) -> None:
    from fasttext_app.inference.writers import as_csv, text_output

    with text_output(output) as file:
        if form == "html":
            from fasttext_app.reviewing.page import review_page

            file.writelines(review_page(result, spec))
            return
        table = result.to_table()
        if form == "jsonl":
            for row in table.to_pylist():
                row = {name: None if value != value else value for name, value in row.items()}
                file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")
            return
        names = table.column_names
        records = [[_cell(value) for value in row.values()] for row in table.to_pylist()]
        file.write(as_csv([names, *records], safe=safe_csv))


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6f}" if isinstance(value, float) else str(value)


def _say(result: Review) -> None:
    """Say what was found."""
    wrong, copies = len(result.of("label")), len(result.of("duplicate"))
    note(
        f"{result.rows:,} labeled rows: {wrong:,} likely mislabeled, {copies:,} more with a "
        "near-duplicate that has another label"
    )
    if result.not_judged:
        note(f"not checked, because their labels are too rare: {result.not_judged:,} rows")
    if result.unlabeled:
        picked = len(result.of("unlabeled"))
        note(f"{result.unlabeled:,} unlabeled rows: the {picked:,} to label first are listed")
