"""What is loaded is checked by value, even if its checksum is right."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fasttext_app as ft
from fasttext_app.config.loading import parse_toml
from fasttext_app.core import jit
from fasttext_app.core.checksummed_dir import MANIFEST, _write_manifest
from fasttext_app.errors import ArtifactError, ConfigError
from fasttext_app.inference import forward
from fasttext_app.model import directory, product_quantizer
from fasttext_app.model.artifact import OUTPUT
from fasttext_app.model.directory import (
    FORMAT,
    FORMAT_VERSION,
    UNCHECKED,
    load_artifact,
    save_artifact,
)
from fasttext_app.model.product_quantizer import Coded, Quantizer
from fasttext_app.model.tensor_file import CACHE_LINE, read_tensors, write_tensors
from tests.helpers import WORDS_ONLY

TEXTS = ["a chess engine", "an IMAP server", "lossless audio", "a text editor"] * 5
LABELS = ["a", "b", "c", "d"] * 5


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("values") / "model"
    ft.train(TEXTS, LABELS, validation=0.2, seed=1, **WORDS_ONLY).save(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


def seal(folder: Path) -> None:
    """Make the checksums of a changed model right again, as an attacker would."""
    (folder / MANIFEST).unlink()
    _write_manifest(folder, FORMAT, FORMAT_VERSION, UNCHECKED)


def refused(folder: Path, message: str) -> None:
    seal(folder)
    with pytest.raises(ArtifactError, match=message) as error:
        load_artifact(folder)
    assert "\n" not in str(error.value)


def changed(folder: Path, name: str, path: str, value: Any) -> None:
    document = json.loads((folder / name).read_text(encoding="utf-8"))
    inner, keys = document, path.split("/")
    for key in keys[:-1]:
        inner = inner[int(key) if isinstance(inner, list) else key]
    inner[int(keys[-1]) if isinstance(inner, list) else keys[-1]] = value
    (folder / name).write_text(json.dumps(document), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("labels.json", "names", []),
        ("labels.json", "names", [1, 2, 3, 4]),
        ("labels.json", "names", ["a", "a", "b", "c"]),
        ("labels.json", "names/0", None),
        ("labels.json", "names/0", "\ud800"),
        ("labels.json", "counts/0", None),
        ("labels.json", "counts/0", "3"),
        ("labels.json", "counts/0", 1.5),
        ("labels.json", "counts/0", True),
        ("labels.json", "counts/0", -1),
        ("labels.json", "counts/0", 10**30),
        ("labels.json", "counts", [1, 1, 1]),
        ("metrics.json", "<b>x", 1.0),
        ("metrics.json", "[red]x", 1.0),
        ("metrics.json", "validation_accuracy", "high"),
        ("metrics.json", "validation_accuracy", {}),
        ("history.json", "epochs", None),
        ("history.json", "epochs/0/epoch", "1"),
        ("history.json", "epochs/0/train_loss", None),
        ("history.json", "best_epoch", -1),
        ("data.json", "train_rows", "many"),
        ("data.json", "train_rows", None),
        ("data.json", "source", 3),
        ("data.json", "tokens", 1e300),
        ("data.json", "labels", {"a": None}),
        ("data.json", "fasttext", {"ws": "wide"}),
        ("run.json", "seed", None),
        ("run.json", "config", []),
        ("run.json", "data/train_rows", -3),
        ("run.json", "versions", {"torch": 2}),
    ],
)
def test_a_wrong_value_is_named_with_its_file(folder, name, path, value):
    changed(folder, name, path, value)
    refused(folder, rf"the model cannot be read: ({name}: |.utf-8. codec can.t encode)")


@pytest.mark.parametrize("name", ["table", "weight", "bias"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_a_weight_that_is_not_finite_is_refused(folder, name, value):
    path = folder / "model.safetensors"
    tensors = {key: np.array(tensor) for key, tensor in read_tensors(path).items()}
    tensors[name].flat[-1] = value
    write_tensors(tensors, path)
    refused(folder, f"the tensor {name} has a weight that is not finite or too large")


def test_a_vocabulary_that_expands_is_refused_before_it_is_read(folder):
    words = pa.array(["x" * 1_000_000]).take(pa.array([0] * 300))
    table = pa.table({"word": words, "count": [1] * 300})
    pq.write_table(table, folder / "vocabulary.parquet", compression="zstd")
    seal(folder)
    before = pa.total_allocated_bytes()
    del words, table
    pool = pa.default_memory_pool()
    with pytest.raises(ArtifactError, match="has more words than the table has rows"):
        load_artifact(folder)
    assert pool.bytes_allocated() <= before


@pytest.mark.parametrize(
    "table",
    [
        {"word": ["a", "a"], "count": [1, 1]},
        {"word": ["a", None], "count": [1, 1]},
        {"word": ["a", "b"], "count": [1, None]},
        {"word": ["a", "b"], "count": [1, -1]},
        {"word": ["a", "b"], "count": [1.5, 1.5]},
        {"word": ["x" * 10_000_000, "b"], "count": [1, 1]},
    ],
)
def test_words_and_counts_are_checked(folder, table):
    pq.write_table(pa.table(table), folder / "vocabulary.parquet", compression="zstd")
    refused(folder, "vocabulary.parquet: ")


@pytest.mark.parametrize("value", [-(2**31), -1, 0, 1000])
def test_buckets_outside_the_hash_space_are_refused(tmp_path, value):
    settings = WORDS_ONLY | {"word_ngrams": 2, "bucket": 1000}
    ft.train(TEXTS, LABELS, fold=False, **settings).save(tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    tensors = {key: np.array(tensor) for key, tensor in read_tensors(path).items()}
    tensors["buckets"][-1] = value
    write_tensors(tensors, path)
    refused(tmp_path / "model", "not in ascending order, or outside the hash space")


def test_an_output_matrix_that_expands_is_refused(tmp_path, monkeypatch):
    codes = np.zeros((1_000_000, 1), np.uint8)
    assert Coded(codes, Quantizer(200, np.ones((1, 256, 200), np.float32))).expands
    assert not Coded(codes, Quantizer(2, np.ones((1, 256, 2), np.float32))).expands
    assert not Coded(codes[:200], Quantizer(200, np.ones((1, 256, 200), np.float32))).expands
    model = ft.train(TEXTS, LABELS, fold=False, **WORDS_ONLY | {"dim": 4})
    coded = Coded(np.zeros((4, 2), np.uint8), Quantizer(4, np.ones((2, 256, 2), np.float32)))
    tensors = {name: t for name, t in model.artifact.tensors.items() if name != "weight"}
    save_artifact(replace(model.artifact, tensors=tensors | coded.tensors(OUTPUT)), tmp_path / "m")
    assert load_artifact(tmp_path / "m").weight.shape == (4, 4)
    monkeypatch.setattr(product_quantizer, "EXPANSION", 0)
    with pytest.raises(ArtifactError, match="takes far more memory than its codes"):
        load_artifact(tmp_path / "m")


@pytest.mark.parametrize("text", ["a" + ".a" * 50_000 + " = 1", "[" + "a." * 50_000 + "a]"])
def test_a_key_with_many_dots_is_refused_at_once(folder, text):
    begin = time.monotonic()
    with pytest.raises(ValueError, match="has more than 100 dots"):
        parse_toml(text)
    (folder / "config.toml").write_text(text)
    refused(folder, "has more than 100 dots")
    with pytest.raises(ConfigError, match="not a TOML file: a key has more"):
        ft.train(TEXTS, LABELS, config=folder / "config.toml")
    assert time.monotonic() - begin < 5


def test_the_table_is_read_where_it_lies_in_the_file(folder):
    """So that processes share its pages."""
    before = ft.load(folder).predict(TEXTS)
    model = ft.load(folder).warm_up()
    table = model.artifact.tensors["table"]
    assert table.ctypes.data % CACHE_LINE == 0
    assert not table.flags.writeable
    assert model._forward._aligned_table() is table
    assert model.predict(TEXTS) == before


def test_a_model_that_is_replaced_while_it_is_mapped_goes_on(folder):
    model = ft.load(folder).warm_up()
    before = model.predict_proba(TEXTS)
    ft.train(TEXTS, ["x", "y"] * 10, **WORDS_ONLY).save(folder)
    np.testing.assert_array_equal(model.predict_proba(TEXTS), before)
    assert ft.load(folder).labels == ("x", "y")


@pytest.mark.parametrize("step", ["verify_checksums", "read_tensors", "_check_shapes"])
def test_a_model_that_is_replaced_while_it_is_read_is_the_new_one(folder, monkeypatch, step):
    new = ft.train(TEXTS, ["x", "y"] * 10, **WORDS_ONLY)
    real = getattr(directory, step)

    def then_replaced(*arguments):
        result = real(*arguments)
        monkeypatch.undo()
        new.save(folder)
        return result

    monkeypatch.setattr(directory, step, then_replaced)
    assert ft.load(folder).predict(TEXTS) == new.predict(TEXTS)


def test_a_table_in_codes_is_not_decoded_as_a_whole_if_that_is_large(monkeypatch):
    """The same bits either way."""
    model = ft.train(TEXTS, LABELS, fold=False, **WORDS_ONLY | {"dim": 4})
    generator = np.random.default_rng(0)
    rows = len(model.artifact.table)
    codes = generator.integers(0, 256, (rows, 2)).astype(np.uint8)
    coded = Coded(codes, Quantizer(4, generator.normal(size=(2, 256, 2)).astype(np.float32)))
    tensors = {name: t for name, t in model.artifact.tensors.items() if name != "table"}
    artifact = replace(model.artifact, tensors=tensors | coded.tensors())
    bags = model.encoder.encode(TEXTS)
    jit.enable()
    whole = forward.CpuForward(artifact)(bags)
    monkeypatch.setattr(forward, "MAX_DECODED_BYTES", 0)
    by_row = forward.CpuForward(artifact)
    np.testing.assert_array_equal(by_row(bags), whole)
    assert by_row._aligned is None
