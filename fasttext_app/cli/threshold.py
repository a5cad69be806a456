"""``fasttext-app threshold``."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from fasttext_app.cli.options import (
    ErrorsOption,
    JsonOption,
    ModelArgument,
    Reading,
    RequiredInputOption,
    SetOption,
    TextColumnsOption,
    ThreadsOption,
    load_model,
    parse_share,
    print_json,
)


def threshold(
    model: ModelArgument,
    inputs: RequiredInputOption,
    label: Annotated[
        str, Option("--label", "-l", metavar="LABEL", help="Label to select texts by.")
    ],
    keep: Annotated[str, Option(metavar="SHARE", help="Share of texts to keep: 10% or 0.1.")],
    text_column: TextColumnsOption = None,
    errors: ErrorsOption = None,
    settings: SetOption = None,
    threads: ThreadsOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Find the probability threshold that keeps a given share of texts.

    Then pass it to `predict --label LABEL --threshold P` to output those texts.
    The threshold is exact, and memory does not grow with the texts: their
    probabilities go to a temporary file, 8 bytes each.

    Examples:
        fasttext-app threshold models/tickets -i new.csv --label refund --keep 10%
    """
    from fasttext_app.cli.render.calibration import show_cut
    from fasttext_app.data.spec import open_texts
    from fasttext_app.inference.select import find_cut, score_texts

    share = parse_share(keep, "--keep")
    classifier = load_model(model, threads=threads)
    reading = Reading(text_column, None, errors, settings)
    config = reading.config_for(classifier, inputs)
    scored = score_texts(classifier, open_texts(config.data, reading.bad_rows), label)
    cut = find_cut((ranked.probabilities for _, ranked in scored), share)
    reading.report_skipped()
    document = {"input": ", ".join(inputs), "label": label, "keep": share, **cut}
    if as_json:
        print_json(document)
    else:
        show_cut(document)
