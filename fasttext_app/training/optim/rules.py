"""Update rules: which rule each optimizer uses, what it remembers, and its ``torch.optim`` form.

An optimizer updates the embedding table by one rule and the layer on top by another. A rule is a
number, for which the CPU and the Triton kernels are compiled.

To add an optimizer, name it in ``OptimizerConfig.name`` (``config/schema.py``) and give it an entry
in :data:`OPTIMIZERS` and a branch in :func:`torch_optimizers`, the reference that tests compare
with. A new rule also needs its state in :func:`state_widths` and its formula in the two kernels:
``cpu_kernels`` and ``triton_kernels.step_row``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fasttext_app.config.auto import known
from fasttext_app.config.schema import OptimizerConfig

if TYPE_CHECKING:
    import torch

    from fasttext_app.model.classifier import FastTextClassifier

RULES = range(4)
SGD, ADAGRAD, ROWWISE_ADAGRAD, ADAM = RULES


class OptimizerRules(NamedTuple):
    """The update rules of one optimizer."""

    table: int
    """For the embedding table, whose gradient is sparse."""
    layer: int
    """For the parameters of the layer on top, whose gradients are dense."""


OPTIMIZERS = {
    "sgd": OptimizerRules(SGD, SGD),
    "adagrad": OptimizerRules(ADAGRAD, ADAGRAD),
    "rowwise_adagrad": OptimizerRules(ROWWISE_ADAGRAD, ADAGRAD),
    "sparse_adam": OptimizerRules(ADAM, ADAM),
}
"""By the name in ``optimizer.name``."""


def state_widths(rule: int, dim: int) -> tuple[int, ...]:
    """Return the numbers of state for each row of ``dim`` parameters, one entry per state array.

    >>> state_widths(SGD, 10), state_widths(ROWWISE_ADAGRAD, 10), state_widths(ADAM, 10)
    ((), (1,), (10, 10))
    """
    return {SGD: (), ADAGRAD: (dim,), ROWWISE_ADAGRAD: (1,), ADAM: (dim, dim)}[rule]


def torch_optimizers(
    model: FastTextClassifier, config: OptimizerConfig
) -> list[torch.optim.Optimizer]:
    """Return the ``torch.optim`` objects that together update every parameter of a model."""
    from torch import optim

    from fasttext_app.training.optim.rowwise_adagrad import RowwiseAdagrad

    table, layer = list(model.embedding.parameters()), list(model.linear.parameters())
    lr, eps, betas, decay = known(config.lr), known(config.eps), config.betas, config.weight_decay
    if config.name == "sgd":
        return [optim.SGD(table + layer, lr, momentum=config.momentum, weight_decay=decay)]
    if config.name == "adagrad":
        return [optim.Adagrad(table + layer, lr, weight_decay=decay, eps=eps)]
    if config.name == "rowwise_adagrad":
        return [RowwiseAdagrad(table, lr, eps), optim.Adagrad(layer, lr, eps=eps)]
    return [
        optim.SparseAdam(table, lr, betas=betas, eps=eps),
        optim.Adam(layer, lr, betas=betas, eps=eps),
    ]
