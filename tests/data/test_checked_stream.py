"""``CheckedStream`` reports what is not text, with its line, before a parser sees it."""

from __future__ import annotations

import codecs
import csv
import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fasttext_app.data.byte_stream import compression_of, what_it_is
from fasttext_app.data.checked_stream import CheckedStream
from fasttext_app.errors import DataError

FIXTURES_ARE_FINE = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
ODD_TEXT = st.text(alphabet='a",\n\r\t é\u2028😀', max_size=30)

MOSTLY_TEXT = st.lists(
    st.one_of(st.sampled_from([b"\n", "é€😀".encode(), b"\0"]), st.binary(max_size=3)), max_size=60
).map(b"".join)
"""Text with all kinds of bytes in it."""


def may_be_text(data: bytes) -> bool:
    return not (what_it_is(data) or compression_of(data))


def read_all(path: Path, errors: str = "strict", size: int = 1 << 16, delimiter: str = "") -> bytes:
    blocks = []
    with CheckedStream(path, errors, delimiter) as stream:
        while block := stream.read(size):
            assert len(block) <= size
            blocks.append(block)
    return b"".join(blocks)


def odd_quotes(path: Path, delimiter: str = ",", size: int = 16) -> bool:
    with CheckedStream(path, delimiter=delimiter) as stream:
        while stream.read(size):
            pass
        return stream.odd_quotes


# --- what is text passes through unchanged


@pytest.mark.parametrize("size", [9, 10, 13, 64, 1 << 20])
def test_valid_text_passes_unchanged_whatever_the_block_size(file, size):
    text = "plain\nnaïve café\n日本語 😀\r\nlast line without end" * 7
    path = file(text.encode())
    assert read_all(path, "strict", size) == text.encode()
    assert read_all(path, "replace", size) == text.encode()


def test_an_empty_file_is_empty_text(file):
    assert read_all(file(b"")) == b""


@pytest.mark.parametrize("errors", ["strict", "replace"])
def test_a_byte_order_mark_is_dropped_at_the_start_only(file, errors):
    path = file(codecs.BOM_UTF8 + b"a\n" + codecs.BOM_UTF8 + b"b")
    assert read_all(path, errors) == b"a\n" + codecs.BOM_UTF8 + b"b"
    assert read_all(path, errors, size=9) == b"a\n" + codecs.BOM_UTF8 + b"b"
    assert read_all(file(codecs.BOM_UTF8), errors) == b""


def test_python_readers_can_wrap_it(file):
    path = file("één\ntwee\n".encode())
    with CheckedStream(path) as stream:
        assert list(io.TextIOWrapper(io.BufferedReader(stream), encoding="utf-8")) == [
            "één\n",
            "twee\n",
        ]


def test_closing_leaves_standard_input_open(monkeypatch):
    stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(b"a line\n")))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert read_all(Path("-")) == b"a line\n"
    assert not stdin.buffer.closed


# --- bytes that are not UTF-8, and NUL


@pytest.mark.parametrize("size", [9, 12, 64, 1 << 20])
@pytest.mark.parametrize("before", [0, 1, 2, 5, 30])
def test_a_bad_byte_is_named_with_its_line(file, before, size):
    path = file("één\n".encode() * before + b"caf\xe9 x\nok\n")
    with pytest.raises(DataError) as error:
        read_all(path, "strict", size)
    assert str(error.value) == (
        f"{path}:{before + 1}: byte 0xe9 is not UTF-8; name the encoding of the file with "
        "--encoding (cp1252, shift_jis, ...), or pass --errors replace to read bad bytes as U+FFFD"
    )


@pytest.mark.parametrize("size", range(9, 30))
def test_a_truncated_character_is_reported_on_its_own_line(file, size):
    """Two of three bytes, then a line break: the line must not depend on the blocks."""
    path = file(b"one\ntwo\nab\xe2\x82\nfour\n")
    with pytest.raises(DataError, match=r":3: byte 0xe2 is not UTF-8"):
        read_all(path, "strict", size)


def test_a_character_cut_by_the_end_of_the_file_is_refused(file):
    path = file(b"one\ntwo\xf0\x9f\x98")
    with pytest.raises(DataError, match=r":2: byte 0xf0 is not UTF-8"):
        read_all(path)
    assert read_all(path, "replace").decode() == "one\ntwo\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    "bad", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80"]
)
def test_every_kind_of_invalid_utf8_is_refused(file, bad):
    with pytest.raises(DataError, match=rf":2: byte 0x{bad[0]:02x} is not UTF-8"):
        read_all(file(b"one\n" + bad + b"\n"))


@pytest.mark.parametrize("size", [9, 16, 1 << 20])
def test_nul_is_named_with_its_line_or_replaced(file, size):
    path = file(b"one\ntwo\nth\x00ree\n")
    with pytest.raises(DataError, match=r":3: NUL byte; name the encoding of the file"):
        read_all(path, "strict", size)
    assert read_all(path, "replace", size).decode() == "one\ntwo\nth\N{REPLACEMENT CHARACTER}ree\n"


def test_the_error_is_kept_for_parsers_that_hide_it(file):
    with CheckedStream(file(b"\xff")) as stream:
        with pytest.raises(DataError):
            stream.read()
        assert isinstance(stream.problem, DataError)


@pytest.mark.slow
@FIXTURES_ARE_FINE
@given(data=MOSTLY_TEXT, size=st.integers(9, 40))
def test_replace_decodes_like_python_and_never_returns_too_many_bytes(file, data, size):
    assume(may_be_text(data))
    expected = data.decode("utf-8-sig", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
    path = file(data)
    assert read_all(path, "replace", size).decode() == expected  # read_all checks the sizes


@pytest.mark.slow
@FIXTURES_ARE_FINE
@given(data=MOSTLY_TEXT, size=st.integers(9, 40))
def test_strict_returns_the_text_or_names_the_line_of_the_first_bad_byte(file, data, size):
    assume(may_be_text(data))
    path = file(data)
    try:
        text = data.decode("utf-8-sig")
        bad = data.index(b"\0") if b"\0" in data else None
    except UnicodeDecodeError:
        bad = next(
            end
            for end in range(len(data) + 1)
            if end == len(data) or not _is_start_of_text(data[: end + 1])
        )
        if b"\0" in data[:bad]:
            bad = data.index(b"\0")
    if bad is None:
        assert read_all(path, "strict", size) == text.encode()
        return
    with pytest.raises(DataError) as error:
        read_all(path, "strict", size)
    # A character that proves bad at a later byte is reported at its first byte.
    line = int(str(error.value).removeprefix(f"{path}:").partition(":")[0])
    assert line in {data[: max(bad - back, 0)].count(b"\n") + 1 for back in range(4)}


def _is_start_of_text(data: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return False
    return True


# --- the file system


def test_a_read_error_is_reported(file, monkeypatch):
    path = file(b"text")
    with CheckedStream(path) as stream:

        def fail(size: int) -> bytes:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(stream._file, "_file", SimpleNamespace(read=fail))
        with pytest.raises(DataError, match="cannot be read: Input/output error") as error:
            stream.read(100)
        assert stream.problem is error.value


# --- quotes


@pytest.mark.slow
@FIXTURES_ARE_FINE
@given(
    rows=st.lists(st.lists(ODD_TEXT, min_size=2, max_size=3), max_size=6),
    delimiter=st.sampled_from(",\t"),
    end=st.sampled_from(["\n", "\r\n"]),
    size=st.integers(9, 40),
)
def test_files_that_the_csv_module_wrote_have_no_odd_quotes(file, rows, delimiter, end, size):
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(
        rows
    )
    assert not odd_quotes(file(buffer.getvalue().encode()), delimiter, size)


@pytest.mark.slow
@FIXTURES_ARE_FINE
@given(
    rows=st.lists(st.lists(ODD_TEXT, min_size=2, max_size=2), max_size=4),
    last=st.text(alphabet="a,\n é", max_size=20),
    size=st.integers(9, 40),
)
def test_an_unclosed_quote_is_odd(file, rows, last, size):
    buffer = io.StringIO()
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerows(rows)
    assert odd_quotes(file((buffer.getvalue() + '"' + last).encode()), size=size)


@pytest.mark.parametrize(
    "text",
    ['a"b,c\n', '"a"b,c\n', 'a,"b" \n', 'a, "b"\n', '"', 'a,b"\n', '"a\n', '"a""\n'],
)
def test_quotes_that_do_not_enclose_a_field_are_odd(file, text):
    for size in (9, 10, 64):
        assert odd_quotes(file(text.encode()), size=size)


@pytest.mark.parametrize("text", ['"a","b"\n', '""\n""', '"a""b"\r\n', '"a\r"\r', '"\n",""\n', ""])
def test_quotes_that_enclose_a_field_are_not_odd(file, text):
    for size in (9, 10, 64):
        assert not odd_quotes(file(text.encode()), size=size)


def test_without_a_delimiter_quotes_are_ordinary_characters(file):
    assert not odd_quotes(file(b'a"b\n'), delimiter="")


@pytest.mark.slow
@given(st.text(alphabet='a",\n\r', max_size=30), st.integers(9, 40))
@FIXTURES_ARE_FINE
def test_odd_quotes_do_not_depend_on_the_size_of_blocks(file, text, size):
    path = file(text.encode())
    assert odd_quotes(path, size=size) == odd_quotes(path, size=1 << 16)
