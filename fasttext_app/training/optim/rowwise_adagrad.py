"""Row-wise Adagrad: one accumulator per table row, as recommendation systems use it.

A row's update is divided by the root of the sum of its mean squared gradients. So the state takes
1 / dim of Adagrad's memory, and all numbers of a row share one learning rate. Source: Gupta, Bengio
and Weston (2014), "Training highly multiclass classifiers", and FBGEMM's
``EXACT_ROWWISE_ADAGRAD``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class RowwiseAdagrad(torch.optim.Optimizer):
    """The reference implementation, for sparse and dense gradients of tables.

    Args:
        params: tables, [V, D].
        lr: the learning rate.
        eps: added to the denominator.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, eps: float = 1e-8) -> None:
        super().__init__(params, {"lr": lr, "eps": eps})
        self.whole: dict[Tensor, tuple[Tensor, Tensor]] = {}
        """For tables that have only some columns: the rows of the gradient, [R], and their
        gradient in all columns, [R, D]."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Update every table that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is None:
                    continue
                rows, gradient = slice(None), table.grad
                if gradient.is_sparse:
                    gradient = gradient.coalesce()
                    rows, gradient = gradient.indices()[0], gradient.values()
                sums = self.state[table].setdefault("sum", table.new_zeros(len(table), 1))
                whole_rows, whole = self.whole.get(table, (rows, gradient))
                sums[whole_rows] += whole.square().mean(dim=1, keepdim=True)
                table[rows] -= group["lr"] * gradient / (sums[rows].sqrt() + group["eps"])
