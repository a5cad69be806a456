"""JSON in other forms than an object a line: arrays, pretty-printed, nested, lone surrogates."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fasttext_app.config.schema import DataConfig
from fasttext_app.data import jsonl
from fasttext_app.data.json_values import JsonError, json_values
from fasttext_app.data.spec import open_source, open_texts
from fasttext_app.errors import DataError

FIXTURES_ARE_FINE = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
ROWS = [("good fine", "p"), ('bad "poor" ] } , [ \n é😀 \\', "n"), ("", "p")]


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    """Write text to a file, and return its path."""

    def write(content: str, name: str = "a.json") -> Path:
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        return path

    return write


def rows_of(path: Path, **settings: object) -> list[tuple[str, str]]:
    config = DataConfig.model_validate({"source": str(path)} | settings)
    table = open_source(config).read("train")
    return list(zip(*table.to_pydict().values(), strict=True))


def blocks(text: str, size: int) -> Callable[[], str]:
    parts = [text[start : start + size] for start in range(0, len(text), size)]
    stream: Iterator[str] = iter([*parts, ""])
    return lambda: next(stream)


# --- arrays and objects on several lines


def layouts(objects: list[Any]) -> dict[str, str]:
    return {
        "array": json.dumps(objects),
        "ascii": json.dumps(objects, ensure_ascii=True),
        "pretty": json.dumps(objects, indent=1, ensure_ascii=False),
        "array of lines": "[\n" + ",\n".join(map(json.dumps, objects)) + "\n]\n",
        "objects": "\n".join(json.dumps(value, indent=2) for value in objects),
        "arrays": json.dumps(objects[:1]) + "\n\n" + json.dumps(objects[1:], indent="\t"),
        "blank": " \n\n" + json.dumps(objects) + "\n  \n",
    }


@pytest.mark.parametrize("layout", layouts([]))
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_json_is_read_in_every_layout(file, layout, name):
    objects = [{"id": 1, "text": text, "label": label, "more": [{}]} for text, label in ROWS]
    path = file(layouts(objects)[layout], name)
    assert rows_of(path) == ROWS
    batches = open_texts(DataConfig(source=str(path)))
    assert [row["text"] for batch in batches for row in batch.to_pylist()] == [
        text for text, _ in ROWS
    ]


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(
    values=st.lists(
        st.recursive(
            st.none()
            | st.integers()
            | st.booleans()
            | st.text(alphabet='a"\\[]{},é\n', max_size=8),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.text(alphabet="ab", max_size=2), inner, max_size=3)
            ),
            max_leaves=8,
        ).map(lambda value: {"value": value}),
        max_size=6,
    ),
    indent=st.sampled_from([None, 0, 3]),
    size=st.integers(1, 50),
)
def test_values_do_not_depend_on_the_size_of_blocks(values, indent, size):
    for text in layouts(values).values():
        assert [value for _, value in json_values(blocks(text, size))] == values
    for line, value in json_values(blocks(json.dumps(values, indent=indent), size)):
        text = json.dumps(values, indent=indent)
        assert json.dumps(value, indent=indent).split("\n")[0] in text.split("\n")[line - 1]


@pytest.mark.parametrize("size", [1, 7, 1 << 16])
@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ('[{"a": 1},\n{"a": 2}', 2, "the array does not end"),
        ('[{"a": 1}\n{"a": 2}]', 2, "expected ',' or ']'"),
        ('[{"a": 1},\n\n{"a" 2}]' + " " * 99, 3, "Expecting ':' delimiter"),
        ('[{"a": 1},\n{"a": tru', 2, "Expecting value"),
        ('[\n{"a": "never closed}\n]', 2, "Invalid control character at"),
        ('[{"a": 1},\n]', 2, "Expecting value"),
        ("[" * 100_000, 1, "maximum recursion depth"),
    ],
)
def test_malformed_json_is_named_with_its_line(text, line, problem, size):
    with pytest.raises(JsonError) as error:
        list(json_values(blocks(text, size)))
    assert str(error.value).startswith(problem)
    assert error.value.line == line


def test_malformed_json_is_found_without_reading_on():
    text = '[{"a": 1},\n{"b" 2},\n' + '{"c": 3},' * 9
    stream = iter([text, " " * 1000])
    with pytest.raises(JsonError):
        list(json_values(lambda: next(stream)))
    assert next(stream)


def test_errors_name_the_line_on_which_an_object_begins(file):
    path = file('[\n{"text": "a",\n "label": "x"},\n\n{"text": 5, "label": "y"}]')
    with pytest.raises(DataError, match=r"a\.json:5: field 'text' is int where str is expected"):
        rows_of(path)
    with pytest.raises(
        DataError, match=r"a\.json:2: the JSON is malformed: the array does not end"
    ):
        rows_of(file('[{"text": "a", "label": "x"}\n'))


# --- nested fields

NESTED = [
    {"doc": {"text": "good", "title": "A"}, "meta": {"label": {"name": "p", "id": 1}}},
    {"doc": {"text": "bad", "title": "B"}, "meta": {"label": {"name": "n", "id": 0}}},
]
PATHS = {"text_columns": ["doc.title", "doc.text"], "label_column": "meta.label.name"}


@pytest.mark.parametrize("form", ["lines", "array", "parquet", "datasets"])
def test_a_column_can_be_a_path(file, tmp_path, form):
    path = tmp_path / "a.parquet"
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(NESTED), path)
    elif form == "datasets":
        import datasets

        path = tmp_path / "saved"
        datasets.Dataset.from_list(NESTED).save_to_disk(str(path))
    elif form == "array":
        path = file(json.dumps(NESTED))
    else:
        path = file("".join(json.dumps(row) + "\n" for row in NESTED))
    assert rows_of(path, **PATHS) == [("A good", "p"), ("B bad", "n")]
    assert rows_of(path, **PATHS | {"label_column": "meta.label.id"})[0] == ("A good", "1")
    with pytest.raises(DataError, match=r"no column 'doc\.txt'; did you mean 'doc\.text'\?"):
        rows_of(path, text_columns=["doc.txt"], label_column="meta.label.name")


def test_class_names_of_an_inner_field_are_read(tmp_path):
    import datasets

    features = datasets.Features(
        {"doc": {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["n", "p"])}}
    )
    rows = [{"doc": {"text": "good", "label": 1}}, {"doc": {"text": "bad", "label": 0}}]
    dataset = datasets.Dataset.from_list(rows, features=features)
    dataset.save_to_disk(str(tmp_path / "saved"))
    dataset.to_parquet(str(tmp_path / "a.parquet"))
    for name in ("saved", "a.parquet"):
        paths = {"text_columns": ["doc.text"], "label_column": "doc.label"}
        assert rows_of(tmp_path / name, **paths) == [("good", "p"), ("bad", "n")]


def test_a_name_with_a_dot_precedes_a_path(file, tmp_path):
    rows = [{"doc.text": "a", "doc": {"text": "b"}, "label": "x"}]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    assert rows_of(path, text_columns=["doc.text"]) == [("a", "x")]
    assert rows_of(file(json.dumps(rows)), text_columns=["doc.text"]) == [("a", "x")]
    lines = file(json.dumps(rows[0]) + "\n", "a.jsonl")
    assert rows_of(lines, text_columns=["doc.text"]) == [("a", "x")]


@pytest.mark.parametrize("array", [False, True])
def test_a_missing_inner_object_is_a_missing_value(file, array):
    rows = [*NESTED, {"doc": None, "meta": {"label": {"name": "n"}}}]
    text = json.dumps(rows) if array else "\n".join(map(json.dumps, rows))
    path = file(text)
    line = 1 if array else 3
    with pytest.raises(DataError, match=rf"a\.json:{line}: column 'doc\.title' has no value"):
        rows_of(path, **PATHS)
    assert rows_of(path, errors="replace", **PATHS)[-1] == ("", "n")


def test_a_field_of_something_else_than_an_object_is_refused(file):
    rows = [*NESTED, {"doc": "text", "meta": {"label": {"name": "n"}}}]
    path = file("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=r"a\.json:3: field 'doc' is str where dict is expected"):
        rows_of(path, **PATHS)


# --- labels that are whole numbers, written as floats


@pytest.mark.parametrize("form", ["lines", "array", "parquet"])
def test_whole_floats_are_labels(file, tmp_path, form):
    rows = [{"text": "a", "label": 1.0}, {"text": "b", "label": -20.0}]
    path = tmp_path / "a.parquet"
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path = file(json.dumps(rows) if form == "array" else "\n".join(map(json.dumps, rows)))
    assert rows_of(path) == [("a", "1"), ("b", "-20")]


@pytest.mark.parametrize(
    ("label", "problem"),
    [
        (0.5, "column 'label' holds the number 0.5; a label is a string or a whole number"),
        (float("inf"), "column 'label' holds the number inf; "),
        (1e300, "column 'label' holds the number 1e+300; "),
        (float("nan"), "column 'label' has no label"),
        (None, "column 'label' has no label"),
    ],
)
def test_other_floats_are_not(tmp_path, label, problem):
    path = tmp_path / "a.parquet"
    labels = pa.array([1.0, label], pa.float64())
    pq.write_table(pa.table({"text": ["a", "b"], "label": labels}), path)
    with pytest.raises(DataError) as error:
        rows_of(path)
    assert str(error.value).startswith(f"{path}, row 2: {problem}")


# --- halves of surrogate pairs

ESCAPES = st.lists(
    st.sampled_from(
        [
            "\\ud83d",
            "\\ude00",
            "\\uD83D",
            "\\uDE00",
            "\\u00e9",
            "\\\\",
            "\\n",
            "ud83d",
            "a",
            " ",
            ",",
        ]
    ),
    max_size=12,
).map("".join)


@pytest.mark.slow
@FIXTURES_ARE_FINE
@example(escapes=["\\\\ud83d\\ude00"], array=False)  # a backslash, and half of a pair
@given(escapes=st.lists(ESCAPES, min_size=1, max_size=5), array=st.booleans())
@pytest.mark.parametrize("block", [64, 1 << 16])
def test_halves_of_pairs_are_replaced(file, monkeypatch, escapes, array, block):
    texts = [
        json.loads(f'"{text}"').encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        for text in escapes
    ]
    rows = [f'{{"label": "x", "text": "{text}"}}' for text in escapes]
    path = file("[" + ", ".join(rows) + "]" if array else "\n".join(rows), "a.jsonl")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonl, "PYTHON_BLOCK_BYTES", block)
        assert [text for text, _ in rows_of(path, errors="replace")] == texts


@pytest.mark.parametrize("array", [False, True])
def test_half_a_pair_is_refused_with_its_line(file, array):
    row = '{"text": "\\ud83d", "label": "x"}'
    path = file(f"[\n{row}\n]" if array else f'{{"text": "a", "label": "x"}}\n{row}')
    with pytest.raises(DataError, match=r"a\.json:2: field 'text' has half of a surrogate pair; "):
        rows_of(path)
