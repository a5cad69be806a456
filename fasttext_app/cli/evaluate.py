"""``fasttext-app evaluate``."""

from __future__ import annotations

from typing import Annotated

import typer

from fasttext_app.cli.options import (
    DeviceOption,
    ErrorsOption,
    JsonOption,
    LabelColumnOption,
    ModelArgument,
    SetOption,
    TextColumnOption,
    ThreadsOption,
    data_layer,
    only_section,
    print_json,
)

__all__ = ["evaluate"]


def evaluate(
    model: ModelArgument,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="SPEC",
            help="As for train.  [default: the data of training]",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split", help="The split to score: train, validation, test.  [default: test]"
        ),
    ] = None,
    text_column: TextColumnOption = None,
    label_column: LabelColumnOption = None,
    errors: ErrorsOption = None,
    settings: SetOption = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Score a model on labelled data: accuracy, F1, per-label figures, confusion matrix, P@k."""
    from fasttext_app import console
    from fasttext_app.config import parse_assignments, resolve
    from fasttext_app.errors import DataError
    from fasttext_app.predictor import TextClassifier
    from fasttext_app.sources import open_source

    classifier = TextClassifier.load(model, device=device or "cpu", threads=threads or 0)
    config = resolve(
        classifier.config.model_dump(),
        only_section("data", parse_assignments(settings or [])),
        data_layer(data, text_column, label_column, errors),
    )
    source = open_source(config.data)
    if source.single and data is None:
        raise DataError(
            f"{source.spec}: the model was trained on this very file; pass --data SPEC to score it "
            "on other rows"
        )
    scores = classifier.evaluate_batches(source.scan(split or config.data.test_split))
    if json:
        print_json(scores)
    else:
        console.show_scores(scores)
