"""``fasttext-app train``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
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
from fasttext_app.core.checksummed_dir import refuse_unfinished_run
from fasttext_app.core.signals import DeferredInterrupts
from fasttext_app.errors import CheckpointError
from fasttext_app.model.train_warnings import DamagedCheckpoint
from fasttext_app.training.checkpoints import CheckpointRef, find_checkpoint

if TYPE_CHECKING:
    from fasttext_app.config.schema import Config
    from fasttext_app.training.prepare import Prepared


def train(
    config: Annotated[
        str | None,
        typer.Option("--config", help="A TOML file, or a shipped config: ag_news, sample, ..."),
    ] = None,
    data: SpecOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            help="The model directory.  [default: models/ and the name of the config or data]",
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", help="Passes over the training rows.")
    ] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="Learning rate.")] = None,
    dim: Annotated[int | None, typer.Option("--dim", help="Embedding dimension.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Texts in a step.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Decides all that is random.")] = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    text_column: TextColumnOption = None,
    label_column: LabelColumnOption = None,
    errors: ErrorsOption = None,
    settings: SetOption = None,
    start_from: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="Train on from this model, with its settings; new words and labels are added.",
        ),
    ] = None,
    checkpoint_every: Annotated[
        str | None,
        typer.Option(
            "--checkpoint-every",
            metavar="STEPS|TIME|epoch",
            help="Save the state of the run in --output: every 500, 5m, or epoch.",
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            "--resume",
            metavar="OUTPUT",
            help="Go on with a run that did not end, from its newest checkpoint.",
        ),
    ] = None,
    tensorboard: Annotated[
        Path | None,
        typer.Option("--tensorboard", metavar="FOLDER", help="Write a log for TensorBoard there."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show the settings and the data's figures, and stop."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Train a classifier and save it as a model directory.

    Settings come from --config, then from --set and the flags, later ones winning.
    """
    from fasttext_app.config.loading import flat_layer, load_config_file, parse_assignments, resolve
    from fasttext_app.training.run_manifest import settings_of_model

    flags = {
        "epochs": epochs,
        "lr": lr,
        "dim": dim,
        "batch_size": batch_size,
        "seed": seed,
        "device": device,
        "threads": threads,
        "checkpoint_every": checkpoint_every,
    }
    if resume is not None and start_from is not None:
        raise typer.BadParameter("a run goes on with what it began with", param_hint="--from")
    found = None if resume is None else _found(resume, output)
    resolved = resolve(
        {} if found is None else found.run["config"],
        {} if start_from is None else settings_of_model(start_from),
        load_config_file(config) if config is not None else {},
        parse_assignments(settings or []),
        data_layer(data, text_column, label_column, errors),
        flat_layer({name: value for name, value in flags.items() if value is not None}),
    )
    target = resume or output or _default_output(config, resolved.data.source)
    if found is None:
        refuse_unfinished_run(target)
    if dry_run:
        _check_place(target, replace=True)
        _dry_run(resolved, json)
        return
    with DeferredInterrupts() as interrupts, _prepared(resolved, interrupts) as prepared:
        _check_place(target, replace=resume is not None or output is not None)
        _run(resolved, prepared, target, json, found, interrupts, tensorboard)


def _found(resume: Path, output: Path | None) -> CheckpointRef:
    """Find the checkpoint to go on from; tell of newer ones that are damaged."""
    from fasttext_app.training.run_manifest import config_of_run

    if output is not None and output != resume:
        raise typer.BadParameter("a run goes on in its own folder", param_hint="--output")
    found = find_checkpoint(resume)
    config_of_run(found.run)
    for problem in found.damaged:
        typer.echo(str(DamagedCheckpoint(problem)), err=True)
    return found


def _check_place(target: Path, *, replace: bool) -> None:
    from fasttext_app.core.checksummed_dir import MANIFEST
    from fasttext_app.errors import ArtifactError
    from fasttext_app.model.directory import check_target

    check_target(target, ends_run=True)  # whether there is an unfinished run was asked before
    if (target / MANIFEST).exists() and not replace:
        raise ArtifactError(f"{target}: there is a model already; pass --output to replace it")


@contextmanager
def _prepared(config: Config, interrupts: DeferredInterrupts) -> Iterator[Callable[[], Prepared]]:
    """Begin to read the data and, meanwhile, to import torch; yield what waits for the data."""
    from fasttext_app.core.fork import ForkedCall, can_fork
    from fasttext_app.core.startup import preload_torch, tune_malloc

    def prepare(folder: str, *, prefer_files: bool) -> Prepared:
        from fasttext_app.training.prepare import prepare_source

        return prepare_source(config, folder, prefer_files=prefer_files)

    tune_malloc()
    with TemporaryDirectory(prefix="fasttext_app-") as folder:
        fork = can_fork() and config.trainer.threads != 1
        work = partial(prepare, folder, prefer_files=fork)
        if fork:
            with ForkedCall(work) as background:
                preload_torch()
                yield interrupts.interruptible(background.result)
        else:
            preload_torch()
            yield interrupts.interruptible(work)


def _default_output(config: str | None, source: str | None) -> Path:
    name = Path(config).stem if config else Path((source or "model").split(".gz")[0]).stem
    safe = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)
    return Path("models") / (safe.strip("_") or "model")


def _dry_run(config: Config, as_json: bool) -> None:
    from fasttext_app.cli.render import tables as console
    from fasttext_app.config.loading import dump_config
    from fasttext_app.data.split import load_examples
    from fasttext_app.training.prepare import prepare

    statistics = prepare(config, load_examples(config)).statistics.as_dict()
    if as_json:
        print_json({"config": config.model_dump(mode="json"), "data": statistics})
        return
    typer.echo(dump_config(config))
    console.show_statistics(statistics, config.model.dim)


def _run(
    config: Config,
    prepared: Callable[[], Prepared],
    target: Path,
    as_json: bool,
    found: CheckpointRef | None,
    interrupts: DeferredInterrupts,
    tensorboard: Path | None,
) -> None:
    from fasttext_app import pipeline
    from fasttext_app.cli.render import tables as console
    from fasttext_app.cli.render.calibration import show_calibrated
    from fasttext_app.cli.render.progress import TrainProgress
    from fasttext_app.core.device import resolve_device
    from fasttext_app.model.directory import save_artifact
    from fasttext_app.training.callbacks import TensorBoard, all_of
    from fasttext_app.training.events import Callback
    from fasttext_app.training.optim.cpu_kernels import load_kernels

    load_kernels(config.optimizer.name)
    resolve_device(config.trainer.device)  # a device that is not there ends it before the work
    progress = TrainProgress()
    listeners: list[Callback] = [progress]
    if tensorboard is not None:
        listeners.append(TensorBoard(tensorboard))
    try:
        result = pipeline.run_prepared(prepared(), all_of(*listeners), target, found, interrupts)
    except KeyboardInterrupt:  # the second signal, or before the first step
        _go_on_later(target, interrupts)
        raise
    finally:
        progress.close()
    if result.outcome.checkpoint:
        _go_on_later(target, interrupts)
    for warning in result.warnings:
        if not isinstance(warning, DamagedCheckpoint):  # shown when the run began
            console.err.print(str(warning))
    save_artifact(result.model.artifact, target, ends_run=True)
    if as_json:
        print_json(
            {
                "output": str(target),
                **result.outcome.as_dict(),
                "metrics": dict(result.model.artifact.metrics),
                "calibration": dict(result.model.artifact.calibration),
                "data": result.statistics.as_dict(),
            }
        )
    else:
        accuracy = result.model.artifact.metrics.get("validation_accuracy")
        figure = "" if accuracy is None else f" (validation accuracy {accuracy:.4f})"
        typer.echo(f"saved the model of epoch {result.outcome.best_epoch} to {target}{figure}")
        if result.model.artifact.calibration:
            show_calibrated(result.model.artifact.calibration)
    if result.outcome.interrupted:
        raise typer.Exit(interrupts.exit_code)


def _go_on_later(target: Path, interrupts: DeferredInterrupts) -> None:
    """End the program, where there is a checkpoint to go on from."""
    from fasttext_app.cli.render import tables as console

    try:
        find_checkpoint(target)
    except CheckpointError:
        return
    console.err.print(f"interrupted; go on with: fasttext-app train --resume {target}")
    raise typer.Exit(interrupts.exit_code) from None
