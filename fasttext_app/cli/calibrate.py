"""``fasttext-app calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fasttext_app.cli.options import (
    ErrorsOption,
    JsonOption,
    LabelColumnOption,
    ModelArgument,
    SetOption,
    TextColumnOption,
    ThreadsOption,
    check_other_folder,
    data_layer,
    only_section,
    print_json,
)


def calibrate(
    model: ModelArgument,
    data: Annotated[
        str,
        typer.Option(
            "--data", metavar="SPEC", help="Rows that the model was not trained on; as for train."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", help="The calibrated model's directory.")],
    split: Annotated[
        str, typer.Option("--split", help="The split of SPEC, where it has several.")
    ] = "validation",
    thresholds: Annotated[
        str | None,
        typer.Option(
            "--thresholds",
            metavar="f1|precision:P|recall:R",
            help="Choose a threshold for each label: for the best F1, or to reach P or R.",
        ),
    ] = None,
    temperature: Annotated[
        bool,
        typer.Option("--temperature/--no-temperature", help="Whether to fit the temperature."),
    ] = True,
    text_column: TextColumnOption = None,
    label_column: LabelColumnOption = None,
    errors: ErrorsOption = None,
    settings: SetOption = None,
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Make a model's probabilities agree with what comes true, by rows that were held out.

    One number, the temperature, makes all answers surer or less sure; it costs a prediction
    nothing. --thresholds says for each label from which probability on it is predicted.
    """
    from fasttext_app.cli.render.calibration import show_calibrated
    from fasttext_app.config.loading import parse_assignments, resolve
    from fasttext_app.data.spec import open_source
    from fasttext_app.inference.calibrate import calibrate_batches, held_out, origin_of
    from fasttext_app.inference.classifier import TextClassifier
    from fasttext_app.inference.load import load_classifier
    from fasttext_app.model.calibration import parse_goal

    goal = None if thresholds is None else parse_goal(thresholds)
    check_other_folder(model, output)
    original = load_classifier(model, threads=threads or 0)
    config = resolve(
        original.config.model_dump(),
        only_section("data", parse_assignments(settings or [])),
        data_layer(data, text_column, label_column, errors),
    )
    source = open_source(config.data)
    calibrated = calibrate_batches(
        original,
        held_out(original.artifact, config, source, split),
        config.data,
        temperature=temperature,
        goal=goal,
        origin=origin_of(source, split),
    )
    TextClassifier(calibrated).save(output)
    if json:
        print_json({"output": str(output), **calibrated.calibration})
        return
    show_calibrated(calibrated.calibration)
    if goal is None and original.fitted_thresholds is not None:
        typer.echo("the thresholds of the model were for its old probabilities, and are left out")
    typer.echo(f"saved the calibrated model to {output}")
