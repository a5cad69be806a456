"""Labels in columns of 0 and 1, in lists of 0 and 1, given twice, and joined in one cell."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fasttext_app
from fasttext_app.config.loading import resolve
from fasttext_app.config.schema import Config
from fasttext_app.data.bad_rows import BadRows
from fasttext_app.data.findings import JoinedLabels
from fasttext_app.data.labels import joined_cells
from fasttext_app.data.spec import open_source
from fasttext_app.errors import ConfigError, DataError, TrainingError
from fasttext_app.model.train_warnings import DataFinding, OneLabelAtATime
from tests.helpers import WORDS_ONLY, run_cli

NAMES = ["toxic", "insult", "threat"]
FLAGS = [(1, 0, 0), (0, 1, 1), (0, 0, 0), (1, 1, 1)]
CELLS = ["toxic", "insult|threat", "|", "toxic|insult|threat"]


def config_of(path: Path | str, **settings: object) -> Config:
    return resolve({"data": {"source": str(path), "label_columns": NAMES} | settings})


def cells_of(path: Path | str, **settings: object) -> list[str]:
    source = open_source(config_of(path, **settings).data)
    cells: list[str] = source.read("train")["label"].to_pylist()
    return cells


# --- a column for each label

KINDS = {
    "int": FLAGS,
    "bool": [tuple(map(bool, row)) for row in FLAGS],
    "float": [tuple(map(float, row)) for row in FLAGS],
    "text": [tuple("true" if flag else " False" for flag in row) for row in FLAGS],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["csv", "jsonl", "json", "parquet"])
def test_the_labels_of_a_row_are_the_columns_with_a_1(tmp_path, kind, form):
    rows = [
        {"text": f"text {number}", **dict(zip(NAMES, row, strict=True))}
        for number, row in enumerate(KINDS[kind])
    ]
    path = tmp_path / f"rows.{form}"
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif form == "csv":
        path.write_text(
            "\n".join(
                ",".join(map(str, row.values()))
                for row in [dict.fromkeys(rows[0], 0) | {name: name for name in rows[0]}, *rows]
            )
        )
    else:
        path.write_text(json.dumps(rows) if form == "json" else "\n".join(map(json.dumps, rows)))
    assert cells_of(path) == CELLS
    assert open_source(config_of(path).data).label_names == tuple(NAMES)


def test_columns_of_labels_are_multi_label(tmp_path):
    config = config_of("rows.csv")
    assert (config.data.label_separator, config.model.loss) == ("|", "ova")
    assert config_of("rows.csv", label_columns=["a|b", "c"]).data.label_separator == "\x1f"
    layers = {"data": {"label_columns": NAMES, "label_separator": ";"}, "model": {"loss": "hs"}}
    assert resolve(layers).data.label_separator == ";"
    assert resolve(layers).model.loss == "hs"
    again = resolve(Config().model_dump(), {"data": {"label_columns": NAMES}})
    assert again.data.label_separator == "|"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label_columns": ["a"]}, "needs two columns or more; for one, set data.label_column"),
        ({"label_columns": ["a", "b"], "soft_labels": True}, "cannot be combined with data.soft_l"),
        ({"label_columns": ["a;b", "c"], "label_separator": ";"}, "a name contains ';'; set data."),
    ],
)
def test_impossible_columns_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        resolve({"data": settings})


@pytest.mark.parametrize("value", ["2", "-1", "", "yes", "0.5"])
def test_another_value_is_refused_or_skipped(tmp_path, value):
    path = tmp_path / "rows.csv"
    path.write_text(f"text,toxic,insult,threat\na,1,0,0\nb,0,{value},1\nc,0,0,1\n")
    with pytest.raises(DataError) as error:
        cells_of(path)
    assert str(error.value) == (f"{path}:3: column 'insult' holds {value!r}; it must hold 0 or 1")
    bad_rows = BadRows()
    source = open_source(config_of(path, skip_bad=True).data, bad_rows=bad_rows)
    assert source.read("train")["label"].to_pylist() == ["toxic", "threat"]
    assert bad_rows.count == 1


def test_columns_that_cannot_be_labels_are_refused(tmp_path):
    path = tmp_path / "rows.parquet"
    columns = {name: pa.array([[1]]) for name in NAMES}
    pq.write_table(pa.table({"text": ["a"], **columns}), path)
    with pytest.raises(DataError, match=r"column 'toxic' holds list<.*>; it must hold 0 or 1"):
        cells_of(path)
    lines = tmp_path / "rows.txt"
    lines.write_text("__label__x a\n")
    with pytest.raises(DataError, match=r"has no columns, so data\.label_columns cannot be read"):
        cells_of(lines)


ROWS = [("you fool", (1, 1, 0)), ("kind words", (0, 0, 0)), ("I will come", (1, 0, 1))] * 8


@pytest.mark.slow
def test_a_model_learns_columns_of_labels(tmp_path):
    path = tmp_path / "rows.csv"
    lines = [f"{text},{','.join(map(str, flags))}\n" for text, flags in ROWS]
    path.write_text("text,toxic,insult,threat\n" + "".join(lines))
    options = [part for name in NAMES for part in ("--label-column", name)]
    words_only = ["--set", "text.maxn=0", "--threads", "1", "--epochs", "20", "--lr", "0.5"]
    run_cli("train", "--data", path, *options, *words_only, "--output", tmp_path / "model")
    model = fasttext_app.load(tmp_path / "model")
    assert list(model.labels) == NAMES
    predict = {text: set(model.predict(text, threshold=0.5).labels) for text, _ in ROWS}
    assert predict == {
        "you fool": {"toxic", "insult"},
        "kind words": set(),
        "I will come": {"toxic", "threat"},
    }
    assert model.evaluate(path)["exact_match"] == 1
    table = {"text": [text for text, _ in ROWS]}
    table |= {name: [flags[index] for _, flags in ROWS] for index, name in enumerate(NAMES)}
    settings = WORDS_ONLY | {"loss": "ova", "epochs": 20, "lr": 0.5, "seed": 0}
    in_memory = fasttext_app.train(pa.table(table), label=NAMES, **settings)
    assert list(in_memory.labels) == NAMES
    assert in_memory.evaluate(pa.table(table))["exact_match"] == 1


# --- lists of 0 and 1


def write_lists(path: Path, lists: pa.Array, names: list[str] | None = None, kind: str = "List"):
    table = pa.table({"text": [f"text {row}" for row in range(len(lists))], "label": lists})
    if names is not None:
        feature = {"feature": {"names": names, "_type": "ClassLabel"}, "_type": kind}
        metadata = {"huggingface": json.dumps({"info": {"features": {"label": feature}}})}
        table = table.replace_schema_metadata(metadata)
    pq.write_table(table, path)


@pytest.mark.parametrize("kind", [pa.int8(), pa.int64(), pa.float32(), pa.bool_()])
def test_lists_of_0_and_1_are_refused_without_names(tmp_path, kind):
    path = tmp_path / "rows.parquet"
    write_lists(path, pa.array(FLAGS, pa.list_(pa.int64())).cast(pa.list_(kind)))
    with pytest.raises(
        DataError, match="column 'label' holds lists of 0 and 1 without the names of"
    ):
        cells_of(path, label_columns=(), label_separator="|")
    lines = tmp_path / "rows.jsonl"
    rows = [{"text": "a", "label": row} for row in pq.read_table(path)["label"].to_pylist()]
    lines.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(
        DataError, match="column 'label' holds lists of 0 and 1 without the names of"
    ):
        cells_of(lines, label_columns=(), label_separator="|")
    with pytest.raises(DataError, match="holds lists of 0 and 1 without the names of"):
        fasttext_app.train(["a"] * 4, pq.read_table(path)["label"].to_pylist())


@pytest.mark.parametrize("kind", ["List", "Sequence"])
def test_lists_of_0_and_1_are_read_if_the_labels_have_names(tmp_path, kind):
    path = tmp_path / "rows.parquet"
    write_lists(path, pa.array(FLAGS), NAMES, kind)
    assert cells_of(path, label_columns=(), label_separator="|") == CELLS
    write_lists(path, pa.array(FLAGS, pa.list_(pa.int64(), 3)), NAMES, kind)
    assert cells_of(path, label_columns=(), label_separator="|") == CELLS
    source = open_source(config_of(path, label_columns=(), label_separator="|").data)
    assert source.label_names == NAMES


def test_lists_of_classes_are_read_by_name(tmp_path):
    import datasets

    lists = [[0, 2], [], [1]]
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": datasets.List(datasets.ClassLabel(names=NAMES)),
        }
    )
    dataset = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": lists}, features)
    dataset.to_parquet(str(tmp_path / "rows.parquet"))
    dataset.save_to_disk(str(tmp_path / "saved"))
    for path in ("rows.parquet", "saved"):
        cells = cells_of(tmp_path / path, label_columns=(), label_separator="|")
        assert cells == ["toxic|threat", "|", "insult"]
    write_lists(tmp_path / "bad.parquet", pa.array([[0], [1, 3]]), NAMES)
    with pytest.raises(DataError, match=r"row 2: label 3 has no name; the names go from 0 to 2"):
        cells_of(tmp_path / "bad.parquet", label_columns=(), label_separator="|")


def test_lists_of_numbers_are_labels(tmp_path):
    path = tmp_path / "rows.parquet"
    write_lists(path, pa.array([[1, 0], [7], [0, 7]]))
    assert cells_of(path, label_columns=(), label_separator="|") == ["1|0", "7", "0|7"]


# --- a label given twice


@pytest.mark.parametrize(
    ("name", "content", "where"),
    [
        ("a.csv", 'text,label\na,x\nb,"x| y|x"\n', "a.csv:3: "),
        (
            "a.jsonl",
            '{"text":"a","label":["x"]}\n{"text":"b","label":["x","y","x"]}\n',
            "a.jsonl:2",
        ),
        ("a.txt", "__label__x a\n__label__x __label__y b __label__x\n", "a.txt:2"),
    ],
)
def test_a_label_that_is_given_twice_is_refused(tmp_path, name, content, where):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(DataError) as error:
        cells_of(path, label_columns=(), label_separator="|")
    assert where in str(error.value)
    assert str(error.value).endswith(": the row has the label 'x' 2 times; give it once")


# --- several labels that would be learned as one


def joined_labels(model: fasttext_app.TextClassifier) -> list[JoinedLabels]:
    findings = [w.finding for w in model.training_warnings if isinstance(w, DataFinding)]
    return [finding for finding in findings if isinstance(finding, JoinedLabels)]


@pytest.mark.parametrize("separator", ["|", ";", ",", ", "])
def test_joined_labels_are_refused_by_train(tmp_path, separator):
    path = tmp_path / "rows.csv"
    labels = ["sport", "money", f"sport{separator}money", f"money{separator}sport"]
    path.write_text("text,label\n" + "".join(f'a,"{label}"\n' for label in labels * 5))
    with pytest.raises(TrainingError) as error:
        fasttext_app.train(path, **WORDS_ONLY)
    mark = separator.strip()
    assert str(error.value) == (
        f"{path}: 10 rows have labels such as {labels[3]!r}, whose parts are labels too; set "
        f'data.label_separator = {mark!r} (and model.loss = "ova") to learn the parts, or '
        "data.whole_labels = true to learn them as they are"
    )
    model = fasttext_app.train(path, **WORDS_ONLY, whole_labels=True)
    assert set(model.labels) == set(labels)
    assert not joined_labels(model)


@pytest.mark.parametrize(
    "labels",
    [
        {"arts, crafts": 9, "sport": 9},
        {"a|b": 9, "c|d": 9},
        {"a|": 9, "|a": 9, "a": 9},
        {"x": 5000, "y": 5000, "x|y": 3},
        {"news/sport": 3, "news": 3, "sport": 3},
    ],
)
def test_other_labels_are_not_taken_for_several(labels):
    assert joined_cells(labels) is None


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True), max_size=9))
def test_joined_labels_are_found_if_each_part_stands_alone(rows):
    rows_of = {"|".join(row): 1 for row in rows} | dict.fromkeys("abc", 1)
    found = joined_cells(rows_of)
    several = [cell for cell in rows_of if "|" in cell]
    assert (found is not None) == bool(several)
    if found is not None:
        assert (found.rows, found.are_labels) == (len(several), True)


def test_what_looks_like_several_labels_is_named(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("text,label\n" + "a,en|de\nb,de|en\nc,en|fr\nd,fr|de\n" * 5)
    model = fasttext_app.train(path, **WORDS_ONLY)
    (warning,) = joined_labels(model)
    assert str(warning).startswith(" rows have labels such as 'de|en'; if these are several", 2)


def test_a_loss_that_learns_one_label_at_a_time_is_named():
    texts, labels = ["a", "b", "c", "d"] * 5, [["x"], ["y"], ["x", "y"], ["y"]] * 5
    model = fasttext_app.train(texts, labels, **WORDS_ONLY, loss="softmax", validation=0.0)
    (warning,) = [w for w in model.training_warnings if isinstance(w, OneLabelAtATime)]
    assert str(warning) == (
        '5 of 20 training rows have several labels, of which model.loss = "softmax" learns one at '
        'a time; set model.loss = "ova" to learn all'
    )
    assert fasttext_app.train(texts, labels, **WORDS_ONLY).config.model.loss == "ova"
    one_each = [[label[0]] for label in labels]
    assert fasttext_app.train(texts, one_each, **WORDS_ONLY).config.model.loss == "softmax"
