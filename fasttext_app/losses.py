"""Losses by name. A loss takes logits [B, C] and classes [B] to the mean over the batch, a scalar.

To add one: write it here, name it in ``LOSSES`` and in ``config.ModelConfig.loss``, and say in
``predictor.probabilities`` how its logits become probabilities.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

__all__ = ["LOSSES", "one_vs_all"]


def one_vs_all(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of C independent yes-or-no questions, summed over them.

    >>> import torch
    >>> one_vs_all(torch.zeros(1, 2), torch.tensor([0])).item()  # 2 ln 2
    1.386294...
    """
    wanted = functional.one_hot(labels, logits.shape[1]).to(logits.dtype)
    summed = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")
    return summed / max(len(labels), 1)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "softmax": functional.cross_entropy,
    "ova": one_vs_all,
}
