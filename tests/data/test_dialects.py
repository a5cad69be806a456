"""Delimiters, encodings, formats by setting, and pipes: files as other programs write them."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fasttext_app
from fasttext_app.config.loading import parse_assignments, resolve
from fasttext_app.config.schema import DataConfig
from fasttext_app.data.checked_stream import CheckedStream
from fasttext_app.data.spec import open_source, open_texts
from fasttext_app.errors import ConfigError, DataError
from tests.helpers import WORDS_ONLY

Rows = list[tuple[str, str]]
ROWS: Rows = [("good, fine; a|b\tc", "p"), ("naïve café", "n"), ('say "hi"', "p")]


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    """Write text in an encoding to a file, and return its path."""

    def write(name: str, content: str, encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode(encoding))
        return path

    return write


def rows_of(path: Path | str, **settings: object) -> Rows:
    config = DataConfig.model_validate({"source": str(path)} | settings)
    table = open_source(config).read("train")
    return list(zip(*table.to_pydict().values(), strict=True))


def texts_of(path: Path | str, **settings: object) -> list[str]:
    config = DataConfig.model_validate({"source": str(path)} | settings)
    return [row["text"] for batch in open_texts(config) for row in batch.to_pylist()]


def written(rows: Rows, delimiter: str, header: str = "text,label") -> str:
    lines = [
        delimiter.join(f'"{cell.replace(chr(34), 2 * chr(34))}"' for cell in row) for row in rows
    ]
    return "\n".join([header.replace(",", delimiter), *lines]) + "\n"


# --- delimiters


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
@pytest.mark.parametrize("header", ["text,label", '"text","label"', "id,label,text"])
def test_the_header_tells_the_delimiter(file, delimiter, name, header):
    rows = [(text, label) if header[0] != "i" else ("1", label, text) for text, label in ROWS]
    path = file(name, written(rows, delimiter, header))
    assert rows_of(path) == ROWS
    assert texts_of(path) == [text for text, _ in ROWS]


def test_a_header_with_the_columns_is_not_guessed_at(file):
    path = file("a.csv", "text,label,x;text;label;y\na;b,p,q\n")
    assert rows_of(path) == [("a;b", "p")]


@pytest.mark.parametrize("delimiter", [";", "\t", "^", "\x01"])
@pytest.mark.parametrize("name", ["a.csv", "a.txt", "data"])
def test_the_delimiter_can_be_set(file, delimiter, name):
    path = file(name, written(ROWS, delimiter))
    assert rows_of(path, delimiter=delimiter) == ROWS
    headless = file(f"b{name}", written(ROWS, delimiter).partition("\n")[2])
    columns = {"text_columns": ["1"], "label_column": "2", "header": False}
    assert rows_of(headless, delimiter=delimiter, **columns) == ROWS


@pytest.mark.parametrize("value", ["tab", "'\\t'", "\\t", '"\t"'])
def test_tab_has_names(value):
    config = resolve(parse_assignments([f"data.delimiter={value}"]))
    assert config.data.delimiter == "\t"


@pytest.mark.parametrize("value", [";;", "é", '"', "\n", ""])
def test_a_delimiter_is_one_character(value):
    with pytest.raises(ConfigError, match=r"^data\.delimiter: must be one ASCII character, or tab"):
        resolve({"data": {"delimiter": value}})


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        ("id;body;topic\n1;a;x\n", "'id', 'body', 'topic'"),
        ('"id"\t"body"\n1\ta\n', "'id', 'body'"),
        ("id,a;b;c\n1,2\n", "'id', 'a;b;c'"),
    ],
)
def test_a_missing_column_is_named_with_the_likeliest_columns(file, content, columns):
    with pytest.raises(DataError, match=rf"the columns are {columns} \(choose with "):
        rows_of(file("a.csv", content))


def test_a_missing_header_is_thought_of(file):
    path = file("a.csv", '"p","good fine"\n"n","bad poor"\n')
    with pytest.raises(
        DataError, match=r"if the file has no header, with --set data\.header=false"
    ):
        rows_of(path)
    columns = {"text_columns": ["2"], "label_column": "1", "header": False}
    assert rows_of(path, **columns) == [("good fine", "p"), ("bad poor", "n")]


# --- encodings

LANGUAGES = {
    "cp1252": "naïve café 5 €",
    "Windows-1252": "„Müll“",
    "latin-1": "ñandú",
    "utf-16": "日本語 😀",
    "utf-16-le": "naïve 日本",
    "utf-16-be": "naïve 日本",
    "utf-32": "😀 x",
    "Shift-JIS": "日本語テスト ｶﾅ",
    "euc-jp": "日本語",
    "gb18030": "中文😀",
    "koi8-r": "привет",
    "utf-8-sig": "é",
}


@pytest.mark.parametrize("encoding", LANGUAGES)
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.txt"])
def test_text_in_other_encodings_is_read(file, encoding, name):
    text = LANGUAGES[encoding]
    rows = [(f"{text} {number}", "pn"[number % 2]) for number in range(300)]
    content = {
        "a.csv": "text,label\n" + "".join(f"{text},{label}\n" for text, label in rows),
        "a.jsonl": "".join(
            json.dumps({"text": text, "label": label}, ensure_ascii=False) + "\n"
            for text, label in rows
        ),
        "a.txt": "".join(f"__label__{label} {text}\n" for text, label in rows),
    }[name]
    assert rows_of(file(name, content, encoding), encoding=encoding) == rows


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("setting", ["utf-8", "cp1252"])
def test_a_byte_order_mark_tells_the_encoding(file, encoding, setting):
    path = file("a.csv", "text,label\nnaïve 日本,x\n", encoding)
    assert rows_of(path, encoding=setting) == [("naïve 日本", "x")]


@pytest.mark.parametrize("encoding", ["cp1252", "shift_jis", "utf-16", "utf-16-be", "utf-8"])
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    text=st.text(alphabet="aé€日ｶ\n\r,", max_size=60).map(lambda text: "a" + text),
    size=st.integers(20, 60),
)
def test_decoding_does_not_depend_on_the_size_of_blocks(file, encoding, text, size):
    data = text.encode(encoding, "ignore")
    path = file("a.txt", "")
    path.write_bytes(data)
    blocks = []
    with CheckedStream(path, encoding=encoding) as stream:
        while block := stream.read(size):
            assert len(block) <= size
            blocks.append(block)
    assert b"".join(blocks).decode() == data.decode(encoding)


@pytest.mark.parametrize("before", [0, 1, 2000])
def test_a_byte_that_does_not_fit_the_encoding_is_named_with_its_line(file, before):
    path = file("a.csv", "")
    path.write_bytes(b"text,label\n" + "日本,x\n".encode("shift_jis") * before + b"\xff,x\n")
    with pytest.raises(DataError) as error:
        rows_of(path, encoding="shift_jis")
    assert str(error.value).startswith(
        f"{path}:{before + 2}: byte 0xff is not SHIFT_JIS; name the "
    )


@pytest.mark.parametrize("encoding", ["utf-99", "rot13", "base64", ""])
def test_an_unknown_encoding_is_refused(encoding):
    with pytest.raises(ConfigError, match=r"^data\.encoding: must be a text encoding that Python"):
        resolve({"data": {"encoding": encoding}})


# --- formats and pipes

CONTENTS = {
    "csv": "text,label\none,x\n",
    "tsv": "text\tlabel\none\tx\n",
    "jsonl": '{"text": "one", "label": "x"}\n',
    "fasttext": "__label__x one\n",
}


@pytest.mark.parametrize("form", CONTENTS)
def test_the_format_can_be_set(file, form):
    for name in ("data", "a.parquet", "a.txt.gz"):
        path = file(name.removesuffix(".gz"), CONTENTS[form])
        assert rows_of(path, format=form) == [("one", "x")]


@pytest.mark.parametrize("form", CONTENTS)
def test_every_text_format_is_read_from_standard_input(monkeypatch, form):
    stdin = io.TextIOWrapper(io.BytesIO(CONTENTS[form].encode()))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert rows_of("-", format=form) == [("one", "x")]
    assert not stdin.buffer.closed


def test_a_delimiter_makes_standard_input_csv(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"text;label\none;x\n")))
    assert rows_of("-", delimiter=";") == [("one", "x")]


@pytest.mark.parametrize("form", CONTENTS)
def test_every_text_format_is_read_from_a_named_pipe(tmp_path, form):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(CONTENTS[form],))
    writer.start()
    assert rows_of(pipe, format=form) == [("one", "x")]
    writer.join()


def test_parquet_is_not_read_from_a_pipe(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"PAR1")))
    with pytest.raises(
        DataError, match=r"^-: Parquet cannot be read from a pipe; save it to a file"
    ):
        rows_of("-", format="parquet")


def test_python_reads_the_files_of_evaluate_and_calibrate_by_their_settings(file, tmp_path):
    rows = [("good café", "p"), ("naïve end", "n")] * 20
    path = file("a.csv", written(rows, ";", "body,label"), "cp1252")
    reading: dict[str, Any] = {"encoding": "cp1252", "delimiter": ";", "text": "body"}
    model = fasttext_app.train(path, **reading, **WORDS_ONLY)
    others = [("café good", "p"), ("end naïve good", "n"), ("naïve", "p")] * 10
    path = file("b.csv", written(others, ";", "body,label"), "cp1252")
    assert model.evaluate(path, split="train", **reading)["examples"] == 30
    assert "temperature" in model.calibrate(path, split="train", **reading).artifact.calibration
    with pytest.raises(ConfigError, match=r"data\.delimter: no such setting; did you mean"):
        model.evaluate(path, delimter=";")
