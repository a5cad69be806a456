"""A model from a stranger reads and imports nothing outside its folder, whatever it names."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

import fasttext_app as ft
from fasttext_app.cli import messages
from fasttext_app.core.digest import file_digest
from fasttext_app.data.named_files import stamp, unknown
from fasttext_app.errors import ArtifactError, ConfigError, DataError, FastTextAppError
from tests.helpers import GOOD_ROWS, HEADER, QUICK, run_cli

WATCHED = {"open", "import", "os.listdir", "os.scandir", "subprocess.Popen", "socket.getaddrinfo"}
PACKAGES = {"spacy", "torchtext", "nltk", "sacremoses", "revtok", "datasets", "planted"}
_events: list[tuple[str, str]] | None = None


def _watch(event, args):
    if _events is not None and event in WATCHED:
        _events.append((event, str(args[0])))


sys.addaudithook(_watch)


class Watch:
    """The files that are opened and the packages that are imported in a block, if planted."""

    def __enter__(self):
        global _events  # noqa: PLW0603 - an audit hook stays for good
        _events = self.events = []
        return self

    def __exit__(self, *exception):
        global _events  # noqa: PLW0603
        _events = None

    @property
    def touched(self):
        return [
            (event, name)
            for event, name in self.events
            if "planted" in name or (event == "import" and name.split(".")[0] in PACKAGES)
        ]


PLANTED = {
    "file": ('source = "good.csv"', 'source = "planted/secret.csv"'),
    "pattern": ('source = "good.csv"', 'source = "planted/{split}.csv"'),
    "glob": ('source = "good.csv"', 'source = "planted/*.csv"'),
    "folder": ('source = "good.csv"', 'source = "planted"'),
    "several": ('source = "good.csv"', 'source = ["planted/secret.csv", "planted/more.csv"]'),
    "hub": ('source = "good.csv"', 'source = "planted/dataset"'),
    "network": ('source = "good.csv"', 'source = "//planted/share/x.csv"'),
    "validation": ('validation = "auto"', 'validation = "planted/secret.csv"'),
    "pretrained": ("[model]", '[model]\npretrained = "planted/x.vec"'),
    "start": ("[model]", '[model]\nstart_from = "planted/model"'),
    "spacy": ('tokenizer = "basic_english"', 'tokenizer = "torchtext:spacy"'),
    "toktok": ('tokenizer = "basic_english"', 'tokenizer = "torchtext:toktok"'),
    "basic": ('tokenizer = "basic_english"', 'tokenizer = "torchtext:basic_english"'),
    "hf": ('tokenizer = "basic_english"', 'tokenizer = "hf:planted/tokenizer.json"'),
}
"""What a stranger writes into the config of a model, and what was there."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with ``good.csv``, ``planted/``, and a model that was trained there."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "good.csv").write_text(HEADER + GOOD_ROWS)
    planted = folder / "planted"
    planted.mkdir()
    for name in ("secret.csv", "more.csv", "train.csv", "test.csv", "x.vec", "tokenizer.json"):
        (planted / name).write_text(HEADER + GOOD_ROWS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_cli("train", "-d", "good.csv", "-o", "model", *QUICK)
        shutil.copytree("model", "planted/model")
    return folder


def rewrite(model, name, change):
    """Change a file of a model, and make its checksum right again."""
    path = model / name
    path.write_text(change(path.read_text()))
    manifest = json.loads((model / "manifest.json").read_text())
    manifest["files"][name] = {"bytes": path.stat().st_size, "sha256": file_digest(path)}
    (model / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture
def strange(trained, tmp_path, monkeypatch):
    """Make a stranger's model; the working folder is that with ``good.csv`` and ``planted/``."""
    shutil.copytree(trained, tmp_path / "here", copy_function=shutil.copy)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def make(kind, *, forged=True):
        old, new = PLANTED[kind]

        def change(text):
            assert old in text or kind == "validation"
            return text.replace(old, new) if old in text else f"[data]\n{new}\n{text}"

        rewrite(Path("model"), "config.toml", change)
        spec = new.partition('"')[2].partition('"')[0]
        if forged:  # stamps, with which it claims that the machine knows the files
            files = {"files": {spec: "0" * 64, "planted/secret.csv": "0" * 64}}
            rewrite(Path("model"), "data.json", lambda text: json.dumps(json.loads(text) | files))
        return Path("model")

    return make


COMMANDS = {
    "predict": ["a team", "-k", 2],
    "evaluate": [],
    "calibrate": ["-d", "good.csv", "-o", "x1", "--no-temperature", "--thresholds", "f1"],
    "threshold": ["-i", "good.csv", "--label", "sport", "--keep", "0.5"],
    "quantize": ["-o", "x2"],
    "explain": ["the team"],
    "inspect": ["the team"],
    "info": [],
    "report": ["-o", "x3.html", "--overwrite"],
    "export": ["x.vec"],
    "plot": [],
}


LISTED = {"os.listdir", "os.scandir"}


@pytest.mark.slow
@pytest.mark.parametrize("forged", [False, True])
@pytest.mark.parametrize("kind", PLANTED)
def test_no_command_touches_what_a_model_names(strange, kind, forged):
    """A folder is listed at most if the model has a stamp, and then no file in it is opened."""
    model = strange(kind, forged=forged)
    with Watch() as watch:
        for command, rest in COMMANDS.items():
            result = run_cli(command, model, *rest, code=None)
            assert result.exit_code in (0, 1), (command, result.output)
        for data in ([], ["-d", "good.csv"]):
            run_cli("train", "--from", model, "-o", f"y{len(data)}", *data, *QUICK, code=None)
        for train in (False, True):
            try:
                loaded = ft.load(model)
                loaded.predict(["a team"] * 3)
                loaded.evaluate("good.csv")
                if train:
                    ft.train("good.csv", start_from=model, epochs=1)
            except (ConfigError, DataError, ArtifactError):
                pass
    touched = [name for event, name in watch.touched if not (forged and event in LISTED)]
    assert touched == []
    assert len(watch.events) > 100


def test_the_watch_sees_what_is_touched(trained, monkeypatch):
    monkeypatch.chdir(trained)
    with Watch() as watch:
        run_cli("evaluate", "model", "-d", "planted/secret.csv")
        with pytest.raises(ImportError):
            __import__("planted.module")
    assert {event for event, _ in watch.touched} >= {"open", "import"}


@pytest.mark.parametrize("kind", ["file", "pattern", "folder", "hub", "network"])
def test_evaluate_says_what_it_would_read(strange, kind):
    model = strange(kind)
    message = run_cli("evaluate", model, code=1).stderr
    assert "planted" in message
    assert "only the model names this" in message
    assert "pass --data SPEC, or --yes to read it" in message
    assert run_cli("evaluate", model, "-d", "good.csv").exit_code == 0


def test_yes_reads_what_the_model_names(strange):
    model = strange("pattern")
    assert "Evaluation" in run_cli("evaluate", model, "--yes").stdout
    assert run_cli("quantize", model, "-o", "x", "--yes", "--json").stdout.count('"accuracy"') == 2


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 1), ("", 1)])
def test_a_person_is_asked(strange, monkeypatch, answer, code):
    model = strange("pattern")
    monkeypatch.setattr(messages, "_is_asked", lambda: True)
    result = run_cli("evaluate", model, stdin=answer, code=None)
    assert "The model names planted/{split}.csv as its data; read it? [y/N]" in result.stderr
    assert result.exit_code == code


def test_data_that_the_machine_trained_on_is_read(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained / "planted", "data", ignore=shutil.ignore_patterns("*.json", "model"))
    run_cli("train", "-d", "data/{split}.csv", "-o", "model", *QUICK)
    assert "Evaluation" in run_cli("evaluate", "model").stdout
    os.utime("data/test.csv", ns=(1, 1))
    assert "only the model names this" in run_cli("evaluate", "model", code=1).stderr


def test_the_sample_and_standard_input_are_known():
    assert unknown(["sample", "-", "ag_news", "x/y"], {}) == ["ag_news", "x/y"]
    assert unknown(["x/y"], "no mapping") == ["x/y"]


def test_a_model_that_trained_on_rows_in_memory_knows_no_file(strange):
    model = strange("pattern")
    trained = ft.train(["a b", "c d"] * 9, ["sport", "money"] * 9, start_from=model, epochs=1)
    assert trained.artifact.data["files"].keys() <= {"model"}


@pytest.mark.parametrize("kind", ["file", "validation", "spacy"])
def test_training_further_names_what_it_would_use(strange, kind):
    model = strange(kind)
    data = [] if kind == "file" else ["-d", "good.csv"]
    message = run_cli("train", "--from", model, "-o", "x", *data, *QUICK, code=1).stderr
    assert "only model names this" in message
    assert {"file": "data.source", "validation": "data.validation", "spacy": "torchtext:spacy"}[
        kind
    ] in message
    with pytest.raises(DataError, match="names this, and the machine does not know it"):
        ft.train(None if kind == "file" else "good.csv", start_from=model, epochs=1)


def test_a_setting_of_the_user_is_used(strange):
    model = strange("validation")
    assert run_cli(
        *("train", "--from", model, "-o", "x", "-d", "good.csv", "--validation", "0.2"), *QUICK
    )


def test_a_checkpoint_from_a_stranger_goes_on_with_its_own_rows_only(
    trained, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    shutil.copy(trained / "good.csv", "good.csv")
    shutil.copytree(trained / "planted", "planted")

    def stop(event):
        if type(event).__name__ == "CheckpointEnd":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ft.train("good.csv", checkpoints="run", epochs=3, dim=4, callback=stop)
    (checkpoint,) = Path("run/checkpoints").glob("0*")
    for name in ("owner/rows", "//host/rows.csv"):
        rewrite(checkpoint, "run.json", lambda text: text.replace('"good.csv"', f'"{name}"'))  # noqa: B023
        with Watch() as watch:
            message = run_cli("train", "--resume", "run", code=1).stderr
            assert "the checkpoint names this" in message
            with pytest.raises(DataError, match="names this"):
                ft.train(checkpoints="run", resume=True)
        assert watch.touched == []
        rewrite(checkpoint, "run.json", lambda text: text.replace(f'"{name}"', '"good.csv"'))  # noqa: B023
    Path("planted/more.csv").write_text(
        "text,label\n" + "other rows,sport\nthan before,money\n" * 5
    )
    rewrite(checkpoint, "run.json", lambda text: text.replace('"good.csv"', '"planted/more.csv"'))
    assert "has changed since the run started" in run_cli("train", "--resume", "run", code=1).stderr
    rewrite(checkpoint, "run.json", lambda text: text.replace('"planted/more.csv"', '"good.csv"'))
    run_cli("train", "--resume", "run")


@pytest.mark.parametrize("name", ["spacy", "toktok", "moses", "revtok", "subword"])
def test_a_tokenizer_of_another_package_needs_a_word(strange, name):
    model = strange("spacy")
    rewrite(model, "config.toml", lambda text: text.replace(":spacy", f":{name}"))
    for load in (ft.load, ft.TextClassifier.load):
        with pytest.raises(ConfigError, match=r"runs a package .* packages=True in Python"):
            load(model)
        with pytest.raises(FastTextAppError, match=f"torchtext:{name}"):
            load(model, packages=True)


def test_torchtext_basic_english_gives_the_same_without_torchtext(strange):
    texts = ["The team's (won)!", "a <br /> b"]
    before = ft.load("model").predict_proba(texts)
    assert (ft.load(strange("basic")).predict_proba(texts) == before).all()


def test_a_stamp_changes_with_the_file(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a")
    before = stamp(str(path))
    assert before == stamp(str(path))
    path.write_text("ab")
    assert stamp(str(path)) != before
    assert stamp(str(tmp_path / "none.csv")) is None
    assert stamp("owner/name") is None
    assert stamp(f"/{path}") is None
