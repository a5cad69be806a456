"""Which optimizer steps which parameter, and with which learning rate.

To add one: a branch in ``build_optimizers`` and its name in ``config.OptimizerConfig.name``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import optim

from fasttext_app.config import OptimizerConfig
from fasttext_app.model import FastTextClassifier
from fasttext_app.optim.schedules import rate_factor

__all__ = ["build_optimizers", "rate_factor", "set_rate"]


def build_optimizers(
    model: FastTextClassifier, config: OptimizerConfig
) -> list[torch.optim.Optimizer]:
    """Return the optimizers that together step every parameter of the model.

    ``sparse_adam`` is SparseAdam on the table and Adam on the linear layer, whose gradient is
    dense; ``sgd`` and ``adagrad`` step both.
    """
    everything = model.parameters()
    if config.name == "sgd":
        return [
            optim.SGD(
                everything, config.lr, momentum=config.momentum, weight_decay=config.weight_decay
            )
        ]
    if config.name == "adagrad":
        return [
            optim.Adagrad(everything, config.lr, weight_decay=config.weight_decay, eps=config.eps)
        ]
    table, linear = model.embedding.parameters(), model.linear.parameters()
    return [
        optim.SparseAdam(list(table), config.lr, betas=config.betas, eps=config.eps),
        optim.Adam(linear, config.lr, betas=config.betas, eps=config.eps),
    ]


def set_rate(optimizers: Sequence[torch.optim.Optimizer], rate: float) -> None:
    """Set the learning rate of every parameter group."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate
