"""The original's training options, as settings of this program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fasttext_app.config import Config, resolve
from fasttext_app.errors import ConfigError, did_you_mean
from fasttext_app.text.fasttext_lines import PREFIX

__all__ = ["DEFAULTS", "train_config"]

BATCH = 16
"""Texts in a step. The original steps at every line; so few come to the same, and go faster."""

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
    prefix = given["label"]
    minn, maxn = given["minn"], given["maxn"]
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
                "minn": max(minn, 1) if maxn else 0,
                "maxn": maxn,
                "bucket": given["bucket"],
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
            "optimizer": {"name": "sgd", "lr": float(given["lr"]) * BATCH},
            "trainer": {
                "epochs": given["epoch"],
                "batch_size": BATCH,
                "seed": given["seed"],
                "threads": given["thread"],
                "device": "auto",
            },
        }
    )
