"""Rows as Python objects: tables of any library, any iterable of texts, labels of any type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import fasttext_app as ft
from fasttext_app.errors import ConfigError, DataError
from tests.helpers import WORDS_ONLY

TEXTS = ["great fun", "dull and slow", "a joy to watch", "a waste of time"] * 6
LABELS = ["good", "bad"] * 12
COLUMNS = {"id": range(24), "body": TEXTS, "topic": LABELS}


def train(*args: Any, **settings: Any) -> ft.TextClassifier:
    quick = WORDS_ONLY | {"dim": 4, "epochs": 2, "batch_size": 4, "lr": 0.5, "validation": 0.0}
    return ft.train(*args, **quick | settings)


def same_weights(one: ft.TextClassifier, other: ft.TextClassifier) -> bool:
    tensors = other.artifact.tensors
    return all(np.array_equal(v, tensors[k]) for k, v in one.artifact.tensors.items())


@pytest.fixture(scope="module")
def model() -> ft.TextClassifier:
    return train(TEXTS, LABELS)


class Stream:
    """A table of another library, which speaks Arrow's protocol and nothing else."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


class Frame:
    """A frame of another library, which has columns and nothing else."""

    columns = tuple(COLUMNS)

    def __getitem__(self, name: str) -> Any:
        return COLUMNS[name]


def arrow_table() -> pa.Table:
    return pa.table({name: list(values) for name, values in COLUMNS.items()})


def pandas_frame() -> Any:
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame({**COLUMNS, "mixed": [1, "a"] * 12}, index=range(100, 124))


def dataset() -> Any:
    return pytest.importorskip("datasets").Dataset.from_dict(COLUMNS)


TABLES = {
    "pandas": pandas_frame,
    "pandas, categorical": lambda: pandas_frame().astype({"topic": "category"}),
    "pandas, object": lambda: pandas_frame().astype({"body": object, "topic": object}),
    "dataset": dataset,
    "shuffled dataset": lambda: dataset().select(range(23, -1, -1)).select(range(23, -1, -1)),
    "stream of a dataset": lambda: dataset().to_iterable_dataset(),
    "table": arrow_table,
    "batch": lambda: arrow_table().to_batches()[0],
    "reader": lambda: arrow_table().to_reader(max_chunksize=5),
    "protocol": lambda: Stream(arrow_table()),
    "frame": Frame,
}


@pytest.mark.parametrize("make", TABLES.values(), ids=TABLES)
def test_a_table_of_any_library_is_read_by_column_name(make, model):
    trained = train(make(), text="body", label="topic")
    assert same_weights(trained, model)
    expected = model.predict(TEXTS)
    assert model.predict(make(), text="body") == expected
    assert trained.predict(make()) == expected  # the columns of its training
    assert np.array_equal(model.predict_proba(make(), text="body"), model.predict_proba(TEXTS))
    batches = list(model.predict_batches(make(), text="body"))
    assert pa.Table.from_batches(batches).column("text").to_pylist() == TEXTS
    confusion = model.evaluate(TEXTS, LABELS)["confusion_matrix"]
    assert trained.evaluate(make())["confusion_matrix"] == confusion
    assert model.evaluate(make(), LABELS, text="body")["confusion_matrix"] == confusion


def test_several_text_columns_are_joined():
    table = pa.table({"a": ["x", "z"] * 5, "b": ["y", "v"] * 5, "label": ["p", "n"] * 5})
    trained = train(table, text=["a", "b"])
    assert trained.config.data.text_columns == ("a", "b")
    assert trained.predict(table) == trained.predict(["x y", "z v"] * 5)
    assert trained.predict(table, text="a") == trained.predict(["x", "z"] * 5)


@pytest.mark.parametrize(
    "kind",
    [
        tuple,
        iter,
        lambda values: (value for value in values),
        lambda values: dict.fromkeys(range(24)) and dict(enumerate(values)).values(),
        np.array,
        lambda values: np.array(values, object),
        lambda values: pa.array(values, pa.large_string()),
        lambda values: pa.array(values).dictionary_encode(),
        lambda values: pa.array(values, pa.string_view()),
        lambda values: pa.DictionaryArray.from_arrays(
            list(range(24)), pa.array(values, pa.string_view())
        ),
        lambda values: pa.chunked_array([values[:5], values[5:]]),
        lambda values: dataset()["body" if values is TEXTS else "topic"],
        lambda values: pytest.importorskip("pandas").Series(values, dtype="category"),
        lambda values: pytest.importorskip("pandas").Index(values),
        lambda values: [value.encode() for value in values],
        lambda values: np.array(values, "S"),
        lambda values: pa.array([value.encode() for value in values]),
    ],
)
def test_any_column_of_texts(kind, model):
    assert same_weights(train(kind(TEXTS), kind(LABELS)), model)
    assert model.predict(kind(TEXTS)) == model.predict(TEXTS)


def test_bytes_are_utf8_in_training_and_in_prediction(model):
    assert model.predict(b"a joy") == model.predict("a joy")
    for refuse in (lambda text: train([text], ["x"]), lambda text: model.predict([text])):
        with pytest.raises(DataError, match="row 1: is not valid Unicode"):
            refuse(b"\xff")
    with pytest.raises(DataError, match="is not valid Unicode"):
        model.predict(b"\xff")
    replaced = train([b"good\xff", "bad\ud800"] * 5, ["p", "n"] * 5, errors="replace")
    assert replaced.labels == ("n", "p")


# --------------------------------------------------------------------------------- what is refused

NO_TEXTS = [
    ({"text": TEXTS}, "got a dict; pass a list, such as its value of 'text'"),
    ({"train": pa.table({})}, "got a dict; pass one of its tables: 'train'"),
    ({"a", "b"}, "got a set, which has no order; pass a list"),
    (None, "got None; pass a text, a list of texts"),
    (3, "got an int; pass a text"),
    (ft.train, "got a function; pass a text"),
    (np.array("a"), "got a numpy ndarray without a dimension"),
    ([("a", "x")], r"row 1: got a tuple where a text is expected; pass the texts as one list"),
    ([["a"]], "row 1: got a list where a text is expected"),
    ([{"text": "a"}], r"row 1: got a dict where .* such as \[row\['text'\] for row in rows\]"),
    (["a", 1.5], "row 2: got a float where a text is expected; pass strings"),
    (np.array([["a", "b"]]), "row 1: got a list where a text is expected"),
    (np.array([1, 2]), "the column holds int64, not texts"),
    (pa.array([[1]]), "the column holds list<.*>, not texts"),
]


@pytest.mark.parametrize(("texts", "reason"), NO_TEXTS)
def test_what_is_not_texts_is_refused_by_what_it_is(model, texts, reason):
    with pytest.raises(DataError, match=reason):
        model.predict(texts)
    with pytest.raises(DataError, match=reason):
        model.encoder.encode(texts)
    if texts is not None:
        with pytest.raises(DataError, match=f"train.* {reason}"):
            train(texts, ["x"])


@pytest.mark.parametrize("make", [arrow_table, pandas_frame, dataset])
def test_a_column_that_a_table_lacks(model, make):
    with pytest.raises(DataError, match=r"texts: there is no column 'text'; the columns are 'id'"):
        model.predict(make())
    with pytest.raises(DataError, match=r"no column 'bdy'; did you mean 'body'"):
        model.predict(make(), text="bdy")
    with pytest.raises(DataError, match=r"train: there is no column .* text= and label="):
        train(make(), text="body")
    with pytest.raises(DataError, match=r"the column holds int64, not texts"):
        model.predict(make(), text="id")
    with pytest.raises(ConfigError, match=r"names a column, and the texts are no table"):
        model.predict(["a"], text="body")
    with pytest.raises(DataError, match=r"texts: got .*; pass one of its columns"):
        model.encoder.encode(make())


def test_rows_that_are_not_in_memory_are_refused(model):
    class Lazy(Frame):
        def collect(self) -> Frame:
            return Frame()

    with pytest.raises(DataError, match="whose rows are not in memory; collect them"):
        model.predict(Lazy(), text="body")


def test_the_rows_are_given_once():
    assert train(data=arrow_table(), text="body", label="topic").labels == ("bad", "good")
    with pytest.raises(ConfigError, match="the rows are given twice"):
        train(TEXTS, LABELS, data=TEXTS)


@pytest.mark.parametrize(
    ("batches", "reason"),
    [(["a"], "batch 1: got a str; pass tables"), ("a", "got a str"), (3, "got an int")],
)
def test_batches_that_are_no_tables_are_refused(model, batches, reason):
    with pytest.raises(DataError, match=reason):
        list(model.predict_batches(batches))


# ------------------------------------------------------------------------------------------- labels


def as_text(*names: str) -> list[str]:
    return [*names] * 12


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ([1, 0], as_text("1", "0")),
        ([True, False], as_text("true", "false")),
        ([np.int8(-1), np.int64(2)], as_text("-1", "2")),
        (np.array([7, 3]), as_text("7", "3")),
        (np.array([True, False]), as_text("true", "false")),
        (pa.array([1, 0]), as_text("1", "0")),
    ],
)
def test_labels_that_are_numbers_or_booleans_come_back_as_text(labels, text):
    many = list(labels) * 12
    if isinstance(labels, np.ndarray):
        many = np.tile(labels, 12)
    trained = train(TEXTS, many)
    assert same_weights(trained, train(TEXTS, text))
    assert set(trained.labels) == set(text)
    assert trained.evaluate(TEXTS, many) == trained.evaluate(TEXTS, text)


@pytest.mark.parametrize("dtype", ["int64", "Int64", "category", "bool", "boolean", "int8"])
def test_labels_of_pandas(dtype):
    pandas = pytest.importorskip("pandas")
    column = pandas.Series([1, 0] * 12).astype(dtype)
    names = {"true", "false"} if "bool" in dtype else {"0", "1"}
    assert set(train(TEXTS, column).labels) == names
    frame = pandas.DataFrame({"text": TEXTS, "label": column})
    assert same_weights(train(frame), train(TEXTS, column))


def test_the_names_of_a_class_label():
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["pos", "neg"])}
    )
    rows = datasets.Dataset.from_dict({"text": TEXTS, "label": [0, 1] * 12}, features=features)
    assert train(rows).labels == ("pos", "neg")


LISTS_OF_TWO = [["a"], ["a", "b"], ["b"], []] * 6
LISTS = [["a"], ["a", "b"], ["b", "c"], []] * 6


@pytest.mark.parametrize(
    "kind",
    [
        list,
        lambda rows: [tuple(row) for row in rows],
        lambda rows: [set(row) for row in rows],
        lambda rows: [np.array(row, dtype=object) for row in rows],
        pa.array,
        lambda rows: [row[0] if len(row) == 1 else row for row in rows],
    ],
)
def test_lists_of_labels(kind):
    by_cells = train(TEXTS, ["a", "a|b", "b|c", "|"] * 6, loss="ova", label_separator="|")
    by_lists = train(TEXTS, kind(LISTS), loss="ova")
    assert by_lists.config == by_cells.config
    assert same_weights(by_lists, by_cells)
    assert by_lists.evaluate(TEXTS, kind(LISTS)) == by_cells.evaluate(
        TEXTS, ["a", "a|b", "b|c", "|"] * 6
    )


def test_lists_of_labels_with_the_separator_in_them():
    trained = train(TEXTS, [["a|b"], ["c", "d"]] * 12, loss="ova")
    assert trained.labels == ("a|b", "c", "d")
    assert trained.evaluate(TEXTS, [["a|b"], ["c", "d"]] * 12)["labels"] == ["a|b", "c", "d"]


@pytest.mark.parametrize("kind", [list, pa.array, lambda rows: np.array(rows, object)])
def test_dicts_of_probabilities(kind):
    by_cells = train(TEXTS, ["a=0.7|b=0.3", "b=1.0"] * 12, label_separator="|", soft_labels=True)
    by_dicts = train(TEXTS, kind([{"a": 0.7, "b": 0.3}, {"b": 1.0}] * 12))
    assert by_dicts.config == by_cells.config
    assert same_weights(by_dicts, by_cells)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([1, None], "row 2: column 'label' has no label"),
        ([float("nan"), "a"], "row 1: column 'label' has no label"),
        (["a", ""], "row 2: column 'label' has no label"),
        (["a", object()], "labels, row 2: got an object, which is neither text, a number"),
        ([1, "a"], "labels, row 2: got a str where other rows have an int"),
        (["a", "\ud800"], r"labels, row 2: .* is not valid Unicode"),
        ([{"a": 1.0}, 1.5], "labels, row 2: got a float where other rows have a dict"),
        ("ab", "labels: got a str where a list or a column is expected"),
        ({"x", "y"}, "labels: got a set, which has no order"),
        (pa.table({"a": [1, 0], "b": [0, 1]}), "labels: got a pyarrow Table; pass one of its col"),
        (["x"] * 3, "got 3 labels for 2 texts; pass one label for each text"),
    ],
)
def test_labels_that_are_refused_with_their_row(labels, reason):
    with pytest.raises(DataError, match=f"train.*{reason}"):
        train(["a", "b"], labels)


@pytest.mark.parametrize("make", [pa.table, lambda c: pytest.importorskip("pandas").DataFrame(c)])
def test_a_column_of_zeros_and_ones_for_each_label(make):
    columns = {"text": TEXTS, "a": [1, 1, 0, 0] * 6, "b": [0, 1, 1, 0] * 6}
    trained = train(make(columns), label=["a", "b"])
    by_lists = train(TEXTS, LISTS_OF_TWO, loss="ova")
    assert same_weights(trained, by_lists)
    assert (
        trained.evaluate(make(columns))["exact_match"]
        == (by_lists.evaluate(make(columns), label=("a", "b"))["exact_match"])
    )
    assert train(make({"text": TEXTS, "a": LABELS}), label=["a"]).labels == ("bad", "good")


def test_weights_from_a_column_or_a_list():
    table = pa.table({"text": TEXTS, "label": LABELS, "votes": [1.0, 2.0] * 12})
    by_list = train(TEXTS, LABELS, weights=[1, 2] * 12)
    assert same_weights(train(table, weights="votes"), by_list)
    assert same_weights(train(table, weight_column="votes"), by_list)
    assert same_weights(train(table, LABELS, weights=np.array([1, 2] * 12)), by_list)


# ------------------------------------------------------------------------------------ the arguments


def test_sections_of_settings():
    assert train(TEXTS, LABELS, data={"validation": 0.5}, text={"min_count": 2}).labels
    with pytest.raises(ConfigError, match=r"data\.separator: no such setting"):
        train(TEXTS, LABELS, data={"separator": ","})


@pytest.mark.parametrize("top_k", [1.5, 0, -1, "2", True, [1]])
def test_a_top_k_that_is_no_number_of_labels(model, top_k):
    batches = [pa.table({"text": ["a"]})]
    calls = [(model.predict, "a"), (model.rank, ["a"]), (model.predict_batches, batches)]
    for call, texts in calls:
        with pytest.raises(ConfigError, match="must be a whole number of at least 1"):
            call(texts, top_k)


@pytest.mark.parametrize("threshold", ["half", None, [0.5], True])
def test_a_threshold_that_is_no_number(model, threshold):
    with pytest.raises(ConfigError, match="must be a number"):
        model.predict("a", threshold=threshold)
    assert model.predict("a", threshold=np.float32(0.0)) == model.predict("a")


def test_a_threshold_shows_every_label_above_it_where_a_text_can_have_several():
    trained = train(TEXTS, [["a", "b"], ["c"]] * 12, loss="ova", epochs=20)
    text = TEXTS[0]
    proba = dict(zip(trained.labels, trained.predict_proba([text])[0].tolist(), strict=True))
    above = {label for label, p in proba.items() if p >= 0.3}
    assert above == {"a", "b"}
    assert set(trained.predict(text, threshold=0.3).labels) == above
    assert len(trained.predict(text, threshold=0.3, top_k=1).labels) == 1
    assert len(trained.predict(text).labels) == 1
    (batch,) = trained.predict_batches([pa.table({"text": [text]})], threshold=0.3)
    assert set(batch.column("labels")[0].as_py()) == above
