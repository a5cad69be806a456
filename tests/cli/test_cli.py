"""The command line from end to end: train, evaluate, predict, info, inspect, data."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

import fasttext_app
from fasttext_app._version import __version__
from fasttext_app.cli.app import make_app
from fasttext_app.config.loading import dump_config, load_config_file, resolve
from fasttext_app.config.resources import config_names, config_path
from fasttext_app.config.schema import Config

COMMANDS = (
    *("train", "predict", "evaluate", "quantize", "inspect", "explain", "plot", "info", "data"),
)
QUICK = ["--epochs", "3", "--dim", "4", "--device", "cpu", "--threads", "1"]
TEXTS = ["the team won the final", "", "the bank cut its forecast", 'a "quoted", word', "été 😀"]

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the program in an empty folder; it must end with the exit code that is asked for."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: object, code: int = 0, stdin: str | bytes | None = None) -> Result:
        result = CliRunner().invoke(make_app(), list(map(str, arguments)), input=stdin)
        assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
        return result

    return invoke


@pytest.fixture(scope="session")
def tiny_csv(
    tmp_path_factory: pytest.TempPathFactory, tiny_examples: list[tuple[str, str]]
) -> Path:
    """A folder with ``train.csv`` and ``test.csv`` of the tiny examples."""
    folder = tmp_path_factory.mktemp("data")
    for split, rows in (("train", tiny_examples), ("test", tiny_examples[::3])):
        with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *rows])
    return folder


def document(result: Result) -> dict[str, Any]:
    """Read standard output as one JSON object on one line."""
    assert result.stdout.count("\n") == 1
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


# --- help and version


def test_version(run):
    assert run("--version").stdout == f"fasttext-app {__version__}\n"


def test_help_lists_the_commands(run):
    shown = run("--help").stdout
    for command in COMMANDS:
        assert command in shown
    assert "Usage" in run(code=2).stdout + run(code=2).stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_for_every_option(run, command):
    shown = run(command, "--help").stdout
    assert "Usage" in shown
    alone = CliRunner().invoke(make_app(command), [command, "--help"], prog_name="fasttext-app")
    assert alone.stdout == shown


# --- from data to predictions


def test_train_evaluate_predict(run, tiny_csv, tmp_path):
    trained = run("train", "--data", tiny_csv, "--output", "model", *QUICK, "--lr", "0.5",
                  "--epochs", "12", "--batch-size", "4")  # fmt: skip
    assert trained.stdout.startswith("saved the model of epoch ")
    assert trained.stdout.endswith(")\n")
    assert " to model (validation accuracy " in trained.stdout
    lines = trained.stderr.splitlines()
    assert lines[0] == "training on 18 texts, 2 held out for validation, device cpu"
    assert [line.split("  ")[0] for line in lines[1:]] == [
        f"epoch {number}/12" for number in range(1, 13)
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]

    evaluated = run("evaluate", "model")  # the test split of the training data
    assert "Confusion matrix" in evaluated.stdout
    assert evaluated.stderr == ""
    predicted = run("predict", "model", "the team won", "the bank cut rates")
    labels = [line.split(" ")[0] for line in predicted.stdout.splitlines()]
    assert labels == ["sport", "money"]
    assert predicted.stderr == ""
    assert "most frequent words: the (" in run("info", "model").stdout
    assert "indices [2]" in run("inspect", "model", "the team").stdout


def test_training_twice_gives_the_same_weights(run, tiny_csv, tmp_path):
    for name in ("one", "two"):
        run("train", "--data", tiny_csv, "--output", name, *QUICK, "--seed", "7")
    first, second = ((tmp_path / n / "model.safetensors").read_bytes() for n in ("one", "two"))
    assert first == second


def test_train_json(run, tiny_csv):
    found = document(run("train", "--data", tiny_csv, "--output", "model", *QUICK, "--json"))
    assert list(found) == [
        *(
            "output",
            "best_epoch",
            "steps",
            "interrupted",
            "stopped_early",
            "epochs",
            "metrics",
            "calibration",
        ),
        "data",
    ]
    assert found["output"] == "model"
    assert found["steps"] == 3
    assert found["interrupted"] is False
    assert len(found["epochs"]) == 3
    assert set(found["metrics"]) == {
        *("validation_loss", "validation_accuracy", "validation_macro_f1")
    }
    assert found["data"]["train_rows"] == 18


@pytest.mark.parametrize(
    ("arguments", "folder"),
    [
        (["--data", "x/my data.csv"], "models/my_data"),
        (["--data", "x/reviews.csv.gz"], "models/reviews"),
        (["--config", "my.toml"], "models/my"),
    ],
)
def test_the_default_output_is_named_for_the_config_or_the_data(
    run, tiny_csv, tmp_path, arguments, folder
):
    import gzip

    rows = (tiny_csv / "train.csv").read_bytes()
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "my data.csv").write_bytes(rows)
    (tmp_path / "x" / "reviews.csv.gz").write_bytes(gzip.compress(rows))
    (tmp_path / "my.toml").write_text('[data]\nsource = "x/my data.csv"\n')
    assert f" to {folder} " in run("train", *arguments, *QUICK).stdout
    assert (tmp_path / folder / "manifest.json").is_file()


def test_training_replaces_an_earlier_model(run, tiny_csv, tmp_path):
    run("train", "--data", tiny_csv, "--output", "model", *QUICK)
    run("train", "--data", tiny_csv, "--output", "model", *QUICK, "--dim", "6")
    assert document(run("info", "model", "--json"))["table"][1] == 6
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_file_of_the_users_own_in_a_model_folder_is_not_deleted(run, tiny_csv, tmp_path):
    run("train", "--data", tiny_csv, "--output", "model", *QUICK)
    (tmp_path / "model" / "notes.txt").write_text("mine")
    result = run("train", "--data", tiny_csv, "--output", "model", *QUICK, code=1)
    assert "would delete notes.txt" in result.stderr
    assert (tmp_path / "model" / "notes.txt").read_text() == "mine"


def test_a_model_is_replaced_only_where_output_names_it(run, tiny_csv):
    run("train", "--data", tiny_csv, *QUICK)
    result = run("train", "--data", tiny_csv, *QUICK, code=1)
    assert "already has a model; pass --output to replace it" in result.stderr


def test_predictions_do_not_go_over_their_own_input(run, tiny_model_dir, tmp_path):
    path = tmp_path / "texts.csv"
    path.write_text("text\nthe only copy\n")
    run("predict", tiny_model_dir, "--input", path, "--output", path, code=2)
    assert path.read_text() == "text\nthe only copy\n"


def test_settings_of_training_cannot_be_set_afterwards(run, tiny_model_dir, tiny_csv):
    setting = ["--set", "text.word_ngrams=3"]
    for command in (["predict", tiny_model_dir, "x"], ["evaluate", tiny_model_dir]):
        assert "only data.* can be set here" in run(*command, *setting, code=1).stderr
    setting = ["--set", "model.dim=3"]
    shown = run("inspect", "--without-model", "x", *setting, code=1).stderr
    assert "only text.* can be set here" in shown


def test_validation_rows_of_labels_that_training_never_saw(run, tmp_path):
    (tmp_path / "train.csv").write_text("text,label\n" + "a,x\nb,y\n" * 4)
    (tmp_path / "dev.csv").write_text("text,label\na,x\nc,z\nd,w\n")
    result = run("train", "--data", ".", "--output", "model", *QUICK)
    assert (
        "2 validation rows have labels that training never saw; they were left out" in result.stderr
    )
    assert "1 held out for validation" in result.stderr


def test_a_stored_text_setting_is_used_by_every_command(run, tiny_csv, tmp_path):
    """Columns that were named for training need no naming after it."""
    renamed = (tiny_csv / "train.csv").read_text(encoding="utf-8")
    for split in ("train", "test"):
        (tmp_path / f"{split}.csv").write_text(renamed.replace("text,label", "body,topic", 1))
    run("train", "--data", ".", "--output", "model", "--text-column", "body",
        "--label-column", "topic", *QUICK)  # fmt: skip
    assert document(run("evaluate", "model", "--json"))["examples"] == 20
    assert run("predict", "model", "--input", "test.csv").stdout.count("\n") == 20


# --- settings


def test_flags_win_over_set_and_set_over_the_config(run, tiny_csv, tmp_path):
    (tmp_path / "my.toml").write_text(
        f'[data]\nsource = "{tiny_csv}"\n[trainer]\nepochs = 9\nbatch_size = 7\nseed = 3\n'
        "[model]\ndim = 5\n[text]\nword_ngrams = 2\nbucket = 100\n"
    )
    result = run(
        *("train", "--config", "my.toml", "--dry-run", "--json"),
        *("--set", "trainer.epochs=8", "--set", "trainer.batch_size=6", "--set", "model.dim=3"),
        *("--epochs", "2", "--lr", "0.25"),
    )
    config = document(result)["config"]
    assert config["trainer"]["epochs"] == 2
    assert config["trainer"]["batch_size"] == 6
    assert config["trainer"]["seed"] == 3
    assert config["model"]["dim"] == 3
    assert config["optimizer"]["lr"] == 0.25
    assert config["text"]["word_ngrams"] == 2


def test_every_flag_of_train_sets_its_key(run, tiny_csv):
    flags = {
        "--epochs": ("trainer", "epochs", 2),
        "--lr": ("optimizer", "lr", 0.5),
        "--dim": ("model", "dim", 3),
        "--batch-size": ("trainer", "batch_size", 5),
        "--seed": ("trainer", "seed", 11),
        "--device": ("trainer", "device", "cpu"),
        "--threads": ("trainer", "threads", 2),
        "--label-column": ("data", "label_column", "label"),
        "--errors": ("data", "errors", "replace"),
    }
    given = [part for flag, (_, _, value) in flags.items() for part in (flag, value)]
    result = run("train", "--data", tiny_csv, "--text-column", "label", "--text-column", "text",
                 *given, "--dry-run", "--json")  # fmt: skip
    config = document(result)["config"]
    for section, key, value in flags.values():
        assert config[section][key] == value
    assert config["data"]["text_columns"] == ["label", "text"]


def test_dry_run_shows_the_settings_as_toml_and_saves_nothing(run, tiny_csv, tmp_path):
    shown = run("train", "--data", tiny_csv, "--dry-run", "--dim", "3").stdout
    settings = tomllib.loads(shown.partition("Training data")[0])
    assert resolve(settings).model.dim == 3
    assert "train rows" in shown
    assert "Labels" in shown
    assert not list(tmp_path.iterdir())


def test_dry_run_json_figures(run, tiny_csv):
    found = document(run("train", "--data", tiny_csv, "--dry-run", "--json"))
    assert list(found) == ["config", "data"]
    assert resolve(found["config"]) == resolve({"data": {"source": str(tiny_csv)}})
    figures = found["data"]
    assert figures["train_rows"] + figures["validation_rows"] == 20
    assert set(figures["labels"]) == {"sport", "money"}
    assert figures["empty_texts"] == 0


@pytest.mark.parametrize("name", config_names())
def test_every_shipped_config_is_valid_and_known_by_its_name(run, tmp_path, name):
    path = config_path(name)
    assert path is not None
    config = resolve(load_config_file(name))
    assert config == resolve(load_config_file(path))
    assert resolve(tomllib.loads(dump_config(config))) == config
    assert config.data.source in {"sample", "ag_news"}
    assert path.read_text(encoding="utf-8").startswith("#")


def test_every_config_file_is_shipped():
    folder = Path(fasttext_app.__file__).parent.parent / "configs"
    names = sorted(path.stem for path in folder.iterdir())
    assert names == config_names()
    assert {"ag_news", "sample"} <= set(names)


def test_a_shipped_config_by_name(run):
    result = run("train", "--config", "sample", "--dry-run", "--json", "--epochs", "1")
    found = document(result)
    assert found["config"]["data"]["source"] == "sample"
    assert found["config"]["trainer"]["epochs"] == 1
    assert len(found["data"]["labels"]) > 2


def test_a_config_file_wins_over_a_shipped_name(run, tiny_csv, tmp_path):
    (tmp_path / "sample").write_text(f'[data]\nsource = "{tiny_csv}"\n')
    result = run("train", "--config", "sample", "--dry-run", "--json")
    assert document(result)["config"]["data"]["source"] == str(tiny_csv)


# --- evaluate


def test_evaluate_json(run, tiny_model_dir, tiny_csv, tiny_examples):
    found = document(run("evaluate", tiny_model_dir, "--data", tiny_csv, "--json"))
    assert list(found) == [
        *("examples", "accuracy", "macro_f1", "micro_f1", "labels", "per_label"),
        *("confusion_matrix", "precision_at_k", "recall_at_k", "unknown_labels"),
        "calibration",
    ]
    assert found["examples"] == len(tiny_examples[::3]) == 7
    assert found["labels"] == ["money", "sport"]
    assert list(found["per_label"]) == found["labels"]
    for scores in found["per_label"].values():
        assert list(scores) == ["precision", "recall", "f1", "support"]
    matrix = found["confusion_matrix"]
    assert sum(map(sum, matrix)) == 7
    right = sum(matrix[row][row] for row in range(2))
    assert found["accuracy"] == found["micro_f1"] == right / 7
    assert [sum(row) for row in matrix] == [s["support"] for s in found["per_label"].values()]
    assert found["unknown_labels"] == {}


def test_evaluate_agrees_with_predict(run, tiny_model_dir, tiny_csv):
    with (tiny_csv / "train.csv").open(encoding="utf-8", newline="") as file:
        true = [row["label"] for row in csv.DictReader(file)]
    predicted = run("predict", tiny_model_dir, "--input", tiny_csv / "train.csv")
    labels = [line.split(" ")[0] for line in predicted.stdout.splitlines()]
    hits = sum(a == b for a, b in zip(true, labels, strict=True))
    found = document(
        run("evaluate", tiny_model_dir, "--data", tiny_csv, "--split", "train", "--json")
    )
    assert found["accuracy"] == hits / len(true)


def test_evaluate_shows_what_json_says(run, tiny_model_dir, tiny_csv):
    scores = document(run("evaluate", tiny_model_dir, "--data", tiny_csv, "--json"))
    shown = run("evaluate", tiny_model_dir, "--data", tiny_csv).stdout
    assert f"{scores['accuracy']:.4f}" in shown
    assert f"{scores['macro_f1']:.4f}" in shown
    for label in scores["labels"]:
        assert label in shown


def test_labels_that_training_never_saw_are_reported_as_errors(run, tiny_model_dir, tmp_path):
    (tmp_path / "new.csv").write_text("text,label\nthe team won,sport\na vote,politics\nx,art\n")
    found = document(run("evaluate", tiny_model_dir, "--data", "new.csv", "--json"))
    assert found["labels"] == ["money", "sport", "politics", "art"]
    assert found["unknown_labels"] == {"politics": 1, "art": 1}
    assert found["accuracy"] == pytest.approx(1 / 3)
    assert found["per_label"]["art"]["recall"] == 0
    shown = run("evaluate", tiny_model_dir, "--data", "new.csv").stdout
    assert (
        "2 rows have labels that the model does not know; each counts as an error: "
        "politics (1), art (1)" in shown
    )


def test_a_model_is_not_scored_on_the_file_it_was_trained_on(run, tiny_csv):
    path = tiny_csv / "train.csv"
    run("train", "--data", path, "--output", "model", *QUICK)
    result = run("evaluate", "model", code=1)
    assert result.stderr == (
        f"error: {path}: the model was trained on this very file; pass --data SPEC to score it "
        "on other rows\n"
    )
    assert document(run("evaluate", "model", "--data", path, "--json"))["examples"] == 20


# --- predict


def write_texts(path: Path, texts: list[str]) -> Path:
    """Write one text a row in the format of the file's name."""
    kind = path.suffix
    if kind == ".parquet":
        pq.write_table(pa.table({"text": texts}), path)
    elif kind == ".jsonl":
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    elif kind == ".txt":
        path.write_text("".join(text + "\n" for text in texts), encoding="utf-8")
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            delimiter = "\t" if kind == ".tsv" else ","
            csv.writer(file, delimiter=delimiter).writerows([["text"], *([text] for text in texts)])
    return path


def read_answers(path: Path, top_k: int) -> list[tuple[list[str], list[float]]]:
    """Read labels and probabilities back from any format."""
    form = path.suffix
    if form == ".parquet":
        rows = pq.read_table(path).to_pylist()
        return [(row["labels"], row["probabilities"]) for row in rows]
    content = path.read_text(encoding="utf-8")
    if form == ".csv":
        _, *found = csv.reader(io.StringIO(content, newline=""))
        assert all(len(row) == 1 + 2 * top_k for row in found)
        pairs = [
            [(name, float(value)) for name, value in zip(row[1::2], row[2::2], strict=True) if name]
            for row in found
        ]
        return [([n for n, _ in row], [v for _, v in row]) for row in pairs]
    lines = content.splitlines()
    if form == ".jsonl":
        return [(json.loads(x)["labels"], json.loads(x)["probabilities"]) for x in lines]
    if form == ".fasttext":
        fields = [line.split() for line in lines]
        return [
            ([n.removeprefix("__label__") for n in row[::2]], [float(v) for v in row[1::2]])
            for row in fields
        ]
    answers = [line.split("\t")[0] for line in lines]
    rows = [
        [item.rsplit(" ", 1) for item in answer.split(", ") if item != "-"] for answer in answers
    ]
    return [([n for n, _ in row], [float(v) for _, v in row]) for row in rows]


@pytest.mark.parametrize("source", [".txt", ".csv", ".tsv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("top_k", [1, 2])
def test_every_input_to_every_format_gives_the_same_answers(
    run, tiny_model_dir, tmp_path, source, top_k
):
    expected = fasttext_app.load(tiny_model_dir).predict(TEXTS, top_k)
    path = write_texts(tmp_path / f"texts{source}", TEXTS)
    forms = {".text": "text", ".jsonl": "jsonl", ".csv": "csv", ".parquet": "parquet"}
    for suffix, form in {**forms, ".fasttext": "fasttext"}.items():
        output = tmp_path / f"answers{suffix}"
        result = run("predict", tiny_model_dir, "--input", path, "--output", output,
                     "--format", form, "--top-k", top_k)  # fmt: skip
        assert result.stdout == ""
        assert result.stderr == f"wrote 5 rows to {output}\n"
        answers = read_answers(output, top_k)
        assert [labels for labels, _ in answers] == [list(p.labels) for p in expected]
        for (_, values), prediction in zip(answers, expected, strict=True):
            assert values == pytest.approx(prediction.probabilities, abs=1e-4)


def test_arguments_standard_input_and_a_file_give_the_same_rows(run, tiny_model_dir, tmp_path):
    path = write_texts(tmp_path / "texts.txt", TEXTS)
    wanted = ["--format", "jsonl", "--top-k", "2"]
    given = run("predict", tiny_model_dir, *TEXTS, *wanted).stdout
    lines = "".join(text + "\n" for text in TEXTS)
    assert run("predict", tiny_model_dir, *wanted, stdin=lines).stdout == given
    assert run("predict", tiny_model_dir, "--input", "-", *wanted, stdin=lines).stdout == given
    assert run("predict", tiny_model_dir, "--input", path, *wanted).stdout == given


def test_predict_jsonl_rows(run, tiny_model_dir):
    result = run("predict", tiny_model_dir, *TEXTS, "--format", "jsonl", "--top-k", "2")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["text"] for row in rows] == TEXTS
    for row in rows:
        assert list(row) == ["text", "labels", "probabilities"]
        assert sorted(row["labels"]) == ["money", "sport"]
        assert sum(row["probabilities"]) == pytest.approx(1, abs=1e-5)
        assert row["probabilities"] == sorted(row["probabilities"], reverse=True)


def test_texts_keep_their_line_ends_in_csv(run, tiny_model_dir, tmp_path):
    texts = ["one\ntwo", "three\r\nfour", "five\rsix", "", " "]
    path = write_texts(tmp_path / "texts.csv", texts)
    written = run("predict", tiny_model_dir, "--input", path, "--format", "csv").stdout_bytes
    rows = list(csv.reader(io.StringIO(written.decode(), newline="")))
    assert [row[0] for row in rows] == ["text", *texts]


def test_top_k_beyond_the_labels_gives_them_all(run, tiny_model_dir):
    result = run("predict", tiny_model_dir, "text", "--top-k", "99", "--format", "csv")
    assert result.stdout.splitlines()[0] == "text,label_1,probability_1,label_2,probability_2"


def test_threshold_leaves_labels_out_but_no_rows(run, tiny_model_dir):
    arguments = ("predict", tiny_model_dir, *TEXTS, "--top-k", "2", "--threshold", "1")
    assert run(*arguments).stdout.splitlines() == [f"-\t{text}" for text in TEXTS]
    rows = run(*arguments, "--format", "jsonl").stdout.splitlines()
    assert [json.loads(row)["labels"] for row in rows] == [[]] * len(TEXTS)
    assert run(*arguments, "--format", "fasttext").stdout == "\n" * len(TEXTS)
    half = run("predict", tiny_model_dir, TEXTS[0], "--top-k", "2", "--threshold", "0.5",
               "--format", "jsonl").stdout  # fmt: skip
    assert len(json.loads(half)["labels"]) == 1


def test_a_text_that_looks_like_an_option(run, tiny_model_dir):
    result = run("predict", tiny_model_dir, "--format", "jsonl", "--", "--dim", "-1")
    assert [json.loads(row)["text"] for row in result.stdout.splitlines()] == ["--dim", "-1"]


def test_predict_reads_the_column_that_is_named(run, tiny_model_dir, tmp_path):
    (tmp_path / "in.csv").write_text("a,b\none,two\n")
    result = run("predict", tiny_model_dir, "--input", "in.csv", "--format", "jsonl",
                 "--text-column", "b", "--text-column", "a")  # fmt: skip
    assert json.loads(result.stdout)["text"] == "two one"
    result = run("predict", tiny_model_dir, "--input", "in.csv", "--format", "jsonl",
                 "--set", "data.header=false", "--text-column", "1")  # fmt: skip
    assert [json.loads(row)["text"] for row in result.stdout.splitlines()] == ["a", "one"]


def test_threads_do_not_change_the_answers(run, tiny_model_dir, tmp_path):
    path = write_texts(tmp_path / "texts.txt", TEXTS * 50)
    one, two = (
        run("predict", tiny_model_dir, "--input", path, "--threads", n).stdout for n in (1, 2)
    )
    assert one == two


# --- info, inspect, data


def test_info_json(run, tiny_model_dir, tiny_examples):
    found = document(run("info", tiny_model_dir, "--json"))
    assert list(found) == [
        *("config", "labels", "vocabulary", "table", "bytes", "metrics", "calibration"),
        *("history", "data"),
    ]
    assert found["labels"] == {"money": 10, "sport": 10}
    bigrams = {pair for text, _ in tiny_examples for pair in pairwise(text.split())}
    assert found["vocabulary"] < found["table"][0] <= found["vocabulary"] + len(bigrams)
    assert found["table"][1] == 8
    assert found["bytes"] == sum(path.stat().st_size for path in tiny_model_dir.iterdir())
    assert resolve(found["config"]) == fasttext_app.load(tiny_model_dir).config
    assert len(found["history"]["epochs"]) == 10


def test_info_shows_the_settings(run, tiny_model_dir):
    shown = run("info", tiny_model_dir).stdout
    for part in ("text.word_ngrams", "words up to 2, characters", "sport", "texts given in Python"):
        assert part in shown


def test_inspect_json(run, tiny_model_dir):
    found = document(run("inspect", tiny_model_dir, "The bank, unseen", "", "--json"))
    assert list(found) == [
        *("texts", "indices", "offsets", "bag_sizes", "vocabulary", "bucket"),
        *("labels", "logits", "probabilities"),
    ]
    first, empty = found["texts"]
    assert first["tokens"] == ["the", "bank", ",", "unseen"]
    assert first["word_rows"][3] is None
    assert [ngram for ngram, _ in first["ngrams"]] == ["the bank", "bank ,", ", unseen"]
    rows = [row for row in first["word_rows"] if row is not None]
    assert found["indices"] == rows + [row for _, row in first["ngrams"] if row is not None]
    assert found["offsets"] == [0, len(found["indices"]), len(found["indices"])]
    assert found["bag_sizes"] == [len(found["indices"]), 0]
    assert empty["tokens"] == []
    for row in found["probabilities"]:
        assert sum(row) == pytest.approx(1)


def test_inspect_agrees_with_predict(run, tiny_model_dir):
    inspected = document(run("inspect", tiny_model_dir, "the team won", "--json"))
    predicted = json.loads(
        run("predict", tiny_model_dir, "the team won", "--format", "jsonl", "--top-k", "2").stdout
    )
    found = dict(zip(inspected["labels"], inspected["probabilities"][0], strict=True))
    for label, value in zip(predicted["labels"], predicted["probabilities"], strict=True):
        assert value == pytest.approx(found[label], abs=1e-6)


def test_inspect_without_a_model(run):
    settings = ["--set", "text.word_ngrams=2", "--set", "text.bucket=50"]
    found = document(
        run("inspect", "--without-model", "to be or", "not to be", "--json", *settings)
    )
    assert list(found) == ["texts", "indices", "offsets", "bag_sizes", "vocabulary", "bucket"]
    assert (found["vocabulary"], found["bucket"]) == (4, 50)
    assert [text["tokens"] for text in found["texts"]] == [["to", "be", "or"], ["not", "to", "be"]]
    assert found["bag_sizes"] == [5, 5]
    shown = run("inspect", "--without-model", "to be").stdout
    assert "tokens (2)" in shown
    assert "Logits" not in shown


def test_inspect_options_that_do_not_go_together(run, tiny_model_dir):
    assert "give a model directory and at least one text" in run(
        "inspect", tiny_model_dir, code=2
    ).stderr.replace("\n", " ")
    result = run("inspect", tiny_model_dir, "text", "--set", "text.word_ngrams=2", code=2)
    assert "needs --without-model" in result.stderr


def test_data_json(run, tiny_csv):
    found = document(run("data", tiny_csv, "--json"))
    assert list(found) == [
        *("source", "split", "splits", "rows", "words", "empty_texts", "labels", "first_rows")
    ]
    assert found["rows"] == 20
    assert found["labels"] == {"money": 10, "sport": 10}
    assert set(found["splits"]) == {"train", "test"}
    assert len(found["first_rows"]) == 5
    assert list(found["words"]) == ["total", "mean", "median", "longest"]
    assert document(run("data", tiny_csv, "--split", "test", "--json"))["rows"] == 7


def test_data_shows_rows_and_balance(run, tiny_csv, tiny_examples):
    shown = run("data", tiny_csv / "train.csv").stdout
    assert "one file" in shown
    assert "50.0%" in shown
    assert tiny_examples[0][0] in shown
    assert "science" in run("data", "sample").stdout


# --- what users write in names


def test_brackets_in_labels_texts_and_names_are_not_markup(run, tmp_path):
    path = tmp_path / "odd [bold] :smile:.csv"
    rows = [("a [/b] text", "[/b]"), ("[red]more[/red]", "[red]:100:")] * 6
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    model = "[model] :x:"
    run("train", "--data", path, "--output", model, *QUICK)
    shown = run("evaluate", model, "--data", path).stdout
    assert "[/b]" in shown
    assert "[red]:100:" in shown
    assert "a [/b] text" in run("data", path).stdout
    assert "[red]:100:" in run("info", model).stdout
    assert "[red]more[/red]" in run("inspect", model, "[red]more[/red]").stdout


def test_names_in_headings_are_not_markup(run, tmp_path):
    path = tmp_path / "m[:x:]" / "[b].csv"
    path.parent.mkdir()
    path.write_text("text,label\n" + "a,x\nb,y\n" * 6)
    assert "m[:x:]/[b].csv" in run("data", path.relative_to(tmp_path)).stdout
    run("train", "--data", path, "--output", "[/m]", *QUICK)
    assert "Model [/m]" in run("info", "[/m]").stdout


def test_a_line_number_in_an_error_is_not_an_emoji(run, tmp_path):
    (tmp_path / "a.csv").write_bytes(b"text,label\n" + b"a,x\n" * 98 + b"caf\xe9,x\n")
    assert run("data", "a.csv", code=1).stderr.startswith("error: a.csv:100: byte 0xe9 is not")


def test_the_module_runs_as_a_program():
    command = [sys.executable, "-m", "fasttext_app", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("fasttext-app ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_what_standard_output_cannot_take_is_no_success():
    command = [sys.executable, "-m", "fasttext_app", "--version"]
    with Path("/dev/full").open("w") as full:
        # With PYTHONUNBUFFERED, another of Python's layers is the one that fails.
        for variable in ("1", ""):
            environment = os.environ | {"PYTHONUNBUFFERED": variable}
            done = subprocess.run(
                command,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
                env=environment,
            )
            assert done.returncode == 1
            assert done.stderr == "error: standard output: No space left on device\n"


def test_config_defaults_are_those_of_the_dry_run(run, tiny_csv):
    found = document(run("train", "--data", tiny_csv, "--dry-run", "--json"))["config"]
    found["data"]["source"] = None
    assert resolve(found) == Config()
