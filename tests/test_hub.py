"""Models on the hub, against a server on this machine that speaks its API."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fasttext_app as ft
from fasttext_app.errors import ArtifactError, ConfigError, MissingDependencyError
from fasttext_app.hub import local_model
from tests.helpers import run_cli
from tests.hub_server import TOKEN, Files, HubServer, Repository, hub_in_place

TEXTS = ["the team won the cup", "the bank cut its profit forecast", ""]
REPO = "some-user/topics"
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


def test_a_model_of_the_hub_predicts_as_its_directory_does(pushed, expected):
    assert probabilities(ft.load(REPO)) == expected
    assert probabilities(ft.TextClassifier.from_pretrained(REPO, revision="main")) == expected
    assert probabilities(ft.load(f"{REPO}@{pushed.branches['main']}")) == expected


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


def test_a_revision_is_a_branch_a_tag_or_a_commit(pushed, files, expected, tmp_path):
    first = pushed.branches["main"]
    other = ft.train(TEXTS, ["a", "b", "a"], epochs=1, dim=4, validation=0.0)
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


def test_a_snapshot_with_foreign_files_loads(pushed, expected, tmp_path):
    from huggingface_hub import snapshot_download

    assert probabilities(ft.load(snapshot_download(REPO))) == expected
    folder = snapshot_download(REPO, local_dir=tmp_path / "local")
    assert {".cache", ".gitattributes"} <= {path.name for path in Path(folder).iterdir()}
    assert probabilities(ft.load(folder)) == expected


def test_a_damaged_download_is_refused(server, files):
    server.add(REPO, files | {"labels.json": files["labels.json"] + b" "})
    assert "labels.json: has" in refused(REPO)


# --- what is not there, and who may not see it


def test_each_way_of_not_being_there_has_its_own_message(server, pushed, files):
    missing = "some-user/none: no such model directory, and the hub has no such repository; check"
    assert refused("some-user/none").startswith(missing)
    assert refused("some-user/none", token=TOKEN).startswith(missing)
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
        (401, "the hub does not accept the token; log in with"),
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
    if status == 500:  # the library looks into its cache instead
        message = "no such model directory, and the hub cannot be reached; check the network"
    assert message in refused("some-user/topics")
    shown = run_cli("predict", "some-user/topics", "text", "--verbose", code=1)
    assert TOKEN not in shown.output
    assert "Traceback" in shown.stderr


def test_offline_the_cache_is_used(server, pushed, expected, monkeypatch):
    from huggingface_hub import constants

    ft.load(REPO)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert probabilities(ft.load(REPO)) == expected
    assert "HF_HUB_OFFLINE is set, and the cache lacks it" in refused("some-user/none")
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


def test_without_the_extra_the_message_says_what_to_install(server, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDependencyError) as caught:
        ft.load("some-user/none")
    assert str(caught.value).startswith("some-user/none: no such model directory, and the hub")
    assert "needs the package huggingface_hub; pip install" in str(caught.value)


def test_large_files_come_from_elsewhere_without_the_token(server, pushed, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    ft.load(REPO)
    hosts = {request.host.split(":")[0]: request.token for request in server.requests}
    assert hosts == {"127.0.0.1": TOKEN, "localhost": None}
