"""Lines of any bytes, with labels among their words."""

from __future__ import annotations

import os

import pytest

from fasttext_app.core.arrow import python_strings
from fasttext_app.errors import DataError
from fasttext_app.fasttext.lines import scan_labeled, text_lines


def rows_of(path, prefix="__label__"):
    rows = []
    for batch in scan_labeled(path, prefix):
        labels = batch.column("label").to_pylist()
        rows += zip(python_strings(batch.column("text")), labels, strict=True)
    return rows


def lines_of(path):
    return [line for lines in text_lines(path) for line in lines]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "train.txt"


@pytest.mark.parametrize("size", [1, 7, 64, 999])
def test_lines_do_not_depend_on_the_size_of_blocks(monkeypatch, path, size):
    lines = [f"__label__{number % 3} word{number} é{'x' * (number % 17)}" for number in range(99)]
    path.write_text("\n".join(lines), encoding="utf-8")  # the last line has no line feed
    monkeypatch.setattr("fasttext_app.fasttext.lines.BLOCK_BYTES", size)
    assert [text.removesuffix("\n") for text, _ in rows_of(path)] == lines
    assert [label for _, label in rows_of(path)] == [str(number % 3) for number in range(99)]
    assert lines_of(path) == lines


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"a\nb\n", ["a", "b"]),
        (b"a\n\nb", ["a", "", "b"]),
        (b"\n", [""]),
        (b"a </s> b\n", ["a ", " b"]),
        (b"a </s>\n", ["a ", ""]),
        (b"a </s>", ["a "]),
        (b"a</s> </s>b", ["a</s> </s>b"]),
        (b"\xff \xc3\xa9\r\n", ["\udcff é\r"]),
    ],
)
def test_a_line_ends_at_a_line_feed_or_an_end_of_line_word(path, data, lines):
    path.write_bytes(data)
    assert lines_of(path) == lines
    assert [text.removesuffix("\n") for text, _ in rows_of(path)] == lines


def test_lines_of_a_pipe_come_before_it_is_closed():
    reader, writer = os.pipe()
    try:
        os.write(writer, b"first\nsecond\nthi")
        lines = text_lines(f"/dev/fd/{reader}")
        assert next(lines) == ["first", "second"]
        os.write(writer, b"rd\n")
        assert next(lines) == ["third"]
    finally:
        os.close(writer)
        os.close(reader)


def test_labels_of_a_line_are_joined_by_a_space(path):
    path.write_text("#a #b x\ny #c\n#\nx#d z\n")
    assert [label for _, label in rows_of(path, "#")] == ["a b", "c", "#", ""]


def test_a_label_that_is_not_utf8_is_refused_with_its_line(path):
    path.write_bytes(b"__label__a u\n\n__label__\xff v\n")
    with pytest.raises(DataError, match=r"train\.txt:3: its label b'__label__\\xff' is not UTF-8"):
        rows_of(path)


def test_a_byte_order_mark_is_skipped(path):
    path.write_bytes(b"\xef\xbb\xbf__label__a u\n")
    assert rows_of(path) == [("__label__a u\n", "a")]


@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused(path, data):
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"train\.txt: the file is empty"):
        rows_of(path)
