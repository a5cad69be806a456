"""Files that change while they are read, and folders that list their files in another order."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fasttext_app.config.schema import DataConfig
from fasttext_app.data import csv, fasttext_text, jsonl, lines, parquet
from fasttext_app.data.fingerprint import Fingerprint
from fasttext_app.data.named_files import stamp
from fasttext_app.data.spec import open_source
from fasttext_app.errors import DataError

ROWS = 100_000
CHANGED = "has changed while it was read; read it again when nothing writes to it"


def write(path, rows=ROWS, row_group_size=10_000):
    texts, labels = [f"some text {n}" for n in range(rows)], ["a", "b"] * (rows // 2)
    match path.suffix:
        case ".parquet":
            table = pa.table({"text": texts, "label": labels})
            pq.write_table(table, path, row_group_size=row_group_size)
        case ".jsonl":
            pairs = zip(texts, labels, strict=True)
            path.write_text("".join(json.dumps({"text": t, "label": la}) + "\n" for t, la in pairs))
        case ".csv":
            pairs = zip(texts, labels, strict=True)
            path.write_text("text,label\n" + "".join(f"{t},{la}\n" for t, la in pairs))
        case ".txt":
            pairs = zip(texts, labels, strict=True)
            path.write_text("".join(f"__label__{la} {t}\n" for t, la in pairs))


def shrink(path):
    os.truncate(path, path.stat().st_size // 2 + 3)


def grow(path):
    with path.open("ab") as file:
        file.write(b"x" * 1000)


def rewrite(path):
    data = path.read_bytes()
    path.write_bytes(data[::-1])
    os.utime(path, ns=(1, 1))


@pytest.mark.slow
@pytest.mark.parametrize("change", [shrink, grow, rewrite])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", ".txt"])
def test_a_file_that_changes_while_it_is_read_is_an_error(tmp_path, suffix, change):
    path = tmp_path / f"data{suffix}"
    write(path)
    batches = open_source(DataConfig(source=str(path))).scan("train")
    assert len(next(batches))
    change(path)
    with pytest.raises(DataError, match=CHANGED):
        list(batches)


@pytest.mark.parametrize("change", [shrink, grow, rewrite])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", ".txt"])
def test_a_file_that_changes_after_it_was_cut_is_an_error(tmp_path, monkeypatch, suffix, change):
    for module in (csv, jsonl, fasttext_text, lines):
        monkeypatch.setattr(module, "BLOCK_BYTES", 1 << 10)
    monkeypatch.setattr(parquet, "BATCH_ROWS", 100)
    path = tmp_path / f"data{suffix}"
    write(path, 200, row_group_size=50)
    (part,) = open_source(DataConfig(source=str(path))).parts("train")
    first, second = part.pieces([part.survey(number, 2) for number in range(2)])
    assert sum(map(len, [*first.scan(True), *second.scan(True)])) == 200
    change(path)
    for piece in (first, second):
        with pytest.raises(DataError, match=CHANGED):
            list(piece.scan(True))


def test_a_file_that_stays_is_none(tmp_path):
    path = tmp_path / "data.csv"
    write(path, 10)
    assert sum(map(len, open_source(DataConfig(source=str(path))).scan("train"))) == 10


def digest(spec):
    fingerprint = Fingerprint()
    for batch in open_source(DataConfig(source=spec)).scan("train"):
        fingerprint.update(batch)
    return fingerprint.digest()


@pytest.mark.parametrize("names", [("c", "a", "b"), ("train-2", "train-10", "train-1", "test-1")])
def test_files_in_another_order_of_the_listing_are_the_same_rows(tmp_path, monkeypatch, names):
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    for number, name in enumerate(names):
        text = f"text,label\nrow {number},a\nother {number},b\n"
        (folder / f"{name}.csv").write_text(text)
        (folder / "inner" / f"{name}.csv").write_text(text)
    specs = [str(folder), f"{folder}/*.csv", f"{folder}/**/*.csv"]
    before = [(digest(spec), stamp(spec)) for spec in specs]
    listdir, scandir = os.listdir, os.scandir

    class Reversed:
        def __init__(self, path="."):
            with scandir(path) as entries:
                self._entries = list(entries)[::-1]

        def __enter__(self):
            return iter(self._entries)

        def __exit__(self, *exception):
            pass

        def __iter__(self):
            return iter(self._entries)

    orders = []
    for reverse in (False, True):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "scandir", Reversed)
            patch.setattr(
                os, "listdir", lambda path=".", r=reverse: sorted(listdir(path), reverse=r)
            )
            orders.append([(digest(spec), stamp(spec)) for spec in specs])
    assert orders == [before, before]
    assert Path(folder).is_dir()
