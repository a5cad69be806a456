"""``fasttext-app tune``."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import BadParameter, Exit, Option

from fasttext_app.cli.messages import note, warn
from fasttext_app.cli.options import (
    AnySetOption,
    ConfigOption,
    DataOption,
    DelimiterOption,
    EncodingOption,
    ErrorsOption,
    JsonOption,
    LabelColumnOption,
    Reading,
    SkipBadOption,
    TextColumnsOption,
    TrainDeviceOption,
    TrainThreadsOption,
    ValidationOption,
    print_json,
    resolved_config,
)
from fasttext_app.cli.outputs import (
    OverwriteOption,
    SafeCsvOption,
    check_new_model,
    refuse_existing_file,
)
from fasttext_app.core.signals import DeferredInterrupts

if TYPE_CHECKING:
    from fasttext_app.config.schema import Config
    from fasttext_app.data.split import Examples
    from fasttext_app.tuning.trial import Budget, TuneResult

RESULTS = ("best.toml", "final.toml", "trials.csv", "search.png")
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}


def _seconds(text: str) -> float:
    from fasttext_app.config.interval import Interval

    try:
        seconds = Interval.parse(text).seconds
    except ValueError:
        seconds = 0.0
    if not seconds:
        raise BadParameter('must be a time: "90s", "10m" or "2h"')
    return seconds


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)\s*([kmg]?)b?", text.lower())
    size = int(float(match[1]) * UNITS[match[2]]) if match else 0
    if not size:
        raise BadParameter('must be a size: "500kB", "5MB" or "1GB"')
    return size


_time = Option(metavar="10m", parser=_seconds, help="Time limit of the search.")
_trials = Option(metavar="N", min=1, help="Number of trials, earlier sessions included.")
_metric = Option(
    metavar="METRIC",
    help="Validation metric to optimize: accuracy, macro_f1, f1:LABEL, loss, "
    "precision@recall:0.9, ... (trainer.monitor).",
)
_max_size = Option(metavar="5MB", parser=_bytes, help="Size limit of the model directory.")
_space = Option(
    metavar="FILE",
    help="TOML file whose table 'space' names the settings to search.",
    show_default="the built-in space",
)
_study = Option(
    metavar="FILE", help="File that records the trials.", show_default="study.jsonl in --output"
)
_output = Option(
    "--output", "-o", metavar="FOLDER", help="Folder for the best settings and the study."
)
_seed = Option(metavar="N", help="Random seed of the search and its trials.", show_default="0")
_train = Option("--train", help="Train the best settings on all rows, and save OUTPUT/model.")


def tune(
    output: Annotated[Path, _output],
    config_file: ConfigOption = None,
    data: DataOption = None,
    validation: ValidationOption = None,
    time: Annotated[float | None, _time] = None,
    trials: Annotated[int | None, _trials] = None,
    metric: Annotated[str | None, _metric] = None,
    max_size: Annotated[int | None, _max_size] = None,
    space: Annotated[Path | None, _space] = None,
    study: Annotated[Path | None, _study] = None,
    train: Annotated[bool, _train] = False,
    overwrite: OverwriteOption = False,
    safe_csv: SafeCsvOption = False,
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
    as_json: JsonOption = False,
) -> None:
    """Search for the settings that score best on the validation rows.

    The search ends after --time or --trials; the same command continues it. The
    first trial is the base: the settings of --config, --set and the other
    options.

    Examples:
        fasttext-app tune -d tickets.csv -o search --time 10m
        fasttext-app tune -c ag_news -o search --trials 50 --max-size 5MB
    """
    from fasttext_app.tuning.report import write_files
    from fasttext_app.tuning.search import base_for_search
    from fasttext_app.tuning.trial import Budget

    if time is None and trials is None:
        raise BadParameter("limit the search", param_hint="--time or --trials")
    reading = Reading(text_column, label_column, errors, None, delimiter, encoding, skip_bad)
    config = resolved_config(
        reading, config_file, settings, data, validation, seed=seed, device=device, threads=threads
    )
    base = base_for_search(config, metric)
    if config.data.validation == 0:
        note("data.validation is 0; the search holds out validation rows (auto)")
    if train:
        check_new_model(output / "model", overwrite=overwrite)
    study = study or output / "study.jsonl"
    if not study.exists():  # a new search
        for name in RESULTS:
            refuse_existing_file(output / name, overwrite=overwrite)
    with DeferredInterrupts() as interrupts:
        try:
            result = _search(base, output, study, space, Budget(trials, time), max_size, interrupts)
        except KeyboardInterrupt:
            interrupts.raise_pending()
            raise
    write_files(result, output, safe_csv=safe_csv)
    _plot(result, output)
    _report(result, output, as_json)
    if result.interrupted:
        raise Exit(interrupts.exit_code)
    if train:
        _train_final(result.final, output / "model")


def _search(
    base: Config,
    output: Path,
    study: Path,
    space: Path | None,
    budget: Budget,
    max_bytes: int | None,
    interrupts: DeferredInterrupts,
) -> TuneResult:
    from fasttext_app.cli.render.tune import TuneProgress
    from fasttext_app.core.device import resolve_device
    from fasttext_app.core.startup import preload_torch
    from fasttext_app.errors import ArtifactError
    from fasttext_app.tuning.search import tune
    from fasttext_app.tuning.space import SearchSpace

    preload_torch()
    search_space = None if space is None else SearchSpace.load(space)
    if output.exists() and not output.is_dir():
        raise ArtifactError(f"{output}: is a file; choose another --output")
    is_new = not output.exists()
    output.mkdir(parents=True, exist_ok=True)
    try:
        resolve_device(base.trainer.device)  # a missing device ends the search before the work
        with TuneProgress(base, budget) as progress:
            return tune(
                base,
                partial(_load_examples, interrupts),
                budget,
                space=search_space,
                max_bytes=max_bytes,
                study=study,
                callback=progress,
                stop=interrupts,
            )
    except BaseException:
        if is_new:
            with suppress(OSError):  # the folder is not empty
                output.rmdir()
        raise


def _load_examples(interrupts: DeferredInterrupts, config: Config) -> Examples:
    """Open the training rows so that a signal takes effect between two batches."""
    from fasttext_app.data.split import load_examples
    from fasttext_app.training.tokenized import batches_of

    examples = interrupts.interruptible(partial(load_examples, config))()
    validation = examples.validation
    if validation is not None:
        validation = interrupts.raise_between(batches_of(validation))
    train = interrupts.raise_between(batches_of(examples.train))
    return replace(examples, train=train, validation=validation)


def _plot(result: TuneResult, output: Path) -> None:
    from fasttext_app.cli.render.plots import draw_search
    from fasttext_app.errors import MissingDependencyError

    try:
        draw_search(result, output / "search.png")
    except MissingDependencyError as error:
        note(f"search.png was not drawn: {error}")


def _report(result: TuneResult, output: Path, as_json: bool) -> None:
    from fasttext_app.cli.render.tune import show_result
    from fasttext_app.tuning.report import state_counts

    if result.interrupted:
        warn("interrupted; the same command continues the search")
    if not as_json:
        show_result(result, output)
        return
    print_json(
        {
            "output": str(output),
            "metric": result.config.trainer.monitor,
            "figure": result.best.score,
            "base_figure": result.trials[0].score,
            "interrupted": result.interrupted,
            "trials": state_counts(result),
            "best": result.best.as_dict(),
        }
    )


def _train_final(config: Config, target: Path) -> None:
    from fasttext_app.cli.render.progress import TrainProgress
    from fasttext_app.pipeline import train

    with DeferredInterrupts() as interrupts:
        with TrainProgress() as progress:
            result = train(config, _load_examples(interrupts, config), progress, stop=interrupts)
        interrupts.raise_pending()
    result.model.save(target)
    note(f"saved the model to {target}")
