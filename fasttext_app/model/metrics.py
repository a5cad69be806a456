"""Classification metrics in NumPy.

A true class may be C or above, for a label that the model does not know: such an example is an
error wherever it is counted. A ratio of 0/0 is 0.

Shapes: **B** examples, **C** classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NotRequired, TypedDict

import numpy as np
import numpy.typing as npt

from fasttext_app.core.arrays import F64, I64, Bool
from fasttext_app.core.ragged import Ragged, offsets_from_lengths
from fasttext_app.model.calibration import Calibration

MANY_CLASSES = 1000  # above this, nothing of size C x C is built and no ranking of all C sorted


MAX_CONFUSIONS = 1000


class LabelScores(TypedDict):
    """Scores of one label."""

    precision: float
    recall: float
    f1: float
    support: int


class Confusion(TypedDict):
    """Rows of one label for which another is predicted."""

    true: str
    predicted: str
    rows: int


class Scores(TypedDict):
    """Scores where every example has one label; the keys match ``evaluate --json``."""

    examples: int
    accuracy: float
    macro_f1: float
    micro_f1: float
    labels: list[str]
    per_label: dict[str, LabelScores]
    confusion_matrix: list[list[int]]
    """Rows are true labels; empty for more than :data:`MANY_CLASSES` labels."""
    confusions: list[Confusion]
    """The most frequent confusions, most frequent first, at most :data:`MAX_CONFUSIONS`."""
    precision_at_k: dict[str, float]
    recall_at_k: dict[str, float]
    unknown_labels: dict[str, int]
    unknown_texts: NotRequired[int]
    """Texts without a word or n-gram that the model knows."""
    calibration: NotRequired[Calibration]


class MultiLabelScores(TypedDict):
    """Scores where an example may have several labels; the keys match ``--json``."""

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
    """The smallest probability of a predicted label; ``fitted``: one for each label."""
    ranking_precision: NotRequired[float]
    r_precision: NotRequired[float]
    unknown_texts: NotRequired[int]
    """Texts without a word or n-gram that the model knows."""
    calibration: NotRequired[Calibration]


def confusion_matrix(true: I64, predicted: I64, classes: int) -> I64:
    """Count examples by true class (row) and predicted class (column), [C, C].

    >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    cells = np.bincount(true * classes + predicted, minlength=classes * classes)
    return cells.reshape(classes, classes)


def _confusions(true: I64, predicted: I64, names: Sequence[str]) -> list[Confusion]:
    """Return the most frequent pairs of a true and another predicted class."""
    wrong = true != predicted
    pairs, counts = np.unique(true[wrong] * len(names) + predicted[wrong], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:MAX_CONFUSIONS]
    return [
        {"true": names[pair // len(names)], "predicted": names[pair % len(names)], "rows": count}
        for pair, count in zip(pairs[order].tolist(), counts[order].tolist(), strict=True)
    ]


def top_k_classes(scores: npt.NDArray[np.floating], k: int) -> I64:
    """Return the ``k`` best classes of each row, best first, [B, k]; the lower class wins a tie."""
    if k == 1:
        best: I64 = scores.argmax(axis=1)
        # argmax() ranks NaN first, the stable sort below ranks it last.
        if not np.isnan(scores[np.arange(len(scores)), best]).any():
            return best[:, None]
    if scores.shape[1] <= max(MANY_CLASSES, k):
        return np.argsort(-scores, axis=1, kind="stable")[:, :k]
    # Of very many classes, sort only those that score no less than the k-th best, and NaN.
    kth_best = -np.partition(-scores, k - 1, axis=1)[:, k - 1, None]
    rows, classes = np.nonzero(~(scores < kth_best))
    order = np.lexsort((-scores[rows, classes], rows))
    starts = np.searchsorted(rows, np.arange(len(scores)))
    ranked: I64 = classes[order][starts[:, None] + np.arange(k)]
    return ranked


def precision_at_k(true: I64, ranked: I64) -> dict[int, float]:
    """Return the precision among the first k classes, for k = 1, 3 and 5 up to K.

    Args:
        true: the class of each example, [B].
        ranked: classes by descending score, [B, K].
    """
    hits = ranked == true[:, None]
    cutoffs = [k for k in (1, 3, 5) if k <= ranked.shape[1]]
    return {k: float(hits[:, :k].sum() / (k * max(len(true), 1))) for k in cutoffs}


def classification_scores(
    true: I64, ranked: I64, labels: Sequence[str], unknown: Sequence[str] = ()
) -> Scores:
    """Score ranked predictions where every example has one label.

    Macro F1 is the mean over the labels that occur among the true or the predicted ones. With one
    label per example, micro F1 equals accuracy, and recall at k is k times precision at k.

    Args:
        true: the class of each example, [B]; ``len(labels) + u`` for ``unknown[u]``.
        ranked: classes by descending score, [B, K], K >= 1.
        labels: names of the model's classes.
        unknown: names of true labels that the model does not know.
    """
    names = [*labels, *unknown]
    predicted, classes = ranked[:, 0], len(names)
    hits = np.bincount(true[true == predicted], minlength=classes)
    support = np.bincount(true, minlength=classes)
    predictions = np.bincount(predicted, minlength=classes)
    matrix = confusion_matrix(true, predicted, classes).tolist() if classes <= MANY_CLASSES else []
    f1 = _ratio(2 * hits, support + predictions)
    occurs = (support + predictions) > 0
    accuracy = float(hits.sum() / max(len(true), 1))
    at_k = precision_at_k(true, ranked)
    return {
        "examples": len(true),
        "accuracy": accuracy,
        "macro_f1": float(f1[occurs].mean()) if occurs.any() else 0.0,
        "micro_f1": accuracy,
        "labels": names,
        "per_label": _per_label(names, hits, predictions, support),
        "confusion_matrix": matrix,
        "confusions": _confusions(true, predicted, names),
        "precision_at_k": {str(k): value for k, value in at_k.items()},
        "recall_at_k": {str(k): value * k for k, value in at_k.items()},
        "unknown_labels": _unknown_labels(support, labels, unknown),
    }


def multi_hot(bags: Ragged, classes: int) -> Bool:
    """Return a flag for each class of each bag, [B, C]; classes from C on have none.

    >>> multi_hot(Ragged.from_lists([[0, 2], [5]]), 3).tolist()
    [[True, False, True], [False, False, False]]
    """
    flags = np.zeros((len(bags), classes), dtype=bool)
    known = bags.indices < classes
    flags[np.repeat(np.arange(len(bags)), bags.lengths)[known], bags.indices[known]] = True
    return flags


def from_multi_hot(flags: Bool) -> Ragged:
    """Return the classes that are set in each row of flags [B, C]; the inverse of multi_hot.

    >>> from_multi_hot(np.array([[True, False, True], [False, False, False]])).to_lists()
    [[0, 2], []]
    """
    return Ragged(np.nonzero(flags)[1], offsets_from_lengths(flags.sum(axis=1)))


def ranking_precision(scores: npt.NDArray[np.floating], true: Ragged) -> tuple[F64, F64]:
    """Return the label ranking precision and the R-precision of each text.

    Label ranking precision is the mean, over the true labels of a text, of the fraction of true
    labels among those that score no less; it is 1 for a text without labels. Its mean over texts is
    the label ranking average precision (Tsoumakas et al. 2010, "Mining Multi-label Data").
    R-precision is the fraction of true labels among the first R, for a text of R labels; it is NaN
    for a text without labels.

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
    ranked, hits = np.take_along_axis(scores, order, 1), np.cumsum(right, axis=1)
    # For each position, the last position with an equal score: ties count as ranked no lower.
    is_last = np.ones((rows, classes), dtype=bool)
    is_last[:, :-1] = ranked[:, 1:] != ranked[:, :-1]
    last = np.where(is_last, np.arange(classes), classes)
    last = np.minimum.accumulate(last[:, ::-1], axis=1)[:, ::-1]
    precisions = np.where(right, np.take_along_axis(hits, last, 1) / (last + 1), 0.0)
    sizes = true.lengths
    ranking = np.where(sizes > 0, precisions.sum(axis=1) / np.maximum(sizes, 1), 1.0)
    hits_at_r = hits[np.arange(rows), np.clip(sizes, 1, classes) - 1]
    return ranking, np.where(sizes > 0, hits_at_r / np.maximum(sizes, 1), np.nan)


def multi_label_scores(
    true: Ragged, predicted: Ragged, ranked: I64, labels: Sequence[str], unknown: Sequence[str] = ()
) -> MultiLabelScores:
    """Score predictions where an example may have several labels, or none.

    Macro F1 is the mean over the labels that occur, sample F1 the mean over the examples.

    Args:
        true: the classes of each example, [B]; ``len(labels) + u`` for ``unknown[u]``.
        predicted: the predicted classes of each example, [B].
        ranked: classes by descending score, [B, K], K >= 1.
        labels: names of the model's classes.
        unknown: names of true labels that the model does not know.

    >>> true, predicted = Ragged.from_lists([[0, 1], [1]]), Ragged.from_lists([[0], [1]])
    >>> scores = multi_label_scores(true, predicted, np.array([[0, 1], [1, 0]]), ["a", "b"])
    >>> scores["exact_match"], scores["micro_recall"], scores["precision_at_k"]
    (0.5, 0.6666666666666666, {'1': 1.0})
    """
    names, rows = [*labels, *unknown], len(true)
    classes = len(names)
    true_pairs, predicted_pairs = _pairs(true, classes), _pairs(predicted, classes)
    right_pairs = np.intersect1d(true_pairs, predicted_pairs, assume_unique=True)
    hits, predictions, support = (
        np.bincount(pairs % classes, minlength=classes)
        for pairs in (right_pairs, predicted_pairs, true_pairs)
    )
    f1 = _ratio(2 * hits, support + predictions)
    occurs = (support + predictions) > 0
    row_hits = np.bincount(right_pairs // classes, minlength=rows)
    row_sizes = true.lengths + predicted.lengths
    hits_at_k = {
        k: int(np.isin(_pairs(_first(ranked, k), classes), true_pairs).sum())
        for k in (1, 3, 5)
        if k <= ranked.shape[1]
    }
    return {
        "examples": rows,
        "exact_match": float(np.mean(2 * row_hits == row_sizes)) if rows else 0.0,
        "micro_precision": len(right_pairs) / max(len(predicted_pairs), 1),
        "micro_recall": len(right_pairs) / max(len(true_pairs), 1),
        "micro_f1": 2 * len(right_pairs) / max(len(predicted_pairs) + len(true_pairs), 1),
        "macro_f1": float(f1[occurs].mean()) if occurs.any() else 0.0,
        "sample_f1": float(_ratio(2 * row_hits, row_sizes).mean()) if rows else 0.0,
        "labels": names,
        "per_label": _per_label(names, hits, predictions, support),
        "precision_at_k": {str(k): n / (k * max(rows, 1)) for k, n in hits_at_k.items()},
        "recall_at_k": {str(k): n / max(len(true_pairs), 1) for k, n in hits_at_k.items()},
        "unknown_labels": _unknown_labels(support, labels, unknown),
    }


def _per_label(
    names: Sequence[str], hits: I64, predictions: I64, support: I64
) -> dict[str, LabelScores]:
    precision, recall = _ratio(hits, predictions), _ratio(hits, support)
    f1 = _ratio(2 * hits, support + predictions)
    return {
        name: {
            "precision": float(precision[index]),
            "recall": float(recall[index]),
            "f1": float(f1[index]),
            "support": int(support[index]),
        }
        for index, name in enumerate(names)
    }


def _unknown_labels(support: I64, labels: Sequence[str], unknown: Sequence[str]) -> dict[str, int]:
    return {name: int(support[len(labels) + index]) for index, name in enumerate(unknown)}


def _pairs(bags: Ragged, classes: int) -> I64:
    """Return one integer for each pair of an example and one of its classes."""
    pairs: I64 = np.repeat(np.arange(len(bags)), bags.lengths) * classes + bags.indices
    return pairs


def _first(ranked: I64, k: int) -> Ragged:
    return Ragged(ranked[:, :k].ravel(), np.arange(len(ranked) + 1) * k)


def _ratio(part: I64, total: I64) -> F64:
    return part / np.maximum(total, 1)
