"""fastText's training options, and the settings of this program that they stand for."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from operator import index
from os import fspath
from typing import Any, SupportsFloat

from fasttext_app.config.loading import resolve
from fasttext_app.config.schema import Config
from fasttext_app.errors import ConfigError, did_you_mean
from fasttext_app.text.fasttext_tokenizer import PREFIX

DEFAULTS: dict[str, Any] = {
    "lr": 0.1,
    "dim": 100,
    "ws": 5,
    "epoch": 5,
    "minCount": 1,
    "minCountLabel": 0,
    "minn": 0,
    "maxn": 0,
    "neg": 5,
    "wordNgrams": 1,
    "loss": "softmax",
    "bucket": 2_000_000,
    "thread": 0,
    "lrUpdateRate": 100,
    "t": 1e-4,
    "label": PREFIX,
    "verbose": 2,
    "pretrainedVectors": "",
    "seed": 0,
}
"""Every option with its default, in the positional order of the original's Python package.

``verbose`` has no effect here; ``ws``, ``lrUpdateRate`` and ``t`` are only written to model files.
"""

ALIASES = {
    "min_count": "minCount",
    "min_count_label": "minCountLabel",
    "word_ngrams": "wordNgrams",
    "lr_update_rate": "lrUpdateRate",
    "label_prefix": "label",
    "pretrained_vectors": "pretrainedVectors",
}
"""Other names that the original's Python package accepts."""

OPTION_OF_SETTING = {
    "data.label_prefix": "label",
    "text.tokenizer": "label",
    "text.min_count": "minCount",
    "text.word_ngrams": "wordNgrams",
    "text.minn": "minn",
    "text.maxn": "maxn",
    "text.bucket": "bucket",
    "model.dim": "dim",
    "model.loss": "loss",
    "model.negatives": "neg",
    "model.pretrained": "pretrainedVectors",
    "optimizer.lr": "lr",
    "trainer.epochs": "epoch",
    "trainer.threads": "thread",
    "trainer.seed": "seed",
}
SETTING = re.compile("|".join(map(re.escape, OPTION_OF_SETTING)))

LABEL_SEPARATOR = " "
"""Separates the labels of a line."""

MAX_BATCH, MAX_BATCH_LR = 16, 4.0
"""Limits on the lines of a step, and on their number times the learning rate.

The original steps after every line. A few lines a step train as well and run faster, but their
updates add up in the rows that they share, so a higher learning rate allows fewer of them.
"""


class OptionError(ConfigError, TypeError):
    """An option that does not exist or is given twice, or a value of the wrong type."""


def complete_options(options: Mapping[str, Any], dash: str = "") -> dict[str, Any]:
    """Return all options under their main names, with defaults for those not in ``options``.

    Args:
        options: any of the options, under either name.
        dash: what precedes the name of an option in messages: "-" on the command line.

    Raises:
        OptionError: an option is unknown or given twice, or its value has the wrong type.
        ConfigError: an option is not supported.
    """
    completed: dict[str, Any] = {}
    for option, value in options.items():
        name = ALIASES.get(option, option)
        refuse_autotune(name, dash)
        if name not in DEFAULTS:
            hint = did_you_mean(dash + name, [dash + known for known in DEFAULTS])
            raise OptionError(f"{dash}{option}: no such option{hint}")
        if name in completed:
            raise OptionError(f"{dash}{option}: is given twice")
        completed[name] = _converted(dash + option, value, DEFAULTS[name])
    return {**DEFAULTS, **completed}


def _converted(option: str, value: Any, default: Any) -> Any:
    """Return a value as the type of the default; numbers may be NumPy's.

    Raises:
        OptionError: the value has another type.
    """
    try:
        if isinstance(default, int):
            return index(value)
        if isinstance(default, float):
            return float(value) if isinstance(value, SupportsFloat) else index(value)
        return default if value is None else fspath(value)
    except TypeError:
        kind = {int: "an integer", float: "a number", str: "a string"}[type(default)]
        raise OptionError(f"{option}: must be {kind} (got {value!r})") from None


def refuse_autotune(option: str, dash: str = "") -> None:
    """Raise if an option belongs to autotune.

    Raises:
        ConfigError: it does; the message names the command to use instead.
    """
    if option.startswith("autotune"):
        raise ConfigError(
            f"{dash}{option}: autotune is not supported; search for good settings with "
            "`fasttext-app tune`, then train with them"
        )


def train_config(path: str, options: Mapping[str, Any], dash: str = "") -> Config:
    """Return the settings that train on a file as the original does with these options.

    Args:
        path: the file.
        options: all options, as :func:`complete_options` returns them.
        dash: what precedes the name of an option in messages.

    Raises:
        ConfigError: an option has an invalid value.
    """
    settings = model_settings(
        dim=options["dim"],
        loss="ova" if options["loss"] == "one-vs-all" else options["loss"],
        neg=options["neg"],
        min_count=options["minCount"],
        word_ngrams=options["wordNgrams"],
        minn=options["minn"],
        maxn=options["maxn"],
        bucket=options["bucket"],
        prefix=options["label"],
    )
    settings["data"] = {
        "source": path,
        "label_prefix": options["label"],
        "validation": 0.0,
        "label_separator": LABEL_SEPARATOR,
    }
    settings["text"]["prune"] = False
    settings["model"]["pretrained"] = options["pretrainedVectors"] or None
    settings["trainer"] = {
        "seed": options["seed"],
        "threads": options["thread"],
        "device": "auto",
    }
    lr = options["lr"]
    if not 0 <= lr < math.inf:
        raise ConfigError(f"{dash}lr: must be a number of at least 0 (got {lr!r})")
    epochs = options["epoch"] if lr else 0  # without learning, the weights stay as they are
    try:
        return resolve(settings, sgd_settings(lr or DEFAULTS["lr"], epochs))
    except ConfigError as error:
        raise ConfigError(name_options(str(error), dash)) from None


def model_settings(
    *,
    dim: int,
    loss: str,
    neg: int,
    min_count: int,
    word_ngrams: int,
    minn: int,
    maxn: int,
    bucket: int,
    prefix: str,
) -> dict[str, dict[str, Any]]:
    """Return the settings of the model that fastText builds from these options.

    >>> settings = model_settings(dim=9, loss="hs", neg=5, min_count=0, word_ngrams=1, minn=4,
    ...     maxn=2, bucket=0, prefix="__label__")
    >>> settings["text"]  # there is no length from 4 to 2, and without n-grams no bucket is used
    {'tokenizer': 'fasttext', 'min_count': 1, 'word_ngrams': 1, 'minn': 0, 'maxn': 0, 'bucket': 1,
     'term_weighting': 'none'}
    """
    minn, word_ngrams = max(minn, 1), max(word_ngrams, 1)
    if minn > maxn:
        minn = maxn = 0
    has_ngrams = word_ngrams > 1 or maxn > 0
    return {
        "text": {
            "tokenizer": "fasttext" if prefix == PREFIX else f"fasttext:{prefix}",
            "min_count": max(min_count, 1),
            "word_ngrams": word_ngrams,
            "minn": minn,
            "maxn": maxn,
            "bucket": max(bucket, 0 if has_ngrams else 1),
            "term_weighting": "none",
        },
        "model": {
            "mode": "mean",
            "dim": dim,
            "loss": loss,
            "bias": False,
            "fold": False,
            "probabilities": "fasttext",
            **({"negatives": neg} if loss == "ns" else {}),
        },
    }


def sgd_settings(lr: float, epochs: int) -> dict[str, dict[str, Any]]:
    """Return the settings that step as the original does at a learning rate.

    fastText adds up the gradients of lines. This program averages them over a batch, so the
    learning rate is multiplied by the size of the batch.

    >>> sgd_settings(0.5, 5)
    {'optimizer': {'name': 'sgd', 'lr': 4.0}, 'trainer': {'epochs': 5, 'batch_size': 8}}
    """
    batch_size = int(min(max(MAX_BATCH_LR / lr, 1), MAX_BATCH))
    return {
        "optimizer": {"name": "sgd", "lr": lr * batch_size},
        "trainer": {"epochs": epochs, "batch_size": batch_size},
    }


def name_options(message: str, dash: str = "") -> str:
    """Replace the names of settings in a message with the names of the options.

    >>> name_options("model.dim: must be greater than 0", "-")
    '-dim: must be greater than 0'
    """
    return SETTING.sub(lambda match: dash + OPTION_OF_SETTING[match[0]], message)
