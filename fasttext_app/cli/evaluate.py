"""``fasttext-app evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from fasttext_app.cli.options import (
    DataOption,
    DeviceOption,
    ErrorsOption,
    JsonOption,
    LabelColumnOption,
    ModelArgument,
    SetOption,
    SplitOption,
    TextColumnOption,
    ThreadsOption,
    open_scored,
    print_json,
)

if TYPE_CHECKING:
    from fasttext_app.model.metrics import MultiLabelScores, Scores


def evaluate(
    model: ModelArgument,
    data: DataOption = None,
    split: SplitOption = None,
    text_column: TextColumnOption = None,
    label_column: LabelColumnOption = None,
    errors: ErrorsOption = None,
    settings: SetOption = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            min=0,
            max=1,
            help="Where rows have several labels: predict those from here on.  "
            "[default: the model's own for each, else 0.5]",
        ),
    ] = None,
    reliability: Annotated[
        Path | None,
        typer.Option(
            "--reliability",
            metavar="FILE.png|svg",
            help="Draw the reliability diagram into this file too.",
        ),
    ] = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Score a model on labeled data: accuracy, F1, per-label figures, confusion matrix, P@k.

    ECE, NLL and the reliability diagram say how far its probabilities can be trusted.
    """
    from fasttext_app.cli.render import tables as console
    from fasttext_app.cli.render.calibration import show_reliability
    from fasttext_app.cli.render.plots import check_plot, draw_reliability
    from fasttext_app.inference.load import load_classifier

    if reliability is not None:
        check_plot(reliability)
    classifier = load_classifier(model, device=device or "cpu", threads=threads or 0)
    reading = (text_column, label_column, errors)
    rows, config = open_scored(classifier, data, split, reading, settings)
    several = config.eval_label_separator is not None
    if threshold is not None and not several:
        raise typer.BadParameter(
            "is for rows of several labels; say what parts them by --set data.label_separator=...",
            param_hint="--threshold",
        )
    scores = classifier.evaluate_batches(rows(), threshold, config)
    if reliability is not None:
        draw_reliability(scores["calibration"], reliability)
    if json:
        print_json(scores)
        return
    if several:
        console.show_multi_label_scores(cast("MultiLabelScores", scores))
    else:
        console.show_scores(cast("Scores", scores))
    show_reliability(scores["calibration"])
