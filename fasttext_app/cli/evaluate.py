"""``fasttext-app evaluate``."""

from __future__ import annotations

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

__all__ = ["evaluate"]


def evaluate(
    model: ModelArgument,
    data: DataOption = None,
    split: SplitOption = None,
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
    from fasttext_app.predictor import TextClassifier

    classifier = TextClassifier.load(model, device=device or "cpu", threads=threads or 0)
    batches = open_scored(classifier, data, split, (text_column, label_column, errors), settings)
    scores = classifier.evaluate_batches(batches())
    if json:
        print_json(scores)
    else:
        console.show_scores(scores)
