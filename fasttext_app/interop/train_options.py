"""The original's training options, as settings of this program."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fasttext_app.config import Config, resolve
from fasttext_app.errors import ConfigError, did_you_mean
from fasttext_app.text.fasttext_lines import PREFIX

__all__ = ["DEFAULTS", "train_config"]

MOST_TEXTS, MOST_RATE = 16, 4.0
"""The original steps at every line. A few lines in a step come to the same, and go faster; but the
higher the rate, the fewer: their steps add up on the rows that they share."""

DEFAULTS: dict[str, Any] = {
    "lr": 0.1,
    "dim": 100,
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
    "label": PREFIX,
    "pretrainedVectors": "",
    "seed": 0,
    "ws": 5,
    "lrUpdateRate": 100,
    "t": 1e-4,
    "verbose": 2,
}
"""Every option with its default. The last four change nothing here."""


ALIASES = {
    "min_count": "minCount",
    "min_count_label": "minCountLabel",
    "word_ngrams": "wordNgrams",
    "lr_update_rate": "lrUpdateRate",
    "label_prefix": "label",
    "pretrained_vectors": "pretrainedVectors",
}
"""Other names of options, which the original's Python package takes too."""


def train_config(path: str, options: Mapping[str, Any]) -> Config:
    """Return the settings that train as the original does with these options.

    Raises:
        ConfigError: an option is unknown or has no place here.
    """
    options = {ALIASES.get(name, name): value for name, value in options.items()}
    for name in options:
        if name.startswith("autotune"):
            raise ConfigError(f"{name}: there is no autotune here; choose the settings yourself")
        if name not in DEFAULTS:
            raise ConfigError(f"{name}: no such option{did_you_mean(name, DEFAULTS)}")
    given = {**DEFAULTS, **options}
    if given["minCountLabel"]:
        raise ConfigError("minCountLabel: labels are never left out here; leave the option out")
    prefix, lr = given["label"], _positive("lr", given["lr"])
    texts = int(min(max(MOST_RATE / lr, 1), MOST_TEXTS))
    minn, maxn = max(given["minn"], 1), given["maxn"]
    if minn > maxn:  # no length is left between them
        minn = maxn = 0
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
                "min_count": max(given["minCount"], 1),
                "word_ngrams": max(given["wordNgrams"], 1),
                "minn": minn,
                "maxn": maxn,
                "bucket": max(given["bucket"], 0 if given["wordNgrams"] > 1 or maxn else 1),
                "prune": False,
            },
            "model": {
                "dim": given["dim"],
                "loss": given["loss"],
                "bias": False,
                "probabilities": "fasttext",
                **({"negatives": given["neg"]} if given["loss"] == "ns" else {}),
                **(
                    {"pretrained": given["pretrainedVectors"]} if given["pretrainedVectors"] else {}
                ),
            },
            # The loss here is the mean of a batch, and there the sum of its lines.
            "optimizer": {"name": "sgd", "lr": lr * texts},
            "trainer": {
                "epochs": given["epoch"],
                "batch_size": texts,
                "seed": given["seed"],
                "threads": given["thread"],
                "device": "auto",
            },
        }
    )


def _positive(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number < math.inf:
        raise ConfigError(f"{name}: must be a number above 0 (got {value!r})")
    return number
