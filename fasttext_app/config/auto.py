"""The settings that are ``auto``, and how each follows from the data and the other settings.

:func:`dependent_defaults` fills in what follows from other settings when a config is read, and
:func:`fill_auto` what follows from the data once it is encoded. The values are saved with the
model. ``docs/accuracy.md`` has the measurements that the numbers come from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from fasttext_app.config.schema import Auto, Config, TextConfig

T = TypeVar("T")

SEPARATORS = "|", "\x1f"
"""Separators between the labels of a row, where nobody named one; the second is for labels that
contain the first."""

LR = {"rowwise_adagrad": 0.2, "adagrad": 0.1, "sparse_adam": 0.01, "sgd": 4.0}
"""Learning rate for four classes of equal size."""
MIN_LR_FACTOR, MAX_LR_FACTOR = 0.75, 2.0
MIN_EPOCHS, MAX_EPOCHS = 2, 12
MIN_BATCH, MAX_BATCH = 32, 256
ROWS_PER_BATCH = 200
"""A batch has one text for every 200 training rows, rounded to a power of two."""
EPS_IDS = 5.0
EPS_TEXTS = 500
"""With fewer texts of a class in all epochs, ``optimizer.eps`` is smaller."""
SMALL_EPS = 1e-8
REFIT_ROWS = 50_000
CALIBRATION_ROWS = 20
"""Fewer validation rows say too little about probabilities."""


@dataclass(frozen=True)
class DataSize:
    """The size of the data, from which the automatic settings follow."""

    class_counts: Sequence[int]
    """Training rows of each class."""
    train_rows: int
    ids: int
    """Ids of all training texts."""
    validation_rows: int = 0


def dependent_defaults(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the defaults that depend on other settings.

    >>> dependent_defaults({"model": {"mode": "max"}})
    {'text': {'term_weighting': 'none'}}
    >>> dependent_defaults({"text": {"term_weighting": "none"}})
    {'model': {'mode': 'mean'}}
    >>> dependent_defaults({"text": {"maxn": 0}})
    {'text': {'minn': 0}}
    >>> dependent_defaults({"data": {"label_columns": ["toxic", "insult"]}})
    {'model': {'loss': 'ova'}, 'data': {'label_separator': '|'}}
    """
    text, model = settings.get("text", {}), settings.get("model", {})
    defaults: dict[str, dict[str, Any]] = {"text": {}, "model": {}, "data": {}}
    data = settings.get("data", {})
    if columns := data.get("label_columns"):
        if data.get("label_separator") is None:
            free = (mark for mark in SEPARATORS if not any(mark in str(name) for name in columns))
            defaults["data"]["label_separator"] = next(free, None)
        if "loss" not in model:
            defaults["model"]["loss"] = "ova"
    if "term_weighting" not in text and model.get("mode", "sum") != "sum":
        defaults["text"]["term_weighting"] = "none"
    if "mode" not in model and text.get("term_weighting") == "none":
        defaults["model"]["mode"] = "mean"
    minn, maxn = text.get("minn"), text.get("maxn")
    if minn is None and type(maxn) is int:
        defaults["text"]["minn"] = max(min(TextConfig().minn, maxn), 0)
    if maxn is None and type(minn) is int:
        defaults["text"]["maxn"] = max(TextConfig().maxn, minn) if minn else 0
    return {section: values for section, values in defaults.items() if values}


def fill_auto(config: Config, size: DataSize, *, can_refit: bool = False) -> Config:
    """Return the configuration with a value for every setting that is ``auto``.

    Args:
        config: the run's settings.
        size: the size of the data.
        can_refit: whether the validation rows were held out from the training rows.
    """
    optimizer, trainer = config.optimizer, config.trainer
    batch_size = auto_batch_size(size.train_rows)
    if trainer.batch_size != "auto":
        batch_size = trainer.batch_size
    epochs = max(auto_epochs(size.train_rows, size.class_counts), trainer.stop_after)
    if trainer.epochs != "auto":
        epochs = trainer.epochs
    eps = SMALL_EPS
    if optimizer.name in ("adagrad", "rowwise_adagrad"):
        # A row's gradient is a mean over the ids of a batch, so this is the same in its units.
        eps = EPS_IDS / (batch_size * max(size.ids / size.train_rows, 1.0))
        eps *= eps_factor(size.class_counts, epochs)
    refit = can_refit and size.train_rows <= REFIT_ROWS
    optimizer_values = {
        "lr": round(LR[optimizer.name] * lr_factor(size.class_counts), 4),
        "eps": eps,
    }
    trainer_values = {
        "epochs": epochs,
        "batch_size": batch_size,
        "refit": refit,
        "calibrate": size.validation_rows >= CALIBRATION_ROWS and _can_calibrate(config),
    }
    return config.model_copy(
        update={
            "optimizer": _with_values(optimizer, optimizer_values),
            "trainer": _with_values(trainer, trainer_values),
        }
    )


def auto_batch_size(rows: int) -> int:
    """Return ``trainer.batch_size`` for a number of training rows.

    >>> [auto_batch_size(rows) for rows in (300, 10_000, 30_000, 100_000)]
    [32, 64, 128, 256]
    """
    power: int = round(math.log2(max(rows / ROWS_PER_BATCH, 1)))
    return min(max(1 << power, MIN_BATCH), MAX_BATCH)


def auto_epochs(rows: int, class_counts: Sequence[int]) -> int:
    """Return ``trainer.epochs`` for a number of training rows: the fewer, the more a class has.

    >>> [auto_epochs(rows, [rows // 4] * 4) for rows in (100, 1000, 10_000, 100_000)]
    [11, 6, 3, 2]
    """
    rows_per_class = max(rows / max(len(_sizes(class_counts)), 1), 1)
    epochs = round(30 * math.pow(rows_per_class, -0.3))
    return min(max(epochs, MIN_EPOCHS), MAX_EPOCHS)


def lr_factor(class_counts: Sequence[int]) -> float:
    """Return the learning rate over that of four classes of equal size.

    Many or rare classes need larger logits to stand out. The number of classes counts as it would
    be if all were of the harmonic mean of their sizes.

    >>> lr_factor([100] * 4), lr_factor([100] * 9), round(lr_factor([880, 90, 30]), 2)
    (1.0, 1.5, 1.95)
    """
    sizes = _sizes(class_counts)
    if not sizes:
        return 1.0
    harmonic_mean = len(sizes) / sum(1 / size for size in sizes)
    factor = math.sqrt(sum(sizes) / harmonic_mean / 4)
    return round(min(max(factor, MIN_LR_FACTOR), MAX_LR_FACTOR), 4)


def eps_factor(class_counts: Sequence[int], epochs: int) -> float:
    """Return the factor that shrinks ``optimizer.eps`` where each class has few texts.

    While the gradients of a class are smaller than eps, Adagrad is SGD with the rate lr / eps, and
    the class learns in proportion to its texts. With few of them, the run would end in that phase.

    >>> eps_factor([1000] * 4, 2), eps_factor([10] * 2000, 1), eps_factor([10] * 2000, 5)
    (1.0, 0.02, 0.1)
    """
    sizes = _sizes(class_counts)
    texts = sum(sizes) / max(len(sizes), 1) * epochs
    return round(min(max(texts, 1) / EPS_TEXTS, 1.0), 4)


def known(setting: T | Auto) -> T:
    """Return a setting that is no longer ``auto``."""
    assert setting != "auto"
    return setting


def _sizes(class_counts: Sequence[int]) -> list[int]:
    return [count for count in class_counts if count]


def _can_calibrate(config: Config) -> bool:
    loss = config.model.loss
    multi_label = config.data.eval_label_separator is not None
    return loss != "adaptive" and not (multi_label and loss not in ("ova", "ns"))


def _with_values(section: Any, values: Mapping[str, Any]) -> Any:
    """Return a section of settings with values for those that are ``auto``."""
    automatic = {key: value for key, value in values.items() if getattr(section, key) == "auto"}
    return section.model_copy(update=automatic)
