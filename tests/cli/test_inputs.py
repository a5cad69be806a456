"""Files as people have them: many, piped, with other delimiters and encodings, with bad rows."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tests.helpers import GOOD_ROWS, HEADER, QUICK, contents, read_json, run_cli

ROWS = GOOD_ROWS.splitlines(keepends=True)


def train(*arguments: object, output: str = "new", stdin: str | bytes | None = None) -> dict:
    """Train a model; return the statistics of its data."""
    result = run_cli("train", *arguments, "--output", output, *QUICK, "--json", stdin=stdin)
    return read_json(result)["data"]


def weights(model: str) -> bytes:
    return Path(model, "model.safetensors").read_bytes()


# --- options


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--lr", "1", "--lr", "1"],
        ["train", "--output", "a", "-o", "b"],
        ["evaluate", "model", "--split", "a", "--split", "b"],
        ["data", "good.csv", "--encoding", "utf-8", "--encoding", "utf-8"],
        ["predict", "model", "--top-k=1", "--top-k=2"],
        ["plot", "model", "--output", "a.png", "--output", "b.png"],
    ],
)
def test_an_option_that_takes_one_value_is_refused_twice(workdir, arguments):
    result = run_cli(*arguments, code=2)
    option = arguments[-2].partition("=")[0].replace("-o", "--output", arguments[-2] == "-o")
    assert result.stderr.startswith(f"error: {option}: is given 2 times; give it once; see ")


# --- many files


@pytest.mark.slow
def test_many_files_are_read_as_one_source(workdir):
    Path("shards").mkdir()
    for number in range(5):
        rows = "".join(ROWS[2 * number : 2 * number + 2])
        Path("shards", f"{number}.csv").write_text(HEADER + rows)
    Path("all.csv").write_text(HEADER + GOOD_ROWS)
    files = [f"shards/{number}.csv" for number in range(5)]
    one = train("--data", "all.csv", output="one")
    for sources in (["shards"], [*files[:2], "shards/[2-4].csv"]):
        arguments = [part for source in sources for part in ("--data", source)]
        several = train(*arguments, "--overwrite", output="several")
        assert {**several, "source": "all.csv", "files": one["files"]} == one
        assert weights("several") == weights("one")
        predicted = [part for source in sources for part in ("--input", source)]
        assert (
            run_cli("predict", "one", *predicted).stdout
            == run_cli("predict", "one", "--input", "all.csv").stdout
        )
    assert read_json(run_cli("data", *files, "--json"))["rows"] == 10


@pytest.mark.slow
def test_validation_rows_can_be_in_a_file(fails, workdir, model):
    Path("held_out.csv").write_text(HEADER + "the team fell,sport\n" * 3)
    statistics = train("--data", "good.csv", "--validation", "held_out.csv")
    assert (statistics["train_rows"], statistics["validation_rows"]) == (10, 3)
    statistics = train("--data", "good.csv", "--validation", "0.2", output="other")
    assert statistics["validation_rows"] == 2
    assert fails("train", "--data", "good.csv", "--validation", "none.csv") == (
        "data.validation: none.csv: no such file, and good.csv has no splits; name a file, or give "
        "a fraction"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "arguments"),
    [
        ("__label__sport the team won\n__label__money the bank fell\n" * 5, []),
        (HEADER + GOOD_ROWS, ["--delimiter", ","]),
        (
            json.dumps(
                [dict(zip(("text", "label"), row.strip().split(","), strict=True)) for row in ROWS]
            ),
            ["--set", "data.format=jsonl"],
        ),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_model_is_trained_on_standard_input(workdir, content, arguments, packed):
    Path("all.csv").write_text(HEADER + GOOD_ROWS)
    train("--data", "all.csv", output="file")
    stdin = gzip.compress(content.encode()) if packed else content.encode()
    statistics = train("--data", "-", *arguments, stdin=stdin, output="stdin")
    assert statistics["source"] == "-"
    assert weights("stdin") == weights("file")


def test_a_search_does_not_read_standard_input(fails):
    message = fails("tune", "--data", "-", "--trials", "1", "--output", "found")
    assert message.startswith("data.source: a search may read its data more than once")


# --- delimiters and encodings


@pytest.mark.slow
def test_other_delimiters_and_encodings_are_read_by_every_command(fails, workdir, model):
    rows = GOOD_ROWS.replace("team", "équipe").replace(",", ";")
    Path("x.csv").write_bytes(f"text;label\n{rows}".encode("cp1252"))
    message = fails("data", "x.csv")
    assert message.startswith(
        "x.csv:2: byte 0xe9 is not UTF-8; name the encoding of the file with "
    )
    reading = ["--delimiter", ";", "--encoding", "cp1252"]
    described = read_json(run_cli("data", "x.csv", *reading, "--json"))
    assert described["first_rows"][0] == {"text": "the équipe won", "label": "sport"}
    train("--data", "x.csv", *reading)
    predicted = run_cli("predict", model, "--input", "x.csv", *reading).stdout
    assert "the équipe won" in predicted
    scores = read_json(run_cli("evaluate", model, "--data", "x.csv", *reading, "--json"))
    assert scores["accuracy"] > 0


@pytest.mark.slow
def test_the_encoding_of_the_training_data_is_not_taken_for_that_of_other_texts(workdir):
    rows = GOOD_ROWS.replace("team", "équipe")
    Path("x.csv").write_bytes((HEADER + rows).encode("cp1252"))
    train("--data", "x.csv", "--encoding", "cp1252", "--skip-bad")
    assert "équipe" in run_cli("predict", "new", stdin="l'équipe\n").stdout
    Path("y.csv").write_text(HEADER + rows)
    assert "équipe" in run_cli("predict", "new", "--input", "y.csv").stdout
    run_cli("train", "--from", "new", "--data", "y.csv", "--output", "newer", "--epochs", "1")
    data = read_json(run_cli("info", "newer", "--json"))["config"]["data"]
    assert (data["encoding"], data["skip_bad"]) == ("utf-8", False)


# --- bad rows


@pytest.mark.slow
def test_bad_rows_are_skipped_by_every_command(workdir, model):
    Path("bad.csv").write_bytes((HEADER + GOOD_ROWS).encode() + b"one\ntwo \xff,sport\nlast,\n")
    listed = [
        "skipped 3 bad rows:",
        "  bad.csv:12: the row has 1 fields where 2 are expected",
        "  bad.csv:13: column 'text' has bytes that are not UTF-8",
        "  bad.csv:14: column 'label' has no label",
    ]
    for command in (["data", "bad.csv"], ["evaluate", model, "--data", "bad.csv"]):
        assert run_cli(*command, "--skip-bad").stderr.splitlines() == listed
    result = run_cli("predict", model, "--input", "bad.csv", "--skip-bad")
    assert result.stdout.count("\n") == 11
    assert result.stderr.splitlines() == ["skipped 2 bad rows:", *listed[1:3]]
    result = run_cli("train", "--data", "bad.csv", "--skip-bad", "--output", "new", *QUICK)
    problems = "; ".join(line.strip() for line in listed[1:])
    assert f"skipped 3 bad rows: {problems}" in result.stderr.splitlines()
    assert json.loads(Path("new", "data.json").read_text())["skipped_rows"] == 3


@pytest.mark.slow
def test_data_without_a_good_row_is_refused(workdir):
    Path("bad.csv").write_text(HEADER + "one\ntwo\n")
    before = contents(workdir)
    result = run_cli("train", "--data", "bad.csv", "--skip-bad", code=1)
    assert result.stderr == (
        "error: bad.csv: there are no rows; 2 were skipped, the first: bad.csv:2: the row has 1 "
        "fields where 2 are expected\n"
    )
    assert contents(workdir) == before
