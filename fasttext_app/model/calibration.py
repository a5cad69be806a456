"""How far probabilities can be trusted, and what makes them so: pure functions in NumPy.

Measures    reliability bins, expected and maximum calibration error, likelihood, Brier score
Temperature one number that all logits are divided by (Guo et al. 2017, arXiv:1706.04599)
Thresholds  for each label, the probability from which on it is predicted

What is measured are texts, each by its likeliest label, where a text has one label and the
probabilities of all labels sum to 1. Else it is every pair of a text and a label.

Shapes: **B** texts, **C** classes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import numpy as np
import numpy.typing as npt

from fasttext_app.core.arrays import F64, I64, Bool
from fasttext_app.errors import ConfigError, DataError

BINS = 15
COLDEST, HOTTEST = 0.01, 100.0  # temperatures between which the best one is looked for
LEAST_LIKELY = float(np.finfo(np.float64).eps)  # so that one sure error is not an infinite loss

Slope = Callable[[float], float]
"""From 1/T to how the mean negative log-likelihood changes with it."""


class ReliabilityBin(TypedDict):
    """The answers whose probability is in ``(low, high]``; the first bin has 0 too."""

    low: float
    high: float
    count: int
    confidence: float
    """Their mean probability."""
    share: float
    """The share of them that is right."""


class Calibration(TypedDict):
    """How well probabilities agree with what came true."""

    over: Literal["texts", "pairs"]
    count: int
    ece: float
    mce: float
    nll: float | None
    brier: float
    bins: list[ReliabilityBin]


class CalibrationMeter:
    """Takes in probabilities batch by batch, in constant memory; see :meth:`result`.

    Args:
        pairs: whether pairs of a text and a label are measured, and not texts by their best label.
        bins: of equal width.

    >>> meter = CalibrationMeter(pairs=False, bins=2)
    >>> meter.add(np.array([[0.8, 0.2], [0.4, 0.6]]), np.array([[True, False], [True, False]]))
    >>> figures = meter.result()
    >>> round(figures["ece"], 3), round(figures["nll"], 3), round(figures["brier"], 3)
    (0.2, 0.57, 0.4)
    """

    def __init__(self, *, pairs: bool, bins: int = BINS) -> None:
        self._pairs = pairs
        self._counts = np.zeros(bins)
        self._confidence, self._right = np.zeros(bins), np.zeros(bins)
        self._likely, self._loss, self._squares = 0, 0.0, 0.0

    def add(self, proba: F64, true: Bool) -> None:
        """Count some texts.

        Args:
            proba: the probability of each class, [B, C].
            true: whether each class is right, [B, C]; for a label without a class, none is.
        """
        if self._pairs:
            confidence, right = proba.ravel(), true.ravel()
            given = np.where(true, proba, 1 - proba).ravel()
        else:
            best = np.argmax(proba, axis=1)[:, None]
            confidence = np.take_along_axis(proba, best, 1)[:, 0]
            right, given = np.take_along_axis(true, best, 1)[:, 0], proba[true]
        bins = len(self._counts)
        places = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
        self._counts += np.bincount(places, minlength=bins)
        self._confidence += np.bincount(places, confidence, bins)
        self._right += np.bincount(places, right.astype(np.float64), bins)
        self._likely += len(given)
        self._loss -= float(np.log(np.maximum(given, LEAST_LIKELY)).sum())
        self._squares += float(((proba - true) ** 2).sum())
        if not self._pairs:  # a label that has no class is one more question, answered with 0
            self._squares += float((~true.any(axis=1)).sum())

    def result(self) -> Calibration:
        """Return what all that was counted comes to.

        The expected calibration error is the mean over answers of how far a bin's mean probability
        is from the share that is right, the maximum one that of the worst bin. The negative
        log-likelihood leaves out labels that have no class; a probability below 2.2e-16 counts as
        that. The Brier score of a text is the sum over its classes (Brier 1950), that of a pair one
        square.
        """
        total = max(float(self._counts.sum()), 1.0)
        filled = np.maximum(self._counts, 1)
        confidence, share = self._confidence / filled, self._right / filled
        gaps = np.abs(confidence - share)
        bins = len(self._counts)
        return {
            "over": "pairs" if self._pairs else "texts",
            "count": int(self._counts.sum()),
            "ece": float((gaps * self._counts).sum() / total),
            "mce": float(gaps.max()),
            "nll": self._loss / self._likely if self._likely else None,
            "brier": self._squares / total,
            "bins": [
                {
                    "low": place / bins,
                    "high": (place + 1) / bins,
                    "count": int(self._counts[place]),
                    "confidence": float(confidence[place]),
                    "share": float(share[place]),
                }
                for place in range(bins)
            ],
        }


def softmax_slope(logits: npt.NDArray[np.floating], true: I64) -> Slope:
    """Return how the mean negative log-likelihood of a softmax goes with 1/T.

    Args:
        logits: [B, C].
        true: the class of each text, [B].
    """
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    right = float(wide[np.arange(len(wide)), true].mean())

    def slope(inverse: float) -> float:
        shares = np.exp(inverse * wide)
        return float(((shares * wide).sum(axis=1) / shares.sum(axis=1)).mean()) - right

    return slope


def margin_slope(margins: npt.NDArray[np.floating]) -> Slope:
    """Return the same for yes-or-no questions, ``log(1 + exp(-margin / T))`` each.

    Args:
        margins: logits, turned round where the answer is no; 0 where there is no question.
    """
    wide = margins.astype(np.float64).ravel()

    def slope(inverse: float) -> float:
        return -float((wide * np.exp(-np.logaddexp(0, inverse * wide))).mean())

    return slope


def fit_temperature(slope: Slope) -> float:
    """Return the temperature with the least negative log-likelihood.

    That is convex in 1/T, so its slope has one zero, which is found by halving.

    Args:
        slope: the derivative by 1/T.

    Raises:
        DataError: the best temperature is not between 0.01 and 100.

    >>> round(fit_temperature(lambda inverse: inverse - 0.5), 3)
    2.0
    """
    if slope(1 / COLDEST) <= 0:
        raise DataError(
            "no temperature fits: every one of these rows is predicted rightly, so surer is always "
            "better; calibrate on more rows, ones that the model was not trained on"
        )
    if slope(1 / HOTTEST) >= 0:
        raise DataError(
            "no temperature fits: the model tells nothing about these rows; check their labels"
        )
    low, high = np.log(1 / HOTTEST), np.log(1 / COLDEST)
    while high - low > 1e-7:
        middle = (low + high) / 2
        low, high = (low, middle) if slope(float(np.exp(middle))) > 0 else (middle, high)
    return float(np.exp(-(low + high) / 2))


@dataclass(frozen=True)
class Goal:
    """What a threshold is chosen for: the best F1, or a precision or recall to be reached."""

    kind: Literal["f1", "precision", "recall"]
    target: float = 0.0

    def __str__(self) -> str:
        return self.kind if self.kind == "f1" else f"{self.kind}:{self.target:g}"


def parse_goal(text: str) -> Goal:
    """Read ``f1``, ``precision:P`` or ``recall:R``.

    Raises:
        ConfigError: it is none of them.

    >>> parse_goal("precision:0.9")
    Goal(kind='precision', target=0.9)
    """
    if text == "f1":
        return Goal("f1")
    match = re.fullmatch(r"(precision|recall):(\d*\.?\d+)", text)
    if match is None or not 0 < float(match[2]) <= 1:
        raise ConfigError(
            f"thresholds = {text!r}: must be f1, precision:P or recall:R, with a number above 0 "
            "and up to 1 (precision:0.9)"
        )
    return Goal("precision" if match[1] == "precision" else "recall", float(match[2]))


def choose_threshold(proba: F64, positive: Bool, goal: Goal) -> tuple[float, bool]:
    """Choose the probability from which on a label is predicted; say whether the goal is reached.

    For F1 it is the best one; for a recall the largest that reaches it; for a precision the
    smallest, which finds the most. Where no threshold reaches the precision, it is the one that
    comes nearest. It lies midway between two probabilities that occur. A label without any positive
    row has 0.5.

    Args:
        proba: of the label, [B].
        positive: whether each row has the label, [B].
        goal: what it is chosen for.

    >>> choose_threshold(np.array([0.9, 0.6, 0.2]), np.array([True, False, False]), Goal("f1"))
    (0.75, True)
    """
    total = int(positive.sum())
    if not total:
        return 0.5, False
    order = np.argsort(-proba, kind="stable")
    ranked, hits = proba[order], np.cumsum(positive[order])
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # equal ones stay together
    values, hits, kept = ranked[ends], hits[ends], ends + 1
    precision, reached = hits / kept, True
    if goal.kind == "f1":
        place = int(np.argmax(2 * hits / (kept + total)))
    elif goal.kind == "recall":
        place = int(np.argmax(hits / total >= goal.target))
    else:
        enough = np.flatnonzero(precision >= goal.target)
        reached = bool(len(enough))
        place = int(enough[-1]) if reached else int(np.argmax(precision))
    last = place + 1 == len(values)
    middle = float(values[place] + (0 if last else values[place + 1])) / 2
    between = last or middle > values[place + 1]  # two neighbors of 64 bits have nothing between
    return (middle if between else float(values[place])), reached


def recorded_thresholds(record: Mapping[str, Any], names: Sequence[str]) -> F64 | None:
    """Return the thresholds of a model's record, [C], or None if it has none."""
    if "thresholds" not in record:
        return None
    return np.array([record["thresholds"]["values"][name] for name in names], np.float64)


def describe(record: Mapping[str, Any]) -> dict[str, str]:
    """Say in a line each what a model's record tells.

    >>> describe({"thresholds": {"goal": "f1", "rows": 90, "source": "rows.csv"}})
    {'thresholds': 'for f1, chosen on 90 rows of rows.csv'}
    """
    lines = {}
    if "temperature" in record:
        found = record["temperature"]
        ece = [f"{found[side]['ece']:.4f}" for side in ("before", "after")]
        lines["temperature"] = (
            f"{found['value']:.4f}, fitted on {found['rows']:,} rows of {found['source']} "
            f"(ECE {ece[0]} before, {ece[1]} after)"
        )
    if "thresholds" in record:
        found = record["thresholds"]
        lines["thresholds"] = (
            f"for {found['goal']}, chosen on {found['rows']:,} rows of {found['source']}"
        )
    return lines


def check_record(record: Mapping[str, Any], names: Sequence[str]) -> None:
    """Refuse a record that does not fit a model of these labels.

    Raises:
        ValueError: a number is missing or impossible.
        KeyError: a part is missing.
        TypeError: a part is of another kind.
    """
    describe(record)  # which reads all that is shown
    if "temperature" in record and not 0 < float(record["temperature"]["value"]) < np.inf:
        raise ValueError("calibration.json has an impossible temperature")
    if "thresholds" in record:
        values = record["thresholds"]["values"]
        if set(values) != set(names) or not all(0 <= float(v) <= 1 for v in values.values()):
            raise ValueError("calibration.json has not one threshold from 0 to 1 for each label")
