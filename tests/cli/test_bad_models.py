"""Model directories that are missing, damaged or edited: refused in one line."""

from __future__ import annotations

import json

import pytest

import fasttext_app
from fasttext_app.errors import ArtifactError
from tests.helpers import run_cli

CHECKED_FILES = (
    *("config.toml", "data.json", "history.json", "labels.json", "manifest.json", "metrics.json"),
    *("model.safetensors", "vocabulary.parquet"),
)


def flip_bit(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", ["predict {} text", "evaluate {} --data good.csv", "info {}", "inspect {} text"]
)
def test_a_path_without_a_model_is_refused(fails, workdir, command):
    (workdir / "empty").mkdir()

    def message(path: str) -> str:
        return fails(*command.format(path).split())

    assert message("none") == "none: no such model directory; train one with --output none"
    assert message("empty") == "empty: not a model directory (there is no manifest.json in it)"
    assert message("good.csv") == "good.csv: is neither a model directory nor a fastText file"


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKED_FILES)
def test_a_truncated_or_missing_file_is_named(fails, model, name):
    path = model / name
    content = path.read_bytes()
    for length in (0, 1, len(content) // 2, len(content.strip()) - 1):
        path.write_bytes(content[:length])
        message = fails("predict", model, "text")
        if name != "manifest.json":
            assert message == (
                f"{path}: has {length} bytes, but {len(content)} were saved; copy the model again"
            )
    path.unlink()
    message = fails("predict", model, "text")
    if name == "manifest.json":
        assert message == "model: not a model directory (there is no manifest.json in it)"
    else:
        assert message == f"{path}: the file is missing; copy the model again"


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CHECKED_FILES if name != "manifest.json"])
def test_an_edited_file_is_named(fails, model, name):
    path = model / name
    content = path.read_bytes()
    for position in (0, len(content) // 2, len(content) - 1):
        path.write_bytes(flip_bit(content, position))
        assert fails("predict", model, "text") == (
            f"{path}: has changed since it was saved (its checksum differs)"
        )


def refusal_of(model):
    """Return why a model cannot be loaded; "" if it can."""
    try:
        fasttext_app.load(model)
    except ArtifactError as error:
        return str(error)
    return ""


@pytest.mark.slow
def test_an_edited_byte_of_the_manifest_is_harmless_or_refused(model):
    path = model / "manifest.json"
    content = path.read_bytes()
    refusals = []
    for position in range(0, len(content), 11):
        path.write_bytes(flip_bit(content, position))
        refusals.append(refusal_of(model))
    assert all(not refusal or refusal.startswith("model") for refusal in refusals)
    assert not any("\n" in refusal for refusal in refusals)
    assert sum(map(bool, refusals)) > len(refusals) / 2


@pytest.mark.slow
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
def test_a_foreign_manifest_is_refused(fails, model, change, message):
    path = model / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert fails("predict", model, "text").startswith(message)


def test_the_model_card_may_be_edited(model):
    (model / "README.md").write_text("my notes")
    run_cli("predict", model, "text")
