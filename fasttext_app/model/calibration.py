"""Calibration: how far probabilities can be trusted, and the temperature that corrects them.

Where a text has one label and the probabilities of all labels sum to 1, the predictions that are
measured are texts, each by its most likely label; otherwise they are all pairs of a text and a
label. A temperature is a number that all logits are divided by (Guo et al. 2017, arXiv:1706.04599).

Shapes: **B** texts, **C** classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypedDict

import numpy as np
import numpy.typing as npt

from fasttext_app.core.arrays import F64, I64, Bool
from fasttext_app.errors import DataError

BINS = 15
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 100.0
MIN_PROBABILITY = float(np.finfo(np.float64).eps)  # keeps the loss of one sure error finite

Slope = Callable[[float], float]
"""The derivative of the mean negative log-likelihood by 1/T, as a function of 1/T."""


class ReliabilityBin(TypedDict):
    """The predictions with a probability in ``(low, high]``; the first bin includes 0."""

    low: float
    high: float
    count: int
    confidence: float
    """Their mean probability."""
    share: float
    """The fraction of them that is right."""


class Calibration(TypedDict):
    """Measures of how well probabilities match outcomes; the keys match ``evaluate --json``."""

    over: Literal["texts", "pairs"]
    count: int
    ece: float
    mce: float
    nll: float | None
    brier: float
    bins: list[ReliabilityBin]


class CalibrationMeter:
    """Measures calibration over batches of probabilities, in constant memory.

    Args:
        pairs: measure all pairs of a text and a label, not texts by their most likely label.
        bins: number of bins of equal width.

    >>> meter = CalibrationMeter(pairs=False, bins=2)
    >>> meter.add(np.array([[0.8, 0.2], [0.4, 0.6]]), np.array([[True, False], [True, False]]))
    >>> scores = meter.result()
    >>> round(scores["ece"], 3), round(scores["nll"], 3), round(scores["brier"], 3)
    (0.2, 0.57, 0.4)
    """

    def __init__(self, *, pairs: bool, bins: int = BINS) -> None:
        self._pairs = pairs
        self._counts = np.zeros(bins)
        self._confidence, self._right = np.zeros(bins), np.zeros(bins)
        self._outcomes, self._loss, self._squared_error = 0, 0.0, 0.0

    def add(self, proba: F64, true: Bool) -> None:
        """Add a batch.

        Args:
            proba: probability of each class, [B, C].
            true: whether each class is right, [B, C]; none is for a label that the model lacks.
        """
        if self._pairs:
            confidence, right = proba.ravel(), true.ravel()
            likelihoods = np.where(true, proba, 1 - proba).ravel()
        else:
            best = np.argmax(proba, axis=1)[:, None]
            confidence = np.take_along_axis(proba, best, 1)[:, 0]
            right, likelihoods = np.take_along_axis(true, best, 1)[:, 0], proba[true]
        bins = len(self._counts)
        bin_ids = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
        self._counts += np.bincount(bin_ids, minlength=bins)
        self._confidence += np.bincount(bin_ids, confidence, bins)
        self._right += np.bincount(bin_ids, right.astype(np.float64), bins)
        self._outcomes += len(likelihoods)
        self._loss -= float(np.log(np.maximum(likelihoods, MIN_PROBABILITY)).sum())
        self._squared_error += float(((proba - true) ** 2).sum())
        if not self._pairs:  # a label that the model lacks is one more class, predicted with 0
            self._squared_error += float((~true.any(axis=1)).sum())

    def result(self) -> Calibration:
        """Return the measures over all batches.

        The gap of a bin is the distance between its mean probability and its fraction of right
        predictions. The expected calibration error is the mean gap over predictions; the maximum
        calibration error is the largest gap. The negative log-likelihood leaves out labels that the
        model lacks, and counts a probability below 2.2e-16 as 2.2e-16. The Brier score of a text is
        a sum over classes (Brier 1950); that of a pair is one square.
        """
        total = max(float(self._counts.sum()), 1.0)
        counts = np.maximum(self._counts, 1)
        confidence, share = self._confidence / counts, self._right / counts
        gaps = np.abs(confidence - share)
        bins = len(self._counts)
        return {
            "over": "pairs" if self._pairs else "texts",
            "count": int(self._counts.sum()),
            "ece": float((gaps * self._counts).sum() / total),
            "mce": float(gaps.max()),
            "nll": self._loss / self._outcomes if self._outcomes else None,
            "brier": self._squared_error / total,
            "bins": [
                {
                    "low": index / bins,
                    "high": (index + 1) / bins,
                    "count": int(self._counts[index]),
                    "confidence": float(confidence[index]),
                    "share": float(share[index]),
                }
                for index in range(bins)
            ],
        }


def softmax_slope(logits: npt.NDArray[np.floating], true: I64) -> Slope:
    """Return the slope of the cross-entropy of a softmax.

    Args:
        logits: [B, C].
        true: the class of each text, [B].
    """
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    mean_true = float(shifted[np.arange(len(shifted)), true].mean())

    def slope(inverse: float) -> float:
        weights = np.exp(inverse * shifted)
        return float(((weights * shifted).sum(axis=1) / weights.sum(axis=1)).mean()) - mean_true

    return slope


def margin_slope(margins: npt.NDArray[np.floating]) -> Slope:
    """Return the slope of the loss of yes-or-no questions, ``log(1 + exp(-margin / T))`` each.

    Args:
        margins: logits, negated where the answer is no, and 0 where there is no question.
    """
    margins = margins.astype(np.float64).ravel()

    def slope(inverse: float) -> float:
        return -float((margins * np.exp(-np.logaddexp(0, inverse * margins))).mean())

    return slope


def fit_temperature(slope: Slope) -> float:
    """Return the temperature with the smallest negative log-likelihood.

    The likelihood is convex in 1/T, so its slope has a single zero, which is found by bisection.

    Args:
        slope: the derivative by 1/T.

    Raises:
        DataError: the best temperature is not between 0.01 and 100.

    >>> round(fit_temperature(lambda inverse: inverse - 0.5), 3)
    2.0
    """
    if slope(1 / MIN_TEMPERATURE) <= 0:
        raise DataError(
            "no temperature fits: every one of these rows is predicted correctly; calibrate on "
            "more rows, which the model was not trained on"
        )
    if slope(1 / MAX_TEMPERATURE) >= 0:
        raise DataError(
            "no temperature fits: the predictions are unrelated to these labels; check the labels"
        )
    low, high = np.log(1 / MAX_TEMPERATURE), np.log(1 / MIN_TEMPERATURE)
    while high - low > 1e-7:
        middle = (low + high) / 2
        low, high = (low, middle) if slope(float(np.exp(middle))) > 0 else (middle, high)
    return float(np.exp(-(low + high) / 2))


def recorded_thresholds(record: Mapping[str, Any], names: Sequence[str]) -> F64 | None:
    """Return the threshold of each class in a calibration record, [C]; None if it has none."""
    if "thresholds" not in record:
        return None
    return np.array([record["thresholds"]["values"][name] for name in names], np.float64)


def describe(record: Mapping[str, Any]) -> dict[str, str]:
    """Return a line of text for each part of a calibration record.

    >>> describe({"thresholds": {"goal": "f1", "rows": 90, "source": "rows.csv"}})
    {'thresholds': 'for f1, chosen on 90 rows of rows.csv'}
    """
    lines = {}
    if "temperature" in record:
        fit = record["temperature"]
        lines["temperature"] = (
            f"{fit['value']:.4f}, fitted on {fit['rows']:,} rows of {fit['source']} "
            f"(ECE {fit['before']['ece']:.4f} before, {fit['after']['ece']:.4f} after)"
        )
    if "thresholds" in record:
        fit = record["thresholds"]
        lines["thresholds"] = (
            f"for {fit['goal']}, chosen on {fit['rows']:,} rows of {fit['source']}"
        )
    return lines


def check_record(record: Mapping[str, Any], names: Sequence[str]) -> None:
    """Raise if a calibration record does not fit a model with these labels.

    Raises:
        ValueError: a number is impossible, or the thresholds do not match the labels.
        KeyError: a key is missing.
        TypeError: a value is of the wrong type.
    """
    describe(record)  # reads every key that is shown
    if "temperature" in record and not 0 < float(record["temperature"]["value"]) < np.inf:
        raise ValueError("calibration.json: the temperature is not a positive number")
    if "thresholds" in record:
        values = record["thresholds"]["values"]
        if set(values) != set(names) or not all(0 <= float(v) <= 1 for v in values.values()):
            raise ValueError("calibration.json: there is not one threshold from 0 to 1 per label")
