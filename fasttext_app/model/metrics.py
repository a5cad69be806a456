"""Classification metrics in NumPy.

Shapes: **B** examples, **C** classes. True classes may lie outside the model's labels (a label that
training never saw): such an example counts as an error wherever it is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NotRequired, TypedDict

import numpy as np
import numpy.typing as npt

from fasttext_app.core.arrays import F64, I64, Array, Bool
from fasttext_app.core.ragged import Ragged, offsets_from_lengths
from fasttext_app.model.calibration import Calibration

MANY_CLASSES = 1000  # from here on, nothing is made of all pairs or orders of them


class LabelScores(TypedDict):
    """The scores of one label."""

    precision: float
    recall: float
    f1: float
    support: int


class Scores(TypedDict):
    """The scores of a set of predictions; the keys are those of ``evaluate --json``."""

    examples: int
    accuracy: float
    macro_f1: float
    micro_f1: float
    labels: list[str]
    per_label: dict[str, LabelScores]
    confusion_matrix: list[list[int]]
    """Empty for more labels than :data:`MANY_CLASSES`: it would be mostly zeros, C times C."""
    precision_at_k: dict[str, float]
    recall_at_k: dict[str, float]
    unknown_labels: dict[str, int]
    calibration: NotRequired[Calibration]


class MultiLabelScores(TypedDict):
    """The scores where an example may have several labels; the keys are those of ``--json``."""

    examples: int
    exact_match: float
    micro_precision: float
    micro_recall: float
    micro_f1: float
    macro_f1: float
    sample_f1: float
    labels: list[str]
    per_label: dict[str, LabelScores]
    precision_at_k: dict[str, float]
    recall_at_k: dict[str, float]
    unknown_labels: dict[str, int]
    threshold: NotRequired[float | str]
    """From which probability on labels were predicted; ``fitted``: the model's own for each."""
    ranking_precision: NotRequired[float]
    r_precision: NotRequired[float]
    calibration: NotRequired[Calibration]


def confusion_matrix(true: I64, predicted: I64, classes: int) -> I64:
    """Count examples by (true class, predicted class), [C, C].

    >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    cells = np.bincount(true * classes + predicted, minlength=classes * classes)
    return cells.reshape(classes, classes)


def top_k_classes(scores: npt.NDArray[np.floating], k: int) -> I64:
    """Return the ``k`` best classes of every row, best first; equal scores go by class. [B, k].

    Of very many classes, only those are sorted that are as good as the k-th.
    """
    if k == 1:
        first: I64 = scores.argmax(axis=1)
        if not np.isnan(scores[np.arange(len(scores)), first]).any():  # else it is that of a nan
            return first[:, None]
    if scores.shape[1] <= max(MANY_CLASSES, k):  # sorting them all is as fast
        return np.argsort(-scores, axis=1, kind="stable")[:, :k]
    worst = -np.partition(-scores, k - 1, axis=1)[:, k - 1, None]
    rows, classes = np.nonzero(~(scores < worst))  # those that are no numbers too
    order = np.lexsort((-scores[rows, classes], rows))
    starts = np.searchsorted(rows, np.arange(len(scores)))
    best: I64 = classes[order][starts[:, None] + np.arange(k)]
    return best


def precision_at_k(true: I64, ranked: I64) -> dict[int, float]:
    """Return the share of correct labels among the first k, for k = 1, 3, 5 up to the classes.

    Without any example it is 0, as every ratio of 0/0 here.

    Args:
        true: the class of each example, [B].
        ranked: classes by descending score, [B, >= k].
    """
    hits = ranked == true[:, None]
    cutoffs = [k for k in (1, 3, 5) if k <= ranked.shape[1]]
    return {k: float(hits[:, :k].sum() / (k * max(len(true), 1))) for k in cutoffs}


def classification_scores(
    true: I64, ranked: I64, labels: Sequence[str], unknown: Sequence[str] = ()
) -> Scores:
    """Score ranked predictions against single true labels.

    Macro F1 is the mean over the labels that occur among the true or the predicted ones; a ratio
    of 0/0 is 0. With one label an example, micro F1 equals accuracy, and recall at k is k times
    precision at k.

    Args:
        true: the class of each example, [B]; ``len(labels) + u`` for ``unknown[u]``.
        ranked: classes by descending score, [B, K], K >= 1.
        labels: the names of the model's classes.
        unknown: names of true labels that the model does not know.
    """
    names = [*labels, *unknown]
    best, classes = ranked[:, 0], len(names)
    right = np.bincount(true[true == best], minlength=classes)
    support, chosen = (np.bincount(of, minlength=classes) for of in (true, best))
    matrix = confusion_matrix(true, best, classes).tolist() if classes <= MANY_CLASSES else []
    precision, recall = _ratio(right, chosen), _ratio(right, support)
    f1 = _ratio(2 * right, support + chosen)
    occurring = (support + chosen) > 0
    accuracy = float(right.sum() / max(len(true), 1))
    at_k = precision_at_k(true, ranked)
    return {
        "examples": len(true),
        "accuracy": accuracy,
        "macro_f1": float(f1[occurring].mean()) if occurring.any() else 0.0,
        "micro_f1": accuracy,
        "labels": names,
        "per_label": _per_label(names, precision, recall, f1, support),
        "confusion_matrix": matrix,
        "precision_at_k": {str(k): value for k, value in at_k.items()},
        "recall_at_k": {str(k): value * k for k, value in at_k.items()},
        "unknown_labels": {
            name: int(support[len(labels) + row]) for row, name in enumerate(unknown)
        },
    }


def best_at(
    probabilities: npt.NDArray[np.floating],
    right: Bool,
    target: float,
    *,
    precision: bool,
) -> float:
    """Return the best precision of a threshold whose recall is at least ``target``, or inversely.

    Answers of equal probability are taken or left together. Where no threshold reaches the target,
    or nothing is right, it is 0.

    Args:
        probabilities: of each answer, any shape.
        right: whether the answer is right, the same shape.
        target: of the other figure.
        precision: whether to return the precision.

    >>> scores, right = np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, True])
    >>> best_at(scores, right, 0.9, precision=True), best_at(scores, right, 0.9, precision=False)
    (0.75, 0.3333333333333333)
    """
    hits, answers = threshold_counts(probabilities.ravel(), right.ravel())
    if not len(hits) or not hits[-1]:
        return 0.0
    precisions, recalls = hits / answers, hits / hits[-1]
    wanted, bound = (precisions, recalls) if precision else (recalls, precisions)
    reached = wanted[bound >= target]
    return float(reached.max()) if len(reached) else 0.0


def threshold_counts(scores: npt.NDArray[np.floating], right: Array) -> tuple[Array, I64]:
    """Count the right answers, and all answers, at or above each threshold, the highest first.

    Answers of equal score share a threshold.

    Args:
        scores: of each answer, [N].
        right: whether the answer is right, [N].

    >>> right, answers = threshold_counts(np.array([0.5, 0.9, 0.5]), np.array([True, True, False]))
    >>> right.tolist(), answers.tolist()
    ([1, 2], [1, 3])
    """
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    last = np.ones(len(scores), dtype=bool)  # of the answers with equal score
    last[:-1] = scores[1:] != scores[:-1]
    return np.cumsum(right[order])[last], np.flatnonzero(last) + 1


def chosen_classes(chosen: Bool) -> Ragged:
    """Return the classes that are chosen in each row of flags [B, C].

    >>> chosen_classes(np.array([[True, False, True], [False, False, False]])).to_lists()
    [[0, 2], []]
    """
    return Ragged(np.nonzero(chosen)[1], offsets_from_lengths(chosen.sum(axis=1)))


def multi_hot(true: Ragged, classes: int) -> Bool:
    """Return the reverse, [B, C]; classes from C on are left out.

    >>> multi_hot(Ragged.from_lists([[0, 2], [5]]), 3).tolist()
    [[True, False, True], [False, False, False]]
    """
    flags = np.zeros((len(true), classes), dtype=bool)
    known = true.indices < classes
    flags[np.repeat(np.arange(len(true)), true.lengths)[known], true.indices[known]] = True
    return flags


def ranking_precision(scores: npt.NDArray[np.floating], true: Ragged) -> tuple[F64, F64]:
    """Return how well all classes of each text are ranked: label ranking precision, R-precision.

    The first is the mean, over the true labels of a text, of the share of true labels among those
    that score no less; of equal scores all come before. A text without labels has 1. Its mean over
    texts is the label ranking average precision (Tsoumakas et al. 2010, "Mining Multi-label
    Data"). The second is the share of true labels among the first R, for a text of R labels; a
    text without labels has NaN.

    Args:
        scores: [B, C].
        true: the classes of each text, [B]; those from C on are never found.

    Returns:
        Two arrays, [B].

    >>> ranking_precision(np.array([[0.9, 0.1, 0.5]]), Ragged.from_lists([[0, 1]]))
    (array([0.83333333]), array([0.5]))
    """
    rows, classes = scores.shape
    order = np.argsort(-scores, axis=1, kind="stable")
    right = np.take_along_axis(multi_hot(true, classes), order, 1)
    ranked, found = np.take_along_axis(scores, order, 1), np.cumsum(right, axis=1)
    ends = np.ones((rows, classes), dtype=bool)  # where a run of equal scores ends
    ends[:, :-1] = ranked[:, 1:] != ranked[:, :-1]
    last = np.where(ends, np.arange(classes), classes)
    last = np.minimum.accumulate(last[:, ::-1], axis=1)[:, ::-1]
    shares = np.where(right, np.take_along_axis(found, last, 1) / (last + 1), 0.0)
    sizes = true.lengths
    precision = np.where(sizes > 0, shares.sum(axis=1) / np.maximum(sizes, 1), 1.0)
    among = found[np.arange(rows), np.clip(sizes, 1, classes) - 1]
    return precision, np.where(sizes > 0, among / np.maximum(sizes, 1), np.nan)


def multi_label_scores(
    true: Ragged, predicted: Ragged, ranked: I64, labels: Sequence[str], unknown: Sequence[str] = ()
) -> MultiLabelScores:
    """Score predictions where an example may have several labels, or none.

    A ratio of 0/0 is 0. Macro F1 is the mean over the labels that occur, sample F1 the mean over
    the examples.

    Args:
        true: the classes of each example, [B]; ``len(labels) + u`` for ``unknown[u]``.
        predicted: the classes that were predicted for each, [B].
        ranked: classes by descending score, [B, K], K >= 1.
        labels: the names of the model's classes.
        unknown: names of true labels that the model does not know.

    >>> true, predicted = Ragged.from_lists([[0, 1], [1]]), Ragged.from_lists([[0], [1]])
    >>> scores = multi_label_scores(true, predicted, np.array([[0, 1], [1, 0]]), ["a", "b"])
    >>> scores["exact_match"], scores["micro_recall"], scores["precision_at_k"]
    (0.5, 0.6666666666666666, {'1': 1.0})
    """
    names, rows = [*labels, *unknown], len(true)
    cells, guesses = (_cells(bags, len(names)) for bags in (true, predicted))
    right = np.intersect1d(cells, guesses, assume_unique=True)
    by_label = [np.bincount(found % len(names), minlength=len(names)) for found in (right, guesses)]
    by_label.append(np.bincount(cells % len(names), minlength=len(names)))
    hits, chosen, support = by_label
    row_hits = np.bincount(right // len(names), minlength=rows)
    row_sizes = true.lengths + predicted.lengths
    f1 = _ratio(2 * hits, support + chosen)
    occurring = (support + chosen) > 0
    precision, recall = _ratio(hits, chosen), _ratio(hits, support)
    found_at = {
        k: int(np.isin(_cells(_first(ranked, k), len(names)), cells).sum())
        for k in (1, 3, 5)
        if k <= ranked.shape[1]
    }
    return {
        "examples": rows,
        "exact_match": float(np.mean(2 * row_hits == row_sizes)) if rows else 0.0,
        "micro_precision": len(right) / max(len(guesses), 1),
        "micro_recall": len(right) / max(len(cells), 1),
        "micro_f1": 2 * len(right) / max(len(guesses) + len(cells), 1),
        "macro_f1": float(f1[occurring].mean()) if occurring.any() else 0.0,
        "sample_f1": float(_ratio(2 * row_hits, row_sizes).mean()) if rows else 0.0,
        "labels": names,
        "per_label": _per_label(names, precision, recall, f1, support),
        "precision_at_k": {str(k): n / (k * max(rows, 1)) for k, n in found_at.items()},
        "recall_at_k": {str(k): n / max(len(cells), 1) for k, n in found_at.items()},
        "unknown_labels": {
            name: int(support[len(labels) + number]) for number, name in enumerate(unknown)
        },
    }


def _per_label(
    names: Sequence[str], precision: F64, recall: F64, f1: F64, support: I64
) -> dict[str, LabelScores]:
    return {
        name: {
            "precision": float(precision[row]),
            "recall": float(recall[row]),
            "f1": float(f1[row]),
            "support": int(support[row]),
        }
        for row, name in enumerate(names)
    }


def _cells(bags: Ragged, classes: int) -> I64:
    """Return a number for each (example, class)."""
    numbers: I64 = np.repeat(np.arange(len(bags)), bags.lengths) * classes + bags.indices
    return numbers


def _first(ranked: I64, k: int) -> Ragged:
    return Ragged(ranked[:, :k].ravel(), np.arange(len(ranked) + 1) * k)


def _ratio(part: I64, whole: I64) -> F64:
    return part / np.maximum(whole, 1)
