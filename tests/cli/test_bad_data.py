"""Data that is missing or malformed: one line that names the file and the row."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

import fasttext_app
from tests.helpers import GOOD_ROWS, HEADER, QUICK, run_cli

LONG = 5 << 21  # bytes of a line, more than two blocks of any reader of such files


@pytest.mark.slow
@pytest.mark.parametrize("command", [["train", "--output", "new", "--data"], ["data"]])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "bad.csv: the file is empty"),
        (HEADER, "bad.csv: there are no rows"),
        (
            "label\nx\ny\n",
            "bad.csv: there is no column 'text'; the columns are 'label' "
            "(choose with --text-column and --label-column; if the file has no header, with "
            "--set data.header=false)",
        ),
        (
            "body,topic\na,x\n",
            "bad.csv: there is no column 'text'; the columns are 'body', 'topic' "
            "(choose with --text-column and --label-column; if the file has no header, with "
            "--set data.header=false)",
        ),
        (
            HEADER + GOOD_ROWS + "a text\n" + GOOD_ROWS,
            "bad.csv:12: the row has 1 fields where 2 are expected",
        ),
        (HEADER + GOOD_ROWS + "a text,\n", "bad.csv:12: column 'label' has no label"),
        (
            HEADER + GOOD_ROWS + 'a,"say "hi""\n' + GOOD_ROWS,
            "bad.csv:12: a quoted field does not end as it should (',' expected after '\"'); "
            "double the quotes inside it, or pass --set data.quote=false",
        ),
        (
            HEADER + GOOD_ROWS + '"never closed,x\n' + GOOD_ROWS,
            "bad.csv:12: a quoted field does not end as it should (unexpected end of data); "
            "double the quotes inside it, or pass --set data.quote=false",
        ),
        (
            (HEADER + GOOD_ROWS).encode() + b"caf\xe9,sport\n",
            "bad.csv:12: byte 0xe9 is not UTF-8; name the encoding of the file with --encoding "
            "(cp1252, shift_jis, ...), or pass --errors replace to read bad bytes as U+FFFD",
        ),
        (
            (HEADER + GOOD_ROWS).encode() + b"a\0b,sport\n",
            "bad.csv:12: NUL byte; name the encoding of the file with --encoding "
            "(cp1252, shift_jis, ...), or pass --errors replace to read bad bytes as U+FFFD",
        ),
    ],
)
def test_a_malformed_csv_file_is_named_with_its_line(fails, workdir, command, content, message):
    data = content if isinstance(content, bytes) else content.encode()
    (workdir / "bad.csv").write_bytes(data)
    assert fails(*command, "bad.csv") == message


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet", "txt", "csv.gz"])
@pytest.mark.parametrize("command", [["train", "--data"], ["data"]])
def test_a_missing_file_is_named(fails, command, suffix):
    assert fails(*command, f"none.{suffix}") == f"none.{suffix}: no such file, folder or dataset"


@pytest.mark.slow
def test_predict_names_a_missing_file_or_column(fails, model):
    assert fails("predict", model, "--input", "none.csv") == "none.csv: no such file"
    assert fails("predict", model, "--input", "model") == (
        "model: there are no data files in the folder; name a file"
    )
    message = fails("predict", model, "--input", "good.csv", "--text-column", "txt")
    assert message.startswith("good.csv: there is no column 'txt'; did you mean 'text'? ")


@pytest.mark.slow
@pytest.mark.parametrize("output", [[], ["--output", "out.csv", "--overwrite"]])
def test_a_bad_row_leaves_no_predictions_and_no_partial_file(fails, model, workdir, output):
    (workdir / "out.csv").write_text("earlier")
    (workdir / "bad.csv").write_bytes((HEADER + GOOD_ROWS).encode() + b"caf\xe9,x\n")
    assert fails("predict", model, "--input", "bad.csv", *output).startswith(
        "bad.csv:12: byte 0xe9"
    )


def test_bad_bytes_on_stdin_are_named_with_their_line(fails, model):
    assert fails("predict", model, stdin=b"one\ncaf\xe9\n").startswith(
        "-:2: byte 0xe9 is not UTF-8"
    )


@pytest.mark.slow
def test_evaluate_names_a_bad_row_or_missing_data(fails, model, workdir):
    (workdir / "bad.csv").write_text(HEADER + GOOD_ROWS + "one field\n")
    assert fails("evaluate", model, "--data", "bad.csv").startswith(
        "bad.csv:12: the row has 1 field"
    )
    (workdir / "bad.csv").write_text(HEADER)
    assert "no rows" in fails("evaluate", model, "--data", "bad.csv")
    assert fails("evaluate", model) == (
        "no data: pass --data SPEC (ag_news, sample, a file, a folder or a hub id)"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ('{"text":"a"}', "bad.jsonl:2: column 'label' has no label"),
        ('{"text":"a","label":["x","y"]}', "bad.jsonl:2: field 'label' is list where str is"),
        ("not JSON", "bad.jsonl:2: the line is not one JSON object: Expecting value at column 1"),
    ],
)
def test_a_malformed_json_line_is_named(fails, workdir, bad, message):
    (workdir / "bad.jsonl").write_text('{"text":"a","label":"x"}\n' + bad + "\n")
    assert fails("train", "--data", "bad.jsonl").startswith(message)


def test_a_malformed_fasttext_line_is_named(fails, workdir):
    (workdir / "bad.txt").write_text("__label__x one\n__label__x __label__y two\n")
    assert fails("train", "--data", "bad.txt") == (
        "bad.txt:2: the line has 2 labels (__label__x, __label__y); a row must have exactly one; "
        'for several, set data.label_separator (and model.loss = "ova")'
    )
    (workdir / "bad.txt").write_text("plain text\n")
    assert "has no word that begins with __label__" in fails("train", "--data", "bad.txt")


@pytest.mark.slow
def test_errors_replace_replaces_bad_bytes(workdir, model):
    (workdir / "bad.csv").write_bytes(
        HEADER.encode() + b"caf\xe9 one,sport\na\0b,money\n" + GOOD_ROWS.encode()
    )
    for command in (["train", "--output", "new", *QUICK, "--data"], ["data", "--json"]):
        run_cli(*command, "bad.csv", "--errors", "replace")
    result = run_cli("predict", model, "--input", "bad.csv", "--errors", "replace")
    texts = [line.split("\t")[1] for line in result.stdout.splitlines()]
    assert texts[:2] == ["caf\N{REPLACEMENT CHARACTER} one", "a\N{REPLACEMENT CHARACTER}b"]
    assert len(texts) == 12
    assert fasttext_app.load("new").config.data.errors == "replace"


@pytest.mark.slow
def test_training_needs_two_labels(fails, workdir):
    (workdir / "one.csv").write_text(HEADER + "a,same\nb,same\n" * 5)
    assert fails("train", "--data", "one.csv") == (
        "one.csv: every training row has the label 'same'; a classifier needs at least two labels"
    )
    (workdir / "one.csv").write_text(HEADER + "a,x\n")
    assert "a classifier needs at least two labels" in fails("train", "--data", "one.csv")


@pytest.mark.slow
def test_training_needs_a_word_in_the_vocabulary(fails, workdir):
    (workdir / "blank.csv").write_text(HEADER + ",x\n ,y\n" * 5)
    message = fails("train", "--data", "blank.csv")
    assert "none of the " in message
    assert "check --text-column and text.min_count" in message
    assert "none of the " in fails(
        *("train", "--data", "good.csv", "--set", "text.min_count=99"),
        *("--set", "text.maxn=0", "--set", "text.word_ngrams=1"),
    )


@pytest.mark.slow
def test_a_missing_split_is_named_with_those_there_are(fails, workdir):
    message = fails("data", "sample", "--split", "dev")
    assert message == "sample: no split 'validation'; it has: test, train"
    message = fails("train", "--data", "good.csv", "--set", "data.validation=dev")
    assert message.startswith("data.validation: dev: no such file, and good.csv has no splits")


@pytest.mark.slow
def test_empty_texts_are_trained_on_predicted_and_scored(workdir, model):
    (workdir / "some.csv").write_text(HEADER + ",sport\n" + GOOD_ROWS)
    run_cli("train", "--data", "some.csv", "--output", "new", *QUICK)
    assert len(run_cli("predict", model, "", " ", "the team won").stdout.splitlines()) == 3
    assert run_cli("predict", model, stdin="\n\n").stdout.count("\n") == 2
    run_cli("evaluate", model, "--data", "some.csv")


@pytest.mark.slow
def test_a_text_argument_must_be_utf8(fails, model):
    bad = b"caf\xe9".decode(errors="surrogateescape")
    message = "text 2 of the command line is not UTF-8; pass it as UTF-8"
    assert fails("predict", model, "good", bad) == message
    assert fails("inspect", model, "good", bad) == message
    assert fails("inspect", "--without-model", "good", bad) == message
    result = run_cli("predict", model, bad, "--errors", "replace")
    assert result.stdout.endswith("\tcaf\N{REPLACEMENT CHARACTER}\n")


@pytest.mark.slow
def test_a_hub_dataset_offline_is_one_line(fails):
    message = fails("train", "--data", "nobody/nothing")
    assert message.startswith("nobody/nothing: the dataset cannot be loaded: ")


@pytest.mark.slow
@pytest.mark.parametrize("word", ["x" * LONG, "wordofninety" * 4 + " "], ids=["one", "many"])
def test_a_line_longer_than_a_block_is_read(workdir, model, word):
    line = (word * (LONG // len(word))).strip()
    (workdir / "long.csv").write_text(f"{HEADER}{line},sport\n{GOOD_ROWS}")
    (workdir / "long.txt").write_text(f"short\n{line}\nshort\n")
    words_only = ("--set", "text.maxn=0", "--set", "trainer.refit=false")
    run_cli("train", "--data", "long.csv", "--output", "new", *QUICK, *words_only)
    result = run_cli("predict", model, "--input", "long.txt", "--format", "fasttext")
    assert result.stdout.count("\n") == 3


@pytest.mark.slow
@pytest.mark.parametrize("errors", ["strict", "replace"])
def test_data_that_is_not_text_is_named_by_every_command(fails, model, workdir, errors):
    (workdir / "x.csv").write_bytes(b"%PDF-1.7")
    for command in (
        ["data"],
        ["train", "--data"],
        ["evaluate", model, "--data"],
        ["predict", model, "--input"],
    ):
        message = fails(*command, "x.csv", "--errors", errors)
        assert message == "x.csv: is a PDF; extract its text"
    message = fails("predict", model, "--errors", errors, stdin=b"%PDF-1.7")
    assert message == "-: is a PDF; extract its text"


@pytest.mark.slow
def test_compressed_input_gives_the_same_predictions(workdir, model):
    plain = run_cli("predict", model, "--input", "good.csv").stdout
    data = Path("good.csv").read_bytes()
    Path("packed.csv.zst").write_bytes(pa.compress(data, "zstd", asbytes=True))
    assert run_cli("predict", model, "--input", "packed.csv.zst").stdout == plain
    lines = b"the team won\n" * 3
    assert (
        run_cli("predict", model, stdin=pa.compress(lines, "zstd", asbytes=True)).stdout
        == run_cli("predict", model, stdin=lines).stdout
    )
