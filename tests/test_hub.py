"""Models on the hub, against a server on this machine that speaks its API."""

from __future__ import annotations

import io
import json
import mmap
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

import fasttext_app as ft
from fasttext_app.errors import ArtifactError, ConfigError, MissingDependencyError
from fasttext_app.fasttext.file_format import MAGIC_BYTES
from fasttext_app.hub import local_model
from fasttext_app.model.confusion_picture import confusion_picture
from tests.helpers import contents, read_json, run_cli
from tests.hub_server import TOKEN, Files, HubServer, Repository, hub_in_place

TEXTS = ["the team won the cup", "the bank cut its profit forecast", ""]
REPO = "some-user/topics"
QUICK_SETTINGS: dict[str, Any] = {"epochs": 1, "dim": 4, "validation": 0.0, "threads": 1}
FOREIGN: Files = {
    "config.json": b"{}",
    "onnx/model.onnx": b"0" * 100,
    "pytorch_model.bin": b"1" * 100,
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[HubServer]:
    with HubServer() as hub, hub_in_place(hub, tmp_path / "cache"):
        yield hub


@pytest.fixture
def files(tiny_model_dir: Path) -> Files:
    return {path.name: path.read_bytes() for path in tiny_model_dir.iterdir()}


@pytest.fixture
def pushed(server: HubServer, files: Files) -> Repository:
    """A repository with the tiny model, and with files of others."""
    server.add(REPO, files | FOREIGN)
    return server.repositories[REPO]


def probabilities(model: ft.TextClassifier) -> list[list[float]]:
    return [list(prediction.probabilities) for prediction in model.predict(TEXTS, top_k=2)]


@pytest.fixture
def expected(tiny_model_dir: Path) -> list[list[float]]:
    return probabilities(ft.load(tiny_model_dir))


def refused(model: str, **options: str | None) -> str:
    with pytest.raises(ArtifactError) as caught:
        ft.TextClassifier.from_pretrained(model, **options)
    message = str(caught.value)
    assert TOKEN not in message
    assert "\n" not in message
    return message


# --- loading


@pytest.mark.slow
def test_a_model_of_the_hub_predicts_as_its_directory_does(pushed, expected):
    assert probabilities(ft.load(REPO)) == expected
    assert probabilities(ft.TextClassifier.from_pretrained(REPO, revision="main")) == expected
    assert probabilities(ft.load(f"{REPO}@{pushed.branches['main']}")) == expected


@pytest.mark.slow
def test_only_the_files_of_the_model_are_downloaded_and_only_once(server, pushed, files):
    folder = local_model(REPO)
    assert {path.name for path in folder.iterdir()} == set(files)
    assert all(path.is_symlink() for path in folder.iterdir())
    server.requests.clear()
    assert local_model(REPO) == folder
    assert server.paths("GET") == [f"/api/models/{REPO}"]
    server.requests.clear()
    assert local_model(f"{REPO}@{pushed.branches['main']}") == folder
    assert server.requests == []


@pytest.mark.slow
def test_a_revision_is_a_branch_a_tag_or_a_commit(pushed, files, expected, tmp_path):
    first = pushed.branches["main"]
    other = ft.train(TEXTS, ["a", "b", "a"], **QUICK_SETTINGS)
    other.save(tmp_path / "other")
    pushed.commit({p.name: p.read_bytes() for p in (tmp_path / "other").iterdir()}, "feature/x")
    assert ft.load(f"{REPO}@feature/x").labels == ("a", "b")
    pushed.branches["main"] = pushed.branches["feature/x"]
    assert ft.load(REPO).labels == ("a", "b")
    assert probabilities(ft.load(f"{REPO}@{first}")) == expected


def test_a_local_path_of_that_name_wins(server, pushed, tiny_model_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_model_dir, REPO)
    ft.load(REPO)
    assert server.requests == []
    with pytest.raises(ConfigError, match="is a local path, which has no revisions"):
        ft.TextClassifier.from_pretrained(REPO, revision="main")
    with pytest.raises(ConfigError, match="names a revision already"):
        ft.TextClassifier.from_pretrained(f"{REPO}@main", revision="main")


@pytest.mark.slow
def test_every_command_takes_a_model_of_the_hub(pushed, tmp_path):
    (tmp_path / "rows.csv").write_text("text,label\nthe team won,sport\n")
    predicted = run_cli("predict", REPO, TEXTS[0])
    assert "sport" in predicted.stdout
    assert predicted.stderr == ""
    run_cli("evaluate", REPO, "--data", tmp_path / "rows.csv")
    run_cli("info", REPO)
    run_cli("explain", REPO, TEXTS[0])
    run_cli("quantize", REPO, "-o", tmp_path / "small")
    continued = ("--from", REPO, "-d", tmp_path / "rows.csv", "--epochs", "1")
    run_cli("train", *continued, "-o", tmp_path / "more")
    assert "sport" in run_cli("predict", tmp_path / "more", TEXTS[0]).stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model.bin", "lid.ftz"])
def test_a_repository_with_only_a_fasttext_file_loads(
    server, tiny_examples, tmp_path, monkeypatch, name
):
    path = tmp_path / "here.bin"
    texts, labels = zip(*tiny_examples, strict=True)
    model = ft.train(texts, labels, config="fasttext", epochs=1, dim=4, validation=0.0, bucket=100)
    model.save(tmp_path / "m")
    run_cli("export", tmp_path / "m", path)
    server.add("face/lid", {name: path.read_bytes(), "README.md": b"# Languages\n"})
    expected = probabilities(ft.load(path))
    assert probabilities(ft.load("face/lid")) == expected
    monkeypatch.chdir(tmp_path)
    folder = local_model("face/lid").parent
    assert probabilities(ft.load(folder)) == expected, "a snapshot is a folder with one file"
    assert "sport" in run_cli("ft", "predict", "face/lid", "-", stdin="the team won\n").stdout


@pytest.mark.slow
def test_a_snapshot_with_foreign_files_loads(pushed, expected, tmp_path):
    from huggingface_hub import snapshot_download

    model = ft.load(snapshot_download(REPO))
    assert probabilities(model) == expected
    base = model.artifact.tensors["table"]
    while isinstance(base.base, np.ndarray):
        base = base.base
    assert isinstance(base.base, mmap.mmap), "the table is mapped through the link"
    folder = snapshot_download(REPO, local_dir=tmp_path / "local")
    assert {".cache", ".gitattributes"} <= {path.name for path in Path(folder).iterdir()}
    assert probabilities(ft.load(folder)) == expected


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.slow
@pytest.mark.parametrize("shown", [True, False])
def test_a_terminal_shows_progress_unless_it_is_to_be_quiet(pushed, monkeypatch, shown):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr("fasttext_app.core.meter.bars", shown)
    ft.load(REPO)
    assert ("Download" in terminal.getvalue()) is shown
    assert bool(terminal.getvalue()) is shown
    before = terminal.getvalue()
    ft.load(REPO)
    assert terminal.getvalue() == before, "there is nothing to download"


def test_a_damaged_download_is_refused(server, files):
    server.add(REPO, files | {"labels.json": files["labels.json"] + b" "})
    assert "labels.json: has" in refused(REPO)


# --- what is not there, and who may not see it


@pytest.mark.slow
def test_each_way_of_not_being_there_has_its_own_message(server, pushed, files):
    missing = "some-user/none: no such model directory, and the hub has no such repository; check"
    assert refused("some-user/none").startswith(missing)
    assert refused("some-user/none", token=TOKEN).startswith(missing)
    for name in ("a--b/c", "a/b.git", "a/" + "b" * 100):
        assert refused(name).endswith(
            ": no such model directory, and the hub allows no such id; check the name"
        )
    assert "the repository has no such revision; name one" in refused(f"{REPO}@v9")
    server.add("some-user/secret", files, private=True)
    assert "log in with `hf auth login` if it is private" in refused("some-user/secret")
    ft.TextClassifier.from_pretrained("some-user/secret", token=TOKEN)
    server.add("some-user/gated", files, gated=True)
    assert f"ask for access at {server.url}/some-user/gated, and log in" in refused(
        "some-user/gated"
    )
    ft.TextClassifier.from_pretrained("some-user/gated", token=TOKEN)


@pytest.mark.parametrize(
    "content",
    [
        {"pytorch_model.bin": b"x" * 1000, "model.safetensors": b"x" * 1000, "config.json": b"{}"},
        {"manifest.json": b'{"format": "another"}', "model.safetensors": b"x" * 1000},
        {"manifest.json": b"[]"},
        {"folder/model.bin": b"x"},
        {},
    ],
    ids=["transformers", "another manifest", "a list", "in a folder", "empty"],
)
def test_a_repository_without_a_model_is_refused_before_it_is_downloaded(server, content):
    server.add("some-user/other", content)
    message = "the repository has neither a model of fasttext_app nor a fastText file"
    assert message in refused("some-user/other")
    sent = [path for path in server.paths("GET") if "safetensors" in path]
    assert sent == []


def test_several_fasttext_files_are_named(server):
    server.add("some-user/many", {"lid.bin": b"x", "lid.ftz": b"x"})
    assert "has several fastText files (lid.bin, lid.ftz)" in refused("some-user/many")


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "the hub requires a valid token; log in with"),
        (403, "the hub denies access; use a token with the permission for it"),
        (429, "the hub allows no more requests for now; try again later"),
        (500, "the hub answers with error 500 (bad (token)); try again later"),
        (418, "the hub answers with error 418 (bad (token))"),
    ],
)
def test_a_refusal_is_told_in_one_line_without_the_token(server, status, message, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    body = f'{{"error": "bad\\n{TOKEN}"}}'.encode()
    server.failure = status, {"Content_Type": "application/json"}, body
    assert message in refused("some-user/topics")
    shown = run_cli("predict", "some-user/topics", "text", "--verbose", code=1)
    assert TOKEN not in shown.output
    assert "Traceback" in shown.stderr


@pytest.mark.slow
def test_offline_the_cache_is_used(server, pushed, expected, monkeypatch):
    from huggingface_hub import constants

    ft.load(REPO)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert probabilities(ft.load(REPO)) == expected
    assert "HF_HUB_OFFLINE is set, and the cache lacks it" in refused("some-user/none")
    shutil.rmtree(local_model(REPO).parents[1] / "trees")  # a cache of an older version
    assert probabilities(ft.load(REPO)) == expected
    commit = "0" * 40
    assert "HF_HUB_OFFLINE is set" in refused(f"{REPO}@{commit}")


def test_without_a_network_the_cache_is_used_and_nothing_is_retried(
    server, pushed, expected, monkeypatch
):
    from huggingface_hub import constants

    ft.load(REPO)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert probabilities(ft.load(REPO)) == expected
    assert "no such model directory, and the hub cannot be reached" in refused("some-user/none")


@pytest.mark.slow
def test_the_commands_work_in_processes_of_their_own(server, tiny_model_dir, tmp_path):
    """The library imports its modules only when they are asked for."""

    def run(*arguments: object) -> str:
        words = [sys.executable, "-W", "error", "-m", "fasttext_app", *map(str, arguments)]
        settings = {
            **{"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path), "HF_TOKEN": TOKEN},
            **{"HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"},
        }
        done = subprocess.run(
            words, env=os.environ | settings, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout

    assert run("push", tiny_model_dir, REPO).startswith("pushed")
    assert "sport" in run("predict", REPO, TEXTS[0])


def test_without_the_extra_the_message_says_what_to_install(server, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDependencyError) as caught:
        ft.load("some-user/none")
    assert str(caught.value).startswith("some-user/none: no such model directory, and the hub")
    assert "needs the package huggingface_hub; pip install" in str(caught.value)


@pytest.mark.slow
def test_large_files_come_from_elsewhere_without_the_token(server, pushed, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    ft.load(REPO)
    hosts = {request.host.split(":")[0]: request.token for request in server.requests}
    assert hosts == {"127.0.0.1": TOKEN, "localhost": None}


# --- uploading


@pytest.fixture
def logged_in(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return server


@pytest.mark.slow
def test_what_is_pushed_is_what_is_loaded(logged_in, tiny_model_dir, expected):
    pushed = ft.load(tiny_model_dir).push_to_hub(REPO, commit_message="The first")
    repository = logged_in.repositories[REPO]
    assert pushed == f"{REPO}@{repository.branches['main']}"
    assert repository.messages[-1] == "The first"
    assert not repository.private
    assert probabilities(ft.load(pushed)) == probabilities(ft.load(REPO)) == expected


@pytest.mark.slow
def test_the_command_uploads_the_files_as_they_are(logged_in, tiny_model_dir, files, expected):
    shown = run_cli("push", tiny_model_dir, REPO)
    sent = logged_in.repositories[REPO].files()
    assert {name: sent[name] for name in files if name != "README.md"} == {
        name: content for name, content in files.items() if name != "README.md"
    }
    commit = logged_in.repositories[REPO].branches["main"]
    assert shown.stdout == (f"pushed {tiny_model_dir} to {logged_in.url}/{REPO}, commit {commit}\n")
    assert shown.stderr == "", "no progress where there is no terminal"
    assert probabilities(ft.load(REPO)) == expected
    assert read_json(run_cli("push", tiny_model_dir, REPO, "--json"))["id"].startswith(REPO)


@pytest.mark.slow
def test_a_second_push_updates_and_drops_what_the_model_lacks(logged_in, tiny_model_dir):
    model = ft.load(tiny_model_dir)
    scores = model.evaluate(TEXTS[:2], ["sport", "money"])
    texts = [text for text in TEXTS for _ in range(4)]
    first = model.push_to_hub(REPO, scores=scores)
    repository = logged_in.repositories[REPO]
    repository.commit(repository.files() | FOREIGN)
    other = ft.train(texts, ["a", "b", "a"] * 4, **QUICK_SETTINGS)
    second = other.push_to_hub(REPO)
    assert "confusion.svg" not in repository.files()
    assert set(FOREIGN) <= set(repository.files())
    assert ft.load(first).labels == ("money", "sport")
    assert ft.load(second).labels == ft.load(REPO).labels == ("a", "b")
    branch = model.push_to_hub(REPO, revision="smaller")
    card = repository.files("smaller")["README.md"].decode()
    assert f'fasttext-app predict {REPO}@smaller "some text"' in card
    assert ft.load(REPO).labels == ("a", "b")
    assert ft.load(f"{REPO}@smaller").labels == ft.load(branch).labels == ("money", "sport")


@pytest.mark.slow
def test_an_unchanged_push_makes_no_commit(logged_in, tiny_model_dir):
    first = ft.load(tiny_model_dir).push_to_hub(REPO)
    assert ft.load(tiny_model_dir).push_to_hub(REPO) == first


@pytest.mark.slow
def test_a_private_model_stays_private(logged_in, tiny_model_dir):
    run_cli("push", tiny_model_dir, "some-user/mine", "--private")
    assert logged_in.repositories["some-user/mine"].private
    logged_in.add("some-user/open", {})
    shown = run_cli("push", tiny_model_dir, "some-user/open", "--private", code=1)
    assert "some-user/open: the repository is public; make it private" in shown.stderr
    assert set(logged_in.repositories["some-user/open"].files()) == {".gitattributes"}


def test_a_push_that_is_refused_says_why(server, tiny_model_dir, monkeypatch):
    def push(repo: str) -> str:
        shown = run_cli("push", tiny_model_dir, repo, "--verbose", code=1)
        assert TOKEN not in shown.output
        return shown.stderr

    assert "the hub requires a valid token; log in with `hf auth login`" in push(REPO)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert "the hub denies access; use a token with the permission" in push("other/topics")
    assert "must be the id of a repository: owner/name" in push("topics")
    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        assert f"{REPO}: HF_HUB_OFFLINE is set; unset it to reach the hub" in push(REPO)
    server.failure = 429, {}, b""
    assert "the hub allows no more requests for now" in push(REPO)
    with pytest.raises(ConfigError, match="names a branch already"):
        ft.load(tiny_model_dir).push_to_hub(f"{REPO}@one", revision="two")


def test_an_upload_that_fails_half_way_leaves_the_repository_as_it_was(
    logged_in, tiny_model_dir, monkeypatch
):
    from huggingface_hub import lfs

    def fail(**named: object) -> None:
        raise OSError("storage is full")

    monkeypatch.setattr(lfs, "_upload_single_part", fail)
    with pytest.raises(ArtifactError, match="storage is full"):
        ft.load(tiny_model_dir).push_to_hub(REPO)
    assert set(logged_in.repositories[REPO].files()) == {".gitattributes"}


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["softmax", "ova", "hs", "adaptive"])
def test_a_model_of_any_loss_is_pushed(logged_in, loss):
    texts = [f"{label} word{number}" for number in range(3) for label in "abcdef"]
    adaptive = {"cutoffs": [2, 4], "dim": 32} if loss == "adaptive" else {}
    model = ft.train(texts, [*"abcdef"] * 3, loss=loss, **QUICK_SETTINGS | adaptive)
    assert probabilities(ft.load(model.push_to_hub(REPO))) == probabilities(model)


# --- the card


def metadata_of(card: str) -> dict[str, Any]:
    _, head, _ = card.split("---\n", 2)
    metadata = yaml.safe_load(head)
    assert isinstance(metadata, dict)
    return metadata


@pytest.mark.slow
def test_the_card_has_what_the_hub_shows(logged_in, tiny_model_dir, tmp_path):
    model = ft.load(tiny_model_dir)
    scores = model.evaluate(TEXTS[:2], ["sport", "money"])
    (tmp_path / "scores.json").write_text(json.dumps(scores))
    options = ("--license", "mit", "--language", "en", "--language", "de")
    run_cli("push", tiny_model_dir, REPO, *options, "--scores", tmp_path / "scores.json")
    sent = logged_in.repositories[REPO].files()
    card = sent["README.md"].decode()
    assert f'fasttext-app predict {REPO} "some text"' in card
    metadata = metadata_of(card)
    assert metadata["library_name"] == "fasttext_app"
    assert metadata["pipeline_tag"] == "text-classification"
    assert (metadata["license"], metadata["language"]) == ("mit", ["en", "de"])
    (entry,) = metadata["model-index"]
    assert entry["name"] == REPO
    assert {m["name"]: m["value"] for m in entry["results"][-1]["metrics"]} == {
        "Accuracy": 1.0,
        "Micro F1": 1.0,
        "Macro F1": 1.0,
    }
    assert "![Confusion matrix](confusion.svg)" in card
    picture = ElementTree.fromstring(sent["confusion.svg"])
    shown = [element.text for element in picture.iter() if element.tag.endswith("}text")]
    assert shown[1:] == ["money", "money", "1", "sport", "sport", "1"]
    for example in metadata["widget"]:
        predicted = model.predict(example["text"])
        assert example["output"][0] == {
            "label": predicted.labels[0],
            "score": pytest.approx(predicted.probabilities[0], abs=1e-4),
        }
    from huggingface_hub import ModelCard

    assert ModelCard(card).data.eval_results[0].metric_type == "accuracy"


def test_the_picture_of_many_labels_shows_those_with_the_most_rows():
    labels = [f"label {number} & <more>" for number in range(60)]
    matrix = [[0] * 60 for _ in labels]
    for number in range(60):
        matrix[number][number] = number + 1
    picture = ElementTree.fromstring(confusion_picture(labels, matrix))
    texts = [element.text for element in picture.iter() if element.tag.endswith("}text")]
    assert texts[0] == "rows: true, columns: predicted, the 25 labels with the most rows"
    assert texts[1] == texts[2] == "label 35 & <mor…"
    assert len(texts) == 1 + 3 * 25


def test_the_scores_file_must_hold_scores(logged_in, tiny_model_dir, tmp_path):
    (tmp_path / "scores.json").write_text("[1]")
    push = ("push", tiny_model_dir, REPO, "--scores")
    assert (
        "is not the output of `evaluate --json`"
        in run_cli(*push, tmp_path / "scores.json", code=1).stderr
    )
    good = {"examples": 2, "labels": ["a", "b"], "confusion_matrix": [[1, 0], [0, 1]]}
    for wrong in (
        {"labels": 1},
        {"labels": ["a"]},
        {"examples": "2"},
        {"macro_f1": "high"},
        {"confusion_matrix": [[1, 0]]},
        {"confusion_matrix": [[1, 0], [0]]},
        {"confusion_matrix": [1, 2]},
        {"confusion_matrix": [["x", 0], [0, 1]]},
    ):
        with pytest.raises(ConfigError, match="scores: must be what"):
            ft.load(tiny_model_dir).save_pretrained(tmp_path / "m", scores=good | wrong)
    assert not (tmp_path / "m").exists()
    ft.load(tiny_model_dir).save_pretrained(tmp_path / "m", scores=good)
    (tmp_path / "scores.json").write_text("{}")
    assert (
        "scores: must be what `evaluate` returns"
        in run_cli(*push, tmp_path / "scores.json", code=1).stderr
    )
    assert "No such file" in run_cli(*push, tmp_path / "none.json", code=1).stderr
    assert logged_in.repositories == {}


@pytest.mark.slow
def test_an_edited_card_keeps_its_text(logged_in, tiny_model_dir, tmp_path):
    shutil.copytree(tiny_model_dir, tmp_path / "m")
    (tmp_path / "m" / "README.md").write_text("---\nlicense: gpl\nmine: 1\n---\n# My model\n")
    run_cli("push", tmp_path / "m", REPO)
    repository = logged_in.repositories[REPO]
    card = repository.files()["README.md"].decode()
    assert card.endswith("---\n# My model\n")
    metadata = metadata_of(card)
    assert (metadata["license"], metadata["mine"]) == ("gpl", 1)
    assert metadata["library_name"] == "fasttext_app"
    run_cli("push", tmp_path / "m", REPO, "--license", "mit")
    assert metadata_of(repository.files()["README.md"].decode())["license"] == "mit"
    (tmp_path / "m" / "README.md").write_text("---\na: [\n---\n# My model\n")
    shown = run_cli("push", tmp_path / "m", REPO, code=1)
    assert "README.md: its metadata are not YAML; correct them" in shown.stderr


ODD_LABELS = [
    "a|b",
    "<script>x</script>",
    "{{x}}: [y]\n---\nlicense: evil",
    "\u202e\x1b[31m",
    "'\"#",
]


def test_labels_of_strangers_are_neither_markup_nor_metadata(tmp_path):
    labels = [label for label in ODD_LABELS for _ in range(2)]
    texts = [f"{label} word{number}" for number, label in enumerate(labels)]
    model = ft.train(texts, labels, epochs=2, dim=4, validation=0.0)
    scores = model.evaluate(texts, labels)
    model.save_pretrained(tmp_path / "m", language="en", scores=scores)
    card = (tmp_path / "m" / "README.md").read_text()
    assert "license" not in metadata_of(card)
    text = card.split("---\n", 2)[2]
    assert "<script>" not in text
    assert "\u202e" not in card
    assert "\x1b" not in card
    assert all(line.count("|") - line.count("\\|") in (0, 3) for line in text.splitlines())
    picture = (tmp_path / "m" / "confusion.svg").read_text()
    assert "<script>" not in picture
    ElementTree.fromstring(picture)
    assert ft.load(tmp_path / "m").predict(texts) == model.predict(texts)


# --- folders of one's own


@pytest.mark.slow
def test_pull_writes_files_and_overwrites_only_when_told(logged_in, tiny_model_dir, tmp_path):
    model = ft.load(tiny_model_dir)
    model.push_to_hub(REPO)
    run_cli("pull", REPO, tmp_path / "m")
    written = contents(tmp_path / "m")
    assert not any(path.is_symlink() for path in (tmp_path / "m").iterdir())
    assert probabilities(ft.load(tmp_path / "m")) == probabilities(model)
    (tmp_path / "m" / "notes.txt").write_text("mine")
    refused = run_cli("pull", REPO, tmp_path / "m", code=1)
    assert "already has a model; pass --overwrite to replace it" in refused.stderr
    shown = run_cli("pull", f"{REPO}@main", tmp_path / "m", "--overwrite")
    assert shown.stderr == ""
    assert contents(tmp_path / "m") == written | {"notes.txt": b"mine"}
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("mine")
    assert (
        "is a folder with other files" in run_cli("pull", REPO, tmp_path / "other", code=1).stderr
    )
    assert "is a file; name a folder" in run_cli("pull", REPO, __file__, code=1).stderr
    assert "no such repository" in run_cli("pull", "some-user/none", tmp_path / "n", code=1).stderr
    assert "must be the id of a" in run_cli("pull", "./here", tmp_path / "n", code=1).stderr
    assert not (tmp_path / "n").exists()


def test_pull_writes_a_fasttext_file(server, tmp_path):
    server.add("face/lid", {"lid.ftz": MAGIC_BYTES + b"rest", "README.md": b""})
    run_cli("pull", "face/lid", tmp_path / "lid")
    assert contents(tmp_path / "lid") == {"lid.ftz": MAGIC_BYTES + b"rest"}
    assert "already exists" in run_cli("pull", "face/lid", tmp_path / "lid", code=1).stderr
    run_cli("pull", "face/lid", tmp_path / "lid", "--overwrite")


@pytest.mark.slow
def test_a_model_is_saved_over_a_snapshot_without_touching_the_cache(
    server, pushed, tiny_model_dir, tmp_path
):
    from huggingface_hub import snapshot_download

    snapshot = Path(snapshot_download(REPO))
    blobs = contents(snapshot.parents[1] / "blobs")
    link = (snapshot / "config.json").readlink()
    other = ft.train(TEXTS, ["a", "b", "a"], **QUICK_SETTINGS)
    other.save(snapshot)
    assert ft.load(snapshot).labels == ("a", "b")
    assert contents(snapshot.parents[1] / "blobs") == blobs
    assert not (snapshot / "model.safetensors").is_symlink()
    assert (snapshot / "config.json").readlink() == link
    assert set(FOREIGN) | {".gitattributes"} <= set(contents(snapshot))
    local = Path(snapshot_download(REPO, local_dir=tmp_path / "local"))
    before = contents(local)
    other.save(local)
    ours = {path.name for path in tiny_model_dir.iterdir()}
    assert {name: data for name, data in contents(local).items() if name not in ours} == {
        name: data for name, data in before.items() if name not in ours
    }
