"""The benchmark of memory: the rows that it writes, and what it says of the peaks."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import pytest

from fasttext_app.config.schema import DataConfig
from fasttext_app.data.spec import open_source
from tests.helpers import SCRIPTS

sys.path.insert(0, str(SCRIPTS))
try:
    bench = import_module("bench_memory")
finally:
    sys.path.remove(str(SCRIPTS))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(bench, "WORDS", 100)
    monkeypatch.setattr(bench, "CHUNK", 20)


def test_every_format_has_the_same_rows(tmp_path):
    written = [row for chunk in bench.repeated(90) for row in zip(*chunk, strict=True)]
    assert len(written) == 90
    assert written[:40] == written[40:80]
    for suffix in ("csv", "jsonl", "parquet"):
        path = tmp_path / f"rows.{suffix}"
        bench.write_rows(path, bench.repeated(90))
        table = open_source(DataConfig(source=str(path))).read("train")
        assert table["text"].to_pylist() == [text for text, _ in written]
        assert table["label"].to_pylist() == [str(label) for _, label in written]
    bench.write_rows(tmp_path / "rows.txt", bench.repeated(90))
    assert (tmp_path / "rows.txt").read_text().splitlines() == [text for text, _ in written]


def test_growth_is_told(tmp_path, monkeypatch, capsys):
    read = []

    def run_watched(command, folder: Path, stdin=None):
        if "predict" not in command:
            return {}
        (tmp_path / "out.jsonl").touch()
        lines = stdin.read() if stdin else Path(command[-1]).read_bytes()
        read.append(lines.count(b"\n"))
        return {"own_mb": 100 + read[-1]}

    monkeypatch.setattr(bench, "run_watched", run_watched)
    bench.bench_predict(tmp_path, ["jsonl", "stdin"], [10, 15, 70])
    assert read == [10, 15, 70] * 2
    output = capsys.readouterr().out
    for form in ("jsonl", "stdin"):
        assert f"| {form} | 110 MB | 115 MB | 170 MB | 1.55, OVER 1.1 |" in output
    assert not [path for path in tmp_path.iterdir() if path.stem in ("rows", "out")]
