"""Scores of one classifier on the test rows, and the paired test of two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import Literal

import numpy as np

from fasttext_app.core.arrays import F64, Bool
from fasttext_app.model.calibration import CalibrationMeter

LEVEL = 0.05
"""Significance level of the paired test."""

Verdict = Literal["better", "not different", "worse"]


@dataclass(frozen=True)
class Answers:
    """The answers of a classifier to the test texts.

    Attributes:
        labels: the most likely label of each text.
        confidence: its probability; None if the classifier has none.
    """

    labels: list[str]
    confidence: F64 | None = None


@dataclass(frozen=True)
class Scores:
    """The scores of one trained classifier."""

    accuracy: float
    macro_f1: float
    ece: float | None
    """Expected calibration error over 15 bins; None without probabilities."""
    seconds: float
    """Time of fitting."""


@dataclass(frozen=True)
class Comparison:
    """Our defaults against a peer, on the same test rows."""

    verdict: Verdict
    """Our defaults against the peer."""
    p: float


def score(true: Sequence[str], answers: Answers, seconds: float) -> Scores:
    """Return the scores of the answers to the test texts."""
    right = is_right(true, answers)
    ece = None
    if answers.confidence is not None:
        meter = CalibrationMeter(pairs=False)
        meter.add(answers.confidence[:, None], right[:, None])
        ece = meter.result()["ece"]
    return Scores(float(right.mean()), macro_f1(true, answers.labels), ece, seconds)


def is_right(true: Sequence[str], answers: Answers) -> Bool:
    """Return whether each answer is right, [B]."""
    right: Bool = np.asarray(true, object) == np.asarray(answers.labels, object)
    return right


def macro_f1(true: Sequence[str], predicted: Sequence[str]) -> float:
    """Return the mean F1 over the labels of the test rows.

    >>> round(macro_f1(["a", "a", "b", "b"], ["a", "b", "b", "b"]), 4)
    0.7333
    """
    names, true_ids = np.unique(np.asarray(true, str), return_inverse=True)
    ids = {name: index for index, name in enumerate(names.tolist())}
    predicted_ids = np.array([ids.get(label, len(ids)) for label in predicted])
    sizes = np.bincount(true_ids, minlength=len(ids))
    sizes += np.bincount(predicted_ids, minlength=len(ids))[: len(ids)]
    hits = np.bincount(true_ids[true_ids == predicted_ids], minlength=len(ids))
    return float((2 * hits / sizes).mean())


def compare(ours: Bool, theirs: Bool) -> Comparison:
    """Compare two classifiers by McNemar's exact test.

    Only the texts that one of them gets right and the other wrong count. If the classifiers are
    equally good, each of these is as likely to be ours as theirs.

    Args:
        ours: whether each of our answers is right, [B].
        theirs: whether each of the peer's answers is right, [B].

    >>> ours = np.array([True] * 8 + [False])
    >>> compare(ours, ~ours)
    Comparison(verdict='better', p=0.0390625)
    """
    only_ours, only_theirs = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    p = sign_test(only_ours, only_theirs)
    if p >= LEVEL:
        return Comparison("not different", p)
    return Comparison("better" if only_ours > only_theirs else "worse", p)


def sign_test(first: int, second: int) -> float:
    """Return the two-sided p-value of two counts that are expected to be equal.

    >>> sign_test(0, 5), sign_test(3, 3)
    (0.0625, 1.0)
    """
    total = first + second
    tail: int = sum(comb(total, count) for count in range(min(first, second) + 1))
    p: float = 2 * tail / 2**total
    return min(p, 1.0)
