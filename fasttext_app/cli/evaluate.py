"""``fasttext-app evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import BadParameter, Option

from fasttext_app.cli.options import (
    AllOption,
    DelimiterOption,
    DeviceOption,
    EncodingOption,
    ErrorsOption,
    JsonOption,
    LabelColumnOption,
    ModelArgument,
    Reading,
    ScoredDataOption,
    SetOption,
    SkipBadOption,
    SplitOption,
    TextColumnsOption,
    ThreadsOption,
    load_model,
    print_json,
    scored_rows,
)
from fasttext_app.cli.outputs import OverwriteOption, check_new_file

_threshold = Option(
    "--threshold",
    "-t",
    metavar="P",
    min=0,
    max=1,
    help="For rows with several labels: predict every label with at least this probability.",
    show_default="the model's fitted thresholds, else 0.5",
)
_reliability = Option(
    metavar="FILE.png|svg", help="Draw the reliability diagram into this file, and show its table."
)


def evaluate(
    model: ModelArgument,
    data: ScoredDataOption = None,
    split: SplitOption = None,
    text_column: TextColumnsOption = None,
    label_column: LabelColumnOption = None,
    errors: ErrorsOption = None,
    delimiter: DelimiterOption = None,
    encoding: EncodingOption = None,
    skip_bad: SkipBadOption = False,
    settings: SetOption = None,
    threshold: Annotated[float | None, _threshold] = None,
    reliability: Annotated[Path | None, _reliability] = None,
    overwrite: OverwriteOption = False,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 0,
    show_all: AllOption = False,
    as_json: JsonOption = False,
) -> None:
    """Score a model on labeled data: accuracy, F1, P@k, confusions, calibration.

    --all shows every label; --json has everything, with the confusion matrix
    and the reliability bins.

    Examples:
        fasttext-app evaluate models/tickets
        fasttext-app evaluate models/tickets -d test.csv --json
    """
    from fasttext_app.cli.render.evaluation import show_reliability, show_scores

    if reliability is not None:
        from fasttext_app.cli.render.plots import check_plot_path

        check_plot_path(reliability)
        check_new_file(reliability, overwrite=overwrite)
    classifier = load_model(model, device=device, threads=threads)
    reading = Reading(text_column, label_column, errors, settings, delimiter, encoding, skip_bad)
    rows = scored_rows(classifier, data, split, reading)
    if threshold is not None and rows.config.eval_label_separator is None:
        raise BadParameter(
            "needs rows that can have several labels; name their separator with "
            "--set data.label_separator=...",
            param_hint="--threshold",
        )
    try:
        scores = classifier.evaluate_batches(rows.scan(), threshold, rows.config)
    finally:
        reading.report_skipped()
    if reliability is not None:
        from fasttext_app.cli.render.plots import draw_reliability

        draw_reliability(scores["calibration"], reliability)
    if as_json:
        print_json(scores)
        return
    show_scores(scores, show_all=show_all)
    if reliability is not None:
        show_reliability(scores["calibration"])
