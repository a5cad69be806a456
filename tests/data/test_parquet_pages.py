"""Parquet files whose values take more memory than the file: bounded, and refused in one line."""

from __future__ import annotations

import os
import struct
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fasttext_app.config.schema import DataConfig
from fasttext_app.data import parquet, parquet_pages
from fasttext_app.data.parquet_pages import PageSizes, open_parquet
from fasttext_app.data.spec import open_source
from fasttext_app.errors import DataError

LONG = 100_000


def read(path, **settings):
    """Return the rows of a file, and the most memory that Arrow took beyond the start."""
    pool = pa.default_memory_pool()
    before, peak, rows = pool.bytes_allocated(), 0, 0
    for batch in open_source(DataConfig(source=str(path), **settings)).scan("train"):
        rows += len(batch)
        peak = max(peak, pool.bytes_allocated() - before)
    return rows, peak


def repeated(rows, length=LONG):
    word = pa.array(["x" * length])
    indices = pa.array(np.zeros(rows, np.int32))
    return pa.DictionaryArray.from_arrays(indices, word)


def write(path, texts, **options):
    table = pa.table({"text": texts, "label": ["a", "b"] * (len(texts) // 2)})
    pq.write_table(table, path, **options)
    return path


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "zstd"},
        {"compression": "snappy", "version": "1.0"},
        {"data_page_version": "2.0", "row_group_size": 300},
        {"compression": "gzip", "data_page_size": 100},
    ],
)
def test_a_long_text_that_every_row_repeats_is_read_in_small_batches(
    tmp_path, monkeypatch, options
):
    for module in (parquet, parquet_pages):
        monkeypatch.setattr(module, "BATCH_BYTES", 2_000_000)
    path = write(tmp_path / "a.parquet", repeated(1000), **options)
    assert path.stat().st_size < 500_000
    rows, peak = read(path)
    assert rows == 1000
    assert peak < 12_000_000  # and not 100 MB


def test_values_that_share_their_beginning_are_read_in_small_batches(tmp_path, monkeypatch):
    for module in (parquet, parquet_pages):
        monkeypatch.setattr(module, "BATCH_BYTES", 2_000_000)
    texts = [f"{'x' * LONG}{number:04}" for number in range(1000)]
    path = write(
        tmp_path / "a.parquet",
        texts,
        use_dictionary=False,
        column_encoding={"text": "DELTA_BYTE_ARRAY", "label": "PLAIN"},
        compression="zstd",
    )
    assert path.stat().st_size < 500_000
    rows, peak = read(path)
    assert rows == 1000
    assert peak < 12_000_000


def test_small_batches_are_joined(tmp_path, monkeypatch):
    for module in (parquet, parquet_pages):
        monkeypatch.setattr(module, "BATCH_BYTES", 100_000)
    texts = [f"some text {number}" for number in range(2000)]
    path = write(tmp_path / "a.parquet", texts, row_group_size=100)
    batches = list(open_source(DataConfig(source=str(path))).scan("train"))
    assert [text for batch in batches for text in batch["text"].to_pylist()] == texts
    assert len(batches) < 5


@pytest.mark.parametrize("compression", ["zstd", "gzip", "brotli"])
@pytest.mark.parametrize("is_dictionary", [True, False])
def test_a_page_that_expands_is_refused(tmp_path, compression, is_dictionary):
    texts = ["x" * 70_000_000, "y"]
    path = write(
        tmp_path / "a.parquet", texts, compression=compression, use_dictionary=is_dictionary
    )
    with pytest.raises(DataError, match=r"row group 1: a page of text takes 70,0.* write smaller"):
        read(path)


def test_lists_that_expand_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_pages, "LIST_BYTES", 1_000_000)
    labels = pa.ListArray.from_arrays([0, 1, 100_001], repeated(100_001, 1))
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a", "b"], "label": labels}), path)
    with pytest.raises(DataError, match=r"the lists of label.* take far more memory"):
        read(path, label_separator="|")


def test_ordinary_lists_and_objects_are_read(tmp_path):
    rows = 70_000
    table = pa.table(
        {
            "doc": pa.array([{"text": f"text {n}", "n": n} for n in range(rows)]),
            "label": pa.array([["a", "b"], ["c"]] * (rows // 2)),
        }
    )
    path = tmp_path / "a.parquet"
    pq.write_table(table, path)
    assert read(path, text_columns=("doc.text",), label_separator="|")[0] == rows


def varint(value):
    result = bytearray()
    while value > 127:
        result.append(value & 127 | 128)
        value >>= 7
    return bytes([*result, value])


def first_header(path):
    """Return where the first page begins, its header, and the length of that."""
    with open_parquet(path) as file:
        chunk = file.metadata.row_group(0).column(0)
        start = chunk.dictionary_page_offset or chunk.data_page_offset
    with path.open("rb") as data:
        header, length = parquet_pages._read_header(data, start, path.stat().st_size)
    return start, header, length


@pytest.mark.parametrize("size", [2**31 - 1, 2**30, -1, 2**32 + 1000])
def test_a_page_that_claims_to_be_large_is_refused(tmp_path, size):
    path = write(tmp_path / "a.parquet", ["some text"] * 1000, compression="zstd")
    start, header, length = first_header(path)
    data = bytearray(path.read_bytes())
    zigzag = (size << 1) ^ (size >> 63)
    old = bytes(data[start : start + length])
    # A header begins with its type, 15 00 or 15 04, and its size, 15 and a number.
    end = 3 + len(varint(header[2][1] << 1))
    new = old[:3] + varint(zigzag % 2**64) + old[end:]
    data[start : start + length] = new
    footer = struct.unpack("<I", data[-8:-4])[0]
    assert footer < len(data)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"a\.parquet: "):
        read(path)


def test_the_longest_word_of_a_dictionary_is_looked_up(tmp_path, monkeypatch):
    texts = [f"{number:06}" for number in range(3000)] + ["y" * 999, "z"]
    path = write(tmp_path / "a.parquet", texts)
    with open_parquet(path) as file:
        sizes = PageSizes(path, file, ["text", "label"])
        monkeypatch.setattr(parquet_pages, "BATCH_BYTES", 1_000_000_000)
        assert sizes.row_bytes(0) > 30_000  # all of the dictionary
        monkeypatch.setattr(parquet_pages, "BATCH_BYTES", 1_000_000)
        assert 999 <= sizes.row_bytes(0) < 1100


def test_no_byte_of_a_footer_ends_the_process(tmp_path):
    """Arrow ends it when it is asked for the codec or the statistics of a damaged column."""
    path = write(tmp_path / "a.parquet", ["some text"] * 10, compression="zstd")
    data = path.read_bytes()
    footer = len(data) - 8 - struct.unpack("<I", data[-8:-4])[0]
    child = os.fork()
    if not child:
        for place in range(footer, len(data) - 8):
            changed = bytearray(data)
            changed[place] = (data[place] + 64) % 256
            path.write_bytes(changed)
            with suppress(DataError):
                read(path)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("old", [b"some text 7", b"text"])
def test_text_or_a_name_that_is_not_utf_8_is_an_error(tmp_path, old):
    texts = [f"some text {number}" for number in range(10)]
    path = write(tmp_path / "a.parquet", texts, compression="none", use_dictionary=False)
    path.write_bytes(path.read_bytes().replace(old, b"\xff" * len(old)))
    with pytest.raises(DataError, match=r"a\.parquet: (has values|not a complete Parquet)"):
        read(path)
