"""Which optimizer steps which parameter, and with which learning rate.

To add one: a branch in ``build_optimizers`` and its name in
``config_sections.OptimizerConfig.name``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import optim

from fasttext_app.config.schema import OptimizerConfig
from fasttext_app.model.classifier import FastTextClassifier
from fasttext_app.training.optim.rowwise_adagrad import RowwiseAdagrad


def build_optimizers(
    model: FastTextClassifier, config: OptimizerConfig
) -> list[torch.optim.Optimizer]:
    """Return the optimizers that together step every parameter of the model.

    ``sparse_adam`` is SparseAdam on the table and Adam on the linear layer, whose gradient is
    dense; ``rowwise_adagrad`` goes with Adagrad there; ``sgd`` and ``adagrad`` step both.
    """
    table, linear = list(model.embedding.parameters()), list(model.linear.parameters())
    if config.name == "sgd":
        momentum, decay = config.momentum, config.weight_decay
        return [optim.SGD(table + linear, config.lr, momentum=momentum, weight_decay=decay)]
    if config.name == "adagrad":
        decay = config.weight_decay
        return [optim.Adagrad(table + linear, config.lr, weight_decay=decay, eps=config.eps)]
    if config.name == "rowwise_adagrad":
        return [
            RowwiseAdagrad(table, config.lr, config.eps),
            optim.Adagrad(linear, config.lr, eps=config.eps),
        ]
    return [
        optim.SparseAdam(table, config.lr, betas=config.betas, eps=config.eps),
        optim.Adam(linear, config.lr, betas=config.betas, eps=config.eps),
    ]


def set_lr(optimizers: Sequence[torch.optim.Optimizer], rate: float) -> None:
    """Set the learning rate of every parameter group."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate
