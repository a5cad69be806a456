"""Predictions on their way out: every format can be read back, and a file is whole or not there."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttext_app.core.arrow import python_strings, strings_from_buffers
from fasttext_app.errors import DataError
from fasttext_app.inference import writers
from fasttext_app.inference.predictions import PREDICTIONS
from fasttext_app.inference.writer_kernels import number_strings
from fasttext_app.inference.writers import FORMATS, format_for, write_predictions, write_table
from tests.helpers import code_path

ODD_TEXTS = [
    "plain",
    "",
    'a "quoted", text',
    "two\nlines",
    "a\rb",
    "c\r\nd",
    "tab\there",
    "é 😀 \u2028",
]

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=15)
NAME = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6)
PROBABILITY = st.integers(0, 1000).map(lambda n: n / 1000)


def made(texts: list[str], labels: list[list[str]], values: list[list[float]]) -> pa.RecordBatch:
    columns = zip((texts, labels, values), PREDICTIONS.types, strict=True)
    return pa.record_batch([pa.array(*column) for column in columns], schema=PREDICTIONS)


def batch_of(texts: list[str]) -> pa.RecordBatch:
    return made(texts, [["x", "y"] for _ in texts], [[0.75, 0.25] for _ in texts])


def as_text(batches: list[pa.RecordBatch], form: str, top_k: int = 2) -> str:
    """Write to standard output, and return what came out."""
    stdout = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stdout)
        rows = write_predictions(iter(batches), None, form, top_k)
    assert rows == sum(len(batch) for batch in batches)
    return stdout.getvalue()


@st.composite
def predicted(draw: st.DrawFn) -> pa.RecordBatch:
    ranked = st.lists(st.tuples(NAME, PROBABILITY), max_size=3)
    rows = draw(st.lists(st.tuples(TEXT | st.sampled_from(ODD_TEXTS), ranked), max_size=6))
    return made(
        [text for text, _ in rows],
        [[name for name, _ in found] for _, found in rows],
        [[value for _, value in found] for _, found in rows],
    )


BATCHES = st.lists(predicted(), max_size=3)
UNHURRIED = settings(deadline=None, max_examples=50)


def joined(batches: list[pa.RecordBatch]) -> list[tuple[str, list[str], list[float]]]:
    return [tuple(row.values()) for batch in batches for row in batch.to_pylist()]


# --- what was written can be read back


@pytest.mark.slow
@UNHURRIED
@given(BATCHES)
def test_jsonl_gives_every_row_back(batches):
    lines = as_text(batches, "jsonl").split("\n")
    assert lines.pop() == ""
    assert [tuple(json.loads(line).values()) for line in lines] == joined(batches)
    for line in lines:
        assert list(json.loads(line)) == ["text", "labels", "probabilities"]


@pytest.mark.slow
@UNHURRIED
@given(BATCHES)
def test_csv_gives_every_row_back(batches):
    written = as_text(batches, "csv", top_k=3)
    header, *rows = csv.reader(io.StringIO(written, newline=""), strict=True)
    names = ["label_1", "probability_1", "label_2", "probability_2", "label_3", "probability_3"]
    assert header == ["text", *names]
    assert len(rows) == len(joined(batches))
    for row, (text, labels, values) in zip(rows, joined(batches), strict=True):
        assert row[0] == text
        assert [name for name in row[1::2] if name] == labels
        assert [float(value) for value in row[2::2] if value] == values


@pytest.mark.slow
@UNHURRIED
@given(batches=BATCHES)
def test_parquet_gives_every_row_back(tmp_path_factory, batches):
    path = tmp_path_factory.mktemp("out") / "rows.parquet"
    rows = write_predictions(iter(batches), path, "parquet", 3)
    table = pq.read_table(path)
    known = [] if batches else ["known"]
    assert table.schema.names == ["text", "labels", "probabilities", *known]
    assert len(table) == rows
    assert list(zip(*table.to_pydict().values(), strict=True)) == joined(batches)


@pytest.mark.slow
@UNHURRIED
@given(BATCHES)
def test_text_and_fasttext_have_one_line_a_row(batches):
    for form in ("text", "fasttext"):
        lines = as_text(batches, form).split("\n")
        assert lines.pop() == ""
        assert len(lines) == len(joined(batches))


KEPT = {
    'name, "1"': st.none() | TEXT | st.sampled_from(ODD_TEXTS),
    "ä": st.none() | st.integers(-5, 5),
    "z": st.none() | st.floats(width=32),
    "flag": st.booleans(),
}
ANY_PROBABILITY = st.floats(0, 1) | st.integers(0, 2_000_000).map(lambda n: n / 2_000_000)


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(st.data(), st.sampled_from(["jsonl", "csv"]), st.booleans())
def test_compiled_lines_are_those_of_json_and_csv(data, form, one_label):
    rows = data.draw(st.integers(1, 8))
    sizes = st.just(1) if one_label else st.integers(0, 3)
    columns = [data.draw(st.lists(kind, min_size=rows, max_size=rows)) for kind in KEPT.values()]
    labels, values = [], []
    for size in data.draw(st.lists(sizes, min_size=rows, max_size=rows)):
        labels.append(data.draw(st.lists(TEXT | NAME, min_size=size, max_size=size)))
        values.append(data.draw(st.lists(ANY_PROBABILITY, min_size=size, max_size=size)))
    texts = data.draw(st.lists(TEXT | st.sampled_from(ODD_TEXTS), min_size=rows, max_size=rows))
    types = (pa.string(), pa.int64(), pa.float64(), pa.bool_())
    kept = [pa.array(column, type_) for column, type_ in zip(columns, types, strict=True)]
    names, arrays = [*KEPT, *PREDICTIONS.names], [*kept, *made(texts, labels, values).columns]
    if form == "jsonl":
        known = data.draw(st.lists(ANY_PROBABILITY, min_size=rows, max_size=rows))
        names, arrays = [*names, "known"], [*arrays, pa.array(known, pa.float64())]
    batch = pa.record_batch(arrays, names=names)
    with pytest.MonkeyPatch.context() as patch, code_path(compiled=True):
        patch.setattr(writers, "MANY_ROWS", 1)
        compiled = as_text([batch, batch.slice(1)], form, top_k=3)
    assert compiled == as_text([batch, batch.slice(1)], form, top_k=3)


NUMBERS = st.floats() | st.integers(-(10**17), 10**17).map(float) | st.floats(0, 1)
COLUMNS = {
    pa.string(): TEXT | st.sampled_from(ODD_TEXTS),
    pa.large_string(): TEXT,
    pa.dictionary(pa.int32(), pa.string()): st.sampled_from(ODD_TEXTS),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.uint8(): st.integers(0, 255),
    pa.bool_(): st.booleans(),
    pa.float64(): NUMBERS,
    pa.float32(): st.floats(width=32),
    pa.list_(pa.string()): st.lists(st.none() | TEXT, max_size=3),
    pa.list_(pa.float64()): st.lists(st.none() | NUMBERS, max_size=3),
    pa.struct({"a": pa.float64(), "b": pa.string()}): st.fixed_dictionaries(
        {"a": NUMBERS, "b": TEXT}
    ),
    pa.timestamp("us"): st.datetimes(),
    pa.null(): st.none(),
}


@settings(deadline=None, max_examples=40)
@given(st.data(), st.sampled_from(["jsonl", "csv"]))
def test_compiled_tables_are_those_of_json_and_csv(tmp_path_factory, data, form):
    """Numbers keep all of their digits."""
    rows = data.draw(st.integers(1, 8))
    columns = [
        pa.array(data.draw(st.lists(st.none() | kind, min_size=rows, max_size=rows)), type_)
        for type_, kind in COLUMNS.items()
    ]
    batch = pa.record_batch(columns, names=[f'"{type_}"' for type_ in COLUMNS])
    path = tmp_path_factory.mktemp("out") / "rows"

    def written() -> bytes:
        write_table([batch, batch.slice(1)], path, form, batch.schema, safe_csv=False)
        return path.read_bytes()

    with pytest.MonkeyPatch.context() as patch, code_path(compiled=True):
        patch.setattr(writers, "MANY_ROWS", 1)
        compiled = written()
    assert compiled == written()
    if form == "jsonl":
        for line in compiled.splitlines():
            json.loads(line, parse_constant=pytest.fail)


@settings(deadline=None, max_examples=300)
@given(st.lists(ANY_PROBABILITY, min_size=1, max_size=50))
def test_compiled_numbers_are_those_of_python(values):
    def strings(as_json: bool) -> list[str]:
        column = strings_from_buffers(*number_strings(np.array(values), as_json))
        return python_strings(column)

    assert strings(False) == [f"{value:.6f}" for value in values]
    assert strings(True) == [json.dumps(round(value, 6)) for value in values]


def test_the_forms_of_a_row():
    rows = made(["two\nlines, 'quoted'", ""], [["a b", "c"], []], [[0.75, 1e-7], []])
    assert as_text([rows], "text") == "a b 0.7500, c 0.0000\ttwo lines, 'quoted'\n-\t\n"
    assert as_text([rows], "fasttext") == "__label__a-b 0.75 __label__c 1e-07\n\n"
    assert as_text([rows], "jsonl").split("\n")[0] == (
        '{"text": "two\\nlines, \'quoted\'", "labels": ["a b", "c"], "probabilities": [0.75, 0.0]}'
    )
    assert as_text([rows], "csv") == (
        "text,label_1,probability_1,label_2,probability_2\n"
        "\"two\nlines, 'quoted'\",a b,0.750000,c,0.000000\n"
        ",,,,\n"
    )
    one = made(["t"], [["x"]], [[0.5]])
    assert as_text([one], "csv", top_k=1) == "text,label,probability\nt,x,0.500000\n"


def test_non_ascii_text_is_written_as_it_is():
    for form in ("text", "jsonl", "csv"):
        assert "é 😀" in as_text([batch_of(["é 😀"])], form)


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "parquet"])
def test_no_rows_and_empty_batches(form):
    header = "text,label_1,probability_1,label_2,probability_2\n" if form == "csv" else ""
    assert as_text([], form) == header
    assert as_text([batch_of([])], form) == header


def test_arrow_reads_the_csv_too(tmp_path):
    """A carriage return is quoted as well, which Python's writer does by itself from 3.13 on."""
    path = tmp_path / "rows.csv"
    write_predictions([batch_of(ODD_TEXTS)], path, "csv", 2)
    options = arrow_csv.ParseOptions(newlines_in_values=True)
    convert = arrow_csv.ConvertOptions(strings_can_be_null=False)
    table = arrow_csv.read_csv(path, parse_options=options, convert_options=convert)
    assert table["text"].to_pylist() == ODD_TEXTS
    assert b"\r\n" not in path.read_bytes().replace(b"c\r\nd", b"")


def test_files_hold_what_standard_output_gets(tmp_path):
    batches = [batch_of(ODD_TEXTS), batch_of(["more"])]
    for form in ("text", "jsonl", "csv", "fasttext"):
        path = tmp_path / f"rows.{form}"
        assert write_predictions(iter(batches), path, form, 2) == len(ODD_TEXTS) + 1
        assert path.read_bytes().decode() == as_text(batches, form)


def test_rows_are_passed_on_batch_by_batch(monkeypatch):
    """So that answers follow the lines typed, and the first rows of a long file come at once."""
    flushed = []

    class Output(io.StringIO):
        def flush(self) -> None:
            flushed.append(self.getvalue().count("\n"))

    def batches() -> Iterator[pa.RecordBatch]:
        yield batch_of(["one"])
        assert flushed[-1] == 1
        yield batch_of(["two", "three"])

    monkeypatch.setattr(sys, "stdout", Output())
    write_predictions(batches(), None, "text", 1)
    assert flushed[-1] == 3


# --- the format


@pytest.mark.parametrize(
    ("output", "chosen", "form"),
    [
        (None, None, "text"),
        (None, "jsonl", "jsonl"),
        ("a.jsonl", None, "jsonl"),
        ("a.ndjson", None, "jsonl"),
        ("a.CSV", None, "csv"),
        ("a.parquet", None, "parquet"),
        ("a.txt", None, "text"),
        ("a", None, "text"),
        ("a.csv", "fasttext", "fasttext"),
        ("a.parquet", "text", "text"),
    ],
)
def test_the_format_is_the_chosen_one_or_that_of_the_name(output, chosen, form):
    assert format_for(Path(output) if output else None, chosen) == form


def test_parquet_needs_a_file():
    with pytest.raises(DataError, match=r"^--format parquet needs --output FILE$"):
        format_for(None, "parquet")


# --- a file is whole or not there


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("before", [None, "what was there"])
def test_a_failure_leaves_what_was_there(tmp_path, form, before):
    path = tmp_path / "rows.out"
    if before is not None:
        path.write_text(before)

    def batches() -> Iterator[pa.RecordBatch]:
        yield batch_of(["one"])
        raise DataError("file.csv:3: a bad row")

    with pytest.raises(DataError, match="a bad row"):
        write_predictions(batches(), path, form, 2)
    assert [file.name for file in tmp_path.iterdir()] == ([] if before is None else ["rows.out"])
    assert before is None or path.read_text() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interruption_leaves_nothing_behind(tmp_path, error):
    def batches() -> Iterator[pa.RecordBatch]:
        yield batch_of(["one"])
        raise error

    with pytest.raises(error):
        write_predictions(batches(), tmp_path / "rows.csv", "csv", 2)
    assert not list(tmp_path.iterdir())


def test_an_earlier_file_is_there_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("earlier")

    def batches() -> Iterator[pa.RecordBatch]:
        yield batch_of(["one"])
        assert path.read_text() == "earlier"

    write_predictions(batches(), path, "jsonl", 2)
    assert json.loads(path.read_text())["text"] == "one"
    assert [file.name for file in tmp_path.iterdir()] == ["rows.jsonl"]


@pytest.mark.parametrize("form", FORMATS)
def test_places_that_cannot_be_written(tmp_path, form):
    with pytest.raises(DataError, match=r"none/rows: there is no folder .*none$"):
        write_predictions([batch_of(["one"])], tmp_path / "none" / "rows", form, 2)
    with pytest.raises(DataError, match="is a folder; name a file"):
        write_predictions([batch_of(["one"])], tmp_path, form, 2)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk(form):
    with pytest.raises(DataError, match=r"^/dev/full: cannot be written: .*No space left"):
        write_predictions([batch_of(["one"])], Path("/dev/full"), form, 2)


def test_an_error_of_another_file_is_not_blamed_on_the_output(tmp_path):
    def batches() -> Iterator[pa.RecordBatch]:
        raise PermissionError(13, "Permission denied", "input.csv")
        yield

    with pytest.raises(PermissionError, match=r"input\.csv"):
        write_predictions(batches(), tmp_path / "rows.csv", "csv", 1)


def test_a_named_pipe_is_written_to_directly(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    write_predictions([batch_of(["one"])], pipe, "fasttext", 2)
    reader.join()
    assert got == ["__label__x 0.75 __label__y 0.25\n"]
    assert pipe.is_fifo()


def test_closed_standard_output_is_an_error(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(DataError, match="standard output is closed; name a file with --output"):
        write_predictions([batch_of(["one"])], None, "text", 1)


def test_parquet_types(tmp_path):
    path = tmp_path / "rows.parquet"
    write_predictions([batch_of(["one"]), batch_of([])], path, "parquet", 2)
    assert pq.read_schema(path).types == [
        pa.string(),
        pa.list_(pa.string()),
        pa.list_(pa.float64()),
    ]


# --- kept columns, missing texts, and what is known


def kept_batch() -> pa.RecordBatch:
    """A text and a missing one, with kept columns of several types."""
    columns = {
        "id": pa.array([7, None]),
        "note": pa.array(["a,b\tc", None]),
        "list": pa.array([[1, 2], None]),
        "flag": pa.array([True, False]),
        "score": pa.array([0.5, float("nan")]),
        "text": pa.array(["to be", None]),
        "labels": pa.array([["x"], None]),
        "probabilities": pa.array([[0.75], None]),
        "known": pa.array([0.5, None]),
    }
    return pa.record_batch(list(columns.values()), list(columns))


def test_kept_columns_and_a_missing_text(tmp_path):
    rows = kept_batch()
    assert as_text([rows], "text") == "x 0.7500\t7\ta,b c\t[1, 2]\ttrue\t0.5\tto be\n-\t" + (
        "\t\t\tfalse\tNaN\t\n"
    )
    first, second = map(json.loads, as_text([rows], "jsonl").splitlines())
    assert first == rows.to_pylist()[0]
    assert second == dict.fromkeys(rows.schema.names) | {"flag": False}
    header, *records = csv.reader(io.StringIO(as_text([rows], "csv", top_k=1)))
    assert header == ["id", "note", "list", "flag", "score", "text", "label", "probability"]
    assert records == [
        ["7", "a,b\tc", "[1, 2]", "true", "0.5", "to be", "x", "0.750000"],
        ["", "", "", "false", "NaN", "", "", ""],
    ]
    assert as_text([rows], "fasttext") == "__label__x 0.75\n\n"
    write_predictions([rows], tmp_path / "rows.parquet", "parquet", 1)
    assert pq.read_table(tmp_path / "rows.parquet").drop("score") == pa.table(rows).drop("score")


def test_a_column_whose_type_changes_needs_a_text_format(tmp_path):
    first, second = kept_batch(), kept_batch()
    second = second.set_column(0, "id", pa.array(["x", "y"]))
    with pytest.raises(DataError, match=r"a kept column changes its type .*; pass --format jsonl"):
        write_predictions([first, second], tmp_path / "rows.parquet", "parquet", 1)
    assert len(as_text([first, second], "jsonl").splitlines()) == 4
