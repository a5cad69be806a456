"""``fasttext-app score``: files in, one output for each, resumable."""

from __future__ import annotations

import csv
import json
import os
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fasttext_app as ft
from fasttext_app.config.schema import DataConfig
from fasttext_app.errors import DataError
from fasttext_app.foreign_text import for_terminal
from fasttext_app.scoring.job import plan
from fasttext_app.scoring.scorer import Scorer
from tests.helpers import contents, read_json, run_cli
from tests.scoring.conftest import model_path, pages, write_pages

__all__ = ["model_path", "pages"]

FILES = ["a.parquet", "b.parquet", "sub/c.parquet"]


def score(model, *inputs, output, **options):
    """Run ``score`` in this process; return its summary."""
    code = options.pop("code", 0)
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    done = run_cli("score", model, *inputs, "-o", output, *flags, "--json", code=code)
    return read_json(done) if done.stdout else done


@pytest.fixture
def job(model_path, pages, tmp_path):
    """The arguments of a job that succeeds."""
    return (model_path, pages), {"output": tmp_path / "out", "nulls": "null", "workers": 1}


def test_every_file_gets_its_columns_and_the_predictions(job, pages, tmp_path):
    (model, _), options = job
    summary = score(model, pages, **options)
    predictor = ft.load(model)
    for name in FILES:
        before, after = pq.read_table(pages / name), pq.read_table(tmp_path / "out" / name)
        predictions = predictor.predict(before["text"], nulls="null")
        assert after.select(["id", "url", "text"]).to_pydict() == before.to_pydict()
        assert after["label"].to_pylist() == [p and p.labels[0] for p in predictions]
        assert after["probability"].to_pylist() == [p and p.probabilities[0] for p in predictions]
    assert (summary["files"], summary["scored"], summary["rows"]) == (3, 3, 120)
    assert sum(summary["labels"].values()) == 110


def test_a_second_run_scores_only_what_changed(job, pages, tmp_path):
    (model, _), options = job
    score(model, pages, **options)
    output, before = tmp_path / "out", contents(tmp_path / "out")
    assert score(model, pages, **options)["unchanged"] == 3
    assert contents(output) == before

    times = (pages / "a.parquet").stat()  # a file of the same size and time
    data = (pages / "a.parquet").read_bytes()
    changed = data.replace(b"example.org/7", b"example.com/7")
    assert changed != data
    (pages / "a.parquet").write_bytes(changed)
    os.utime(pages / "a.parquet", ns=(times.st_atime_ns, times.st_mtime_ns))
    write_pages(pages / "d.parquet", range(5))
    (output / "b.parquet").write_bytes(b"damaged")
    summary = score(model, pages, **options)
    assert (summary["scored"], summary["unchanged"]) == (3, 1)
    assert "https://example.com/7" in pq.read_table(output / "a.parquet")["url"].to_pylist()
    assert (output / "b.parquet").read_bytes() == before["b.parquet"]


def test_another_setting_or_model_scores_everything_again(job, pages, tmp_path):
    (model, _), options = job
    score(model, pages, **options)
    for change in ({"top_k": 2}, {"nulls": "empty"}, {"keep": "id"}, {"threshold": 0.6}):
        assert score(model, pages, **options | change)["scored"] == 3, change
        assert score(model, pages, **options | change)["unchanged"] == 3
    ft.load(model).quantize().save(tmp_path / "quantized")
    assert score(tmp_path / "quantized", pages, **options)["scored"] == 3


def test_a_bad_file_fails_alone_and_is_scored_once_it_is_mended(job, pages, tmp_path):
    (model, _), options = job
    good = (pages / "b.parquet").read_bytes()
    (pages / "b.parquet").write_bytes(good[:100])
    done = run_cli("score", model, pages, "-o", options["output"], "--nulls", "null", "-q",
                   "--workers", 1, "--json", code=1)  # fmt: skip
    summary = read_json(done)
    assert [failed["input"] for failed in summary["failed"]] == [str(pages / "b.parquet")]
    assert re.search(r"failed: .*b.parquet: .*not a complete Parquet file", done.stderr)
    assert sorted(p.name for p in (tmp_path / "out").rglob("*.parquet")) == [
        "a.parquet",
        "c.parquet",
    ]
    (pages / "b.parquet").write_bytes(good)
    summary = score(model, pages, **options)
    assert (summary["scored"], summary["unchanged"], summary["failed"]) == (1, 2, [])


def test_only_the_columns_to_keep_are_written(job, pages, tmp_path):
    (model, _), options = job
    for keep, names in [("id", ["id"]), ("url,text", ["url", "text"]), ("text", ["text"])]:
        score(model, pages, **options, keep=keep)
        table = pq.read_table(tmp_path / "out" / "a.parquet")
        assert table.column_names == [*names, "label", "probability"]


def test_a_column_with_the_name_of_a_prediction_gets_a_prefix(model_path, tmp_path):
    rows = {"text": ["great fun"], "label": ["mine"], "probability": [3]}
    pq.write_table(pa.table(rows), tmp_path / "x.parquet")
    score(model_path, tmp_path / "x.parquet", output=tmp_path / "out")
    (row,) = pq.read_table(tmp_path / "out" / "x.parquet").to_pylist()
    assert (row["input_label"], row["input_probability"], row["label"]) == ("mine", 3, "good")


def test_outputs_have_the_format_of_the_input_or_the_one_that_is_chosen(model_path, tmp_path):
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    (source / "a.csv").write_text('id,body\n1,"great, fun"\n2,dull\n')
    (source / "b.jsonl").write_text('{"id": 1, "body": "great"}\n{"id": 2, "body": null}\n')
    options = {"output": output, "nulls": "null", "text_column": "body", "workers": 1}
    score(model_path, source, **options)
    with (output / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["body"] for row in rows] == ["great, fun", "dull"]
    documents = [json.loads(line) for line in (output / "b.jsonl").read_text().splitlines()]
    assert documents[1] == {"id": 2, "body": None, "label": None, "probability": None}
    (proba,) = ft.load(model_path).predict(["great"])[0].probabilities
    assert documents[0]["probability"] == proba
    score(model_path, source, **options | {"output": tmp_path / "parquet"}, format="parquet")
    assert pq.read_table(tmp_path / "parquet" / "b.parquet")["label"].to_pylist()[1] is None


def test_the_rows_of_a_label(job, pages, tmp_path):
    (model, _), options = job
    predictor = ft.load(model)
    rows = [row for name in FILES for row in pq.read_table(pages / name).to_pylist()]
    texts = [row["text"] or "" for row in rows]
    proba = predictor.predict_proba(texts)[:, predictor.labels.index("good")]
    threshold = float(np.median(proba))
    options |= {"label": "good", "threshold": repr(threshold)}
    assert score(model, pages, **options)["written"] == sum(
        p >= threshold and row["text"] is not None for p, row in zip(proba, rows, strict=True)
    )
    everything = score(model, pages, **options, where="all")
    assert everything["written"] == everything["rows"] == 120
    table = pa.concat_tables(pq.read_table(tmp_path / "out" / name) for name in FILES)
    for row, out, p in zip(rows, table.to_pylist(), proba.tolist(), strict=True):
        assert out["probability"] == (None if row["text"] is None else p)
        assert (out["label"] == "good") == (row["text"] is not None and p >= threshold)


@pytest.mark.parametrize("share", ["10%", "0.37", "100%"])
def test_a_share_is_exact_over_all_files(share, job, pages, tmp_path):
    (model, _), options = job
    predictor = ft.load(model)
    rows = [row for name in FILES for row in pq.read_table(pages / name).to_pylist()]
    rows = [row for row in rows if row["text"] is not None]
    proba = predictor.predict_proba([row["text"] for row in rows])
    values = proba[:, predictor.labels.index("good")]
    number = float(share.strip("%")) / (100 if "%" in share else 1)
    cut = sorted(values, reverse=True)[max(round(number * len(values)), 1) - 1]
    summary = score(model, pages, **options, label="good", keep_share=share)
    table = pa.concat_tables(pq.read_table(tmp_path / "out" / name) for name in FILES)
    ids = [row["id"] for row, value in zip(rows, values, strict=True) if value >= cut]
    assert table["id"].to_pylist() == ids
    assert (summary["cut"]["threshold"], summary["written"]) == (cut, len(ids))
    again = score(model, pages, **options, label="good", keep_share=share)
    assert again["unchanged"] == 3
    write_pages(pages / "d.parquet", range(1000, 1040))  # moves the threshold
    more = score(model, pages, **options, label="good", keep_share=share)
    assert more["rows"] == 160
    assert more["cut"]["texts"] > summary["cut"]["texts"]


def test_outputs_keep_the_paths_of_their_inputs(tmp_path):
    for name in ("x/a.csv", "x/y/b.tsv.gz", "x/y/c.jsonl", "part-00000"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text\na\n")
    data, out = DataConfig(), tmp_path / "out"

    def outputs(*specs):
        return sorted(task.output for task in plan([str(tmp_path / s) for s in specs], out, data))

    assert outputs("x") == ["a.csv", "y/b.csv", "y/c.jsonl"]
    assert outputs("x/**/*.jsonl") == ["y/c.jsonl"]
    assert outputs("*/a.csv") == ["x/a.csv"]
    assert outputs("x/y/b.tsv.gz", "x/a.csv", "x/a.csv") == ["a.csv", "b.csv"]
    assert outputs("part-00000") == ["part-00000.jsonl"]


def test_what_cannot_be_is_refused(pages, model_path, tmp_path):
    def refused(*arguments, code=1):
        return run_cli("score", model_path, *arguments, "--workers", 1, code=code).stderr

    out = ("-o", tmp_path / "out")
    assert "no such file" in refused(tmp_path / "none", *out)
    assert "standard input" in refused("-", *out)
    assert "needs --label" in refused(pages, *out, "--keep-share", "10%", code=2)
    assert "needs --threshold" in refused(pages, *out, "--label", "good", code=2)
    assert "goood" in refused(pages, *out, "--label", "goood", "--threshold", "0.5")
    assert "not one of" in refused(pages, *out, "--engine", "slurm", code=2)
    assert not (tmp_path / "out").exists()
    (pages / "a.jsonl").write_text("{}\n")
    (pages / "a.ndjson").write_text("{}\n")
    assert "both would be written" in refused(pages / "a.jsonl", pages / "a.ndjson", *out)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.parquet").write_text("mine")
    assert "not written by score" in refused(pages / "a.parquet", *out)
    assert (tmp_path / "out" / "a.parquet").read_text() == "mine"


def test_outputs_below_the_inputs_are_no_inputs(job, pages):
    (model, _), options = job
    options["output"] = pages / "scored"
    assert score(model, pages, **options)["files"] == 3
    assert score(model, pages, **options)["unchanged"] == 3


def test_a_torn_manifest_is_read_as_far_as_it_goes(job, pages, tmp_path):
    (model, _), options = job
    score(model, pages, **options)
    manifest = tmp_path / "out" / "_manifest.jsonl"
    lines = manifest.read_bytes().splitlines(keepends=True)
    assert len(lines) == 6  # three planned, three finished
    manifest.write_bytes(b"".join(lines[:5]) + lines[5][:50])
    # The run was killed after it wrote the last output, and before it recorded it.
    summary = score(model, pages, **options)
    assert (summary["scored"], summary["unchanged"]) == (1, 2)


def test_the_summary_for_people(job, pages):
    (model, _), options = job
    done = run_cli(
        "score", model, pages, "-o", options["output"], "--nulls", "null", "--workers", 1
    )
    assert "3 scored, 0 unchanged, 0 failed" in done.stdout
    assert "good" in done.stdout


def test_a_file_without_rows_and_bad_rows(model_path, tmp_path):
    empty = pa.table({"text": pa.array([], pa.string())})
    pq.write_table(empty, tmp_path / "empty.parquet")
    (tmp_path / "bad.jsonl").write_text('{"text": "great"}\nnonsense\n')
    out = tmp_path / "out"
    inputs = tmp_path / "empty.parquet", tmp_path / "bad.jsonl"
    done = run_cli("score", model_path, *inputs, "-o", out, "--skip-bad", "--workers=1", "--json")
    summary = read_json(done)
    assert (summary["rows"], summary["skipped"]) == (1, 1)
    assert "bad.jsonl:2" in done.stderr
    assert pq.read_table(out / "empty.parquet").column_names == ["text", "label", "probability"]


BAD_FILES = {
    "empty.csv": (b"", "the file is empty"),
    "null.jsonl": (b'{"text": null}\n', "text"),
    "other.csv": (b"a,b\n1,2\n", "there is no column 'text'"),
    "latin.csv": (b"id,text\n1,caf\xe9\n", "UTF-8"),
    "broken.jsonl": (b'{"text": "fine"}\n{"text": \n', "not one JSON object"),
    "cut.csv.gz": (b"\x1f\x8b", "damaged"),
    "no.parquet": (b"PAR1", "Parquet"),
    "red\x1b[31m.csv": (b"", "the file is empty"),
}


def test_a_failure_names_its_file_once(model_path, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name, (content, _) in BAD_FILES.items():
        (folder / name).write_bytes(content)
    done = run_cli("score", model_path, folder, "-o", tmp_path / "out", "--workers=1", "--json",
                   "--format=parquet", code=1)  # fmt: skip
    failures = {failed["input"]: failed["error"] for failed in read_json(done)["failed"]}
    assert len(failures) == len(BAD_FILES)
    for name, (_, reason) in BAD_FILES.items():
        error, path = failures[str(folder / name)], for_terminal(str(folder / name))
        assert error.startswith(path), error
        assert error.count(path) == 1, error
        assert reason in error
        assert f"failed: {error}\n" in done.stderr


@pytest.mark.parametrize(
    "error",
    [MemoryError(), DataError("a kept column changes its type"), ValueError("of a library"),
     OSError(5, "Input/output error"), OSError(5, "Input/output error", "{input}")],
)  # fmt: skip
def test_a_failure_that_knows_no_file_gets_its_name(error, job, pages, monkeypatch):
    (model, _), options = job
    path = str(pages / "a.jsonl")
    Path(path).write_text('{"text": "great"}')
    if isinstance(error, OSError) and error.filename:
        error.filename = path

    def fail(scorer, batch):
        raise error

    monkeypatch.setattr(Scorer, "answers", fail)
    done = run_cli("score", model, path, "-o", options["output"], "--workers=1", code=1)
    (line,) = [line for line in done.stderr.splitlines() if "failed: " in line]
    assert line.count(path) == 1
    share = "--label=good", "--keep-share=10%"
    done = run_cli("score", model, path, "-o", options["output"], "--workers=1", *share, code=1)
    assert done.stderr.count(path) == 1
