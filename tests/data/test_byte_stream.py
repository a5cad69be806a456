"""``ByteStream`` decompresses, and refuses what is not text, by the first bytes."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import sqlite3
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from fasttext_app.config.schema import DataConfig
from fasttext_app.data.byte_stream import ByteStream, open_error, what_it_is
from fasttext_app.data.spec import open_source, open_texts
from fasttext_app.errors import DataError

TEXT = "text,label\nnaïve café,x\n日本語 😀,y\n".encode()
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: pa.compress(data, "zstd", asbytes=True),
    ".lz4": lambda data: pa.compress(data, "lz4", asbytes=True),
}
every_compression = pytest.mark.parametrize("suffix", COMPRESS)


def read_all(path: Path, size: int = 1 << 16) -> bytes:
    with ByteStream(path) as stream:
        return b"".join(iter(lambda: stream.read(size), b""))


# --- compressed data


@every_compression
@pytest.mark.parametrize("size", [1, 100, 1 << 20])
def test_compressed_files_are_read_whatever_their_name(file, suffix, size):
    data = COMPRESS[suffix](TEXT * 500)
    for name in (f"a.csv{suffix}", f"A.CSV{suffix.upper()}", "a.csv"):
        assert read_all(file(data, name), size) == TEXT * 500


@every_compression
def test_parts_that_were_compressed_one_by_one_are_read_as_one_file(file, suffix):
    assert read_all(file(COMPRESS[suffix](TEXT) + COMPRESS[suffix](b"end"))) == TEXT + b"end"


@every_compression
@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
def test_compressed_data_that_is_cut_short_is_refused(file, suffix, share):
    data = COMPRESS[suffix](np.random.default_rng(0).integers(32, 127, 9999, np.uint8).tobytes())
    with pytest.raises(DataError, match=r"file\.txt: the \w+ data is damaged or cut short: "):
        read_all(file(data[: int(len(data) * share)]))


def test_a_flipped_byte_is_noticed(file):
    data = bytearray(gzip.compress(TEXT * 1000))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(DataError, match="the gzip data is damaged or cut short"):
        read_all(file(bytes(data)))


def test_data_that_is_compressed_twice_is_read(file):
    assert read_all(file(gzip.compress(lzma.compress(TEXT)))) == TEXT


@every_compression
def test_a_name_that_promises_another_content_is_refused(file, suffix):
    with pytest.raises(DataError, match=r"is not \w+ data, though its name ends in "):
        read_all(file(b"plain text\n", f"a.txt{suffix}"))


@every_compression
def test_the_content_decides_if_the_name_promises_another_compression(file, suffix):
    assert read_all(file(lzma.compress(TEXT), f"a{suffix}")) == TEXT


@pytest.mark.parametrize("name", ["a.gz", "a.zst", "a.txt"])
def test_an_empty_file_is_empty(file, name):
    assert read_all(file(b"", name)) == b""


@every_compression
def test_standard_input_is_decompressed_and_stays_open(monkeypatch, suffix):
    stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(COMPRESS[suffix](TEXT))))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert read_all(Path("-")) == TEXT
    assert not stdin.buffer.closed


@every_compression
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "text,label\none,x\n"),
        ("a.tsv", "text\tlabel\none\tx\n"),
        ("a.jsonl", json.dumps({"text": "one", "label": "x"})),
        ("a.txt", "__label__x one\n"),
        ("a", "__label__x one\n"),
    ],
)
def test_every_text_format_is_read_compressed(file, suffix, name, content):
    path = file(COMPRESS[suffix](content.encode()), name + suffix)
    config = DataConfig(source=str(path))
    assert open_source(config).read("train").to_pylist() == [{"text": "one", "label": "x"}]
    assert [row for batch in open_texts(config) for row in batch.to_pylist()] == [{"text": "one"}]


# --- other formats


def _bytes_of(write: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def _zip(*names: str) -> bytes:
    def write(buffer: io.BytesIO) -> None:
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in names:
                archive.writestr(name, "content " * 40)

    return _bytes_of(write)


def _tar(buffer: io.BytesIO) -> None:
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.csv"))


TABLE = pa.table({"text": ["one", "two"], "label": ["x", "y"]})


def _sqlite() -> bytes:
    with sqlite3.connect(":memory:") as connection:
        connection.execute("create table t (text, label)")
        return connection.serialize()


def _arrow_stream(buffer: io.BytesIO) -> None:
    with pa.ipc.new_stream(buffer, TABLE.schema) as writer:
        writer.write_table(TABLE)


OTHER_KINDS: dict[str, bytes] = {
    "a zip archive": _zip("a.csv"),
    "an Excel workbook": _zip("[Content_Types].xml", "_rels/.rels", "xl/workbook.xml"),
    "a Word document": _zip("[Content_Types].xml", "word/document.xml"),
    "a tar archive": _bytes_of(_tar),
    "a Parquet file": _bytes_of(lambda buffer: pq.write_table(TABLE, buffer)),
    "an Arrow or Feather": _bytes_of(lambda buffer: pa.feather.write_feather(TABLE, buffer)),
    "a stream of Arrow batches": _bytes_of(_arrow_stream),
    "an SQLite database": _sqlite(),
    "a Python pickle": pickle.dumps({"text": ["one"], "label": ["x"]}),
    "a NumPy array": _bytes_of(lambda buffer: np.save(buffer, np.arange(99))),
    "a PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n",
    "UTF-16 or UTF-32 text; save": TEXT.decode().encode("utf-16"),
    "UTF-16 or UTF-32": TEXT.decode().encode("utf-32"),
    "UTF-16 text; save it as UTF-8, or pass --encoding utf-16-le": "a\nb\n".encode("utf-16-le"),
    "UTF-16 text; save it as UTF-8, or pass --encoding utf-16-be": "a\nb\n".encode("utf-16-be"),
    "a model of fastText": bytes.fromhex("ba164f2f0c000000"),
    "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "binary data": np.random.default_rng(0).integers(0, 256, 999, np.uint8).tobytes(),
    "binary data, not": np.random.default_rng(0).normal(size=99).tobytes(),
}


READ = ["a Parquet file", "UTF-16 or UTF-32 text; save", "UTF-16 or UTF-32"]
"""Kinds that are read, from a file with the right name or with a byte order mark."""


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_another_format_is_named_with_what_to_do(file, kind):
    path = file(OTHER_KINDS[kind])
    with pytest.raises(DataError) as error:
        ByteStream(path)
    message = str(error.value)
    assert message.startswith((f"{path}: is {kind}", f"{path}: looks like {kind}"))
    assert ";" in message
    assert "\n" not in message


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_another_format_is_named_inside_compressed_data(file, kind):
    with pytest.raises(DataError, match=kind):
        ByteStream(file(gzip.compress(OTHER_KINDS[kind])))


@pytest.mark.parametrize("kind", [kind for kind in OTHER_KINDS if kind not in READ])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet", "a.txt", "a"])
@pytest.mark.parametrize("errors", ["strict", "replace"])
def test_no_reader_takes_another_format_for_text(file, kind, name, errors):
    config = DataConfig(source=str(file(OTHER_KINDS[kind], name)), errors=errors)
    with pytest.raises(DataError, match=kind):
        open_source(config).read("train")
    with pytest.raises(DataError, match=kind):
        list(open_texts(config))


def test_a_parquet_file_that_is_compressed_as_a_whole_is_refused(file):
    path = file(gzip.compress(OTHER_KINDS["a Parquet file"]), "a.parquet.gz")
    with pytest.raises(DataError, match="is gzip data; decompress it to read Parquet"):
        open_source(DataConfig(source=str(path))).read("train")


@pytest.mark.parametrize(
    "text",
    [
        "PAR1 is a receptor",
        "BZh is not bzip2",
        "ORC\nis a name",
        "PK",
        "Object,label",
        "a\0b",
        "\x1b[31mred\x1b[0m, and \x1b[1mbold\x1b[0m",
        "one\x01two\x01three\none\x01two\x01three\n",
        "日本語",
        "\ufeffa",
    ],
)
def test_text_is_taken_for_text(text):
    assert what_it_is(text.encode()) == ""


# --- the file system


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.txt: no such file$"):
        ByteStream(tmp_path / "nothing.txt")
    with pytest.raises(DataError, match="cannot be opened: Is a directory"):
        ByteStream(tmp_path)


def test_open_error_gives_the_systems_reason():
    error = open_error(Path("a.csv"), PermissionError(13, "Permission denied"))
    assert str(error) == "a.csv: cannot be opened: Permission denied"


def test_a_closed_standard_input_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(DataError, match="standard input is closed; name a file"):
        ByteStream("-")
