"""A file that is read in pieces gives the batches and the errors of the whole file."""

from __future__ import annotations

import bz2
import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fasttext_app.config.schema import DataConfig
from fasttext_app.data import csv as delimited
from fasttext_app.data import fasttext_text, jsonl, lines
from fasttext_app.data.source import Part
from fasttext_app.data.spec import open_source
from fasttext_app.errors import DataError

TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\r\t\x1f\x85"), max_size=20
)
NASTY = st.one_of(TEXT, st.text(alphabet='a",;\t\n\r é', max_size=30))
ROWS = st.lists(st.tuples(NASTY, st.sampled_from(["x", "y,", 'z"', "é"])), max_size=40)
BLOCKS = st.sampled_from([16, 40, 64, 100, 256])
COUNTS = st.integers(1, 7)
EXAMPLES = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def part_of(path: Path, data: bytes, **values: Any) -> Part:
    path.write_bytes(data)
    (part,) = open_source(DataConfig(**{"source": str(path), **values})).parts("train")
    return part


def outcome(parts: list[Part]) -> list[pa.RecordBatch] | str:
    """Return the batches, or the error; those that come before it do not matter."""
    try:
        return [batch for part in parts for batch in part.scan(True)]
    except DataError as error:
        return str(error)


def cut(part: Part, count: int) -> list[Part] | str:
    try:
        surveys = [part.survey(number, count) for number in range(count)]
    except DataError as error:
        return str(error)
    return part.pieces(json.loads(json.dumps(surveys)))


def pieces_of(part: Part, count: int, block: int) -> list[Part]:
    """Check the pieces against the whole; return them."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (delimited, jsonl, lines, fasttext_text):
            patch.setattr(module, "BLOCK_BYTES", block)
        expected = outcome([part])
        pieces = cut(part, count)
        if isinstance(pieces, str):
            assert pieces == expected
            return []
        assert 1 <= len(pieces) <= count
        if pieces == [part]:
            return pieces
        assert outcome(pieces) == expected
        if isinstance(expected, str):  # whichever piece fails, the error is that of the file
            problems = [problem for piece in pieces if isinstance(problem := outcome([piece]), str)]
            assert set(problems) == {expected}
    return pieces


@EXAMPLES
@given(
    rows=ROWS,
    block=BLOCKS,
    count=COUNTS,
    end=st.sampled_from(["\n", "\r\n"]),
    delimiter=st.sampled_from([",", ";", "\t"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, None]),
    header=st.booleans(),
    errors=st.sampled_from(["strict", "replace"]),
    before=st.sampled_from([b"", b"\xef\xbb\xbf", b"\n\r\n"]),
    after=st.sampled_from([b"", b"\n\n\r\n", b"no line break,x", b'"open', b"\xff,x\n", b"a\n"]),
)
def test_pieces_of_csv(
    tmp_path, rows, block, count, end, delimiter, quoting, header, errors, before, after
):
    file = io.StringIO(newline="")
    if quoting is None:  # as they are: quotes that do not pair, and rows that are too long
        file.write("".join(f"{text}{delimiter}{label}{end}" for text, label in rows))
    else:
        writer = csv.writer(file, delimiter=delimiter, lineterminator=end, quoting=quoting)
        writer.writerows([*([("text", "label")] * header), *rows])
    columns = {} if header else {"text_columns": ("1",), "label_column": "2"}
    part = part_of(
        tmp_path / "a.csv",
        before + file.getvalue().encode() + after,
        **{"header": header, "delimiter": delimiter, "errors": errors, **columns},
    )
    pieces_of(part, count, block)


@EXAMPLES
@given(rows=ROWS, block=BLOCKS, count=COUNTS, quote=st.booleans(), end=st.sampled_from("\n\r"))
def test_pieces_of_csv_with_odd_quotes(tmp_path, rows, block, count, quote, end):
    data = "".join(f"{text},{label}{end}" for text, label in rows).encode()
    columns = {"header": False, "text_columns": ("1",), "label_column": "1"}
    pieces_of(part_of(tmp_path / "a.csv", data, quote=quote, **columns), count, block)


@EXAMPLES
@given(
    rows=ROWS,
    block=BLOCKS,
    count=COUNTS,
    end=st.sampled_from(["\n", "\r\n", "\n\n"]),
    errors=st.sampled_from(["strict", "replace"]),
    after=st.sampled_from([b"", b"__label__x", b"no label", b"__label__x \xe2\n", b"\r"]),
)
def test_pieces_of_text(tmp_path, rows, block, count, end, errors, after):
    texts = [f"__label__{label} {text}".replace("\n", " ") + end for text, label in rows]
    data = "".join(texts).encode() + after
    pieces_of(part_of(tmp_path / "a.txt", data, errors=errors), count, block)


@EXAMPLES
@given(
    rows=ROWS,
    block=BLOCKS,
    count=COUNTS,
    end=st.sampled_from(["\n", "\r\n", "\n \n"]),
    errors=st.sampled_from(["strict", "replace"]),
    label=st.sampled_from([lambda label: label, lambda label: [label], lambda label: {label: 1.0}]),
    after=st.sampled_from([b"", b"{", b'{"text": "a"}\n', b'{"text": 1, "label": "x"}\n', b"\xff"]),
)
def test_pieces_of_json(tmp_path, rows, block, count, end, errors, label, after):
    objects = [json.dumps({"text": text, "label": label(name)}) + end for text, name in rows]
    data = "".join(objects).encode() + after
    columns = {"label_separator": "|", "soft_labels": label("x") == {"x": 1.0}, "errors": errors}
    pieces_of(part_of(tmp_path / "a.jsonl", data, **columns), count, block)


CSV = "text,label\n" + 'one,"two\nlines"\n' * 30
TEXT_LINES = "__label__x some words\n" * 30
JSON_LINES = '{"text": "some words", "label": "x"}\n' * 30
DIVIDED: dict[str, tuple[str, bytes, dict[str, Any]]] = {
    "CSV": ("a.csv", CSV.encode(), {}),
    "TSV": ("a.tsv", CSV.replace(",", "\t").encode(), {}),
    "a delimiter that is found out": ("a.csv", CSV.replace(",", ";").encode(), {}),
    "a byte order mark": ("a.csv", b"\xef\xbb\xbf" + CSV.encode(), {}),
    "no quotes": ("a.csv", b"text,label\n" + b'5" pipe,x\n' * 60, {"quote": False}),
    "another encoding": ("a.csv", CSV.replace("o", "ö").encode("cp1252"), {"encoding": "cp1252"}),
    "bad bytes": ("a.csv", CSV.encode() + b"\xff,x\n", {"errors": "replace"}),
    "text": ("a.txt", TEXT_LINES.encode(), {}),
    "a long line": ("a.txt", TEXT_LINES.encode() + b"word " * 400 + b"\n", {"errors": "replace"}),
    "JSON": ("a.jsonl", JSON_LINES.encode(), {}),
    # The first bytes of a piece are no sign of what the file is.
    "lines like other formats": ("a.txt", b"__label__x %PDF\n" + b"%PDF- __label__x\n" * 30, {}),
    "marks": ("a.txt", b"__label__x a\n" + "\ufeff __label__x a\n".encode() * 30, {}),
}
WHOLE: dict[str, tuple[str, bytes, dict[str, Any]]] = {
    "compressed": ("a.csv.bz2", bz2.compress(CSV.encode()), {}),
    "UTF-16": ("a.csv", CSV.encode("utf-16"), {}),
    "another encoding": ("a.csv", CSV.encode(), {"encoding": "shift_jis"}),
    "rows to skip": ("a.csv", CSV.encode(), {"skip_bad": True}),
    "lines to skip": ("a.txt", TEXT_LINES.encode(), {"skip_bad": True}),
    "objects to skip": ("a.jsonl", JSON_LINES.encode(), {"skip_bad": True}),
    "quotes in unquoted fields": ("a.csv", CSV.encode() + b'5" pipe,x\n', {}),
    "a long row": ("a.csv", CSV.encode() + b"word " * 400 + b",x\n", {}),
    "carriage returns": ("a.csv", CSV.replace("\n", "\r").encode(), {}),
    "an array": ("a.json", f"[{JSON_LINES.strip()}]".replace("\n", ",").encode(), {}),
    "half a surrogate pair": ("a.jsonl", JSON_LINES.encode(), {"errors": "replace"}),
    "a small file": ("a.txt", b"__label__x a\n", {}),
}


@pytest.mark.parametrize("count", range(1, 8))
@pytest.mark.parametrize("name", DIVIDED)
def test_files_that_are_read_in_pieces(tmp_path, name, count):
    file, data, values = DIVIDED[name]
    part = part_of(tmp_path / file, data, **values)
    pieces = pieces_of(part, count, 120 if values.keys() & {"errors", "encoding"} else 60)
    assert len(pieces) == count or name == "a long line"
    assert count == 1 or sum(piece.size for piece in pieces) == len(data)
    assert max(piece.size for piece in pieces) < len(data) / count + 120 or name == "a long line"


@pytest.mark.parametrize("name", WHOLE)
def test_files_that_are_read_whole(tmp_path, name):
    file, data, values = WHOLE[name]
    part = part_of(tmp_path / file, data, **values)
    assert pieces_of(part, 3, 60) == [part]


def test_pieces_of_ag_news(tmp_path, monkeypatch):
    rows = '"3","Oil falls","by a\\nquarter"\n' * 40
    monkeypatch.setenv("FASTTEXT_APP_DATA", str(tmp_path))
    (tmp_path / "ag_news").mkdir()
    part = part_of(tmp_path / "ag_news/train.csv", rows.encode(), source="ag_news")
    assert len(pieces_of(part, 3, 60)) == 3
    part = part_of(
        tmp_path / "ag_news/train.csv", f'{rows}"5","a","b"\n'.encode(), source="ag_news"
    )
    assert len(pieces_of(part, 3, 60)) == 3  # of which the last fails as the file does
