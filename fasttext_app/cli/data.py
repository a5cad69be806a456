"""``fasttext-app data``."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from fasttext_app.cli.options import (
    READING,
    SPEC_HELP,
    AllOption,
    DelimiterOption,
    EncodingOption,
    ErrorsOption,
    JsonOption,
    LabelColumnOption,
    Reading,
    SetOption,
    SkipBadOption,
    TextColumnsOption,
    print_json,
)


def data(
    sources: Annotated[list[str], Argument(metavar="SPEC", help=SPEC_HELP)],
    split: Annotated[
        str, Option(metavar="NAME", help="Split to describe.", rich_help_panel=READING)
    ] = "train",
    text_column: TextColumnsOption = None,
    label_column: LabelColumnOption = None,
    errors: ErrorsOption = None,
    delimiter: DelimiterOption = None,
    encoding: EncodingOption = None,
    skip_bad: SkipBadOption = False,
    settings: SetOption = None,
    show_all: AllOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show a dataset's size, text lengths, label balance and first rows.

    Examples:
        fasttext-app data tickets.csv --text-column subject --label-column queue
        fasttext-app data sample --split test
    """
    from fasttext_app.cli.render.data import show_data
    from fasttext_app.config.loading import parse_assignments, resolve
    from fasttext_app.data.describe import describe_data
    from fasttext_app.data.spec import open_source

    reading = Reading(text_column, label_column, errors, None, delimiter, encoding, skip_bad)
    config = resolve(parse_assignments(settings or []), reading.layer(sources)).data
    source = open_source(config, bad_rows=reading.bad_rows)
    try:
        description = describe_data(
            source,
            split,
            config.label_separator,
            soft=config.soft_labels,
            whole_labels=config.whole_labels,
        )
    finally:
        reading.report_skipped()
    if as_json:
        print_json(description)
    else:
        show_data(description, show_all=show_all)
