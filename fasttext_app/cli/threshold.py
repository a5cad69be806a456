"""``fasttext-app threshold``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from fasttext_app.cli.options import (
    ErrorsOption,
    JsonOption,
    ModelArgument,
    SetOption,
    TextColumnOption,
    ThreadsOption,
    data_layer,
    only_section,
    print_json,
)


def threshold(
    model: ModelArgument,
    input: Annotated[  # noqa: A002
        Path,
        typer.Option(
            "--input", help="A file of texts (a column, or lines); '-': lines of standard input."
        ),
    ],
    label: Annotated[str, typer.Option("--label", help="The label that texts are kept for.")],
    keep: Annotated[
        str, typer.Option("--keep", metavar="SHARE", help="How many to keep: 10% or 0.1.")
    ],
    text_column: TextColumnOption = None,
    errors: ErrorsOption = None,
    settings: SetOption = None,
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Find the probability of a label from which on a share of the texts is kept.

    All probabilities go into a temporary file, 8 bytes a text, and the one at the cut is found
    there exactly; memory does not grow with the texts. `predict --label` then keeps them.
    """
    from fasttext_app.cli.render.calibration import show_cut
    from fasttext_app.config.loading import parse_assignments, resolve
    from fasttext_app.data.spec import open_texts
    from fasttext_app.inference.load import load_classifier
    from fasttext_app.inference.select import find_cut, score_texts

    share = _share(keep)
    classifier = load_classifier(model, threads=threads or 0)
    config = resolve(
        classifier.config.model_dump(),
        only_section("data", parse_assignments(settings or [])),
        data_layer(str(input), text_column, None, errors),
    )
    scores = score_texts(classifier, open_texts(config.data), label)
    cut = find_cut((values for _, values in scores), share)
    document = {"input": str(input), "label": label, "keep": share, **cut}
    if json:
        print_json(document)
    else:
        show_cut(document)


def _share(text: str) -> float:
    match = re.fullmatch(r"(\d*\.?\d+)(%?)", text.strip())
    share = float(match[1]) / (100 if match[2] else 1) if match else 0.0
    if not 0 < share <= 1:
        raise typer.BadParameter(
            f"{text!r} is not a share above 0 and up to 1, such as 10% or 0.1", param_hint="--keep"
        )
    return share
