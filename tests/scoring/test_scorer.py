"""``Scorer``: every kind of table comes back with the predictions of ``predict``, row for row."""

from __future__ import annotations

import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import fasttext_app as ft
from fasttext_app.core.objects import is_missing
from fasttext_app.errors import ArtifactError, ConfigError, DataError
from fasttext_app.scoring import Scorer

TEXTS = ["great fun", "dull and slow", "a joy to watch", None, "", "a waste of time", "great"]
ROWS: dict[str, Any] = {"id": list(range(len(TEXTS))), "text": TEXTS}


@pytest.fixture(scope="module")
def path(model_path) -> Path:
    return model_path


@pytest.fixture(scope="module")
def expected(path) -> dict[str, list[Any]]:
    predictions = ft.load(path).predict(TEXTS, nulls="null")
    return {
        "label": [None if p is None else p.labels[0] for p in predictions],
        "probability": [None if p is None else p.probabilities[0] for p in predictions],
    }


def as_pandas(columns):
    return pytest.importorskip("pandas").DataFrame(columns, index=[3, 3, 1, 0, 7, 8, 9])


def as_polars(columns):
    return pytest.importorskip("polars").DataFrame(columns)


def columns_of(table: Any) -> dict[str, list[Any]]:
    """Return the columns of any kind of table as lists, with None for NaN."""
    if isinstance(table, dict):
        columns = {name: list(values) for name, values in table.items()}
    elif hasattr(table, "to_pydict"):
        columns = table.to_pydict()
    else:
        columns = {name: table[name].to_list() for name in table.columns}
    return {
        name: [None if is_missing(value) else value for value in values]
        for name, values in columns.items()
    }


FORMS = {
    "lists": lambda columns: columns,
    "arrays": lambda columns: {k: np.array(v, object) for k, v in columns.items()},
    "pyarrow table": pa.table,
    "chunks": lambda columns: pa.concat_tables(
        [pa.table(columns).slice(0, 3), pa.table(columns).slice(3)]
    ),
    "record batch": pa.record_batch,
    "slice": lambda columns: pa.record_batch(
        {k: ["x" if k == "text" else 0, *v] for k, v in columns.items()}
    ).slice(1),
    "pandas": as_pandas,
    "polars": as_polars,
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_table_comes_back_in_its_form_with_the_predictions(form, path, expected):
    table = form(ROWS)
    scored = Scorer(path, nulls="null")(table)
    assert type(scored) is type(table)
    assert columns_of(scored) == ROWS | expected
    if hasattr(table, "index"):
        assert scored.index.equals(table.index)
    assert columns_of(table) == ROWS  # as it was


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_several_labels_are_lists(form, path):
    scored = columns_of(Scorer(path, keep="id", nulls="empty", top_k=2)(form(ROWS)))
    assert list(scored) == ["id", "labels", "probabilities"]
    predictions = ft.load(path).predict(TEXTS, top_k=2, nulls="empty")
    assert list(map(tuple, scored["labels"])) == [p.labels for p in predictions]
    assert list(map(tuple, scored["probabilities"])) == [p.probabilities for p in predictions]


def test_thresholds_leave_out_labels(path, expected):
    threshold = sorted(filter(None, expected["probability"]))[-1]
    for limit, top_k in [(threshold, None), ("fitted", 1), (threshold, 1)]:
        predictions = ft.load(path).predict(TEXTS, top_k, limit, nulls="null")
        scored = Scorer(path, nulls="null", threshold=limit, top_k=top_k)(pa.table(ROWS))
        if top_k is None:
            assert scored["labels"].to_pylist() == [p and list(p.labels) for p in predictions]
        else:
            first = [p.labels[0] if p and p.labels else None for p in predictions]
            assert scored["label"].to_pylist() == first


def test_one_label_has_its_probability_in_every_row(path):
    column = ft.load(path).labels.index("good")
    proba = ft.load(path).predict_proba([text or "" for text in TEXTS])[:, column].tolist()
    threshold = sorted(proba)[2]
    scored = Scorer(path, label="good", threshold=threshold, nulls="null")(pa.table(ROWS))
    reaches = [text is not None and p >= threshold for p, text in zip(proba, TEXTS, strict=True)]
    assert scored["label"].to_pylist() == ["good" if r else None for r in reaches]
    assert scored["probability"].to_pylist() == [
        None if text is None else p for p, text in zip(proba, TEXTS, strict=True)
    ]


def test_a_missing_text_is_an_error_by_default(path):
    with pytest.raises(DataError, match="row 4: there is no text"):
        Scorer(path)(pa.table(ROWS))


@pytest.mark.parametrize("top_k", [1, 2, None])
@pytest.mark.parametrize("texts", [pa.nulls(0), pa.nulls(2), pa.array([], pa.large_string())])
def test_tables_without_texts_keep_the_schema(top_k, texts, path):
    scorer = Scorer(path, nulls="null", top_k=top_k)
    scored = scorer(pa.table({"text": texts}))
    assert scored.select(scorer.schema.names).schema == scorer.schema
    assert scored[scorer.schema.names[0]].to_pylist() == [None] * len(texts)


def test_a_name_that_both_have_is_refused_or_prefixed(path):
    rows = {"text": ["great"], "label": ["mine"]}
    with pytest.raises(DataError, match=r"column 'label': .*prefix="):
        Scorer(path)(rows)
    assert Scorer(path, prefix="ft_")(rows)["label"] == ["mine"]
    assert list(Scorer(path, prefix="ft_")(rows)) == ["text", "label", "ft_label", "ft_probability"]
    assert list(Scorer(path, keep=["text"])(rows)) == ["text", "label", "probability"]


def test_bad_batches_are_named(path):
    scorer = Scorer(path)
    for batch in ("a text", ["a", "b"], None, 3):
        with pytest.raises(DataError, match="batch: got"):
            scorer(batch)
    with pytest.raises(DataError, match="batched=True"):
        scorer({"text": "one text"})
    with pytest.raises(DataError, match="'body'"):
        Scorer(path, "body")({"text": ["a"]})
    with pytest.raises(DataError, match="no column 'idd'; did you mean 'id'"):
        Scorer(path, keep=["idd"])({"id": [1], "text": ["a"]})


def test_bad_arguments_are_named(path, tmp_path):
    for arguments in ({"top_k": 0}, {"nulls": "drop"}, {"label": "good", "top_k": 2}):
        with pytest.raises(ConfigError, match=next(reversed(arguments))):
            Scorer(path, **arguments)
    with pytest.raises(ArtifactError, match="no such model"):
        Scorer(tmp_path / "none")
    with pytest.raises(ConfigError, match="model"):
        Scorer(ft.load(path))  # type: ignore[arg-type]  # a model in memory does not travel
    with pytest.raises(ConfigError, match="goood"):
        Scorer(path, label="goood").check()


def test_it_is_small_to_pickle_also_after_it_was_used(path, expected):
    scorer = Scorer(path, nulls="null")
    scorer(ROWS)
    pickled = pickle.dumps(scorer)
    assert len(pickled) < 2000
    assert pickle.loads(pickled)(ROWS) == ROWS | expected


def test_threads_load_a_model_once(path):
    scorer, models = Scorer(path, prefix="x_"), []
    threads = [threading.Thread(target=lambda: models.append(scorer.predictor)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, models))) == 1


def test_a_model_that_was_replaced_is_refused(path, tmp_path):
    ft.load(path).save(tmp_path / "model")
    scorer = Scorer(tmp_path / "model")
    ft.load(path).quantize().save(tmp_path / "model")
    with pytest.raises(ArtifactError, match="not the model that this job started with"):
        scorer({"text": ["a"]})
    assert Scorer(tmp_path / "model")({"text": ["great"]})
