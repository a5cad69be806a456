"""Training with the original's options: from nothing, or on from a model that was pruned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fasttext_app.config.schema import Config
from fasttext_app.data.split import Examples
from fasttext_app.errors import ConfigError, DataError, TrainingError
from fasttext_app.fasttext.convert import by_count, label_prefix
from fasttext_app.fasttext.lines import LABEL_SEPARATOR, scan_labeled
from fasttext_app.fasttext.options import (
    DEFAULTS,
    in_options,
    read_options,
    sgd_steps,
    train_config,
)
from fasttext_app.model.artifact import FASTTEXT, Artifact
from fasttext_app.model.quantize import product_quantize
from fasttext_app.pipeline import retrain
from fasttext_app.pipeline import train as run_training

UNTOLD_RATE = 0.05
"""A file does not say by which rate it was trained; the original takes this one for it."""


def named(values: Sequence[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Put names to values that were given without, ``input`` first.

    Raises:
        ConfigError: there are too many, ``input`` is missing, or an option is given twice.
    """
    names = ["input", *DEFAULTS]
    if len(values) > len(names):
        raise ConfigError(f"{len(values)} values for {len(names)} options")
    given = dict(zip(names, values, strict=False))
    twice = next((name for name in given if name in options), None)
    if twice is not None:
        raise ConfigError(f"{twice}: is given twice")
    given |= options
    if not given.get("input"):
        raise ConfigError("input: name a file to train on")
    return given


def train(source: str, given: Mapping[str, Any], mark: str = "") -> tuple[Artifact, dict[str, Any]]:
    """Train a classifier; return it with the options that it was trained with.

    Args:
        source: the file.
        given: options.
        mark: what begins an option's name in messages.

    Raises:
        ConfigError: an option is unknown, or has no place here.
        DataError: the file cannot be read.
        TrainingError: it leaves nothing to learn, or the loss ran away.
        KeyboardInterrupt: Ctrl-C came.
    """
    options = read_options(given, mark)
    config = train_config(source, options, mark)
    examples = Examples(
        scan_labeled(source, options["label"]),
        source=source,
        min_label_count=options["minCountLabel"],
        skip_unlabeled=True,
    )
    try:
        result = run_training(config, examples)
    except (ConfigError, DataError, TrainingError) as error:
        raise type(error)(_in_options(str(error), config, mark)) from None
    if result.outcome.interrupted:
        raise KeyboardInterrupt  # as there, half a training makes no model
    artifact = by_count(result.model.artifact)
    kept = {"lr_update_rate": options["lrUpdateRate"]}
    kept |= {name: options[name] for name in ("ws", "neg", "t")}
    artifact = replace(artifact, data={**artifact.data, FASTTEXT: kept})
    return artifact, options | {"bucket": config.text.bucket_count, "loss": config.model.loss}


def _in_options(message: str, config: Config, mark: str) -> str:
    """Name the options in a message, and the rate as it was given."""
    rate, given = config.optimizer.lr, config.optimizer.lr / config.trainer.batch_size
    return in_options(message.replace(f"(it is {rate:g})", f"(it is {given:g})"), mark)


def quantized(
    artifact: Artifact,
    source: str | None = None,
    *,
    lr: float | None = None,
    epoch: int | None = None,
    thread: int | None = None,
    qout: bool = False,
    cutoff: int = 0,
    dsub: int = 2,
    qnorm: bool = False,
    mark: str = "",
) -> Artifact:
    """Return a model in product codes.

    Args:
        artifact: the model.
        source: a file to train on once ``cutoff`` left rows out; None: none.
        lr: the rate of that training; None: what the original takes where it knows of none.
        epoch: its passes over the file; None: as many as the model's training had.
        thread: its threads.
        qout: whether the linear layer is put into codes too.
        cutoff: how many rows to keep; 0: all.
        dsub: how many numbers share a code.
        qnorm: whether the norms of rows are coded by themselves.
        mark: what begins an option's name in messages.

    Raises:
        ConfigError: the model is quantized already or too small.
        DataError: the file cannot be read.
        TrainingError: it leaves nothing to learn, or the loss ran away.
        KeyboardInterrupt: Ctrl-C came.
    """
    prefix = label_prefix(artifact)
    trainer = artifact.config.trainer
    layer = sgd_steps(UNTOLD_RATE if lr is None else lr, epoch or trainer.epochs)
    layer["trainer"] |= {"threads": thread or trainer.threads}
    layer["data"] = {"label_separator": LABEL_SEPARATOR}

    def train_on(smaller: Artifact) -> Artifact:
        assert source is not None
        return retrain(smaller, scan_labeled(source, prefix), layer)

    try:
        return product_quantize(
            artifact,
            cutoff,
            width=dsub,
            norms=qnorm,
            output=qout,
            retrain=None if source is None else train_on,
        )
    except (ConfigError, TrainingError) as error:
        raise type(error)(in_options(str(error), mark)) from None
