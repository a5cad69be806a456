"""Losses by name. Each takes the bags of a batch through the layer on top to their mean loss.

``softmax`` and ``ova`` look at every class of every text. ``ns`` and ``hs`` look at a few outputs
of the linear layer for each text, and ``adaptive`` at the clusters of the right classes, which pays
where there are thousands of classes.

To add one: write it here, name it in ``build_loss`` and in ``config_sections.ModelConfig.loss``,
and say in ``forward.class_scores`` and ``forward.probabilities`` how outputs become probabilities.

Shapes: **B** texts, **D** embedding dim, **C** classes, **K** outputs that are looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fasttext_app.adaptive_softmax import places_by_count
from fasttext_app.config import Config
from fasttext_app.huffman import HuffmanTree
from fasttext_app.model import AdaptiveSoftmax
from fasttext_app.text.ragged import Ragged

__all__ = [
    "LOSSES",
    "Loss",
    "adaptive_softmax",
    "build_loss",
    "hierarchical_softmax",
    "negative_sampling",
    "one_of_several",
    "one_vs_all",
    "one_vs_all_of_sets",
]

Loss = Callable[[Any, Tensor, Tensor], Tensor]
"""From the layer on top, bags [B, D] and classes [B] to the mean over the batch.

The layer is an ``AdaptiveSoftmax`` for ``adaptive`` and an ``nn.Linear`` for all others."""


def build_loss(
    config: Config,
    counts: Sequence[int],
    sets: Ragged | None = None,
    draws: torch.Generator | None = None,
) -> Loss:
    """Return the loss of a configuration.

    Args:
        config: names it in ``model.loss``.
        counts: how often each class was seen in training, [C].
        sets: where rows may have several labels, the sets of classes that ``labels`` number.
        draws: the source of what a loss draws at random; None: one of its own, by the seed.
    """
    name = config.model.loss
    if draws is None:
        draws = torch.Generator().manual_seed(config.trainer.seed)
    if sets is not None:
        one = build_loss(config, counts, None, draws)
        return one_vs_all_of_sets(sets) if name == "ova" else one_of_several(one, sets, draws)
    if name == "ns":
        return negative_sampling(counts, config.model.negatives, draws)
    if name == "hs":
        return hierarchical_softmax(counts)
    if name == "adaptive":
        return adaptive_softmax(counts)
    of_logits = LOSSES[name]
    return lambda linear, bags, labels: of_logits(linear(bags), labels)


def one_vs_all(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of C independent yes-or-no questions, summed over them.

    >>> one_vs_all(torch.zeros(1, 2), torch.tensor([0])).item()  # 2 ln 2
    1.386294...
    """
    return _questions(logits, functional.one_hot(labels, logits.shape[1]).to(logits.dtype))


def _questions(logits: Tensor, wanted: Tensor) -> Tensor:
    summed = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")
    return summed / max(len(logits), 1)


def one_vs_all_of_sets(sets: Ragged) -> Loss:
    """Return the same for rows of several labels, which number one of these sets of classes."""
    classes, offsets = torch.from_numpy(sets.indices), torch.from_numpy(sets.offsets)

    def loss(linear: nn.Linear, bags: Tensor, labels: Tensor) -> Tensor:
        logits, numbers = linear(bags), labels.cpu()
        lengths = offsets[numbers + 1] - offsets[numbers]
        rows = torch.repeat_interleave(torch.arange(len(numbers)), lengths)
        begin = offsets[numbers] - (lengths.cumsum(0) - lengths)
        places = torch.arange(len(rows)) + begin[rows]
        wanted = torch.zeros(logits.shape)
        wanted[rows, classes[places]] = 1
        return _questions(logits, wanted.to(logits.device))

    return loss


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "softmax": functional.cross_entropy,
    "ova": one_vs_all,
}
"""Those that look at every class: from logits [B, C] and classes [B]."""


def one_of_several(loss: Loss, sets: Ragged, draws: torch.Generator) -> Loss:
    """Return a loss of rows of several labels that sees one of them at each visit, at random."""
    classes, offsets = torch.from_numpy(sets.indices), torch.from_numpy(sets.offsets)

    def drawn(layer: Any, bags: Tensor, labels: Tensor) -> Tensor:
        begin, end = offsets[labels.cpu()], offsets[labels.cpu() + 1]
        share = torch.rand(len(begin), generator=draws, dtype=torch.float64)
        return loss(layer, bags, classes[begin + (share * (end - begin)).long()].to(labels.device))

    return drawn


def negative_sampling(counts: Sequence[int], negatives: int, draws: torch.Generator) -> Loss:
    """Return one-vs-all over the right class and some others, drawn anew for every text.

    They are drawn by the square root of their counts, and the right class is not among them.
    """
    odds = torch.tensor(counts, dtype=torch.float64).clamp(min=0).sqrt()
    bounds = odds.cumsum(0)

    def loss(linear: nn.Linear, bags: Tensor, labels: Tensor) -> Tensor:
        # A draw from all classes but the right one: a draw from what is left, moved past its share.
        right = labels.cpu()
        left = (bounds[-1] - odds[right])[:, None]
        drawn = torch.rand(len(right), negatives, generator=draws, dtype=torch.float64) * left
        begin = (bounds - odds)[right][:, None]
        drawn += torch.where(drawn >= begin, odds[right][:, None], 0)
        others = torch.searchsorted(bounds, drawn, right=True).clamp(max=len(odds) - 1)
        outputs = torch.cat([right[:, None], others], dim=1).to(labels.device)
        turns = -torch.ones(outputs.shape, device=bags.device)
        turns[:, 0] = 1
        return _of_outputs(linear, bags, outputs, turns)

    return loss


def hierarchical_softmax(counts: Sequence[int]) -> Loss:
    """Return the loss of the turns on the way to the right class; see ``huffman.HuffmanTree``."""
    nodes, turns = map(torch.from_numpy, HuffmanTree.build(counts).paths())

    def loss(linear: nn.Linear, bags: Tensor, labels: Tensor) -> Tensor:
        right = labels.cpu()
        return _of_outputs(linear, bags, nodes[right].to(bags.device), turns[right].to(bags.device))

    return loss


def adaptive_softmax(counts: Sequence[int]) -> Loss:
    """Return the loss of the adaptive softmax, whose classes go by their counts."""
    places = torch.from_numpy(places_by_count(counts))

    def loss(layer: AdaptiveSoftmax, bags: Tensor, labels: Tensor) -> Tensor:
        return layer.loss(bags, places[labels.cpu()].to(bags.device))

    return loss


def _of_outputs(linear: nn.Linear, bags: Tensor, outputs: Tensor, turns: Tensor) -> Tensor:
    """Sum up -log sigmoid(turn * logit) over some outputs of each text, [B, K]; 0 is no turn."""
    logits = torch.einsum("bkd,bd->bk", linear.weight[outputs], bags) + linear.bias[outputs]
    summed = (functional.softplus(-turns * logits) * turns.abs()).sum()
    return summed / max(len(bags), 1)
