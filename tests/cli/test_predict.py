"""``fasttext-app predict``: every input to every output format."""

from __future__ import annotations

import csv
import io
import json
import shlex
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fasttext_app

TEXTS = ["the team won the final", "", "the bank cut its forecast", 'a "quoted", word', "été 😀"]


def write_texts(path: Path, texts: list[str]) -> Path:
    """Write one text per row in the format of the file's suffix."""
    suffix = path.suffix
    if suffix == ".parquet":
        pq.write_table(pa.table({"text": texts}), path)
    elif suffix == ".jsonl":
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    elif suffix == ".txt":
        path.write_text("".join(text + "\n" for text in texts), encoding="utf-8")
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            delimiter = "\t" if suffix == ".tsv" else ","
            csv.writer(file, delimiter=delimiter).writerows([["text"], *([text] for text in texts)])
    return path


def read_predictions(path: Path, top_k: int) -> list[tuple[list[str], list[float]]]:
    """Read labels and probabilities back from any format."""
    suffix = path.suffix
    if suffix == ".parquet":
        rows = pq.read_table(path).to_pylist()
        return [(row["labels"], row["probabilities"]) for row in rows]
    content = path.read_text(encoding="utf-8")
    if suffix == ".csv":
        _, *cells = csv.reader(io.StringIO(content, newline=""))
        assert all(len(row) == 1 + 2 * top_k for row in cells)
        pairs = [
            [(name, float(value)) for name, value in zip(row[1::2], row[2::2], strict=True) if name]
            for row in cells
        ]
        return [([n for n, _ in row], [v for _, v in row]) for row in pairs]
    lines = content.splitlines()
    if suffix == ".jsonl":
        return [(json.loads(x)["labels"], json.loads(x)["probabilities"]) for x in lines]
    if suffix == ".fasttext":
        fields = [line.split() for line in lines]
        return [
            ([n.removeprefix("__label__") for n in row[::2]], [float(v) for v in row[1::2]])
            for row in fields
        ]
    pairs = [line.split("\t")[0].split(", ") for line in lines]
    rows = [[pair.rsplit(" ", 1) for pair in row if pair != "-"] for row in pairs]
    return [([n for n, _ in row], [float(v) for _, v in row]) for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize("source", [".txt", ".csv", ".tsv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("top_k", [1, 2])
def test_every_input_and_output_format_gives_the_same_predictions(
    run, tiny_model_dir, workdir, source, top_k
):
    expected = fasttext_app.load(tiny_model_dir).predict(TEXTS, top_k)
    path = write_texts(workdir / f"texts{source}", TEXTS)
    forms = {".text": "text", ".jsonl": "jsonl", ".csv": "csv", ".parquet": "parquet"}
    for suffix, form in {**forms, ".fasttext": "fasttext"}.items():
        output = workdir / f"predictions{suffix}"
        result = run("predict", tiny_model_dir, "--input", path, "--output", output,
                     "--format", form, "--top-k", top_k)  # fmt: skip
        assert result.stdout == ""
        assert result.stderr == f"wrote 5 rows to {output}\n"
        predictions = read_predictions(output, top_k)
        assert [labels for labels, _ in predictions] == [list(p.labels) for p in expected]
        for (_, values), prediction in zip(predictions, expected, strict=True):
            assert values == pytest.approx(prediction.probabilities, abs=1e-4)


@pytest.mark.slow
def test_arguments_stdin_and_a_file_give_the_same_rows(run, tiny_model_dir, workdir):
    path = write_texts(workdir / "texts.txt", TEXTS)
    options = ["--format", "jsonl", "--top-k", "2"]
    expected = run("predict", tiny_model_dir, *TEXTS, *options).stdout
    lines = "".join(text + "\n" for text in TEXTS)
    assert run("predict", tiny_model_dir, *options, stdin=lines).stdout == expected
    assert run("predict", tiny_model_dir, "--input", "-", *options, stdin=lines).stdout == expected
    assert run("predict", tiny_model_dir, "--input", path, *options).stdout == expected


def test_a_jsonl_row_has_the_text_and_labels_by_probability(run, tiny_model_dir):
    result = run("predict", tiny_model_dir, *TEXTS, "--format", "jsonl", "--top-k", "2")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["text"] for row in rows] == TEXTS
    for row in rows:
        assert list(row) == ["text", "labels", "probabilities", "known"]
        assert sorted(row["labels"]) == ["money", "sport"]
        assert sum(row["probabilities"]) == pytest.approx(1, abs=1e-5)
        assert row["probabilities"] == sorted(row["probabilities"], reverse=True)


def test_csv_keeps_the_line_ends_of_texts(run, tiny_model_dir, workdir):
    texts = ["one\ntwo", "three\r\nfour", "five\rsix", "", " "]
    path = write_texts(workdir / "texts.csv", texts)
    written = run("predict", tiny_model_dir, "--input", path, "--format", "csv").stdout_bytes
    rows = list(csv.reader(io.StringIO(written.decode(), newline="")))
    assert [row[0] for row in rows] == ["text", *texts]


def test_top_k_is_limited_to_the_number_of_labels(run, tiny_model_dir):
    result = run("predict", tiny_model_dir, "text", "--top-k", "99", "--format", "csv")
    assert result.stdout.splitlines()[0] == "text,label_1,probability_1,label_2,probability_2"


@pytest.mark.slow
def test_threshold_drops_labels_but_no_rows(run, tiny_model_dir):
    arguments = ("predict", tiny_model_dir, *TEXTS, "--top-k", "2", "--threshold", "1")
    assert run(*arguments).stdout.splitlines() == [f"-\t{text}" for text in TEXTS]
    rows = run(*arguments, "--format", "jsonl").stdout.splitlines()
    assert [json.loads(row)["labels"] for row in rows] == [[]] * len(TEXTS)
    assert run(*arguments, "--format", "fasttext").stdout == "\n" * len(TEXTS)
    half = run("predict", tiny_model_dir, TEXTS[0], "--top-k", "2", "--threshold", "0.5",
               "--format", "jsonl").stdout  # fmt: skip
    assert len(json.loads(half)["labels"]) == 1


def test_texts_after_two_dashes_may_look_like_options(run, tiny_model_dir):
    result = run("predict", tiny_model_dir, "--format", "jsonl", "--", "--dim", "-1")
    assert [json.loads(row)["text"] for row in result.stdout.splitlines()] == ["--dim", "-1"]


@pytest.mark.slow
def test_text_column_chooses_and_joins_columns(run, tiny_model_dir, workdir):
    (workdir / "in.csv").write_text("a,b\none,two\n")
    result = run("predict", tiny_model_dir, "--input", "in.csv", "--format", "jsonl",
                 "--text-column", "b", "--text-column", "a")  # fmt: skip
    assert json.loads(result.stdout)["text"] == "two one"
    result = run("predict", tiny_model_dir, "--input", "in.csv", "--format", "jsonl",
                 "--set", "data.header=false", "--text-column", "1")  # fmt: skip
    assert [json.loads(row)["text"] for row in result.stdout.splitlines()] == ["a", "one"]


@pytest.mark.slow
def test_threads_do_not_change_predictions(run, tiny_model_dir, workdir):
    path = write_texts(workdir / "texts.txt", TEXTS * 50)
    one, two = (
        run("predict", tiny_model_dir, "--input", path, "--threads", n).stdout for n in (1, 2)
    )
    assert one == two


def test_predictions_do_not_overwrite_their_input(run, tiny_model_dir, workdir):
    path = workdir / "texts.csv"
    path.write_text("text\nthe only copy\n")
    run("predict", tiny_model_dir, "--input", path, "--output", path, code=2)
    assert path.read_text() == "text\nthe only copy\n"


@pytest.mark.parametrize("command", ["predict", "explain"])
def test_the_path_of_a_file_is_not_taken_for_a_text(run, tiny_model_dir, workdir, command):
    for name in ("new rows.csv", "inner/rows"):
        (workdir / name).parent.mkdir(exist_ok=True)
        (workdir / name).write_text("text\nthe team won\n")
        refused = run(command, tiny_model_dir, name, code=2)
        assert refused.stderr.startswith(
            f"error: TEXT: {name} is a file; did you mean --input {shlex.quote(name)}?"
        )
    (workdir / "team").write_text("")
    for text in ("team", "a.csv and more", "no.csv", "x" * 5000 + ".csv", "a/b"):
        assert run(command, tiny_model_dir, text).stdout
