"""The rule of bad input, as a user meets it.

One line on stderr that begins ``error:`` and says what is wrong, where, and what to do; exit code 1
(2 for wrong usage); no traceback, nothing half-written, and what was there before still there.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import fasttext_app
from fasttext_app.cli.app import make_app

PROGRAM = [sys.executable, "-m", "fasttext_app"]
# With PYTHONUNBUFFERED Python drops what a closing pipe did not take of a write, without an error.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
QUICK = ["--epochs", "1", "--dim", "2", "--device", "cpu", "--threads", "1"]
HEADER = "text,label\n"
GOOD_ROWS = "the team won,sport\nthe bank fell,money\n" * 5
CHECKED_FILES = (
    *("config.toml", "data.json", "history.json", "labels.json", "manifest.json", "metrics.json"),
    *("model.safetensors", "vocabulary.parquet"),
)

Fails = Callable[..., str]


def tree(folder: Path) -> dict[str, bytes | None]:
    """Return all that is in a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def invoke(*arguments: object, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(make_app(), list(map(str, arguments)), input=stdin)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with good data in ``good.csv``, and the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.csv").write_text(HEADER + GOOD_ROWS)
    return tmp_path


@pytest.fixture
def model(place: Path, tiny_model_dir: Path) -> Path:
    """A copy of the tiny model, ``model`` in the working directory."""
    return Path(shutil.copytree(tiny_model_dir, place / "model")).relative_to(place)


@pytest.fixture
def fails(place: Path) -> Fails:
    """Run a command that must fail by the rule, and return its message."""

    def run(*arguments: object, stdin: str | bytes | None = None) -> str:
        before = tree(place)
        result = invoke(*arguments, stdin=stdin)
        assert result.exit_code == 1, (result.stdout, result.stderr, result.exception)
        assert isinstance(result.exception, SystemExit)
        assert result.stdout == ""
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
        assert tree(place) == before
        return result.stderr.removeprefix("error: ").removesuffix("\n")

    return run


# --- data that is not there, or not data


@pytest.mark.parametrize("command", [["train", "--output", "new", "--data"], ["data"]])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "bad.csv: the file is empty"),
        (HEADER, "bad.csv: there are no rows"),
        (
            "label\nx\ny\n",
            "bad.csv: there is no column 'text'; the columns are 'label' "
            "(choose with --text-column and --label-column)",
        ),
        (
            "body,topic\na,x\n",
            "bad.csv: there is no column 'text'; the columns are 'body', 'topic' "
            "(choose with --text-column and --label-column)",
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
            "bad.csv:12: byte 0xe9 is not UTF-8; save the file as UTF-8 text, or pass "
            "--errors replace to read bad bytes as U+FFFD",
        ),
        (
            (HEADER + GOOD_ROWS).encode() + b"a\0b,sport\n",
            "bad.csv:12: NUL byte; save the file as UTF-8 text, or pass "
            "--errors replace to read bad bytes as U+FFFD",
        ),
    ],
)
def test_bad_files(fails, place, command, content, message):
    data = content if isinstance(content, bytes) else content.encode()
    (place / "bad.csv").write_bytes(data)
    assert fails(*command, "bad.csv") == message


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet", "txt", "csv.gz"])
@pytest.mark.parametrize("command", [["train", "--data"], ["data"]])
def test_a_missing_file(fails, command, suffix):
    assert fails(*command, f"none.{suffix}") == f"none.{suffix}: no such file, folder or dataset"


def test_a_missing_file_to_predict(fails, model):
    assert fails("predict", model, "--input", "none.csv") == "none.csv: no such file"
    assert fails("predict", model, "--input", ".") == ".: is a folder; name a file"
    message = fails("predict", model, "--input", "good.csv", "--text-column", "txt")
    assert message.startswith("good.csv: there is no column 'txt'; did you mean 'text'? ")


@pytest.mark.parametrize("output", [[], ["--output", "out.csv"]])
def test_a_bad_row_to_predict(fails, model, place, output):
    """Nothing comes out, and no half of a file stays."""
    (place / "out.csv").write_text("earlier")
    (place / "bad.csv").write_bytes((HEADER + GOOD_ROWS).encode() + b"caf\xe9,x\n")
    assert fails("predict", model, "--input", "bad.csv", *output).startswith(
        "bad.csv:12: byte 0xe9"
    )


def test_bad_bytes_on_standard_input(fails, model):
    assert fails("predict", model, stdin=b"one\ncaf\xe9\n").startswith(
        "-:2: byte 0xe9 is not UTF-8"
    )


def test_a_bad_row_to_evaluate(fails, model, place):
    (place / "bad.csv").write_text(HEADER + GOOD_ROWS + "one field\n")
    assert fails("evaluate", model, "--data", "bad.csv").startswith(
        "bad.csv:12: the row has 1 field"
    )
    (place / "bad.csv").write_text(HEADER)
    assert "no rows" in fails("evaluate", model, "--data", "bad.csv")
    assert fails("evaluate", model) == (
        "no data: pass --data SPEC (ag_news, sample, a file, a folder or a hub id)"
    )


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ('{"text":"a"}', "bad.jsonl:2: column 'label' has no label"),
        ('{"text":"a","label":["x","y"]}', "bad.jsonl:2: field 'label' is list where str is"),
        ("not JSON", "bad.jsonl:2: the line is not one JSON object: Expecting value at column 1"),
    ],
)
def test_bad_json_lines(fails, place, bad, message):
    (place / "bad.jsonl").write_text('{"text":"a","label":"x"}\n' + bad + "\n")
    assert fails("train", "--data", "bad.jsonl").startswith(message)


def test_bad_fasttext_lines(fails, place):
    (place / "bad.txt").write_text("__label__x one\n__label__x __label__y two\n")
    assert fails("train", "--data", "bad.txt") == (
        "bad.txt:2: the line has 2 labels (__label__x, __label__y); a row must have exactly one; "
        'for several, set data.label_separator (and model.loss = "ova")'
    )
    (place / "bad.txt").write_text("plain text\n")
    assert "has no word that begins with __label__" in fails("train", "--data", "bad.txt")


def test_bad_bytes_are_replaced_where_that_is_asked_for(place, model):
    (place / "bad.csv").write_bytes(
        HEADER.encode() + b"caf\xe9 one,sport\na\0b,money\n" + GOOD_ROWS.encode()
    )
    for command in (["train", "--output", "new", *QUICK, "--data"], ["data", "--json"]):
        assert invoke(*command, "bad.csv", "--errors", "replace").exit_code == 0
    result = invoke("predict", model, "--input", "bad.csv", "--errors", "replace")
    assert result.exit_code == 0
    texts = [line.split("\t")[1] for line in result.stdout.splitlines()]
    assert texts[:2] == ["caf\N{REPLACEMENT CHARACTER} one", "a\N{REPLACEMENT CHARACTER}b"]
    assert len(texts) == 12
    assert fasttext_app.load("new").config.data.errors == "replace"


def test_one_label_only(fails, place):
    (place / "one.csv").write_text(HEADER + "a,same\nb,same\n" * 5)
    assert fails("train", "--data", "one.csv") == (
        "one.csv: every training row has the label 'same'; a classifier needs at least two labels"
    )


def test_one_row_only(fails, place):
    (place / "one.csv").write_text(HEADER + "a,x\n")
    assert "a classifier needs at least two labels" in fails("train", "--data", "one.csv")


def test_no_word_to_learn_from(fails, place):
    (place / "blank.csv").write_text(HEADER + ",x\n ,y\n" * 5)
    message = fails("train", "--data", "blank.csv")
    assert "none of the " in message
    assert "check --text-column and text.min_count" in message
    assert "none of the " in fails("train", "--data", "good.csv", "--set", "text.min_count=99")


def test_a_split_that_is_not_there(fails, place):
    message = fails("data", "sample", "--split", "dev")
    assert message == "sample: no split 'validation'; it has: test, train"
    message = fails("train", "--data", "good.csv", "--set", "data.validation=dev")
    assert message.startswith("data.validation: good.csv")
    assert "'dev'; give a fraction" in message


def test_empty_texts_are_texts(place, model):
    (place / "some.csv").write_text(HEADER + ",sport\n" + GOOD_ROWS)
    result = invoke("train", "--data", "some.csv", "--output", "new", *QUICK)
    assert result.exit_code == 0, result.stderr
    result = invoke("predict", model, "", " ", "the team won")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 3
    assert invoke("predict", model, stdin="\n\n").stdout.count("\n") == 2
    assert invoke("evaluate", model, "--data", "some.csv").exit_code == 0


def test_labels_of_the_test_set_that_training_never_saw(place, model):
    (place / "new.csv").write_text(HEADER + "a vote,politics\nthe team won,sport\n")
    result = invoke("evaluate", model, "--data", "new.csv")
    assert result.exit_code == 0
    assert (
        "1 rows have labels that the model does not know; each counts as an error: politics (1)"
        in (result.stdout)
    )


def test_an_argument_that_is_not_utf8(fails, model):
    bad = b"caf\xe9".decode(errors="surrogateescape")
    message = "text 2 of the command line is not UTF-8; pass it as UTF-8"
    assert fails("predict", model, "good", bad) == message
    assert fails("inspect", model, "good", bad) == message
    assert fails("inspect", "--without-model", "good", bad) == message
    result = invoke("predict", model, bad, "--errors", "replace")
    assert result.stdout.endswith("\tcaf\N{REPLACEMENT CHARACTER}\n")


def test_a_hub_id_offline(fails):
    message = fails("train", "--data", "nobody/nothing")
    assert message.startswith("nobody/nothing: the dataset cannot be loaded: ")


@pytest.mark.slow
@pytest.mark.parametrize("word", ["x" * 50_000_000, "wordofninety" * 4 + " "], ids=["one", "many"])
def test_a_line_of_fifty_megabytes(place, model, word):
    """One giant word, or a million words: it is read, learned from and classified."""
    line = (word * (50_000_000 // len(word))).strip()
    (place / "long.csv").write_text(f"{HEADER}{line},sport\n{GOOD_ROWS}")
    (place / "long.txt").write_text(f"short\n{line}\nshort\n")
    result = invoke("train", "--data", "long.csv", "--output", "new", *QUICK)
    assert result.exit_code == 0, result.stderr
    result = invoke("predict", model, "--input", "long.txt", "--format", "fasttext")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.count("\n") == 3


# --- settings


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "trainer.epoch=3"], "trainer.epoch: no such setting; did you mean 'trainer.ep"),
        (["--set", "nothing.x=1"], "nothing: no such section"),
        (["--set", "trane.epochs=1"], "trane: no such section; did you mean 'trainer'?"),
        (
            ["--set", "trainer.epochs=three"],
            "trainer.epochs: must be a valid integer (got ",
        ),
        (["--set", "trainer.epochs=1.5"], "trainer.epochs: must be a valid integer"),
        (["--set", "model.sparse=1"], "model.sparse: must be a valid boolean (got 1)"),
        (
            ["--config", "type.toml"],
            "type.toml: text.tokenizer: must be a valid string (go",
        ),
        (["--set", "model.dim=0"], "model.dim: must be greater than or equal to 1 (got 0)"),
        (["--epochs", "0"], "trainer.epochs: must be greater than or equal to 1 (got 0)"),
        (["--lr", "-1"], "optimizer.lr: must be greater than 0 (got -1.0)"),
        (["--lr", "nan"], "optimizer.lr: must be a finite number (got nan)"),
        (["--lr", "inf"], "optimizer.lr: must be a finite number (got inf)"),
        (["--seed", "-1"], "trainer.seed: must be greater than or equal to 0 (got -1)"),
        (["--errors", "ignore"], "data.errors: must be 'strict' or 'replace' (got 'ignore"),
        (["--device", "gpu"], "trainer.device: "),
        (["--set", "data.validation=2.0"], "data.validation: must be less than 1"),
        (["--set", "trainer.epochs"], "--set trainer.epochs: expected section.key=value"),
        (["--set", "epochs=3"], "--set epochs=3: expected section.key=value"),
        (["--set", ".epochs=3"], "--set .epochs=3: expected section.key=value"),
        (["--set", "=3"], "--set =3: expected section.key=value"),
        (["--set", "trainer.="], "--set trainer.=: expected section.key=value"),
        (["--set", "text.tokenizer=basic_englsh"], "text.tokenizer: 'basic_englsh' is not a token"),
        (
            ["--set", "text.tokenizer=torchtext:toktk"],
            "text.tokenizer: torchtext has no tokenizer ",
        ),
        (["--set", "text.tokenizer=hf:no.json"], "text.tokenizer: hf:no.json: cannot read the "),
        (
            ["--set", "model.mode=max"],
            'model.mode = "max" has no sparse gradient; set model.sparse',
        ),
        (["--set", "text.maxn=3"], "text.maxn is set and text.minn is 0; character n-grams need"),
        (["--config", "none"], "none: no such config file; shipped: "),
        (["--config", "none.toml"], "none.toml: no such config file"),
        (["--config", "."], ".: no such config file"),
        (["--config", "sampel"], "sampel: no such config file; did you mean 'sample'?"),
        (["--config", "good.csv"], "good.csv: not a TOML file: "),
        (["--config", "latin1.toml"], "latin1.toml: not a TOML file: "),
        (
            ["--config", "key.toml"],
            "key.toml: model.dims: no such setting; did you mean 'model.dim",
        ),
        (["--config", "flat.toml"], "flat.toml: epochs: no such section; did you mean 'trainer.ep"),
        (["--config", "section.toml"], "section.toml: trainer: is a section of settings, not a"),
    ],
)
def test_bad_settings(fails, place, arguments, message):
    (place / "latin1.toml").write_bytes(b'[data]\nsource = "caf\xe9.csv"\n')
    (place / "key.toml").write_text("[model]\ndims = 3\n")
    (place / "type.toml").write_text("[text]\ntokenizer = 3\n")
    (place / "flat.toml").write_text("epochs = 3\n")
    (place / "section.toml").write_text("trainer = 3\n")
    assert fails("train", "--data", "good.csv", "--output", "new", *arguments).startswith(message)


def test_settings_that_do_not_fit_the_data(fails):
    train = ("train", "--data", "good.csv", "--output", "new")
    assert "is outside the table" in fails(*train, "--set", "model.padding_idx=999")
    huge = [
        "--set",
        "text.prune=false",
        "--set",
        "text.bucket=2000000000",
        "--set",
        "text.word_ngrams=2",
        "--dim",
        "60000",
    ]
    result = invoke(*train, *huge)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: not enough memory to train: the table alone is ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", [["train", "--data", "good.csv"], ["predict", "model", "text"]])
def test_cuda_that_is_not_there(fails, model, command):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    for device in ("cuda", "cuda:0", "cuda:3"):
        assert fails(*command, "--device", device) == (
            f"device {device}: this machine or this build of torch has no CUDA; use --device cpu"
        )


@pytest.mark.parametrize("device", ["gpu", "tpu:1", "meta", "cuda:x"])
def test_a_device_that_no_machine_has(fails, model, device):
    for command in (["predict", model, "text"], ["evaluate", model, "--data", "good.csv"]):
        assert "device" in fails(*command, "--device", device)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["train", "--nothing"],
        ["nothing"],
        ["--nothing"],
        ["train", "unexpected"],
        ["train", "--epochs", "three"],
        ["train", "--threads", "-1"],
        ["predict"],
        ["predict", "model", "text", "--format", "xml"],
        ["predict", "model", "text", "--top-k", "0"],
        ["predict", "model", "text", "--threshold", "1.5"],
        ["predict", "model", "text", "--input", "good.csv"],
        ["evaluate"],
        ["inspect"],
        ["inspect", "model"],
        ["data"],
    ],
)
def test_wrong_usage_exits_with_2(place, arguments):
    before = tree(place)
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
    assert "Usage: " in result.stdout + result.stderr
    assert tree(place) == before


# --- model directories


@pytest.mark.parametrize(
    "command", ["predict {} text", "evaluate {} --data good.csv", "info {}", "inspect {} text"]
)
def test_what_is_not_a_model(fails, place, command):
    (place / "empty").mkdir()

    def message(path: str) -> str:
        return fails(*command.format(path).split())

    assert message("none") == "none: no such model directory; train one with --output none"
    assert message("empty") == "empty: not a model directory (there is no manifest.json in it)"
    assert message("good.csv").startswith("good.csv: not a model directory")


@pytest.mark.parametrize("name", CHECKED_FILES)
def test_a_damaged_model(fails, model, name):
    path = model / name
    whole = path.read_bytes()
    for kept in (0, 1, len(whole) // 2, len(whole.strip()) - 1):
        path.write_bytes(whole[:kept])
        message = fails("predict", model, "text")
        if name != "manifest.json":
            assert message == (
                f"{path}: has {kept} bytes, but {len(whole)} were saved; copy the model again"
            )
    path.unlink()
    message = fails("predict", model, "text")
    if name == "manifest.json":
        assert message == "model: not a model directory (there is no manifest.json in it)"
    else:
        assert message == f"{path}: the file is missing; copy the model again"


@pytest.mark.parametrize("name", [name for name in CHECKED_FILES if name != "manifest.json"])
def test_an_edited_model(fails, model, name):
    path = model / name
    whole = path.read_bytes()
    for at in (0, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert fails("predict", model, "text") == (
            f"{path}: has changed since it was saved (its checksum differs)"
        )


def test_any_byte_of_the_manifest_edited(model):
    """It is read, or refused in one line; nothing else."""
    path = model / "manifest.json"
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        result = invoke("predict", model, "text")
        assert result.exit_code in {0, 1}
        if result.exit_code:
            assert isinstance(result.exception, SystemExit)
            assert result.stderr.startswith("error: model")
            assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"format_version": 99},
            "model: the model has format version 99, and this program reads up to 1; "
            "upgrade fasttext-app",
        ),
        ({"format_version": "new"}, "model: the model cannot be read: manifest.json has the "),
        ({"format": "another"}, "model: the model cannot be read: manifest.json does not describe"),
        ({"files": {}}, "model: the model cannot be read: manifest.json does not list "),
        ({"files": []}, "model: the model cannot be read: "),
        ({"files": {"../good.csv": {}}}, "model: the model cannot be read: manifest.json lists '..")
    ],
)  # fmt: skip
def test_another_manifest(fails, model, change, message):
    path = model / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert fails("predict", model, "text").startswith(message)


def test_the_model_card_may_be_edited(model):
    (model / "README.md").write_text("my notes")
    assert invoke("predict", model, "text").exit_code == 0


# --- places to write to


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("good.csv", "good.csv: is a file; choose another --output"),
        ("good.csv/model", "good.csv/model: "),
        ("folder", "folder: is a folder that holds something else; choose another --output"),
        (".", ".: is a folder that holds something else; choose another --output"),
    ],
)
def test_a_model_is_not_written_over_something_else(fails, place, output, message):
    (place / "folder").mkdir()
    (place / "folder" / "mine.txt").write_text("mine")
    assert fails("train", "--data", "good.csv", "--output", output).startswith(message)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_to(fails, place, model):
    (place / "locked").mkdir(mode=0o555)
    message = fails("train", "--data", "good.csv", "--output", "locked/new")
    assert message.endswith("locked is not a folder that can be written to")
    assert "Permission denied" in fails("predict", model, "text", "--output", "locked/out.csv")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "."], ".: is a folder; name a file"),
        (["--output", "none/out.csv"], "none/out.csv: there is no folder none"),
        (["--output", "good.csv/out.csv"], "good.csv/out.csv: there is no folder good.csv"),
        (["--output", "/dev/full"], "/dev/full: cannot be written: No space left on device"),
        (["--format", "parquet"], "--format parquet needs --output FILE"),
    ],
)
def test_predictions_that_cannot_be_written(fails, model, arguments, message):
    assert fails("predict", model, "text", *arguments) == message


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let every write beyond ``size`` bytes of a file fail, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_leaves_the_earlier_model(place, model):
    """Whichever file it is that does not fit any more."""
    (place / "words.csv").write_text(
        HEADER + "".join(f"word{n} text,{'xy'[n % 2]}\n" for n in range(300))
    )
    before, failed = tree(place), 0
    for size in (1, 100, 500, 1000, 1500, 2500, 5000, 10_000, 50_000):
        with largest_file(size):
            result = invoke("train", "--data", "words.csv", "--output", model, *QUICK)
        if result.exit_code == 0:
            break
        failed += 1
        *progress, error = result.stderr.splitlines()
        assert error.startswith("error: model: the model could not be saved: ")
        assert "File too large" in error
        assert not any("error" in line for line in progress)
        assert result.stdout == ""
        assert tree(place) == before
        assert invoke("predict", model, "text").exit_code == 0
    assert failed >= 3
    assert fasttext_app.load(model).config.model.dim == 2


def test_a_full_disk_leaves_the_earlier_predictions(place, model):
    (place / "texts.txt").write_text("some text\n" * 50_000)
    for form in ("text", "jsonl", "csv", "fasttext", "parquet"):
        (place / "out").write_text("earlier")
        before = tree(place)
        with largest_file(1000):
            result = invoke("predict", model, "--input", "texts.txt", "--output", "out",
                            "--format", form)  # fmt: skip
        assert result.exit_code == 1
        assert result.stderr.startswith("error: out: cannot be written: ")
        assert "too large" in result.stderr.lower()
        assert tree(place) == before


# --- in a process of its own


def program(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        check=False,
        **{"capture_output": True, "text": True, "timeout": 120, "env": ENVIRONMENT} | options,
    )


def shell(line: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash, in which ``{}`` stands for the program."""
    return subprocess.run(
        ["bash", "-c", line.format(" ".join(PROGRAM))],
        capture_output=True, text=True, check=False, timeout=120, env=ENVIRONMENT,
    )  # fmt: skip


def test_no_traceback_in_a_real_process(place, model):
    for arguments, message in (
        (("train", "--data", "none.csv"), "error: none.csv: no such file, folder or dataset\n"),
        (("predict", "model", b"caf\xe9".decode(errors="surrogateescape")),
         "error: text 1 of the command line is not UTF-8; pass it as UTF-8\n"),
        (("data", b"caf\xe9.csv".decode(errors="surrogateescape")), None),
    ):  # fmt: skip
        done = program(*arguments)
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
        assert message in {None, done.stderr}


def test_standard_output_that_cannot_take_the_text(model):
    done = program("predict", model, "café", env=ENVIRONMENT | {"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: standard output cannot encode '\\xe9' in ascii; "
        "set PYTHONIOENCODING=utf-8, or write to a file with --output\n"
    )


def test_standard_output_that_is_full_or_closed(model):
    for redirection, message in (
        (">/dev/full", "error: standard output: No space left on device\n"),
        (">&-", "error: standard output is closed; name a file with --output\n"),
    ):
        done = shell(f"{{}} predict {model} text {redirection}")
        assert (done.returncode, done.stderr) == (1, message)
    done = shell(f"{{}} info {model} --json > /dev/full")
    assert (done.returncode, done.stderr) == (
        1,
        "error: standard output: No space left on device\n",
    )


@pytest.mark.slow
def test_a_reader_that_goes_away(place, model):
    """``... | head -1`` ends quietly."""
    (place / "texts.txt").write_text("some text of a line\n" * 200_000)
    for command in (
        f"predict {model} --input texts.txt",
        f"predict {model} --format jsonl < texts.txt",
        f"info {model}",
    ):
        done = shell(f"{{}} {command} | head -1; echo ${{{{PIPESTATUS[0]}}}}")
        assert done.stderr == ""
        first, status = done.stdout.splitlines()
        assert first
        assert status in ({"141"} if command.startswith("predict") else {"0", "1", "141"})


def _heed_interrupts() -> None:
    """Where the tests run behind ``&`` in a shell, their children would ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def started(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run the program in the background; it is ended with the block."""
    process = subprocess.Popen(
        [*PROGRAM, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
        preexec_fn=_heed_interrupts,  # noqa: PLW1509 - no thread of ours runs
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_interrupting_training_keeps_the_best_model_so_far(place):
    rows = "".join(f"{n % 97} {n % 89} words of a text,{'xyz'[n % 3]}\n" for n in range(3000))
    (place / "rows.csv").write_text(HEADER + rows)
    command = ("train", "--data", "rows.csv", "--output", "new", "--device", "cpu",
               "--epochs", "100000", "--set", "model.dim=8")  # fmt: skip
    with started(*command) as process:
        assert process.stderr is not None
        lines = []
        while not any(line.startswith("epoch 2/") for line in lines):
            lines.append(process.stderr.readline())
            assert lines[-1], lines
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    last = stderr.splitlines()[-1]
    assert last == "interrupted; the best weights so far are kept"
    assert "Traceback" not in stderr
    assert stdout.startswith("saved the model of epoch ")
    assert sorted(path.name for path in place.iterdir()) == ["good.csv", "new", "rows.csv"]
    model = fasttext_app.load("new")
    assert model.artifact.history["interrupted"] is True
    assert model.artifact.history["best_epoch"] >= 1
    assert model.predict("words of a text").labels


@pytest.mark.parametrize("earlier", [False, True])
def test_interrupting_before_training_saves_nothing(place, tiny_model_dir, earlier):
    """The data is a pipe: the program is surely at work, and has surely not trained yet."""
    if earlier:
        shutil.copytree(tiny_model_dir, place / "new")
    os.mkfifo(place / "pipe")
    with (
        started("train", "--data", "pipe", "--output", "new") as process,
        (place / "pipe").open("w") as pipe,  # waits until the program opens it
    ):
        pipe.write("__label__x one\n")
        pipe.flush()
        time.sleep(0.5)  # until it waits for more
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    (place / "pipe").unlink()
    assert (process.returncode, stdout) == (130, "")
    assert stderr == "error: interrupted; nothing was saved\n"
    assert tree(place / "new") == (tree(tiny_model_dir) if earlier else {})
    assert sorted(p.name for p in place.iterdir()) == ["good.csv", *(["new"] if earlier else [])]


@pytest.mark.slow
def test_a_full_disk_in_a_real_process(place, model):
    before = tree(place)
    done = program(
        "train", "--data", "good.csv", "--output", model, *QUICK,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200)),
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: model: the model could not be saved: ")
    assert tree(place) == before
