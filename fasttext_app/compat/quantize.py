"""Quantize a model with the original's options, and retrain the rows that a cutoff leaves."""

from __future__ import annotations

from fasttext_app.config.auto import known
from fasttext_app.errors import ConfigError, TrainingError
from fasttext_app.fasttext.convert import label_prefix
from fasttext_app.fasttext.lines import scan_labeled
from fasttext_app.fasttext.options import LABEL_SEPARATOR, name_options, sgd_settings
from fasttext_app.model.artifact import Artifact
from fasttext_app.model.quantize import product_quantize
from fasttext_app.pipeline import retrain

DEFAULT_LR = 0.05
"""The learning rate of retraining where none is known: the original's default outside training."""


def quantize(
    artifact: Artifact,
    retrain_on: str | None = None,
    *,
    lr: float | None = None,
    epoch: int | None = None,
    thread: int | None = None,
    qout: bool = False,
    cutoff: int = 0,
    dsub: int = 2,
    qnorm: bool = False,
    dash: str = "",
) -> Artifact:
    """Return a model whose table is in product codes.

    Args:
        artifact: the model.
        retrain_on: a file to retrain on after ``cutoff`` removed rows; None: do not retrain.
        lr: the learning rate of retraining; None: :data:`DEFAULT_LR`.
        epoch: the epochs of retraining; None: the same as in training.
        thread: the threads of retraining; None: the same as in training.
        qout: quantize the linear layer too.
        cutoff: the number of rows to keep, those with the largest norms; 0: all.
        dsub: how many values share a code.
        qnorm: quantize the norms of rows separately.
        dash: what precedes the name of an option in messages: "-" on the command line.

    Raises:
        ConfigError: the model is already quantized or too small.
        DataError: the file cannot be read.
        TrainingError: the file has nothing to learn, or the loss diverged.
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    prefix, trainer = label_prefix(artifact), artifact.config.trainer
    settings = sgd_settings(DEFAULT_LR if lr is None else lr, epoch or known(trainer.epochs))
    settings["trainer"]["threads"] = thread or trainer.threads
    settings["data"] = {"label_separator": LABEL_SEPARATOR}

    def retrained(smaller: Artifact) -> Artifact:
        assert retrain_on is not None
        return retrain(smaller, scan_labeled(retrain_on, prefix), settings)

    try:
        return product_quantize(
            artifact,
            cutoff,
            width=dsub,
            norms=qnorm,
            output=qout,
            retrain=None if retrain_on is None else retrained,
        )
    except (ConfigError, TrainingError) as error:
        raise type(error)(name_options(str(error), dash)) from None
