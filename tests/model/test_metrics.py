"""Metrics against examples worked by hand and against plain Python that counts one at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttext_app.model.metrics import (
    MANY_CLASSES,
    classification_scores,
    confusion_matrix,
    precision_at_k,
    top_k_classes,
)

laws = settings(deadline=None, max_examples=80)
LABELS, UNKNOWN = ("a", "b", "c", "d", "e", "f"), ("x", "y")


@st.composite
def rankings(draw):
    """Draw (true classes, whole rankings of six classes); true classes may be unknown ones."""
    examples = draw(st.integers(1, 12))
    true = draw(
        st.lists(
            st.integers(0, len(LABELS) + len(UNKNOWN) - 1), min_size=examples, max_size=examples
        )
    )
    ranked = [draw(st.permutations(range(len(LABELS)))) for _ in true]
    return true, ranked


def score(true, ranked, labels=LABELS, unknown=UNKNOWN):
    return classification_scores(np.array(true), np.array(ranked), labels, unknown)


def divided(part, whole):
    return part / whole if whole else 0.0


# --- worked by hand ----------------------------------------------------------------------------

# Six examples, three labels:   true  a a a b b c
#                          predicted  a a b b a a
TRUE = [0, 0, 0, 1, 1, 2]
RANKED = [[0, 1, 2], [0, 1, 2], [1, 0, 2], [1, 2, 0], [0, 2, 1], [0, 1, 2]]


@pytest.fixture
def worked():
    return score(TRUE, RANKED, ["a", "b", "c"], [])


def test_accuracy_of_the_worked_example(worked):
    assert (worked["examples"], worked["accuracy"], worked["micro_f1"]) == (6, 3 / 6, 3 / 6)


def test_confusion_matrix_of_the_worked_example(worked):
    assert worked["labels"] == ["a", "b", "c"]
    assert worked["confusion_matrix"] == [[2, 1, 0], [1, 1, 0], [1, 0, 0]]


def test_scores_of_each_label_of_the_worked_example(worked):
    assert worked["per_label"] == {
        "a": {"precision": 2 / 4, "recall": 2 / 3, "f1": pytest.approx(4 / 7), "support": 3},
        "b": {"precision": 1 / 2, "recall": 1 / 2, "f1": 1 / 2, "support": 2},
        "c": {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1},
    }


def test_macro_f1_of_the_worked_example(worked):
    assert worked["macro_f1"] == pytest.approx((4 / 7 + 1 / 2 + 0) / 3)


def test_precision_and_recall_at_k_of_the_worked_example(worked):
    assert worked["precision_at_k"] == {"1": pytest.approx(3 / 6), "3": pytest.approx(1 / 3)}
    assert worked["recall_at_k"] == {"1": pytest.approx(3 / 6), "3": pytest.approx(1.0)}


def test_a_label_that_occurs_nowhere_does_not_lower_macro_f1():
    found = score([0, 0], [[0, 1], [0, 1]], ["a", "b"], [])
    assert found["macro_f1"] == 1.0
    assert found["per_label"]["b"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}


def test_a_label_that_is_only_predicted_lowers_macro_f1():
    assert score([0, 0], [[0, 1], [1, 0]], ["a", "b"], [])["macro_f1"] == pytest.approx(1 / 3)


def test_an_unknown_label_is_an_error_wherever_it_is_counted():
    found = score([0, 2, 3, 2], [[0, 1], [0, 1], [1, 0], [1, 0]], ["a", "b"], ["x", "y"])
    assert found["unknown_labels"] == {"x": 2, "y": 1}
    assert found["accuracy"] == 1 / 4
    assert found["precision_at_k"] == {"1": 1 / 4}
    assert found["labels"] == ["a", "b", "x", "y"]
    assert found["confusion_matrix"] == [[1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0]]
    assert found["per_label"]["x"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 2}
    # a: 2*1/(1+2); b, x and y: 0
    assert found["macro_f1"] == pytest.approx((2 / 3) / 4)


def test_no_examples_score_zero_and_not_nan():
    found = score(np.empty(0, np.int64), np.empty((0, 3), np.int64), ["a", "b", "c"], [])
    assert (found["examples"], found["accuracy"], found["macro_f1"]) == (0, 0.0, 0.0)
    assert found["precision_at_k"] == found["recall_at_k"] == {"1": 0.0, "3": 0.0}


# --- against plain Python ----------------------------------------------------------------------


@pytest.mark.slow
@given(rankings())
@laws
def test_scores_equal_a_count_one_example_at_a_time(drawn):
    true, ranked = drawn
    found = score(true, ranked)
    names = [*LABELS, *UNKNOWN]
    pairs = [(names[t], names[r[0]]) for t, r in zip(true, ranked, strict=True)]
    f1s = []
    for name in names:
        right = sum(pair == (name, name) for pair in pairs)
        support, chosen = (sum(pair[side] == name for pair in pairs) for side in (0, 1))
        precision, recall = divided(right, chosen), divided(right, support)
        f1 = divided(2 * precision * recall, precision + recall)
        f1s += [f1] if support or chosen else []
        expected = {"precision": precision, "recall": recall, "f1": f1, "support": support}
        assert found["per_label"][name] == pytest.approx(expected)
    assert found["accuracy"] == pytest.approx(sum(t == p for t, p in pairs) / len(pairs))
    assert found["macro_f1"] == pytest.approx(sum(f1s) / len(f1s))


@pytest.mark.slow
@given(rankings())
@laws
def test_micro_f1_is_what_micro_averaging_gives(drawn):
    true, ranked = drawn
    found = score(true, ranked)
    right = sum(t == r[0] for t, r in zip(true, ranked, strict=True))
    precision = recall = right / len(true)  # each example is one prediction and one true label
    assert found["micro_f1"] == pytest.approx(
        divided(2 * precision * recall, precision + recall), abs=1e-12
    )


@pytest.mark.slow
@given(rankings())
@laws
def test_precision_and_recall_at_k_count_hits_among_the_first_k(drawn):
    true, ranked = drawn
    found = score(true, ranked)
    for k in (1, 3, 5):
        hits = sum(t in r[:k] for t, r in zip(true, ranked, strict=True))
        assert found["precision_at_k"][str(k)] == pytest.approx(hits / (k * len(true)))
        assert found["recall_at_k"][str(k)] == pytest.approx(hits / len(true))


@pytest.mark.slow
@given(rankings())
@laws
def test_the_confusion_matrix_counts_every_example_once(drawn):
    true, ranked = drawn
    matrix = np.array(score(true, ranked)["confusion_matrix"])
    assert matrix.sum() == len(true)
    for row, column in np.ndindex(*matrix.shape):
        pairs = [(t, r[0]) for t, r in zip(true, ranked, strict=True)]
        assert matrix[row, column] == pairs.count((row, column))


def test_the_confusion_matrix_has_true_classes_in_rows():
    matrix = confusion_matrix(np.array([0, 0, 1]), np.array([1, 1, 2]), 3)
    assert matrix.tolist() == [[0, 2, 0], [0, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize(("classes", "cutoffs"), [(1, [1]), (2, [1]), (3, [1, 3]), (9, [1, 3, 5])])
def test_precision_at_k_goes_up_to_the_classes(classes, cutoffs):
    ranked = np.arange(classes)[None, :]
    assert list(precision_at_k(np.array([0]), ranked)) == cutoffs


# --- top k -------------------------------------------------------------------------------------


@pytest.mark.slow
@given(
    st.lists(st.lists(st.sampled_from([0.0, 0.25, 0.5]), min_size=4, max_size=4), max_size=5),
    st.integers(1, 6),
)
@laws
def test_top_k_is_by_score_and_then_by_class(rows, k):
    scores = np.array(rows, dtype=np.float32).reshape(-1, 4)
    expected = [sorted(range(4), key=lambda c, row=row: (-row[c], c))[:k] for row in rows]
    assert top_k_classes(scores, k).tolist() == expected


@pytest.mark.slow
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.sampled_from([1, 3, 1000]))
@laws
def test_the_top_k_of_very_many_classes_are_those_of_sorting_them_all(seed, k, levels):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, (3, MANY_CLASSES + 7)).astype(np.float32)
    scores[0, rng.integers(0, scores.shape[1], 3)] = np.nan
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    assert top_k_classes(scores, k).tolist() == expected.tolist()


@pytest.mark.slow
def test_very_many_classes_are_scored_without_a_matrix_of_their_pairs():
    classes = 60_000  # whose pairs would take 29 GB
    true = np.array([0, 0, classes - 1, classes])
    ranked = np.array([[0], [5], [classes - 1], [3]])
    scores = classification_scores(true, ranked, list(map(str, range(classes))), ["unknown"])
    assert scores["confusion_matrix"] == []
    assert scores["accuracy"] == 0.5
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 1) / 5)
    assert scores["per_label"]["0"] == {"precision": 1, "recall": 0.5, "f1": 2 / 3, "support": 2}
    assert scores["unknown_labels"] == {"unknown": 1}
