"""Train a model with the original's options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from types import SimpleNamespace
from typing import Any

from fasttext_app import pipeline
from fasttext_app.compat.model import FastText
from fasttext_app.config.auto import known
from fasttext_app.config.schema import Config
from fasttext_app.data.split import Examples
from fasttext_app.errors import ConfigError, DataError, TrainingError
from fasttext_app.fasttext.convert import sort_labels
from fasttext_app.fasttext.file_format import loss_name
from fasttext_app.fasttext.lines import scan_labeled
from fasttext_app.fasttext.options import (
    DEFAULTS,
    OptionError,
    complete_options,
    name_options,
    train_config,
)
from fasttext_app.inference.classifier import TextClassifier
from fasttext_app.model.artifact import FASTTEXT


def bind_arguments(values: Sequence[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Name the positional arguments of ``train_supervised``: ``input``, then the options in order.

    Raises:
        OptionError: there are too many, one is given twice, or ``input`` is missing.
    """
    names = ["input", *DEFAULTS]
    if len(values) > len(names):
        raise OptionError(f"{len(values)} values for {len(names)} options")
    bound = dict(zip(names, values, strict=False))
    for name in bound:
        if name in options:
            raise OptionError(f"{name}: is given twice")
    bound |= options
    if not bound.get("input"):
        raise OptionError("input: name a file to train on")
    if not isinstance(bound["input"], str | PathLike):
        raise OptionError(f"input: must be the path of a file (got {bound['input']!r})")
    return bound


def train(path: str, options: Mapping[str, Any], dash: str = "") -> FastText:
    """Train a classifier; it gets its options as attributes, as in the original.

    Args:
        path: a file of labeled lines.
        options: any of the original's options.
        dash: what precedes the name of an option in messages: "-" on the command line.

    Raises:
        ConfigError: an option is unknown, invalid or not supported.
        DataError: the file cannot be read.
        TrainingError: the file has nothing to learn, or the loss diverged.
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    options = complete_options(options, dash)
    config = train_config(path, options, dash)
    examples = Examples(
        scan_labeled(path, options["label"]),
        source=path,
        min_label_count=options["minCountLabel"],
        skip_unlabeled=True,
        one_label=True,
    )
    try:
        result = pipeline.train(config, examples)
    except (ConfigError, DataError, TrainingError) as error:
        raise type(error)(_in_options(str(error), config, dash)) from None
    if result.outcome.interrupted:
        raise KeyboardInterrupt  # as in the original, which keeps no half-trained model
    artifact = sort_labels(result.model.artifact)
    args = {name: options[name] for name in ("ws", "neg", "t")}
    args["lr_update_rate"] = options["lrUpdateRate"]
    artifact = replace(artifact, data={**artifact.data, FASTTEXT: args})
    model = FastText.from_classifier(TextClassifier(artifact, threads=config.trainer.threads))
    options |= {"bucket": config.text.bucket_count, "loss": loss_name[config.model.loss]}
    model.set_args(SimpleNamespace(**options))
    return model


def _in_options(message: str, config: Config, dash: str) -> str:
    """Name the options in a message, and the learning rate as the caller gave it."""
    lr = known(config.optimizer.lr)
    given_lr = lr / known(config.trainer.batch_size)
    return name_options(message.replace(f"(it is {lr:g})", f"(it is {given_lr:g})"), dash)
