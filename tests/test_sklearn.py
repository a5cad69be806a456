"""The estimators of scikit-learn: its own checks, its tools, and equality with ``ft.train``."""

from __future__ import annotations

import enum
import inspect
import io
import pickle
import sys
import threading
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import fasttext_app as ft
from fasttext_app.errors import ArtifactError, ConfigError, MissingDependencyError
from tests.conftest import TINY_EXAMPLES

pytest.importorskip("sklearn")

import joblib
from scipy.sparse import csr_matrix
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    cross_val_predict,
    cross_validate,
    learning_curve,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.utils import estimator_checks

from fasttext_app.sklearn import FastTextClassifier, FastTextVectorizer

TEXTS, LABELS = map(list, zip(*TINY_EXAMPLES, strict=True))
QUICK = {
    **{"dim": 4, "epochs": 8, "lr": 0.5, "batch_size": 8, "threads": 1, "validation": 0.0},
    **{"word_ngrams": 1, "maxn": 0},
}
ESTIMATORS = [FastTextClassifier, FastTextVectorizer]
both = pytest.mark.parametrize("kind", ESTIMATORS)


def quick(**parameters):
    return FastTextClassifier(**QUICK | parameters)


# --- scikit-learn's own checks

PLAIN = [
    *("check_estimator_cloneable", "check_estimator_tags_renamed", "check_valid_tag_types"),
    *("check_estimator_repr", "check_no_attributes_set_in_init", "check_mixin_order"),
    *("check_do_not_raise_errors_in_init_or_set_params", "check_estimators_unfitted"),
    *("check_parameters_default_constructible", "check_get_params_invariance"),
    *("check_set_params", "check_requires_y_none", "check_estimator_sparse_matrix"),
    *("check_estimator_sparse_tag", "check_fit1d", "check_complex_data"),
]
"""The checks that need no numbers in ``X``, or want them to be refused."""

NOT_FOR_TEXTS = {
    "check_n_features_in_after_fitting": "texts have no number of features",
    "check_n_features_in": "texts have no number of features",
    "check_estimators_partial_fit_n_features": "texts have no number of features",
    "check_classifiers_train": "it ends with a matrix of another width, and texts have no width",
    "check_transformer_general": "it ends with a matrix of another width, and texts have no width",
    "check_estimators_empty_data_messages": "it ends with rows without a feature, which are texts",
    "check_dtype_object": "it wants numbers in an array of objects to be accepted",
    "check_estimators_nan_inf": "a text has no infinite number; a missing text is tested below",
    "check_fit2d_predict1d": "one dimension is the right shape for texts",
    "check_sample_weight_equivalence_on_dense_data": "a weight of 0 or 2 is one in the loss, and "
    "the steps of an epoch are drawn from other rows; the weights are tested below",
    "check_array_api_input": "needs the environment variable SCIPY_ARRAY_API",
}


class NumbersAsTexts:
    """Writes each row of numbers as a text, so that checks with a matrix can be run."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.input_tags.one_d_array = tags.input_tags.string = False
        return tags

    def _texts(self, X):  # noqa: N803
        return super()._texts(as_texts(X))

    def _train(self, X, *arguments):  # noqa: N803
        super()._train(as_texts(X), *arguments)


class NumbersClassifier(NumbersAsTexts, FastTextClassifier):
    pass


class NumbersVectorizer(NumbersAsTexts, FastTextVectorizer):
    pass


def as_texts(rows):
    if hasattr(rows, "toarray") or not (hasattr(rows, "__array__") or isinstance(rows, list)):
        return rows
    matrix = np.asarray(rows)
    if matrix.dtype.kind not in "fiub" or matrix.ndim != 2:
        return rows
    return [
        " ".join(f"c{column}v{np.floor(2 * value):.0f}" for column, value in enumerate(row))
        for row in matrix
    ]


def checks(kind):
    """Yield scikit-learn's checks of an estimator: all, or those of transformers.

    What both estimators share is checked with the classifier.
    """
    every = [*estimator_checks._yield_all_checks(kind(**QUICK), legacy=True)]
    if kind is NumbersVectorizer:
        every = [*estimator_checks._yield_transformer_checks(kind(**QUICK))]
        every += [estimator_checks.check_estimators_pickle, estimator_checks.check_fit_idempotent]
        names = ("check_set_output_transform", "check_set_output_transform_pandas")
        names += ("check_global_output_transform_pandas",)
        every += [getattr(estimator_checks, name) for name in names]
    for check in every:
        name = estimator_checks._check_name(check)
        details = list(check.keywords.values()) if isinstance(check, partial) else []
        marks = ()
        if name in NOT_FOR_TEXTS:
            marks = pytest.mark.xfail(reason=NOT_FOR_TEXTS[name], strict=True)
        yield pytest.param(kind, check, marks=marks, id=f"{kind.__name__}-{name}-{details}")


@pytest.mark.parametrize("name", PLAIN)
@both
def test_a_check_that_needs_no_numbers_passes(kind, name):
    getattr(estimator_checks, name)(kind.__name__, kind())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataConversionWarning")
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.filterwarnings("ignore:The number of unique classes")
@pytest.mark.parametrize(
    ("kind", "check"), [*checks(NumbersClassifier), *checks(NumbersVectorizer)]
)
def test_a_check_passes_on_numbers_written_as_texts(kind, check):
    check(kind.__name__, kind(**QUICK))


# --- equality with the program's own training


def test_it_trains_what_train_trains():
    own = ft.train(TEXTS, LABELS, **QUICK)
    classifier = quick().fit(TEXTS, LABELS)
    assert classifier.classes_.tolist() == list(own.labels)
    assert np.array_equal(classifier.predict_proba(TEXTS), own.predict_proba(TEXTS))
    assert np.array_equal(classifier.model_.artifact.table, own.artifact.table)
    assert classifier.score(TEXTS, LABELS) == own.evaluate(TEXTS, LABELS)["accuracy"]


def test_weights_and_settings_are_those_of_train():
    weights = np.linspace(0, 2, len(TEXTS))
    settings = QUICK | {"validation": 0.2, "loss": "ova", "minn": 2, "maxn": 3}
    own = ft.train(
        *(TEXTS, LABELS), weights=weights, seed=3, class_weights={"sport": 3.0}, **settings
    )
    classifier = FastTextClassifier(**settings, random_state=3, class_weight={"sport": 3})
    classifier.fit(TEXTS, LABELS, sample_weight=weights)
    assert np.array_equal(classifier.decision_function(TEXTS), np.diff(own.logits(TEXTS))[:, 0])
    shares = own.predict_proba(TEXTS)
    assert np.allclose(classifier.predict_proba(TEXTS), shares / shares.sum(1, keepdims=True))


def test_a_setting_that_is_given_its_default_is_given():
    """``mode`` alone would follow from ``term_weighting``."""
    settings = QUICK | {"term_weighting": "none", "mode": "sum"}
    assert FastTextClassifier(**settings).fit(TEXTS, LABELS).model_.config.model.mode == "sum"
    assert FastTextClassifier(term_weighting="none", **QUICK).fit(
        TEXTS, LABELS
    ).model_.config.model.mode == "mean"  # fmt: skip


def test_a_trained_model_becomes_an_estimator(tmp_path):
    own = ft.train(TEXTS, LABELS, **QUICK, mode="mean", term_weighting="none")
    own.save(tmp_path / "model")
    classifier = FastTextClassifier.from_model(ft.load(tmp_path / "model"))
    assert np.array_equal(classifier.predict_proba(TEXTS), own.predict_proba(TEXTS))
    assert classifier.score(TEXTS, LABELS) == own.evaluate(TEXTS, LABELS)["accuracy"]
    again = clone(classifier).fit(TEXTS, LABELS)  # its parameters are the model's settings
    assert np.array_equal(again.predict_proba(TEXTS), own.predict_proba(TEXTS))
    assert FastTextVectorizer.from_model(own).transform(TEXTS).shape == (20, own.artifact.dim)


def test_an_estimator_does_not_take_over_the_files_that_a_strangers_model_names(tmp_path):
    vectors = tmp_path / "own.vec"
    vectors.write_text("1 4\nteam 1 2 3 4\n")
    own = ft.train(TEXTS, LABELS, **QUICK, pretrained=str(vectors))
    assert FastTextClassifier.from_model(own).pretrained == str(vectors)
    vectors.write_text("1 4\nteam 1 2 3 5\n\n")  # not the file that the machine has read
    assert FastTextClassifier.from_model(own).pretrained is None


def test_the_result_of_fit_is_saved_and_loaded(tmp_path):
    classifier = quick().fit(TEXTS, np.array(LABELS) == "sport")
    classifier.model_.save(tmp_path / "model")
    assert ft.load(tmp_path / "model").predict(TEXTS[0]).labels == ("True",)


# --- texts and labels


def texts_in_all_forms():
    yield "list", TEXTS
    yield "tuple", tuple(TEXTS)
    yield "array of objects", np.array(TEXTS, object)
    yield "array of strings", np.array(TEXTS)
    yield "column of an array", np.array(TEXTS)[:, None]
    yield "series", pd.Series(TEXTS, index=range(5, 25))
    yield "series of objects", pd.Series(TEXTS, dtype=object)
    yield "categorical", pd.Series(TEXTS).astype("category")
    yield "frame", pd.DataFrame({"any name": TEXTS})
    yield "frame without a name", pd.DataFrame(TEXTS)
    yield "arrow array", pa.array(TEXTS)
    yield "arrow chunks", pa.chunked_array([TEXTS[:3], TEXTS[3:]])
    yield "arrow table", pa.table({"t": TEXTS})
    yield "bytes", [text.encode() for text in TEXTS]


@pytest.fixture(scope="module")
def fitted():
    return quick().fit(TEXTS, LABELS)


@pytest.mark.parametrize("texts", [pytest.param(t, id=name) for name, t in texts_in_all_forms()])
def test_texts_come_in_any_form(fitted, texts):
    assert fitted.predict(texts).tolist() == fitted.predict(TEXTS).tolist()
    other = quick().fit(texts, LABELS)
    assert np.array_equal(other.predict_proba(TEXTS), fitted.predict_proba(TEXTS))


def test_polars_columns_and_frames(fitted):
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"text": TEXTS, "label": LABELS})
    for texts in (frame["text"], frame.select("text")):
        other = quick().fit(texts, frame["label"])
        assert np.array_equal(other.predict_proba(texts), fitted.predict_proba(TEXTS))


class Color(enum.Enum):
    RED = "r"
    BLUE = "b"


class Level(enum.IntEnum):
    LOW = 0
    HIGH = 1


LABELS_OF_ALL_TYPES = {
    "strings": ("x", "y"),
    "string with blanks": (" x", "x "),
    "names of the other": ("1", 1),
    "integers": (10, 9),
    "large integers": (2**70, -1),
    "small integers": (np.int8(1), np.int8(-1)),
    "whole floats": (1.0, 2.0),
    "booleans": (True, False),
    "enum": (Color.RED, Color.BLUE),
    "integers with names": (Level.LOW, Level.HIGH),
    "bytes": (b"x", b"y"),
    "dates": (np.datetime64("2026-01-01"), np.datetime64("2025-01-01")),
    "timestamps": (pd.Timestamp("2026-01-01"), pd.Timestamp("2025-01-01")),
    "empty string": ("", "x"),
    "lone surrogate": ("\ud800", "\ud801"),
    "labels that look like several": ("a|b", "a"),
    "types": (int, str),
}


@pytest.mark.parametrize("pair", LABELS_OF_ALL_TYPES.values(), ids=LABELS_OF_ALL_TYPES)
def test_labels_of_any_hashable_type_come_back(pair):
    y = [pair[label == "sport"] for label in LABELS]
    classifier = quick().fit(TEXTS, y)
    predicted = classifier.predict(TEXTS)
    assert set(classifier.classes_) == set(pair)
    assert list(predicted) == y
    assert isinstance(predicted[0], type(y[0])) or predicted.dtype.kind in "iufbM"
    assert classifier.score(TEXTS, y) == 1
    with io.BytesIO() as file:
        joblib.dump(classifier, file)
        assert list(joblib.load(io.BytesIO(file.getvalue())).predict(TEXTS)) == y


@pytest.mark.parametrize(
    "y",
    [
        pd.Series(LABELS, index=range(7, 27)),
        pd.Series(LABELS).astype("category"),
        pd.DataFrame({"label": LABELS}),
        pa.array(LABELS),
        pa.array(LABELS).dictionary_encode(),
        pa.table({"label": LABELS}),
        np.array(LABELS, object),
        (label for label in LABELS),
    ],
    ids=lambda y: type(y).__name__,
)
def test_labels_come_in_any_column(fitted, y):
    classifier = quick().fit(TEXTS, y)
    assert classifier.predict(TEXTS).tolist() == LABELS
    assert classifier.classes_.tolist() == fitted.classes_.tolist()


def test_nullable_integers_and_their_dtype():
    y = pd.Series([label == "sport" for label in LABELS]).astype("Int16")
    assert quick().fit(TEXTS, y).score(TEXTS, y) == 1
    small = y.astype("int8")
    assert quick().fit(TEXTS, small).predict(TEXTS).dtype == np.int8


@pytest.mark.parametrize(
    ("texts", "y", "message"),
    [
        ([], [], "there are no texts"),
        ("one text", ["a"], "got one text; pass a list of texts"),
        (["a", None], [1, 2], "X, row 2: there is no text"),
        (pd.Series(["a", np.nan]), [1, 2], "X, row 2: there is no text"),
        ([1, 2], [1, 2], "got an int where a text is expected"),
        (np.array([1.5, 2]), [1, 2], "holds double, not texts"),
        (np.array([["a", "b"]] * 2), [1, 2], "has the shape"),
        (
            pd.DataFrame({"a": ["x"] * 2, "b": ["y"] * 2}),
            [1, 2],
            "has 2 columns, 'a', 'b'; pass one",
        ),
        (csr_matrix([[1], [2]]), [1, 2], "sparse input is not supported"),
        (["a", "b"], [1], "inconsistent numbers of samples"),
        (["a", "b"], None, "requires y to be passed"),
        (["a", "b"], [1, None], "row 2 has no label"),
        (["a", "b"], [1.0, np.nan], "Input y contains NaN"),
        (["a", "b"], [1.5, 2.25], "Unknown label type: continuous"),
        (["a", "b"], np.array([[1, 2], [0, 3]]), "Unknown label type"),
        (["a", "b"], "xy", "y should be a 1d array"),
        (["", ""], [1, 2], "none of the 2 training texts has a word"),
    ],
)
def test_wrong_input_is_one_clear_value_error(texts, y, message):
    with pytest.raises(ValueError, match=message):
        quick().fit(texts, y)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"dim": -1}, "model.dim: must be greater than or equal to 1"),
        ({"loss": "sofmax"}, "model.loss"),
        ({"class_weight": {"sprt": 2.0}}, "class_weight: there are no labels"),
        ({"random_state": "x"}, "cannot be used to seed"),
        ({"config": "nowhere.toml"}, "no such config file"),
    ],
)
def test_a_wrong_parameter_is_refused_by_fit(parameters, message):
    with pytest.raises(ValueError, match=message):
        quick(**parameters).fit(TEXTS, LABELS)


def test_an_unknown_parameter_is_a_type_error_with_a_hint():
    with pytest.raises(TypeError, match="no parameter 'epoch'; did you mean 'epochs'"):
        FastTextClassifier(epoch=3)
    with pytest.raises(TypeError, match="no parameter 'seed'; it is 'random_state' here"):
        FastTextClassifier(seed=3)
    with pytest.raises(TypeError, match="'model'; pass the settings of this section by their keys"):
        FastTextClassifier(model={"dim": 3})
    with pytest.raises(ValueError, match="Invalid parameter 'epoch'"):
        FastTextClassifier().set_params(epoch=3)


def test_unhashable_labels_are_a_type_error():
    with pytest.raises(TypeError, match="row 1: a label must be hashable, got dict"):
        quick().fit(TEXTS, [{}] * 20)


def test_missing_texts_can_be_empty_ones(fitted):
    texts = [*TEXTS, None, float("nan")]
    classifier = quick(nulls="empty").fit(texts, [*LABELS, "sport", "money"])
    assert classifier.predict_proba([None]).tolist() == classifier.predict_proba([""]).tolist()
    with pytest.raises(ValueError, match="row 1: there is no text"):
        fitted.predict([None])


def test_no_texts_have_no_predictions(fitted):
    assert fitted.predict([]).shape == (0,)
    assert fitted.predict_proba([]).shape == (0, 2)


@both
def test_an_estimator_that_is_not_fitted_says_so(kind):
    methods = ("predict", "predict_proba", "decision_function", "transform", "score")
    for name in methods:
        method = getattr(kind(), name, None)
        if method is not None:
            arguments = [TEXTS, LABELS] if name == "score" else [TEXTS]
            with pytest.raises(NotFittedError):
                method(*arguments)


def test_one_label_one_text_and_few_texts():
    one = quick().fit(TEXTS, ["x"] * 20)
    assert one.predict(["team"]).tolist() == ["x"]
    assert one.predict_proba(["team"]).tolist() == [[1.0]]
    assert quick().fit(["to be"], [3]).predict(["not"]).tolist() == [3]
    default = FastTextClassifier(maxn=0, word_ngrams=1).fit(
        ["good", "bad", "fine"], ["+", "-", "+"]
    )
    assert default.predict_proba(["good"]).shape == (1, 2)


def test_the_seed_decides_and_none_can_be_repeated():
    first, second, other = (
        quick(random_state=seed).fit(TEXTS, LABELS).predict_proba(TEXTS) for seed in (None, 0, 1)
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)
    drawn = [
        quick(random_state=np.random.RandomState(5)).fit(TEXTS, LABELS).predict_proba(TEXTS)
        for _ in range(2)
    ]
    assert np.array_equal(*drawn)


def test_weights_move_the_predictions():
    texts, y = ["word"] * 8, ["a", "b"] * 4
    weights = [4.0, 1.0] * 4
    by_row = quick().fit(texts, y, sample_weight=weights)
    by_class = quick(class_weight={"a": 4, "b": 1}).fit(texts, y)
    assert by_row.predict(["word"]).tolist() == by_class.predict(["word"]).tolist() == ["a"]
    rare = ["word"] * 9, ["a"] * 8 + ["b"]
    plain, balanced = (
        quick(class_weight=weight, epochs=20).fit(*rare).predict_proba(["word"])[0, 1]
        for weight in (None, "balanced")
    )
    assert plain < 0.3 < balanced


# --- several labels

SEVERAL = [[label, "long"] if len(text) > 45 else [label] for text, label in TINY_EXAMPLES]
MATRIX = np.array([[name in row for name in ("long", "money", "sport")] for row in SEVERAL], int)


def test_lists_of_labels_come_back_as_lists():
    classifier = quick(epochs=30).fit(TEXTS, SEVERAL)
    predicted = classifier.predict(TEXTS)
    assert [set(row) for row in predicted] == [set(row) for row in SEVERAL]
    assert classifier.classes_.tolist() == ["long", "money", "sport"]
    assert classifier.score(TEXTS, SEVERAL) == 1
    assert classifier.score(TEXTS[:2], [["sport", "unknown"], SEVERAL[1]]) == 0.5
    assert classifier.model_.config.model.loss == "ova"
    sets = quick(epochs=30).fit(TEXTS, [set(row) for row in SEVERAL])
    assert np.array_equal(sets.predict_proba(TEXTS), classifier.predict_proba(TEXTS))


@pytest.mark.parametrize(
    "y",
    [MATRIX, MATRIX.astype(bool), csr_matrix(MATRIX), MATRIX.tolist(), pd.DataFrame(MATRIX)],
    ids=["integers", "booleans", "sparse", "lists", "frame"],
)
def test_a_matrix_of_labels_comes_back_as_a_matrix(y):
    classifier = quick(epochs=30).fit(TEXTS, y)
    predicted = classifier.predict(TEXTS)
    assert np.array_equal(predicted, MATRIX)
    assert f1_score(MATRIX, predicted, average="macro") == 1
    assert classifier.score(TEXTS, y) == 1
    assert classifier.predict_proba(TEXTS).shape == classifier.decision_function(TEXTS).shape


def test_the_columns_of_a_frame_name_the_classes_and_empty_ones_stay():
    frame = pd.DataFrame({"never": 0, "z": MATRIX[:, 0], "a": MATRIX[:, 1]})
    classifier = quick(epochs=30).fit(TEXTS, frame)
    assert classifier.classes_.tolist() == ["never", "z", "a"]
    assert np.array_equal(classifier.predict(TEXTS), frame.to_numpy())


def test_rows_without_a_label_and_labels_with_separators():
    y = [[], ["a|b", "a"], [" a"]] * 6 + [["a"], ["a"]]
    classifier = quick(epochs=30).fit(TEXTS, y)
    assert set(classifier.classes_) == {"a|b", "a", " a"}
    assert classifier.predict_proba(TEXTS).shape == (20, 3)
    loss = quick(loss="softmax").fit(TEXTS, SEVERAL).model_.config.model.loss
    assert loss == "softmax"


def test_fitted_thresholds_decide():
    own = ft.train(TEXTS, SEVERAL, **QUICK, loss="ova")
    tuned = own.calibrate(TEXTS[::-1], SEVERAL[::-1], thresholds="recall:1.0", temperature=False)
    classifier = FastTextClassifier.from_model(tuned)
    flags = tuned.predict_proba(TEXTS) >= tuned.fitted_thresholds
    assert [len(row) for row in classifier.predict(TEXTS)] == flags.sum(1).tolist()


# --- training further


def test_partial_fit_trains_further_on_new_words_and_labels():
    classifier = quick()
    for start in range(4):
        classifier.partial_fit(TEXTS[start::4], LABELS[start::4])
    assert classifier.score(TEXTS, LABELS) == 1
    before = len(classifier.model_.artifact.vocabulary)
    classifier.partial_fit(["a brand new subject"] * 4, ["new"] * 4)
    assert classifier.classes_.tolist() == ["money", "sport", "new"]
    assert len(classifier.model_.artifact.vocabulary) > before
    assert classifier.predict(["new subject"]).tolist() == ["new"]
    assert classifier.model_.config.model.start_from is None


def test_partial_fit_takes_all_classes_at_the_first_call():
    classifier = quick().partial_fit(TEXTS[::2], LABELS[::2], classes=["sport", "money", "art"])
    assert classifier.classes_.tolist() == ["art", "money", "sport"]
    classifier.partial_fit(TEXTS[1::2], LABELS[1::2])
    assert classifier.predict_proba(TEXTS).shape == (20, 3)
    assert classifier.score(TEXTS, LABELS) == 1
    with pytest.raises(ValueError, match="is not the same as on last call"):
        classifier.partial_fit(TEXTS, LABELS, classes=["sport", "money"])
    with pytest.raises(ValueError, match="y has labels that are not in classes"):
        quick().partial_fit(TEXTS, LABELS, classes=["sport"])
    with pytest.raises(ValueError, match="another form"):
        classifier.partial_fit(TEXTS, MATRIX)


@pytest.mark.slow
def test_the_columns_of_a_frame_are_found_by_name_in_later_calls():
    frame = pd.DataFrame(MATRIX, columns=["z", "money", "a"])
    classifier = quick(epochs=30).partial_fit(TEXTS, frame, classes=["a", "money", "z"])
    assert classifier.classes_.tolist() == ["z", "money", "a"]
    other_order = frame[["a", "z", "money"]]
    assert classifier.score(TEXTS, other_order) == 1
    classifier.partial_fit(TEXTS, other_order)
    assert np.array_equal(classifier.predict(TEXTS), MATRIX)
    named = quick().partial_fit(TEXTS, MATRIX, classes=["z", "y", "x"])
    assert named.classes_.tolist() == ["z", "y", "x"]


def test_partial_fit_with_several_labels():
    classifier = quick(epochs=30).partial_fit(TEXTS[::2], MATRIX[::2])
    classifier.partial_fit(TEXTS[1::2], MATRIX[1::2])
    assert classifier.predict(TEXTS).shape == MATRIX.shape
    with pytest.raises(ValueError, match="2 columns for 3 classes"):
        classifier.partial_fit(TEXTS, MATRIX[:, :2])


# --- the tools of scikit-learn

FRAME = pd.DataFrame(
    {"text": TEXTS, "length": [len(text) for text in TEXTS], "day": ["mon", "tue"] * 10}
)


def columns_of_all_kinds(**parameters):
    return ColumnTransformer(
        [
            ("text", FastTextVectorizer(**QUICK | parameters), "text"),
            ("number", StandardScaler(), ["length"]),
            ("category", OneHotEncoder(sparse_output=False), ["day"]),
        ]
    )


def test_text_beside_numbers_and_categories():
    pipeline = make_pipeline(columns_of_all_kinds(), LogisticRegression())
    assert pipeline.fit(FRAME, LABELS).score(FRAME, LABELS) > 0.9
    features = pipeline[0].set_output(transform="pandas").transform(FRAME)
    assert list(features.columns[:4]) == [f"text__fasttextvectorizer{i}" for i in range(4)]
    assert features.shape == (20, 7)
    assert list(pipeline[0].get_feature_names_out()) == list(features.columns)


def test_the_vectors_of_a_text_column_for_regression():
    """Without labels, the embeddings are the initial ones."""
    pipeline = make_pipeline(columns_of_all_kinds(epochs=0, dim=64), Ridge())
    assert pipeline.fit(FRAME, FRAME["length"]).score(FRAME, FRAME["length"]) > 0.9
    alone = FastTextVectorizer(**QUICK | {"epochs": 0}).fit(TEXTS)
    assert alone.transform(TEXTS).shape == (20, 4)
    with pytest.raises(ValueError, match=r"requires y to be passed.* epochs=0"):
        FastTextVectorizer(**QUICK).fit(TEXTS)


def test_the_vectors_are_those_of_the_model():
    vectorizer = FastTextVectorizer(**QUICK)
    vectors = vectorizer.fit_transform(TEXTS, LABELS)
    own = ft.train(TEXTS, LABELS, **QUICK, fold=False)
    assert np.array_equal(vectors, own.embed(TEXTS))
    assert vectors.dtype == np.float32


def test_a_pipeline_passes_weights_and_is_cloned():
    shout = FunctionTransformer(lambda texts: [text.upper() for text in texts])
    pipeline = make_pipeline(shout, quick())
    weights = np.ones(20)
    pipeline.fit(TEXTS, LABELS, fasttextclassifier__sample_weight=weights)
    assert pipeline.score(TEXTS, LABELS) == 1
    assert clone(pipeline)[1].get_params() == quick().get_params()
    assert is_classifier(pipeline)


@pytest.mark.slow
def test_a_grid_search_in_two_processes():
    grid = {"dim": np.array([2, 4])}
    search = GridSearchCV(quick(), grid, n_jobs=2, cv=2).fit(TEXTS, LABELS)
    assert search.best_score_ > 0.5
    assert search.predict(TEXTS).tolist() == LABELS
    here = GridSearchCV(quick(), grid, cv=2).fit(TEXTS, LABELS)
    assert here.best_params_ == search.best_params_
    assert here.cv_results_["mean_test_score"].tolist() == (
        search.cv_results_["mean_test_score"].tolist()
    )


@pytest.mark.slow
def test_cross_validation_and_its_estimators():
    result = cross_validate(quick(), TEXTS, LABELS, cv=KFold(2), return_estimator=True)
    assert len(result["estimator"]) == 2
    assert all(hasattr(estimator, "model_") for estimator in result["estimator"])
    scores = cross_validate(quick(), TEXTS, MATRIX, cv=2, scoring="f1_macro")["test_score"]
    assert len(scores) == 2
    predicted = cross_val_predict(quick(), TEXTS, LABELS, cv=2, method="predict_proba")
    assert predicted.shape == (20, 2)
    sizes, *_ = learning_curve(quick(), TEXTS, LABELS, cv=2, train_sizes=[0.5, 1.0])
    assert len(sizes) == 2


def test_other_estimators_around_it(fitted):
    calibrated = CalibratedClassifierCV(quick(), cv=2).fit(TEXTS, LABELS)
    assert calibrated.predict_proba(TEXTS).shape == (20, 2)
    frozen = CalibratedClassifierCV(FrozenEstimator(fitted)).fit(TEXTS, LABELS)
    assert frozen.predict(TEXTS).tolist() == LABELS
    each = OneVsRestClassifier(quick()).fit(TEXTS, LABELS)
    assert accuracy_score(LABELS, each.predict(TEXTS)) == 1


def test_permutation_importance_of_the_columns():
    pipeline = make_pipeline(columns_of_all_kinds(), LogisticRegression()).fit(FRAME, LABELS)
    importances = permutation_importance(pipeline, FRAME, LABELS, n_repeats=2, random_state=0)
    assert importances.importances_mean.argmax() == 0


@pytest.mark.slow
def test_fits_in_two_threads_at_a_time():
    with joblib.parallel_config("threading"):
        together = cross_val_predict(quick(), TEXTS, MATRIX, n_jobs=2, method="predict_proba")
    alone = cross_val_predict(quick(), TEXTS, MATRIX, method="predict_proba")
    assert np.array_equal(together, alone)


def test_a_fit_in_a_thread(fitted):
    results = []
    thread = threading.Thread(target=lambda: results.append(quick().fit(TEXTS, LABELS)))
    thread.start()
    thread.join()
    assert np.array_equal(results[0].predict_proba(TEXTS), fitted.predict_proba(TEXTS))


def test_nothing_is_printed_unless_it_is_asked_for(capfd):
    quick().fit(TEXTS, LABELS)
    assert capfd.readouterr() == ("", "")
    quick(verbose=True).fit(TEXTS, LABELS)
    assert capfd.readouterr().err


# --- saving


@pytest.mark.slow
@pytest.mark.parametrize("y", [LABELS, SEVERAL, MATRIX], ids=["label", "labels", "flags"])
def test_it_is_pickled_and_saved_by_skops(y):
    skops = pytest.importorskip("skops.io")
    classifier = quick().fit(TEXTS, y)
    data = skops.dumps(classifier)
    own = skops.get_untrusted_types(data=data)
    assert own == ["fasttext_app.sklearn.FastTextClassifier"]
    for other in (pickle.loads(pickle.dumps(classifier)), skops.loads(data, trusted=own)):
        assert np.array_equal(other.predict_proba(TEXTS), classifier.predict_proba(TEXTS))
        assert np.array_equal(other.classes_, classifier.classes_)
        assert other.get_params() == classifier.get_params()


def test_a_pickle_may_run_the_package_of_a_tokenizer_and_skops_may_not(monkeypatch):
    skops = pytest.importorskip("skops.io")
    monkeypatch.setitem(sys.modules, "revtok", SimpleNamespace(tokenize=str.split))
    classifier = quick(tokenizer="torchtext:revtok").fit(TEXTS, LABELS)
    other = pickle.loads(pickle.dumps(classifier))
    assert np.array_equal(other.predict_proba(TEXTS), classifier.predict_proba(TEXTS))
    with pytest.raises(ConfigError, match="package"):
        skops.loads(skops.dumps(classifier), trusted=["fasttext_app.sklearn.FastTextClassifier"])


def test_a_saved_estimator_writes_only_the_files_of_a_model(fitted, tmp_path):
    state = fitted.__getstate__()
    state["model_"] = {**state["model_"], f"../../{tmp_path.name}.txt": b"x"}
    with pytest.raises(ArtifactError, match="files that no model has"):
        FastTextClassifier().__setstate__(state)


def test_a_pipeline_of_mixed_columns_is_saved_by_skops():
    skops = pytest.importorskip("skops.io")
    pipeline = make_pipeline(columns_of_all_kinds(), LogisticRegression()).fit(FRAME, LABELS)
    data = skops.dumps(pipeline)
    own = skops.get_untrusted_types(data=data)
    assert own == ["fasttext_app.sklearn.FastTextVectorizer"]
    assert np.array_equal(skops.loads(data, trusted=own).predict(FRAME), pipeline.predict(FRAME))


# --- how it looks


def test_it_shows_the_parameters_that_are_set():
    assert repr(FastTextClassifier(epochs=3, lr=0.4)) == "FastTextClassifier(epochs=3, lr=0.4)"
    assert "FastTextClassifier" in quick()._repr_html_()
    assert "FastTextVectorizer" in columns_of_all_kinds()._repr_html_()


def test_every_parameter_is_a_setting_or_named_here():
    """Settings of files and of checkpoints have no meaning here; two have another name."""
    own = set(inspect.signature(FastTextClassifier).parameters)
    dumped = ft.Config().model_dump()
    data = set(dumped.pop("data"))
    settings = {name for section in dumped.values() for name in section}
    assert own - settings - data == {"config", "random_state", "class_weight", "verbose"}
    assert settings - own == {"seed", "class_weights", "checkpoint_every", "keep_checkpoints"}
    assert own & data == {"validation", "errors", "nulls", "in_memory_mb"}
    vectorizer = set(inspect.signature(FastTextVectorizer).parameters)
    assert own - vectorizer == {"fold"}


def test_without_scikit_learn_it_is_asked_for(monkeypatch):
    monkeypatch.delitem(sys.modules, "fasttext_app.sklearn")
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    with pytest.raises(MissingDependencyError, match=r"needs the package scikit-learn;.*sklearn"):
        import fasttext_app.sklearn  # noqa: F401
