"""Losses by name. Each takes the bags of a batch through the layer on top to their mean loss.

A text that weighs 2 counts as if it were there twice: a weighed loss is the sum of weight x loss
over the texts, divided by their number. ``training_rows.text_weights`` sees to it that weights are
1 on average, so that the learning rate keeps its meaning.

``softmax`` and ``ova`` look at every class of every text. ``ns`` and ``hs`` look at a few outputs
of the linear layer for each text, and ``adaptive`` at the clusters of the right classes, which pays
where there are thousands of classes.

To add a loss, write it here, name it in ``build_loss`` and in ``ModelConfig.loss``, and write its
output head in ``model/heads.py``.

Shapes: **B** texts, **D** embedding dim, **C** classes, **K** outputs that are looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from fasttext_app.config.schema import Config
from fasttext_app.core.ragged import Ragged
from fasttext_app.data.soft_labels import SoftLabels
from fasttext_app.model.adaptive_softmax import frequency_rank
from fasttext_app.model.classifier import AdaptiveSoftmax
from fasttext_app.model.huffman import HuffmanTree


class Loss(Protocol):
    """From the layer on top and the bags of a batch to their mean loss."""

    def __call__(
        self, layer: Any, bags: Tensor, labels: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        """Return a scalar.

        Args:
            layer: from [B, D] to [B, C]; an ``AdaptiveSoftmax`` for ``adaptive``, and an
                ``nn.Linear`` for all others.
            bags: the vector of each text, [B, D].
            labels: the class of each text, or the number of its set of classes, [B].
            weights: how much each text counts, [B]; None: 1.
        """


def build_loss(
    config: Config,
    counts: Sequence[int],
    sets: Ragged | None = None,
    draws: torch.Generator | None = None,
    *,
    training: bool = True,
) -> Loss:
    """Return the loss of a configuration.

    Args:
        config: names it in ``model.loss``.
        counts: how often each class was seen in training, [C].
        sets: where rows may have several labels, the sets of classes that ``labels`` number.
        draws: the source of what a loss draws at random; None: one of its own, by the seed.
        training: whether it is to be learnt from. The loss to judge a model by is without label
            smoothing, focal scaling and dropout, so that runs with and without them compare.
    """
    name, trainer = config.model.loss, config.trainer
    if draws is None:
        draws = torch.Generator().manual_seed(trainer.seed)
    smoothing, gamma = (trainer.label_smoothing, trainer.focal_gamma) if training else (0.0, 0.0)
    if sets is not None and (name == "ova" or isinstance(sets, SoftLabels)):
        loss = of_sets(sets, name, smoothing, gamma)
    else:
        if name == "ns":
            loss = negative_sampling(counts, config.model.negatives, draws)
        elif name == "hs":
            loss = hierarchical_softmax(counts)
        elif name == "adaptive":
            loss = adaptive_softmax(counts)
        else:
            loss = _of_classes(name, smoothing, gamma)
        loss = loss if sets is None else one_of_several(loss, sets, draws)
    rate = trainer.bag_dropout if training else 0.0
    return with_bag_dropout(loss, rate, draws) if rate else loss


def is_plain(config: Config, sets: Ragged | None) -> bool:
    """Return whether unweighted batches have the loss of ``model.loss``, smoothed or not."""
    trainer = config.trainer
    return sets is None and not (trainer.focal_gamma or trainer.bag_dropout)


def _of_classes(name: str, smoothing: float, gamma: float) -> Loss:
    """Return a loss that looks at every class of texts with one label."""
    of_logits = LOSSES[name]

    def loss(layer: Any, bags: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        logits = layer(bags)
        if weights is None and not (smoothing or gamma):
            return of_logits(logits, labels)
        return _mean(losses_of_texts(name, logits, labels, smoothing, gamma), weights)

    return loss


def losses_of_texts(
    name: str, logits: Tensor, targets: Tensor, smoothing: float = 0.0, gamma: float = 0.0
) -> Tensor:
    """Return the loss of each text, [B].

    Args:
        name: ``softmax``, cross-entropy; or ``ova``, binary cross-entropy summed over the classes.
        logits: [B, C].
        targets: the class of each text, [B], or what each class has of it, [B, C].
        smoothing: the share of the targets that is spread evenly over all classes: a target t
            becomes (1 - smoothing) t + smoothing / C (Szegedy et al. 2016, section 7).
        gamma: of the focal loss; see :func:`focal`. Only where targets are 0 or 1.

    >>> losses_of_texts("softmax", torch.zeros(2, 4), torch.tensor([1, 3]), smoothing=0.1)
    tensor([1.3863, 1.3863])
    """
    if name == "softmax":
        losses = functional.cross_entropy(
            logits, targets, reduction="none", label_smoothing=smoothing
        )
        return focal(losses, gamma) if gamma else losses
    classes = logits.shape[1]
    if targets.dim() == 1:
        targets = functional.one_hot(targets, classes)
    wanted = targets.to(logits.dtype) * (1 - smoothing) + smoothing / classes
    losses = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return (focal(losses, gamma) if gamma else losses).sum(1)


def focal(losses: Tensor, gamma: float) -> Tensor:
    """Scale losses -log p of right answers by (1 - p)^gamma, whatever their shape.

    It is the focal loss of Lin et al. (2017), equation 4; ``trainer.class_weights`` are its alpha.

    >>> focal(-torch.tensor([0.5, 0.9]).log(), 2.0)
    tensor([0.1733, 0.0011])
    """
    # The gradient of a power below 1 has no end where the answer is sure to the last bit.
    wrong = (-torch.expm1(-losses)).clamp(min=1e-12)
    return losses * wrong**gamma


def _mean(losses: Tensor, weights: Tensor | None) -> Tensor:
    """Return the sum of weight x loss, divided by the number of texts."""
    weighed = losses if weights is None else losses * weights
    return weighed.sum() / max(len(losses), 1)


def with_bag_dropout(loss: Loss, rate: float, draws: torch.Generator) -> Loss:
    """Return a loss that sets numbers of the bags to 0, and scales the others up by 1 / (1 - p)."""

    def dropped(layer: Any, bags: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        kept = torch.rand(bags.shape, generator=draws) >= rate
        return loss(layer, bags * (kept / (1 - rate)).to(bags.device), labels, weights)

    return dropped


def one_vs_all(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of C independent yes-or-no questions, summed over them.

    >>> one_vs_all(torch.zeros(1, 2), torch.tensor([0])).item()  # 2 ln 2
    1.386294...
    """
    return _questions(logits, functional.one_hot(labels, logits.shape[1]).to(logits.dtype))


def _questions(logits: Tensor, wanted: Tensor) -> Tensor:
    summed = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")
    return summed / max(len(logits), 1)


def of_sets(sets: Ragged, name: str = "ova", smoothing: float = 0.0, gamma: float = 0.0) -> Loss:
    """Return a loss of rows that number a set of classes: against all of them, or their shares."""
    classes, offsets = torch.from_numpy(sets.indices), torch.from_numpy(sets.offsets)
    whole = torch.ones(len(classes))
    shares = torch.from_numpy(sets.probabilities) if isinstance(sets, SoftLabels) else whole

    def loss(layer: Any, bags: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        logits, numbers = layer(bags), labels.cpu()
        lengths = offsets[numbers + 1] - offsets[numbers]
        rows = torch.repeat_interleave(torch.arange(len(numbers)), lengths)
        begin = offsets[numbers] - (lengths.cumsum(0) - lengths)
        places = torch.arange(len(rows)) + begin[rows]
        wanted = torch.zeros(logits.shape)
        wanted[rows, classes[places]] = shares[places]
        wanted = wanted.to(logits.device)
        if name == "ova" and weights is None and not (smoothing or gamma):
            return _questions(logits, wanted)
        return _mean(losses_of_texts(name, logits, wanted, smoothing, gamma), weights)

    return loss


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "softmax": functional.cross_entropy,
    "ova": one_vs_all,
}
"""Those that look at every class: from logits [B, C] and classes [B]."""


def one_of_several(loss: Loss, sets: Ragged, draws: torch.Generator) -> Loss:
    """Return a loss of rows of several labels that sees one of them at each visit, at random."""
    classes, offsets = torch.from_numpy(sets.indices), torch.from_numpy(sets.offsets)

    def drawn(layer: Any, bags: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        begin, end = offsets[labels.cpu()], offsets[labels.cpu() + 1]
        share = torch.rand(len(begin), generator=draws, dtype=torch.float64)
        one = classes[begin + (share * (end - begin)).long()].to(labels.device)
        return loss(layer, bags, one, weights)

    return drawn


def negative_sampling(counts: Sequence[int], negatives: int, draws: torch.Generator) -> Loss:
    """Return one-vs-all over the right class and some others, drawn anew for every text.

    They are drawn by the square root of their counts, and the right class is not among them.
    """
    odds = torch.tensor(counts, dtype=torch.float64).clamp(min=0).sqrt()
    bounds = odds.cumsum(0)

    def loss(layer: Any, bags: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
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
        return _of_outputs(layer, bags, outputs, turns, weights)

    return loss


def hierarchical_softmax(counts: Sequence[int]) -> Loss:
    """Return the loss of the turns on the way to the right class; see ``huffman.HuffmanTree``."""
    nodes, turns = map(torch.from_numpy, HuffmanTree.build(counts).paths())

    def loss(layer: Any, bags: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        right = labels.cpu()
        outputs, way = nodes[right].to(bags.device), turns[right].to(bags.device)
        return _of_outputs(layer, bags, outputs, way, weights)

    return loss


def adaptive_softmax(counts: Sequence[int]) -> Loss:
    """Return the loss of the adaptive softmax, whose classes go by their counts."""
    places = torch.from_numpy(frequency_rank(counts))

    def loss(
        layer: AdaptiveSoftmax, bags: Tensor, labels: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        right = places[labels.cpu()].to(bags.device)
        return layer.loss(bags, right, weights)

    return loss


def _of_outputs(
    linear: nn.Linear, bags: Tensor, outputs: Tensor, turns: Tensor, weights: Tensor | None
) -> Tensor:
    """Sum up -log sigmoid(turn * logit) over some outputs of each text, [B, K]; 0 is no turn."""
    logits = torch.einsum("bkd,bd->bk", linear.weight[outputs], bags) + linear.bias[outputs]
    losses = functional.softplus(-turns * logits) * turns.abs()
    if weights is not None:
        losses = losses * weights[:, None]
    return losses.sum() / max(len(bags), 1)
