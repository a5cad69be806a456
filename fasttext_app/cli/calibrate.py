"""``fasttext-app calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from fasttext_app.cli.messages import note
from fasttext_app.cli.options import (
    READING,
    AllOption,
    ErrorsOption,
    JsonOption,
    LabelColumnOption,
    ModelArgument,
    Reading,
    SetOption,
    TextColumnsOption,
    ThreadsOption,
    load_model,
    print_json,
)
from fasttext_app.cli.outputs import OverwriteOption, check_new_model

_data = Option(
    "--data",
    "-d",
    metavar="SPEC",
    help="Labeled rows the model was not trained on; repeatable.",
)
_thresholds = Option(
    metavar="f1|precision:P|recall:R",
    help="Choose a threshold per label: for the best F1, or to reach a precision or recall.",
)
_temperature = Option("--temperature/--no-temperature", help="Fit a temperature.")


def calibrate(
    model: ModelArgument,
    data: Annotated[list[str], _data],
    output: Annotated[
        Path, Option("--output", "-o", metavar="FOLDER", help="Directory of the calibrated model.")
    ],
    split: Annotated[
        str,
        Option(metavar="NAME", help="Split of the data to calibrate on.", rich_help_panel=READING),
    ] = "validation",
    thresholds: Annotated[str | None, _thresholds] = None,
    temperature: Annotated[bool, _temperature] = True,
    overwrite: OverwriteOption = False,
    text_column: TextColumnsOption = None,
    label_column: LabelColumnOption = None,
    errors: ErrorsOption = None,
    settings: SetOption = None,
    threads: ThreadsOption = 0,
    show_all: AllOption = False,
    as_json: JsonOption = False,
) -> None:
    """Calibrate a model's probabilities on held-out rows.

    Fits one temperature, which makes all predictions more or less confident
    without slowing prediction. --thresholds also chooses, for each label, the
    minimum probability at which it is predicted.

    Examples:
        fasttext-app calibrate models/tickets -d dev.csv -o calibrated
        fasttext-app calibrate models/tickets -d dev.csv -o fitted --thresholds f1
    """
    from fasttext_app.cli.render.calibration import show_calibrated
    from fasttext_app.data.spec import open_source
    from fasttext_app.inference.calibrate import calibrate_on
    from fasttext_app.inference.classifier import TextClassifier
    from fasttext_app.model.thresholds import parse_goal

    goal = None if thresholds is None else parse_goal(thresholds)
    check_new_model(output, overwrite=overwrite, derived_from=model)
    classifier = load_model(model, threads=threads)
    reading = Reading(text_column, label_column, errors, settings)
    config = reading.config_for(classifier, data)
    source = open_source(config.data, bad_rows=reading.bad_rows)
    calibrated = calibrate_on(classifier, source, split, config, temperature=temperature, goal=goal)
    TextClassifier(calibrated).save(output)
    reading.report_skipped()
    if as_json:
        print_json({"output": str(output), **calibrated.calibration})
        return
    show_calibrated(calibrated.calibration, show_all=show_all)
    if goal is None and classifier.fitted_thresholds is not None:
        note("dropped the model's thresholds: they were fitted to its old probabilities", err=False)
    note(f"saved the calibrated model to {output}", err=False)
