"""``fasttext-app train``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import sleep
from typing import TYPE_CHECKING, Annotated, Any

from typer import BadParameter, Exit, Option

from fasttext_app.cli.messages import agreed, detail, note, result, warn
from fasttext_app.cli.options import (
    SETTINGS,
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
)
from fasttext_app.cli.outputs import OverwriteOption, refuse_existing_model
from fasttext_app.cli.reading import reading_shown
from fasttext_app.core.checksummed_dir import (
    CHECKPOINTS,
    list_checkpoints,
    refuse_unfinished_run,
    sole_run,
)
from fasttext_app.core.group import Group, joined, was_restarted, world_size
from fasttext_app.core.signals import DeferredInterrupts
from fasttext_app.errors import CheckpointError, ConfigError, DataError, FastTextAppError
from fasttext_app.model.train_warnings import DamagedCheckpoint
from fasttext_app.training.checkpoints import CheckpointRef, find_checkpoint

if TYPE_CHECKING:
    from fasttext_app.config.loading import Layer
    from fasttext_app.config.schema import Config
    from fasttext_app.pipeline import TrainResult
    from fasttext_app.training.prepare import Prepared

REPORT_SECONDS = 3.0
"""The time that a process waits for another one to report the same error."""

_output = Option(
    "--output",
    "-o",
    metavar="FOLDER",
    help="Model directory.",
    show_default="models/ and the name of the data or config",
)
_from = Option(
    "--from",
    metavar="MODEL",
    help="Continue from this model and its settings; new words and labels are added.",
)
_checkpoint = partial(Option, rich_help_panel="Checkpoints and logs")
_checkpoint_every = _checkpoint(
    "--checkpoint-every",
    metavar="STEPS|TIME|epoch",
    help="Interval of checkpoints in --output: 500, 5m or epoch.",
)
_resume = _checkpoint(
    "--resume", metavar="OUTPUT", help="Resume an unfinished run from its newest checkpoint."
)
_tensorboard = _checkpoint(
    "--tensorboard", metavar="FOLDER", help="Write a TensorBoard log to this folder."
)
_setting = partial(Option, rich_help_panel=SETTINGS)
_epochs = _setting(
    "--epochs", "-e", metavar="N", help="Passes over the training data.", show_default="auto"
)
_lr = _setting("--lr", metavar="RATE", help="Learning rate.", show_default="auto")
_dim = _setting("--dim", metavar="N", help="Embedding dimension.", show_default="16")
_batch_size = _setting("--batch-size", metavar="N", help="Texts per step.", show_default="auto")
_seed = _setting("--seed", metavar="N", help="Random seed.", show_default="0")
_dry_run = Option("--dry-run", help="Show the settings and the data statistics, and stop.")


def train(
    config_file: ConfigOption = None,
    data: DataOption = None,
    validation: ValidationOption = None,
    output: Annotated[Path | None, _output] = None,
    epochs: Annotated[int | None, _epochs] = None,
    lr: Annotated[float | None, _lr] = None,
    dim: Annotated[int | None, _dim] = None,
    batch_size: Annotated[int | None, _batch_size] = None,
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
    start_from: Annotated[Path | None, _from] = None,
    checkpoint_every: Annotated[str | None, _checkpoint_every] = None,
    resume: Annotated[Path | None, _resume] = None,
    overwrite: OverwriteOption = False,
    tensorboard: Annotated[Path | None, _tensorboard] = None,
    dry_run: Annotated[bool, _dry_run] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a classifier and save it as a model directory.

    Settings come from --config, then --set, then the other options; later ones
    win. The defaults below hold without --config.

    Examples:
        fasttext-app train -d tickets.csv --text-column body --label-column queue
        fasttext-app train -d 'data/{split}.jsonl' -o models/tickets --epochs 10
        fasttext-app train -c sample -s model.loss=ova -o models/sample
    """
    from fasttext_app.config.loading import flat_layer, load_config_file, parse_assignments, resolve

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
    with _reported_once():
        if resume is None and was_restarted() and output is not None and _has_checkpoints(output):
            resume, start_from = output, None  # the checkpoint knows what the run started from
        if resume is not None and start_from is not None:
            raise BadParameter("cannot be combined with --resume", param_hint="--from")
        checkpoint = None if resume is None else _find_checkpoint(resume, output)
        reading = Reading(text_column, label_column, errors, None, delimiter, encoding, skip_bad)
        command_line = [
            parse_assignments(settings or []),
            reading.layer(data, validation),
            flat_layer({name: value for name, value in flags.items() if value is not None}),
        ]
        file_layer = {} if config_file is None else load_config_file(config_file)
        config = resolve(
            {} if checkpoint is None else checkpoint.run["config"],
            {} if start_from is None else _settings_of_model(start_from),
            file_layer,
            *command_line,
        )
        _ask_to_read(config, start_from, checkpoint, [file_layer, *command_line])
        names_data = any("source" in layer.get("data", {}) for layer in command_line)
        named = config.data.source if names_data or config_file is None else config_file
        target = resume or output or _default_output(named)
        if checkpoint is None:
            refuse_unfinished_run(target)
        if dry_run:
            _check_target(target)
            _dry_run_report(config, as_json)
            return
        refuse_existing_model(target, overwrite=overwrite or resume is not None)
    with (
        DeferredInterrupts() as interrupts,
        _joined_processes(config) as group,
        sole_run(target) if group is None or group.is_main else nullcontext(),
        _preparing(config, interrupts, group) as prepared,
    ):
        if group is None or group.is_main:
            _check_target(target)
            result = _run(config, prepared, target, checkpoint, interrupts, tensorboard)
            _report(result, target, as_json)
            interrupted = result.outcome.interrupted
        else:
            interrupted = _assist(prepared, target, checkpoint, interrupts)
        if interrupted:
            raise Exit(interrupts.exit_code)


@contextmanager
def _reported_once() -> Iterator[None]:
    """Let one process of each machine report what is wrong before they have joined.

    The others wait: torchrun stops all processes once one of them has ended.
    """
    try:
        yield
    except (FastTextAppError, BadParameter):
        if world_size() > 1 and os.environ.get("LOCAL_RANK", "0") != "0":
            sleep(REPORT_SECONDS)
            raise Exit(1) from None
        raise


def _has_checkpoints(output: Path) -> bool:
    return bool(list_checkpoints(output / CHECKPOINTS))


@contextmanager
def _joined_processes(config: Config) -> Iterator[Group | None]:
    """Yield the processes that train together, or None; one of them says why the run failed.

    Raises:
        ConfigError: there are several processes, and the settings are for one.
    """
    if config.trainer.shard == "none":
        with _reported_once():
            if world_size() > 1:
                raise ConfigError(
                    f'WORLD_SIZE is {world_size()}, but trainer.shard is "none"; set it to '
                    '"columns" to train on all processes, or start without torchrun'
                )
        yield None
        return
    with joined(config.trainer.shard_timeout) as group:
        try:
            yield group
        except (FastTextAppError, MemoryError, OSError):
            if not group.may_report():
                raise Exit(1) from None
            raise


def _find_checkpoint(resume: Path, output: Path | None) -> CheckpointRef:
    """Find the checkpoint to resume from, and report newer ones that are damaged."""
    from fasttext_app.training.run_manifest import config_of_run

    if output is not None and output != resume:
        raise BadParameter("must be the folder of --resume, or left out", param_hint="--output")
    checkpoint = find_checkpoint(resume)
    config_of_run(checkpoint.run)  # refuses settings that cannot be read
    for problem in checkpoint.damaged:
        warn(str(DamagedCheckpoint(problem)))
    return checkpoint


def _settings_of_model(model: Path) -> Layer:
    from fasttext_app.training.run_manifest import settings_of_model  # starts Arrow's threads

    return settings_of_model(model)


def _ask_to_read(
    config: Config,
    start_from: Path | None,
    checkpoint: CheckpointRef | None,
    layers: Sequence[Layer],
) -> None:
    """Ask before the run reads what only the model or the checkpoint names that it starts from.

    Args:
        config: the settings of the run.
        start_from: the model.
        checkpoint: the checkpoint.
        layers: the settings that the user made.

    Raises:
        DataError: the user does not agree.
    """
    if start_from is None and checkpoint is None:
        return
    from fasttext_app.training.run_manifest import unknown_names

    run = None if checkpoint is None else checkpoint.run

    for name, spec in unknown_names(config, start_from, run, layers):
        owner = start_from or "the checkpoint"
        if not agreed(f"{owner} names {spec} as {name}; use it?"):
            raise DataError(
                f"{name} = {spec!r}: only {owner} names this, and it is not what the machine "
                "trained on; set another, or pass --yes to use it"
            )


def _check_target(target: Path) -> None:
    from fasttext_app.model.directory import check_target

    check_target(target, ends_run=True)  # `refuse_unfinished_run` has looked for another run


@contextmanager
def _preparing(
    config: Config, interrupts: DeferredInterrupts, group: Group | None
) -> Iterator[Callable[[], Prepared]]:
    """Start reading the data while torch is imported; yield a function that waits for the data.

    The data is read in a second process, because an import keeps the interpreter busy. It is forked
    here, before anything that starts threads is imported. On AG_NEWS with two cores this takes an
    eighth off the time of a run, and a fifth off its peak memory. Processes that train together
    exchange what they read, so each of them reads by itself.
    """
    from fasttext_app.core.fork import ForkedCall, can_fork
    from fasttext_app.core.startup import preload_torch, tune_malloc

    def prepare(folder: str, *, prefer_files: bool) -> Prepared:
        from fasttext_app.training.prepare import prepare_source

        with reading_shown(then="building the vocabulary and encoding the texts"):
            return prepare_source(config, folder, prefer_files=prefer_files, group=group)

    tune_malloc()
    with TemporaryDirectory(prefix="fasttext_app-") as folder:
        fork = can_fork() and config.trainer.threads != 1 and group is None
        work = partial(prepare, folder, prefer_files=fork)
        if fork:
            with ForkedCall(work) as background:
                preload_torch()
                yield interrupts.interruptible(background.result)
        else:
            preload_torch()
            yield interrupts.interruptible(work)


def _default_output(named: str | Sequence[str] | None) -> Path:
    """Return a model directory named for a config file or a SPEC of data, the first of several.

    >>> _default_output("data/my reviews.csv.gz").as_posix()
    'models/my_reviews'
    >>> _default_output("news/{split}.csv").as_posix()
    'models/news'
    """
    from fasttext_app.data.byte_stream import without_compression

    first = named if named is None or isinstance(named, str) else named[0]
    path = Path(without_compression(first or "model")).absolute()
    if any(letter in path.name for letter in "{*?["):
        path = path.parent
    safe = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in path.stem)
    return Path("models") / (safe.strip("-_") or "model")


def _dry_run_report(config: Config, as_json: bool) -> None:
    from fasttext_app.cli.render.data import show_statistics
    from fasttext_app.config.loading import dump_config
    from fasttext_app.data.split import load_examples
    from fasttext_app.training.prepare import prepare

    prepared = prepare(config, load_examples(config))
    config, statistics = prepared.config, prepared.statistics.as_dict()
    if as_json:
        print_json({"config": config.model_dump(mode="json"), "data": statistics})
        return
    result(dump_config(config))
    show_statistics(statistics, config.model.dim)


def _run(
    config: Config,
    prepared: Callable[[], Prepared],
    target: Path,
    checkpoint: CheckpointRef | None,
    interrupts: DeferredInterrupts,
    tensorboard: Path | None,
) -> TrainResult:
    """Train, show the progress, and save the model."""
    from fasttext_app import pipeline
    from fasttext_app.cli.render.progress import TrainProgress
    from fasttext_app.core.device import resolve_device
    from fasttext_app.model.directory import save_artifact
    from fasttext_app.training.callbacks import TensorBoard, all_of
    from fasttext_app.training.optim.cpu_columns import load_kernels

    at_once = (
        config.trainer.shard == "none"
        and config.model.loss in ("softmax", "ova")
        and config.model.mode != "max"
    )
    load_kernels(by_word=config.text.maxn > 0, at_once=at_once)
    resolve_device(config.trainer.device)  # a missing device ends the run before the work
    try:
        with TrainProgress() as progress:
            listeners: list[Any] = [progress]
            if tensorboard is not None:
                listeners.append(TensorBoard(tensorboard))
            data = prepared()
            _show_details(config, data)
            result = pipeline.run_prepared(data, all_of(*listeners), target, checkpoint, interrupts)
    except KeyboardInterrupt:  # a second signal, or one before the first step
        _exit_if_resumable(target, interrupts)
        raise
    if result.outcome.checkpoint:
        _exit_if_resumable(target, interrupts)
    for warning in result.warnings:
        if not isinstance(warning, DamagedCheckpoint):  # reported when the run started
            warn(str(warning))
    save_artifact(result.model.artifact, target, ends_run=True)
    return result


def _assist(
    prepared: Callable[[], Prepared],
    target: Path,
    checkpoint: CheckpointRef | None,
    interrupts: DeferredInterrupts,
) -> bool:
    """Take part in the training of another process; return whether it was interrupted."""
    from fasttext_app import pipeline

    try:
        return pipeline.assist(prepared(), target, checkpoint, interrupts).interrupted
    except KeyboardInterrupt:  # the main process says so
        return True


def _show_details(config: Config, data: Prepared) -> None:
    """Show what the data decided, for ``--verbose``."""
    before, after = config.model_dump(), data.config.model_dump()
    chosen = [
        f"{key}={value}"
        for section, settings in after.items()
        for key, value in settings.items()
        if value != before[section][key]
    ]
    if chosen:
        detail(f"chosen for these data: {' '.join(chosen)}")
    statistics = data.statistics
    detail(f"{statistics.vocabulary:,} words, {statistics.table_rows:,} rows in the table")


def _exit_if_resumable(target: Path, interrupts: DeferredInterrupts) -> None:
    """Exit and say how to resume the run, if it has a checkpoint."""
    try:
        find_checkpoint(target)
    except CheckpointError:
        return
    warn(f"interrupted; resume with: fasttext-app train --resume {target}")
    raise Exit(interrupts.exit_code) from None


def _report(result: TrainResult, target: Path, as_json: bool) -> None:
    artifact = result.model.artifact
    if as_json:
        print_json(
            {
                "output": str(target),
                **result.outcome.as_dict(),
                "metrics": dict(artifact.metrics),
                "calibration": dict(artifact.calibration),
                "data": result.statistics.as_dict(),
            }
        )
        return
    accuracy, refit_rows = artifact.metrics.get("validation_accuracy"), result.statistics.refit_rows
    score = "" if accuracy is None else f" (validation accuracy {accuracy:.4f})"
    rows = "" if refit_rows is None else f", trained again on all {refit_rows:,} rows,"
    note(
        f"saved the model of epoch {result.outcome.best_epoch}{rows} to {target}{score}", err=False
    )
    if "temperature" in artifact.calibration:
        fit = artifact.calibration["temperature"]
        note(
            f"calibrated on {fit['rows']:,} validation rows: temperature {fit['value']:.4f}, "
            f"expected calibration error {fit['after']['ece']:.4f}, was {fit['before']['ece']:.4f}",
            err=False,
        )
