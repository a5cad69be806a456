"""A reader reads no further ahead than its batches are used, and no row without end."""

from __future__ import annotations

import gzip
import time
import tracemalloc
from itertools import islice

import pytest

from fasttext_app.config.schema import DataConfig
from fasttext_app.data import byte_stream, checked_stream, csv, jsonl, lines
from fasttext_app.data.bad_rows import BadRows
from fasttext_app.data.files import scan_files
from fasttext_app.errors import DataError

BLOCK = 1 << 12
ROWS = {
    "a.csv": "text,label\n" + "some words of a text,x\n" * 50_000,
    "a.jsonl": '{"text": "some words of a text", "label": "x"}\n' * 30_000,
    "a.txt": "__label__x some words of a text\n" * 40_000,
}


@pytest.fixture
def sizes(monkeypatch):
    """The sizes of what is read from files."""
    sizes = []

    def read(self, size, read=byte_stream.ByteStream.read):
        data = read(self, size)
        sizes.append(len(data))
        return data

    monkeypatch.setattr(byte_stream.ByteStream, "read", read)
    return sizes


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_a_few_blocks_are_read_before_the_first_rows_are_used(file, sizes, name):
    start, row = ROWS[name].splitlines(keepends=True)[:2]
    row = row.replace("some words", "some words " * 3_000)
    path = file((start + row * 1_000).encode(), name)
    assert path.stat().st_size > 32_000_000
    batches = scan_files([path], DataConfig(), with_labels=True)
    next(batches)
    time.sleep(0.1)  # in which a reader on another thread would read on
    assert sum(sizes) < 6 * csv.BLOCK_BYTES
    batches.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_a_reader_waits_until_its_batches_are_used(file, monkeypatch, sizes, name):
    for module in (csv, jsonl, lines):
        monkeypatch.setattr(module, "BLOCK_BYTES", BLOCK)
    batches = scan_files([file(ROWS[name].encode(), name)], DataConfig(), with_labels=True)
    rows = 0
    for batch in islice(batches, 60):
        rows += len(batch)
        time.sleep(0.005)  # in which a reader on another thread would fill its queue
    first_look = 140_000 if name == "a.jsonl" else 40_000
    used = rows * len(ROWS[name].splitlines()[1])
    assert sum(sizes) < used + first_look + 8 * BLOCK
    rows += sum(len(batch) for batch in batches)
    assert rows == ROWS[name].count("some words")


@pytest.mark.parametrize("name", ROWS)
def test_a_reader_that_is_left_early_ends(file, monkeypatch, name):
    monkeypatch.setattr(csv, "BLOCK_BYTES", BLOCK)
    batches = scan_files([file(ROWS[name].encode(), name)], DataConfig(), with_labels=True)
    assert len(next(batches))
    begin = time.monotonic()
    batches.close()
    assert time.monotonic() - begin < checked_stream.LONG_PATIENCE / 2


ENDLESS = {
    "a.csv.gz": ("text,label\nshort,x\n", "word "),
    "quoted.csv.gz": ('text,label\nshort,x\n"', "word\n"),
    "header.csv.gz": ("", "word "),
    "a.jsonl.gz": ('{"text": "short", "label": "x"}\n{"text": "', "word "),
    "array.json.gz": ('[{"text": "short", "label": "x"},\n{"text": "', "word "),
    "a.txt.gz": ("__label__x short\n__label__x ", "word "),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "skip_bad"),
    [
        *((name, False) for name in ENDLESS),
        *((name, True) for name in ENDLESS if name != "quoted.csv.gz"),  # whose lines are bad rows
    ],
)
def test_a_row_without_end_is_refused_before_it_fills_the_memory(file, monkeypatch, name, skip_bad):
    monkeypatch.setattr(lines, "MAX_ROW_BYTES", 1 << 17)
    monkeypatch.setattr("fasttext_app.data.json_values.MAX_CHARACTERS", 1 << 17)
    for module in (csv, jsonl, lines):
        monkeypatch.setattr(module, "BLOCK_BYTES", 1 << 16)
    start, word = ENDLESS[name]
    path = file(gzip.compress((start + word * 4_000_000).encode(), 1), name)
    assert path.stat().st_size < 200_000
    config = DataConfig(skip_bad=skip_bad)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"longer than \d+ MB"):
            list(scan_files([path], config, with_labels=True, bad_rows=BadRows(skip_bad)))
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()
