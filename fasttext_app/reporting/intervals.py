"""How sure a score is: confidence intervals, and a paired test of two models."""

from __future__ import annotations

from math import exp, lgamma, log, sqrt
from typing import NamedTuple

import numpy as np

from fasttext_app.core.arrays import F64, I64
from fasttext_app.core.ragged import Ragged

NORMAL_95 = 1.959963984540054  # 95 % of a normal distribution is within so many deviations
DRAWS = 1000


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


def share_interval(hits: int, total: int) -> Interval:
    """Return the interval of a share (Wilson 1927), which holds for few rows and for 0 and 1 too.

    >>> low, high = share_interval(9, 10)
    >>> round(low, 3), round(high, 3)
    (0.596, 0.982)
    """
    if not total:
        return Interval(0.0, 1.0)
    share, square = hits / total, NORMAL_95**2 / total
    middle = (share + square / 2) / (1 + square)
    reach = NORMAL_95 * sqrt(share * (1 - share) / total + square / (4 * total)) / (1 + square)
    return Interval(max(middle - reach, 0.0), min(middle + reach, 1.0))


def resampled_f1(true: Ragged, predicted: Ragged, seed: int = 0) -> tuple[Interval, Interval]:
    """Return the intervals of micro and macro F1, by resampling rows (bootstrap, Efron 1979).

    Args:
        true: the classes of each row, [B].
        predicted: the predicted classes of each row, [B].
        seed: the seed of the draws.
    """
    outcomes: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
    for pair in zip(
        map(tuple, map(sorted, true.to_lists())),
        map(tuple, map(sorted, predicted.to_lists())),
        strict=True,
    ):
        outcomes[pair] = outcomes.get(pair, 0) + 1
    counts = np.array(list(outcomes.values()), np.int64)
    truths = Ragged.from_lists([list(pair[0]) for pair in outcomes])
    answers = Ragged.from_lists([list(pair[1]) for pair in outcomes])
    hits = Ragged.from_lists([sorted({*pair[0]} & {*pair[1]}) for pair in outcomes])
    classes = int(max([*truths.indices, *answers.indices], default=0)) + 1
    generator = np.random.default_rng(seed)
    rows = int(counts.sum())
    micro, macro = np.zeros(DRAWS), np.zeros(DRAWS)
    for draw in range(DRAWS):
        weights = generator.multinomial(rows, counts / rows)
        right, total = (
            _weighted(hits, weights, classes),
            _weighted(truths, weights, classes) + _weighted(answers, weights, classes),
        )
        micro[draw] = 2 * right.sum() / max(total.sum(), 1)
        occurs = total > 0
        macro[draw] = (2 * right[occurs] / total[occurs]).mean() if occurs.any() else 0.0
    return _middle(micro), _middle(macro)


def _weighted(bags: Ragged, weights: I64, classes: int) -> F64:
    repeated = np.repeat(weights, bags.lengths)
    return np.bincount(bags.indices, repeated, classes).astype(np.float64)


def _middle(values: F64) -> Interval:
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(float(low), float(high))


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided p-value of McNemar's exact test.

    Only the rows count that one model gets right and the other wrong. If both are equally good,
    each of these rows is as likely to be one's as the other's.

    >>> round(mcnemar(0, 5), 6), mcnemar(3, 3)
    (0.0625, 1.0)
    """
    total, fewer = only_first + only_second, min(only_first, only_second)
    if not total:
        return 1.0
    logs = [
        lgamma(total + 1) - lgamma(k + 1) - lgamma(total - k + 1) - total * log(2)
        for k in range(fewer + 1)
    ]
    return min(2 * sum(map(exp, logs)), 1.0)
