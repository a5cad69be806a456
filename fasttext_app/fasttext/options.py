"""The original's training options, as settings of this program."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from fasttext_app.config.loading import resolve
from fasttext_app.config.schema import Config
from fasttext_app.errors import ConfigError, did_you_mean
from fasttext_app.text.fasttext_tokenizer import PREFIX

MOST_TEXTS, MOST_RATE = 16, 4.0
"""The original steps at every line. A few lines in a step come to the same, and go faster; but the
higher the rate, the fewer: their steps add up on the rows that they share."""

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
"""Every option with its default, in the order in which the original's Python package takes them.
``verbose`` changes nothing here; ``ws``, ``lrUpdateRate`` and ``t`` only what a saved file says."""

ALIASES = {
    "min_count": "minCount",
    "min_count_label": "minCountLabel",
    "word_ngrams": "wordNgrams",
    "lr_update_rate": "lrUpdateRate",
    "label_prefix": "label",
    "pretrained_vectors": "pretrainedVectors",
}
"""Other names of options, which the original's Python package takes too."""

OPTIONS = {
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
"""What a setting of this program is called there."""
SETTING = re.compile("|".join(map(re.escape, OPTIONS)))


def read_options(options: Mapping[str, Any], mark: str = "") -> dict[str, Any]:
    """Return all options, those that were not given with their defaults.

    Args:
        options: those that were given, in either spelling.
        mark: what a name begins with in messages, the dash of the command line.

    Raises:
        ConfigError: an option is unknown, given twice, or has no place here.
    """
    found: dict[str, Any] = {}
    for given, value in options.items():
        name = ALIASES.get(given, given)
        refuse_autotune(name, mark)
        if name not in DEFAULTS:
            hint = did_you_mean(mark + name, [mark + known for known in DEFAULTS])
            raise ConfigError(f"{mark}{given}: no such option{hint}")
        if name in found:
            raise ConfigError(f"{mark}{given}: is given twice")
        found[name] = value
    return {**DEFAULTS, **found}


def refuse_autotune(name: str, mark: str = "") -> None:
    """Refuse the options of autotune, with the way to go instead.

    Raises:
        ConfigError: it is one of them.
    """
    if name.startswith("autotune"):
        raise ConfigError(
            f"{mark}{name}: there is no autotune here; look for good settings with "
            "`fasttext-app tune`, then train with them"
        )


def in_options(message: str, mark: str = "") -> str:
    """Name the options in a message about settings.

    >>> in_options("model.dim: must be greater than 0", "-")
    '-dim: must be greater than 0'
    """
    return SETTING.sub(lambda found: mark + OPTIONS[found[0]], message)


def train_config(path: str, options: Mapping[str, Any], mark: str = "") -> Config:
    """Return the settings that train as the original does with these options, all of them.

    Raises:
        ConfigError: one of them cannot be.
    """
    prefix = options["label"]
    minn, maxn = max(options["minn"], 1), options["maxn"]
    if minn > maxn:  # no length is left between them
        minn = maxn = 0
    loss = "ova" if options["loss"] == "one-vs-all" else options["loss"]
    ngrams = max(options["wordNgrams"], 1)
    rate = _positive(f"{mark}lr", options["lr"])
    try:
        return resolve(
            {
                "data": {
                    "source": path,
                    "label_prefix": prefix,
                    "validation": 0.0,
                    "label_separator": " ",
                },
                "text": {
                    "tokenizer": "fasttext" if prefix == PREFIX else f"fasttext:{prefix}",
                    "min_count": max(options["minCount"], 1),
                    "word_ngrams": ngrams,
                    "minn": minn,
                    "maxn": maxn,
                    "bucket": max(options["bucket"], 0 if ngrams > 1 or maxn else 1),
                    "prune": False,
                },
                "model": {
                    "dim": options["dim"],
                    "loss": loss,
                    "bias": False,
                    "probabilities": "fasttext",
                    "pretrained": options["pretrainedVectors"] or None,
                    **({"negatives": options["neg"]} if loss == "ns" else {}),
                },
            },
            sgd_steps(rate, options["epoch"]),
            {
                "trainer": {
                    "seed": options["seed"],
                    "threads": options["thread"],
                    "device": "auto",
                }
            },
        )
    except ConfigError as error:
        raise ConfigError(in_options(str(error), mark)) from None


def sgd_steps(lr: float, epochs: int) -> dict[str, dict[str, Any]]:
    """Return the settings that step as the original does at a rate.

    >>> sgd_steps(0.5, 5)["optimizer"]
    {'name': 'sgd', 'lr': 4.0}
    """
    texts = int(min(max(MOST_RATE / lr, 1), MOST_TEXTS))
    return {
        # The loss here is the mean of a batch, and there the sum of its lines.
        "optimizer": {"name": "sgd", "lr": lr * texts},
        "trainer": {"epochs": epochs, "batch_size": texts},
    }


def _positive(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number < math.inf:
        raise ConfigError(f"{name}: must be a number above 0 (got {value!r})")
    return number
