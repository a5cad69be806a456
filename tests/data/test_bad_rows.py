"""Bad rows are errors, or with ``data.skip_bad`` are skipped, counted and listed."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fasttext_app.config.schema import DataConfig
from fasttext_app.data import bad_rows as bad
from fasttext_app.data import csv as delimited
from fasttext_app.data.bad_rows import BadRows
from fasttext_app.data.spec import open_source, open_texts
from fasttext_app.errors import DataError

Rows = list[tuple[str, str]]

CSV = b"""text,label
good one,p
only one field
bad \xff byte,n
"quoted, ok",n
"never closed,p
fine row,p
x,y,z
no label,
"two
lines",n

"ends "badly",p
nul \x00,p
last,p
"""
JSON_LINES = b"""{"text": "a", "label": "p"}
not JSON
{"text": 5, "label": "p"}
{"label": "n"}
[1]

{"text": "b\\ud800", "label": "n"}
{"text": "c \xff", "label": "n"}
{"text": "z", "label": "n", "other": "\xff"}
"""
FASTTEXT = b"""__label__p good one
no label
__label__n bad \xff
__label__a __label__b two

__label__n fine
"""


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    """Write bytes to a file, and return its path."""

    def write(name: str, data: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


def read(path: Path | str, **settings: object) -> tuple[Rows, list[str], int]:
    """Return the good rows, the problems without the name of the folder, and their number."""
    config = DataConfig.model_validate({"source": str(path), "skip_bad": True} | settings)
    bad_rows = BadRows()
    table = open_source(config, bad_rows=bad_rows).read("train")
    folder = f"{Path(path).parent}/"
    problems = [problem.removeprefix(folder) for problem in bad_rows.problems]
    return list(zip(*table.to_pydict().values(), strict=True)), problems, bad_rows.count


def places(problems: list[str]) -> list[str]:
    return sorted(problem.split(": ")[0] for problem in problems)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_bad_rows_of_csv_are_skipped(file, name):
    path = file(name, gzip.compress(CSV) if name.endswith("gz") else CSV)
    rows, problems, count = read(path)
    assert rows == [
        ("good one", "p"),
        ("quoted, ok", "n"),
        ("fine row", "p"),
        ("two\nlines", "n"),
        ("last", "p"),
    ]
    assert count == 7
    lines = [3, 4, 6, 8, 9, 13, 14]
    assert places(problems) == sorted(f"{name}:{line}" for line in lines)
    assert f"{name}:4: column 'text' has bytes that are not UTF-8" in problems
    assert f"{name}:8: the row has 3 fields where 2 are expected" in problems


def test_bad_rows_of_json_lines_are_skipped(file):
    rows, problems, _ = read(file("a.jsonl", JSON_LINES))
    assert rows == [("a", "p"), ("z", "n")]
    assert places(problems) == [f"a.jsonl:{line}" for line in (2, 3, 4, 5, 7, 8)]


def test_bad_rows_before_the_first_good_one_are_skipped(file):
    rows, problems, count = read(file("a.jsonl", b"5\nnot JSON\n" + JSON_LINES))
    assert (len(rows), count) == (2, 8)
    assert places(problems)[:2] == ["a.jsonl:1", "a.jsonl:10"]


def test_bad_rows_of_a_json_array_are_skipped(file):
    objects = [{"text": "a", "label": 1}, 5, {"text": "b", "label": 10**30}, {"label": 1}]
    rows, problems, _ = read(file("a.json", json.dumps(objects, indent=1).encode()))
    assert rows == [("a", "1")]
    assert places(problems) == [f"a.json:{line}" for line in (11, 6, 7)]
    with pytest.raises(DataError, match=r"b\.json:1: the JSON is malformed"):
        read(file("b.json", b'[{"text": "a", "label": 1}, {"text"]'))


def test_bad_rows_of_fasttext_text_are_skipped(file):
    rows, problems, _ = read(file("a.txt", FASTTEXT))
    assert rows == [("good one", "p"), ("fine", "n")]
    assert places(problems) == ["a.txt:2", "a.txt:3", "a.txt:4"]


def table() -> pa.Table:
    return pa.table({"text": ["a", None, "b", "c", "d"], "label": [1.0, 2.0, 2.5, None, 3.0]})


def test_bad_rows_of_parquet_are_skipped(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(table(), path)
    rows, problems, _ = read(path)
    assert rows == [("a", "1"), ("d", "3")]
    assert places(problems) == [f"a.parquet, row {row}" for row in (2, 3, 4)]


def test_bad_rows_of_a_dataset_are_skipped(tmp_path):
    import datasets

    datasets.Dataset(table()).save_to_disk(str(tmp_path / "saved"))
    rows, problems, _ = read(tmp_path / "saved")
    assert rows == [("a", "1"), ("d", "3")]
    assert places(problems) == [f"saved, split 'train', row {row}" for row in (2, 3, 4)]


def test_texts_without_labels_are_skipped_only_if_they_are_bad(file):
    bad_rows = BadRows()
    config = DataConfig(source=str(file("a.csv", CSV)), skip_bad=True)
    texts = [row["text"] for batch in open_texts(config, bad_rows) for row in batch.to_pylist()]
    assert texts == ["good one", "quoted, ok", "fine row", "no label", "two\nlines", "last"]
    assert bad_rows.count == 6


def test_replaced_bytes_are_not_bad(file):
    rows, _, count = read(file("a.csv", CSV), errors="replace")
    assert ("bad \N{REPLACEMENT CHARACTER} byte", "n") in rows
    assert count == 5


def test_many_bad_rows_are_counted_and_the_first_are_listed(file):
    rows, problems, count = read(file("a.csv", b"text,label\n" + b"a,x\nb\n" * 5000))
    assert (len(rows), count) == (5000, 5000)
    assert problems == [
        f"a.csv:{line}: the row has 1 fields where 2 are expected" for line in range(3, 23, 2)
    ]
    assert len(problems) == bad.LISTED


def test_a_file_that_is_read_again_is_counted_once(file, tmp_path):
    file("a.csv", CSV)
    file("b.csv", CSV)
    bad_rows = BadRows()
    source = open_source(DataConfig(source=str(tmp_path), skip_bad=True), bad_rows=bad_rows)
    for _ in range(3):
        source.read("train")
    assert bad_rows.count == 14
    assert len(bad_rows.problems) == bad.LISTED


@pytest.mark.parametrize(
    ("data", "settings", "problem"),
    [
        (b"text,label\nx\n", {}, "there are no rows"),
        (CSV, {"label_column": "class"}, "there is no column 'class'"),
        (b"", {}, "the file is empty"),
    ],
)
def test_what_no_row_is_to_blame_for_is_an_error(file, data, settings, problem):
    with pytest.raises(DataError, match=problem):
        read(file("a.csv", data), **settings)


def test_a_column_of_another_type_is_an_error(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": [[1], [2]], "label": ["x", "y"]}), path)
    with pytest.raises(DataError, match="column 'text' holds list"):
        read(path)


@pytest.mark.slow
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    records=st.lists(
        st.one_of(
            st.tuples(st.text(alphabet='a,"\n é', max_size=8), st.sampled_from("pq")),
            st.sampled_from(["one field", "1,2,3", '"ends "badly",p', "no label,"]),
        ),
        max_size=12,
    )
)
def test_good_rows_of_csv_are_those_that_were_written(file, records):
    """Whatever is between them, as long as its quotes end on its own line."""
    lines, good, bad_count = ["text,label\r\n"], [], 0
    for record in records:
        if isinstance(record, str):
            lines.append(f"{record}\r\n")
            bad_count += 1
        else:
            buffer = io.StringIO()
            csv.writer(buffer).writerow(record)
            lines.append(buffer.getvalue())
            good.append(record)
    config = DataConfig(source=str(file("a.csv", "".join(lines).encode())), skip_bad=True)
    bad_rows = BadRows()
    batches = list(open_source(config, bad_rows=bad_rows).scan("train"))
    rows = [(row["text"], row["label"]) for batch in batches for row in batch.to_pylist()]
    assert rows == good
    assert bad_rows.count == bad_count


def test_a_quote_that_never_ends_does_not_take_in_the_file(file, monkeypatch):
    monkeypatch.setattr(delimited, "MAX_RECORD_LINES", 10)
    data = b'text,label\n"never closed,x\n' + b"a,x\n" * 100
    rows, problems, _ = read(file("a.csv", data))
    assert rows == [("a", "x")] * 100
    assert places(problems) == ["a.csv:2"]
