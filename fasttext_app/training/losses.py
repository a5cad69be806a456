"""Losses by name: the mean loss of a batch, from its bags and the output layer.

``softmax`` and ``ova`` look at every class of every text. ``ns`` and ``hs`` look at a few outputs
of the layer for each text, and ``adaptive`` at the clusters of the right classes, which pays off
with thousands of classes.

To add a loss, name it in ``ModelConfig.loss`` (``config/schema.py``), write its output head in
``model/heads.py``, and write it here: one that looks at all logits is a function in
:data:`OF_LOGITS`, any other a branch in :func:`_few_outputs`.

Shapes: **B** texts, **D** embedding dim, **C** classes, **K** outputs looked at for each text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fasttext_app.config.schema import Config
from fasttext_app.core.ragged import Ragged, concat_ranges
from fasttext_app.data.soft_labels import SoftLabels
from fasttext_app.model.adaptive_softmax import frequency_rank
from fasttext_app.model.classifier import AdaptiveSoftmax
from fasttext_app.model.huffman import HuffmanTree

TextLosses = Callable[[Any, Tensor, Tensor], Tensor]
"""A function of the output layer, bags [B, D] and targets that returns each text's loss, [B].

The layer is an :class:`AdaptiveSoftmax` for ``adaptive``, and an ``nn.Linear`` for all others.
Targets are the class of each text, [B]; losses of :data:`OF_LOGITS` also take the weight of each
class, [B, C].
"""


@dataclass(frozen=True)
class Loss:
    """The mean loss of a batch. Build it with :func:`build_loss`."""

    of_texts: TextLosses
    mean: TextLosses | None = None
    """The mean of ``of_texts``, [], if torch has one operation for it. The gradient is
    bit-identical, and an unweighted step takes a tenth less time."""
    targets: Callable[[Tensor], Tensor] | None = None
    """Turns labels, here ids of label sets, into targets; None: labels are the targets."""
    bag_dropout: Callable[[Tensor], Tensor] | None = None
    plain: bool = False
    """Whether a kernel can compute the loss: ``softmax`` or ``ova`` with one class for each text,
    with or without label smoothing."""

    def __call__(
        self, layer: Any, bags: Tensor, labels: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        """Return the sum of weight x loss over the texts, divided by their number: a scalar.

        A text with weight 2 counts as if it occurred twice. ``data.weights.text_weights`` scales
        weights to a mean of 1, so that the learning rate keeps its meaning.

        Args:
            layer: see :data:`TextLosses`.
            bags: the vector of each text, [B, D].
            labels: the class of each text, or the id of its label set, [B].
            weights: the weight of each text, [B]; None: 1.
        """
        if self.bag_dropout is not None:
            bags = self.bag_dropout(bags)
        targets = labels if self.targets is None else self.targets(labels)
        if weights is None and self.mean is not None:
            return self.mean(layer, bags, targets)
        losses = self.of_texts(layer, bags, targets)
        if weights is not None:
            losses = losses * weights
        return losses.sum() / max(len(losses), 1)


def build_loss(
    config: Config,
    counts: Sequence[int],
    label_sets: Ragged | None = None,
    generator: torch.Generator | None = None,
    *,
    training: bool = True,
) -> Loss:
    """Return the loss of a configuration.

    Args:
        config: names it in ``model.loss``.
        counts: occurrences of each class in the training rows, [C].
        label_sets: the sets of classes that ``labels`` refers to, if rows can have several labels.
        generator: the source of random choices; None: a new one with the run's seed.
        training: False for the validation loss, which has no label smoothing, focal scaling or bag
            dropout, so that runs with and without them can be compared.
    """
    name, trainer = config.model.loss, config.trainer
    if generator is None:
        generator = torch.Generator().manual_seed(trainer.seed)
    smoothing, gamma, dropout = (
        (trainer.label_smoothing, trainer.focal_gamma, trainer.bag_dropout)
        if training
        else (0.0, 0.0, 0.0)
    )
    mean: TextLosses | None = None
    if name in OF_LOGITS:
        of_texts = _all_classes(OF_LOGITS[name], smoothing, gamma)
        if not (smoothing or gamma):
            mean = _all_classes(partial(OF_LOGITS[name], mean=True))
    else:
        of_texts = _few_outputs(config, counts, generator)
    targets: Callable[[Tensor], Tensor] | None = None
    if label_sets is not None:
        learns_all = name == "ova" or isinstance(label_sets, SoftLabels)
        targets = (
            target_matrix(label_sets, len(counts))
            if learns_all
            else one_of_each(label_sets, generator)
        )
    return Loss(
        of_texts,
        mean,
        targets,
        partial(drop_numbers, rate=dropout, generator=generator) if dropout else None,
        plain=name in OF_LOGITS and targets is None and not (gamma or dropout),
    )


# --- losses that look at every class -----------------------------------------------------------


def softmax(
    logits: Tensor,
    targets: Tensor,
    smoothing: float = 0.0,
    gamma: float = 0.0,
    *,
    mean: bool = False,
) -> Tensor:
    """Return the cross-entropy of each text, [B].

    Args:
        logits: [B, C].
        targets: the class of each text, [B], or a distribution over the classes, [B, C].
        smoothing: the part of each target that is spread evenly over all classes: a target t
            becomes (1 - smoothing) t + smoothing / C (Szegedy et al. 2016, section 7).
        gamma: of the focal loss, see :func:`focal`; for targets of 0 and 1 only.
        mean: return the mean over the texts instead; not with ``gamma``.

    >>> softmax(torch.zeros(2, 4), torch.tensor([1, 3]), smoothing=0.1)
    tensor([1.3863, 1.3863])
    """
    reduction = "mean" if mean else "none"
    losses = functional.cross_entropy(
        logits, targets, reduction=reduction, label_smoothing=smoothing
    )
    return focal(losses, gamma) if gamma else losses


def one_vs_all(
    logits: Tensor,
    targets: Tensor,
    smoothing: float = 0.0,
    gamma: float = 0.0,
    *,
    mean: bool = False,
) -> Tensor:
    """Return the binary cross-entropy of each text, summed over the classes, [B].

    The arguments match :func:`softmax`.

    >>> one_vs_all(torch.zeros(1, 2), torch.tensor([0]))  # 2 ln 2
    tensor([1.3863])
    """
    classes = logits.shape[1]
    if targets.dim() == 1:
        targets = functional.one_hot(targets, classes)
    targets = targets.to(logits.dtype)
    if smoothing:
        targets = targets * (1 - smoothing) + smoothing / classes
    reduction = "sum" if mean else "none"
    losses = functional.binary_cross_entropy_with_logits(logits, targets, reduction=reduction)
    if mean:
        return losses / max(len(logits), 1)
    return (focal(losses, gamma) if gamma else losses).sum(1)


OF_LOGITS: dict[str, Callable[..., Tensor]] = {"softmax": softmax, "ova": one_vs_all}
"""Losses of every class, all with the arguments of :func:`softmax`."""


def focal(losses: Tensor, gamma: float) -> Tensor:
    """Scale losses -log p of right answers, of any shape, by (1 - p)^gamma.

    This is the focal loss of Lin et al. (2017), equation 4; ``trainer.class_weights`` is its alpha.

    >>> focal(-torch.tensor([0.5, 0.9]).log(), 2.0)
    tensor([0.1733, 0.0011])
    """
    # For gamma < 1 the power has an infinite gradient at 0, where the answer is certain.
    wrong = (-torch.expm1(-losses)).clamp(min=1e-12)
    return losses * wrong**gamma


def _all_classes(
    of_logits: Callable[..., Tensor], smoothing: float = 0.0, gamma: float = 0.0
) -> TextLosses:
    def of_texts(layer: Any, bags: Tensor, targets: Tensor) -> Tensor:
        return of_logits(layer(bags), targets, smoothing, gamma)

    return of_texts


# --- losses that look at a few outputs ---------------------------------------------------------


def _few_outputs(config: Config, counts: Sequence[int], generator: torch.Generator) -> TextLosses:
    if config.model.loss == "ns":
        return negative_sampling(counts, config.model.negatives, generator)
    if config.model.loss == "hs":
        return hierarchical_softmax(counts)
    return adaptive_softmax(counts)


def negative_sampling(
    counts: Sequence[int], negatives: int, generator: torch.Generator
) -> TextLosses:
    """Return one-vs-all over the right class and ``negatives`` others, sampled for each text.

    They are sampled by the square root of their counts; the right class is never one of them.
    """
    odds = torch.tensor(counts, dtype=torch.float64).clamp(min=0).sqrt()
    bounds = odds.cumsum(0)

    def of_texts(layer: nn.Linear, bags: Tensor, targets: Tensor) -> Tensor:
        # Sample from the odds with the right class's interval cut out: a number at or above the
        # start of that interval moves past it.
        right = targets.cpu()
        total = (bounds[-1] - odds[right])[:, None]
        samples = torch.rand(len(right), negatives, generator=generator, dtype=torch.float64)
        samples *= total
        begin = (bounds - odds)[right][:, None]
        samples += torch.where(samples >= begin, odds[right][:, None], 0)
        others = torch.searchsorted(bounds, samples, right=True).clamp(max=len(odds) - 1)
        outputs = torch.cat([right[:, None], others], dim=1).to(targets.device)
        codes = -torch.ones(outputs.shape, device=bags.device)
        codes[:, 0] = 1
        return _binary_losses(layer, bags, outputs, codes)

    return of_texts


def hierarchical_softmax(counts: Sequence[int]) -> TextLosses:
    """Return the loss of the branches on the path to the right class; see ``HuffmanTree``."""
    nodes, codes = map(torch.from_numpy, HuffmanTree.build(counts).paths())

    def of_texts(layer: nn.Linear, bags: Tensor, targets: Tensor) -> Tensor:
        right = targets.cpu()
        return _binary_losses(layer, bags, nodes[right].to(bags.device), codes[right])

    return of_texts


def _binary_losses(layer: nn.Linear, bags: Tensor, outputs: Tensor, codes: Tensor) -> Tensor:
    """Sum -log sigmoid(code * logit) over a few outputs of each text.

    Args:
        layer: the output layer.
        bags: [B, D].
        outputs: [B, K].
        codes: 1 or -1 for each output, 0 for padding, [B, K].
    """
    codes = codes.to(bags.device)
    logits = torch.einsum("bkd,bd->bk", layer.weight[outputs], bags) + layer.bias[outputs]
    return (functional.softplus(-codes * logits) * codes.abs()).sum(1)


def adaptive_softmax(counts: Sequence[int]) -> TextLosses:
    """Return the loss of the adaptive softmax, which ranks the classes by their counts."""
    rank = torch.from_numpy(frequency_rank(counts))

    def of_texts(layer: AdaptiveSoftmax, bags: Tensor, targets: Tensor) -> Tensor:
        return layer.losses(bags, rank[targets.cpu()].to(bags.device))

    return of_texts


# --- targets of rows with several labels, and bag dropout --------------------------------------


def target_matrix(label_sets: Ragged, classes: int) -> Callable[[Tensor], Tensor]:
    """Return a function from set ids [B] to the weight of each class, [B, C]: 1 or a probability.

    >>> target_matrix(Ragged.from_lists([[0, 2], [1]]), 3)(torch.tensor([1, 0]))
    tensor([[0., 1., 0.],
            [1., 0., 1.]])
    """
    members, starts, lengths = label_sets.indices, label_sets.offsets[:-1], label_sets.lengths
    weights = (
        label_sets.probabilities
        if isinstance(label_sets, SoftLabels)
        else np.ones(len(members), np.float32)
    )

    def targets(set_ids: Tensor) -> Tensor:
        ids = set_ids.cpu().numpy()
        positions = concat_ranges(starts[ids], lengths[ids])
        matrix = np.zeros((len(ids), classes), np.float32)
        matrix[np.repeat(np.arange(len(ids)), lengths[ids]), members[positions]] = weights[
            positions
        ]
        return torch.from_numpy(matrix).to(set_ids.device)

    return targets


def one_of_each(label_sets: Ragged, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    """Return a function from set ids [B] to one class of each set, chosen at random, [B]."""
    members, offsets = torch.from_numpy(label_sets.indices), torch.from_numpy(label_sets.offsets)

    def targets(set_ids: Tensor) -> Tensor:
        begin, end = offsets[set_ids.cpu()], offsets[set_ids.cpu() + 1]
        fraction = torch.rand(len(begin), generator=generator, dtype=torch.float64)
        return members[begin + (fraction * (end - begin)).long()].to(set_ids.device)

    return targets


def drop_numbers(bags: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """Zero elements of the bags with probability ``rate``; scale the others by 1 / (1 - rate)."""
    mask = torch.rand(bags.shape, generator=generator) >= rate
    return bags * (mask / (1 - rate)).to(bags.device)
