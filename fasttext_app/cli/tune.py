"""``fasttext-app tune``."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fasttext_app.cli.options import (
    DeviceOption,
    ErrorsOption,
    JsonOption,
    LabelColumnOption,
    SetOption,
    SpecOption,
    TextColumnOption,
    ThreadsOption,
    data_layer,
    print_json,
)
from fasttext_app.core.signals import DeferredInterrupts

if TYPE_CHECKING:
    from fasttext_app.config.schema import Config
    from fasttext_app.data.split import Examples
    from fasttext_app.tuning.trial import TuneResult


UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}


def _seconds(text: str) -> float:
    from fasttext_app.config.interval import Interval

    try:
        seconds = Interval.parse(text).seconds
    except ValueError:
        seconds = 0.0
    if not seconds:
        raise typer.BadParameter('must be a time: "90s", "10m" or "2h"')
    return seconds


def _bytes(text: str) -> int:
    found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)\s*([kmg]?)b?", text.lower())
    size = int(float(found[1]) * UNITS[found[2]]) if found else 0
    if not size:
        raise typer.BadParameter('must be a size: "500kB", "5MB" or "1GB"')
    return size


def tune(
    output: Annotated[
        Path, typer.Option("--output", help="The folder of what is found, and of the study.")
    ],
    config: Annotated[
        str | None,
        typer.Option("--config", help="Settings to start from: a TOML file, or a shipped config."),
    ] = None,
    data: SpecOption = None,
    time: Annotated[
        float | None,
        typer.Option("--time", metavar="10m", parser=_seconds, help="How long to search."),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option("--trials", min=1, help="How many runs, those of earlier sessions included."),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            help="The validation figure to search by: accuracy, macro_f1, f1:LABEL, loss, "
            "precision@recall:0.9, ... (trainer.monitor).",
        ),
    ] = None,
    max_size: Annotated[
        int | None,
        typer.Option(
            "--max-size", metavar="5MB", parser=_bytes, help="The largest model directory."
        ),
    ] = None,
    space: Annotated[
        Path | None,
        typer.Option("--space", help="A TOML file whose table named space says what to search."),
    ] = None,
    study: Annotated[
        Path | None,
        typer.Option(
            "--study", help="The file that keeps the trials; study.jsonl in --output without it."
        ),
    ] = None,
    train: Annotated[
        bool,
        typer.Option("--train", help="Train the best settings, on all rows, into --output/model."),
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="Decides all that is random, the choice of trials too."),
    ] = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    text_column: TextColumnOption = None,
    label_column: LabelColumnOption = None,
    errors: ErrorsOption = None,
    settings: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Search for the settings that do best on validation rows, within --time or --trials.

    The first trial is the base: the settings of --config, --set and the flags. The same command
    goes on with a search that was cut.
    """
    from fasttext_app.config.loading import flat_layer, load_config_file, parse_assignments, resolve
    from fasttext_app.model.directory import check_target
    from fasttext_app.tuning.search import base_for_search

    if time is None and trials is None:
        raise typer.BadParameter("give the search an end", param_hint="--time or --trials")
    flags = {"seed": seed, "device": device, "threads": threads}
    given = resolve(
        load_config_file(config) if config is not None else {},
        parse_assignments(settings or []),
        data_layer(data, text_column, label_column, errors),
        flat_layer({name: value for name, value in flags.items() if value is not None}),
    )
    base = base_for_search(given, metric)
    if given.data.validation == 0:
        typer.echo("data.validation is 0; the search holds rows out (auto)", err=True)
    if train:
        check_target(output / "model")
    with DeferredInterrupts() as interrupts:
        try:
            result = _search(base, output, study, space, (trials, time), max_size, interrupts)
        except KeyboardInterrupt:
            interrupts.raise_pending()
            raise
    _leave(result, output, as_json=json)
    if result.interrupted:
        raise typer.Exit(interrupts.exit_code)
    if train:
        _train(result.final, output / "model")


def _search(
    base: Config,
    output: Path,
    study: Path | None,
    space: Path | None,
    budget: tuple[int | None, float | None],
    max_bytes: int | None,
    interrupts: DeferredInterrupts,
) -> TuneResult:
    from fasttext_app.cli.render.tune import TuneProgress
    from fasttext_app.core.device import resolve_device
    from fasttext_app.core.startup import preload_torch
    from fasttext_app.errors import ArtifactError
    from fasttext_app.tuning.search import tune
    from fasttext_app.tuning.space import SearchSpace
    from fasttext_app.tuning.trial import Budget

    preload_torch()
    searched = SearchSpace.load(space) if space is not None else None
    if output.exists() and not output.is_dir():
        raise ArtifactError(f"{output}: is a file; choose another --output")
    made = not output.exists()
    output.mkdir(parents=True, exist_ok=True)
    progress = TuneProgress(base, Budget(*budget))
    try:
        resolve_device(base.trainer.device)  # a device that is not there ends it before the work
        return tune(
            base,
            partial(_examples, interrupts),
            Budget(*budget),
            space=searched,
            max_bytes=max_bytes,
            study=study or output / "study.jsonl",
            callback=progress,
            stop=interrupts,
        )
    except BaseException:
        if made:
            with suppress(OSError):  # unless there is something in it
                output.rmdir()
        raise
    finally:
        progress.close()


def _examples(interrupts: DeferredInterrupts, config: Config) -> Examples:
    """Open the training rows; a signal is taken between two batches of them."""
    from fasttext_app.data.split import load_examples
    from fasttext_app.training.tokenized import batches_of

    examples = interrupts.interruptible(partial(load_examples, config))()
    held_out = examples.validation
    if held_out is not None:
        held_out = interrupts.raise_between(batches_of(held_out))
    rows = interrupts.raise_between(batches_of(examples.train))
    return replace(examples, train=rows, validation=held_out)


def _leave(result: TuneResult, output: Path, *, as_json: bool) -> None:
    """Write what was found, and show it."""
    from fasttext_app.cli.render import tables as console
    from fasttext_app.cli.render.plots import draw_search
    from fasttext_app.cli.render.tune import show_result
    from fasttext_app.core.atomic_file import atomic_file
    from fasttext_app.errors import DataError
    from fasttext_app.tuning.report import best_toml, final_toml, state_counts, trials_csv

    files = {
        "best.toml": best_toml(result),
        "final.toml": final_toml(result),
        "trials.csv": trials_csv(result),
    }
    for name, content in files.items():
        with atomic_file(output / name, DataError) as unfinished:
            unfinished.write_text(content, encoding="utf-8")
    if not draw_search(result, output / "search.png"):
        console.err.print("search.png is not drawn; it needs matplotlib (pip install matplotlib)")
    if result.interrupted:
        console.err.print("interrupted; the same command goes on")
    if as_json:
        best, base = result.best, result.trials[0]
        print_json(
            {
                "output": str(output),
                "metric": result.config.trainer.monitor,
                "figure": best.figure,
                "base_figure": base.figure,
                "interrupted": result.interrupted,
                "trials": state_counts(result),
                "best": vars(best),
            }
        )
        return
    show_result(result, output)


def _train(config: Config, target: Path) -> None:
    from fasttext_app.cli.render import tables as console
    from fasttext_app.cli.render.progress import TrainProgress
    from fasttext_app.pipeline import train

    progress = TrainProgress()
    with DeferredInterrupts() as interrupts:
        try:
            trained = train(config, _examples(interrupts, config), progress, stop=interrupts)
        finally:
            progress.close()
        interrupts.raise_pending()
    trained.model.save(target)
    console.err.print(f"saved the model to {target}")
