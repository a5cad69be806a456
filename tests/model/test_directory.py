"""The model directory: nothing is lost in it, no damage goes unseen, no model is half replaced."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from fasttext_app.config.loading import flat_layer, resolve
from fasttext_app.core import checksummed_dir
from fasttext_app.data.labels import Labels
from fasttext_app.errors import ArtifactError
from fasttext_app.model.artifact import Artifact
from fasttext_app.model.directory import FORMAT_VERSION, check_target, load_artifact, save_artifact
from fasttext_app.text.vocabulary import Vocabulary
from tests.helpers import make_config

ODD_WORDS = [
    "the",
    "naïve",
    "日本",
    "🙂",
    "a\u0301",
    "\u202e",
    "nul\0",
    'q"uote',
    "back\\slash",
    "_",
]
CHECKED = [
    "config.toml",
    "data.json",
    "history.json",
    "labels.json",
    "metrics.json",
    "model.safetensors",
    "tokenizer.json",
    "vocabulary.parquet",
]


EPOCH = {"epoch": 1, "train_loss": 1 / 3, "seconds": 0.1, "texts_per_second": 2.5}


def make_artifact(seed: int = 0, **changes: Any) -> Artifact:
    config = resolve(
        flat_layer(
            {
                "dim": 3,
                "mode": "sum",
                "term_weighting": "tfidf",
                "word_ngrams": 2,
                "bucket": 4,
                "source": 'naïve "file"\n.csv',
                "max_norm": 0.1,
            }
        )
    )
    rows, generator = len(ODD_WORDS) + 4, np.random.default_rng(seed)
    tensors = {
        "table": generator.normal(size=(rows, 3)).astype(np.float32),
        "weight": generator.normal(size=(2, 3)).astype(np.float32),
        "bias": np.array([np.float32(1e-45), -0.0], dtype=np.float32),
        "idf": generator.uniform(0.5, 2, rows).astype(np.float32),
    }
    counts = np.arange(len(ODD_WORDS), 0, -1) * 10**12
    artifact = Artifact(
        config=config,
        vocabulary=Vocabulary(pa.array(ODD_WORDS), counts),
        labels=Labels(("größe|\n", "🙂"), (3, 10**12)),
        tensors=tensors,
        metrics={"validation_accuracy": 0.1 + 0.2},
        history={"epochs": [EPOCH]},
        data={"source": "日本", "train_rows": 3},
        tokenizer_asset=b"\x00\xff{}",
    )
    return dataclasses.replace(artifact, **changes)


def assert_same(one: Artifact, other: Artifact) -> None:
    for field in ("config", "labels", "metrics", "history", "data", "tokenizer_asset"):
        assert getattr(one, field) == getattr(other, field), field
    assert one.vocabulary.words.equals(other.vocabulary.words)
    assert one.vocabulary.counts.tolist() == other.vocabulary.counts.tolist()
    assert one.tensors.keys() == other.tensors.keys()
    for name, tensor in one.tensors.items():
        assert tensor.dtype == other.tensors[name].dtype
        assert tensor.tobytes() == other.tensors[name].tobytes(), name


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model; copy it before a change."""
    folder = tmp_path_factory.mktemp("artifact") / "model"
    save_artifact(make_artifact(), folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of a saved model, to be damaged."""
    return Path(shutil.copytree(saved, tmp_path / "model"))


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    changed = change(manifest)
    document = manifest if changed is None else changed
    (folder / "manifest.json").write_text(json.dumps(document), encoding="utf-8")


def replace_file(folder: Path, name: str, content: bytes) -> None:
    """Put another file in the place of one, with the size and checksum that go with it."""
    (folder / name).write_bytes(content)
    entry = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    edit_manifest(folder, lambda manifest: manifest["files"].update({name: entry}))


# ------------------------------------------------------------------------------------ save and load


def test_a_loaded_artifact_is_the_saved_one(saved):
    assert_same(load_artifact(saved), make_artifact())


def test_without_the_optional_parts_it_is_the_same_too(tmp_path):
    artifact = make_artifact(tokenizer_asset=None, metrics={}, history={}, data={})
    save_artifact(artifact, tmp_path / "model")
    assert not (tmp_path / "model" / "tokenizer.json").exists()
    assert_same(load_artifact(tmp_path / "model"), artifact)


def test_an_empty_vocabulary(tmp_path):
    config = make_config(dim=2, minn=2, maxn=3, bucket=5)
    tensors = {
        "table": np.ones((5, 2), np.float32),
        "weight": np.ones((2, 2), np.float32),
        "bias": np.ones(2, np.float32),
    }
    vocabulary = Vocabulary(pa.array([], pa.string()), np.empty(0, np.int64))
    artifact = Artifact(config, vocabulary, Labels(("a", "b"), (1, 1)), tensors)
    save_artifact(artifact, tmp_path / "model")
    assert_same(load_artifact(tmp_path / "model"), artifact)


def test_tensors_of_any_memory_order_are_saved_alike(tmp_path):
    artifact = make_artifact()
    tensors = {name: np.asfortranarray(value) for name, value in artifact.tensors.items()}
    save_artifact(dataclasses.replace(artifact, tensors=tensors), tmp_path / "model")
    assert_same(load_artifact(tmp_path / "model"), artifact)


def test_a_loaded_artifact_can_be_saved_again_to_the_same_bytes(saved, tmp_path):
    save_artifact(load_artifact(saved), tmp_path / "again")
    for name in [*CHECKED, "manifest.json", "README.md"]:
        assert (tmp_path / "again" / name).read_bytes() == (saved / name).read_bytes(), name


def test_the_folder_holds_what_the_module_says(saved):
    assert sorted(path.name for path in saved.iterdir()) == sorted(
        [*CHECKED, "manifest.json", "README.md"]
    )
    manifest = json.loads((saved / "manifest.json").read_text(encoding="utf-8"))
    assert sorted(manifest["files"]) == CHECKED
    assert manifest["format_version"] == FORMAT_VERSION


def test_a_path_may_be_a_string(tmp_path):
    save_artifact(make_artifact(), str(tmp_path / "model"))
    assert_same(load_artifact(str(tmp_path / "model")), make_artifact())


def test_missing_folders_on_the_way_are_made(tmp_path):
    save_artifact(make_artifact(), tmp_path / "a" / "b" / "model")
    load_artifact(tmp_path / "a" / "b" / "model")


def test_the_model_card_tells_and_may_be_edited(folder):
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "validation accuracy: 0.3000" in card
    assert "1,000,000,000,000" in card
    (folder / "README.md").write_text("my own words", encoding="utf-8")
    load_artifact(folder)
    (folder / "README.md").unlink()
    load_artifact(folder)


def test_files_beside_those_of_the_model_do_not_matter(folder):
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    edit_manifest(folder, lambda manifest: manifest.update(comment="of a later version"))
    assert_same(load_artifact(folder), make_artifact())


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_file_modes_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        save_artifact(make_artifact(), tmp_path / "model")
    finally:
        os.umask(before)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "model").iterdir()}
    assert modes == dict.fromkeys(modes, 0o640)
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o750


# ------------------------------------------------------------------------------------------- damage


def assert_refused(folder: Path, message: str | None = None) -> None:
    with pytest.raises(ArtifactError, match=message) as caught:
        load_artifact(folder)
    assert str(caught.value).startswith(str(folder))


@pytest.mark.parametrize("name", CHECKED)
def test_a_truncated_file(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-1])
    assert_refused(folder, f"{name}: has {len(content) - 1} bytes, but {len(content)} were saved")
    (folder / name).write_bytes(b"")
    assert_refused(folder, f"{name}: has 0 bytes")


@pytest.mark.parametrize("name", CHECKED)
def test_a_changed_byte(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    assert_refused(folder, f"{name}: has changed since it was saved")


@pytest.mark.parametrize("name", CHECKED)
def test_a_missing_file(folder, name):
    (folder / name).unlink()
    assert_refused(folder, f"{name}: the file is missing; copy the model again")
    (folder / name).mkdir()
    assert_refused(folder, f"{name}: the file is missing")


def test_no_folder_and_no_model(tmp_path):
    with pytest.raises(ArtifactError, match="none: no such model directory; train one with"):
        load_artifact(tmp_path / "none")
    with pytest.raises(ArtifactError, match=r"there is no manifest\.json in it"):
        load_artifact(tmp_path)
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ArtifactError, match="not a model directory"):
        load_artifact(tmp_path / "file")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage",
        b"[]",
        b"null",
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"format": "fasttext_app model"}',
        b'{"format": "fasttext_app model", "format_version": 1}',
        b'{"format": "fasttext_app model", "format_version": "1", "files": {}}',
        b'{"format": "fasttext_app model", "format_version": null, "files": {}}',
        b'{"format": "fasttext_app model", "format_version": Infinity, "files": {}}',
        b'{"format": "fasttext_app model", "format_version": 0}',
        b'{"format": "fasttext_app model", "format_version": 1, "files": null}',
        b'{"format": "fasttext_app model", "format_version": 1, "files": []}',
        b'{"format": "fasttext_app model", "format_version": 1, "files": {}}',
    ],
)
def test_a_manifest_that_is_none(folder, content):
    (folder / "manifest.json").write_bytes(content)
    assert_refused(folder, "the model cannot be read")


def test_another_format(folder):
    edit_manifest(folder, lambda manifest: manifest.update(format="something else"))
    assert_refused(folder, "manifest.json does not describe a fasttext_app model")


def test_a_newer_format_asks_for_an_upgrade(folder):
    edit_manifest(folder, lambda manifest: manifest.update(format_version=2, files="who knows"))
    assert_refused(folder, "format version 2, and this program reads up to 1; upgrade")


@pytest.mark.parametrize("name", sorted(set(CHECKED) - {"tokenizer.json"}))
def test_a_manifest_that_leaves_a_file_out(folder, name):
    edit_manifest(folder, lambda manifest: manifest["files"].pop(name) and None)
    assert_refused(folder, f"manifest.json does not list {name}")


def test_a_manifest_that_lists_files_as_a_list(folder):
    edit_manifest(folder, lambda manifest: manifest.update(files=list(manifest["files"])))
    assert_refused(folder, "the files in manifest.json are not JSON objects")


@pytest.mark.parametrize("entry", [None, 3, "x", [], {}, {"bytes": -1, "sha256": None}])
def test_a_manifest_with_a_malformed_entry(folder, entry):
    edit_manifest(folder, lambda manifest: manifest["files"].update({"labels.json": entry}))
    assert_refused(folder)


@pytest.mark.parametrize("where", ["../x", "/etc/hostname", "sub/x", "./labels.json", ".."])
def test_a_manifest_that_names_a_file_outside(folder, where):
    (folder.parent / "x").write_bytes(b"")
    entry = {"bytes": 0, "sha256": hashlib.sha256(b"").hexdigest()}
    edit_manifest(folder, lambda manifest: manifest["files"].update({where: entry}))
    assert_refused(folder, "outside the folder|the file is missing")


@pytest.mark.parametrize("name", ["a" * 300, "nul\0", ""])
def test_a_manifest_that_names_a_file_that_cannot_be(folder, name):
    edit_manifest(folder, lambda manifest: manifest["files"].update({name: {"bytes": 0}}))
    assert_refused(folder)


def shrunk(tensor: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        tensors = load_file(path)
        tensors[tensor] = tensors[tensor][:-1].copy()
        save_file(tensors, path)

    return change


def renamed(path: Path) -> None:
    tensors = load_file(path)
    tensors["other"] = tensors.pop("idf")
    save_file(tensors, path)


def added(path: Path) -> None:
    save_file(load_file(path) | {"extra": np.zeros(1, np.float32)}, path)


@pytest.mark.parametrize(
    "change", [shrunk("table"), shrunk("weight"), shrunk("bias"), shrunk("idf"), renamed, added]
)
def test_tensors_that_do_not_fit_the_configuration(folder, change):
    path = folder / "model.safetensors"
    change(path)
    replace_file(folder, path.name, path.read_bytes())
    assert_refused(folder, "do not fit the configuration, which needs")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.toml", b"[model]\ndimm = 3\n"),
        ("config.toml", b"[model]\nmode = 'max'\n"),
        ("config.toml", b"= 3"),
        ("config.toml", b"a = " + b"[" * 100_000),
        ("config.toml", b"\xff"),
        ("labels.json", b"[]"),
        ("labels.json", b"{}"),
        ("labels.json", b'{"names": 3, "counts": 3}'),
        ("labels.json", b'{"names": ["a"], "counts": [1]}'),
        ("metrics.json", b"3"),
        ("history.json", b"{"),
        ("data.json", b"[" * 100_000),
        ("vocabulary.parquet", b""),
        ("vocabulary.parquet", b"PAR1"),
        ("model.safetensors", b""),
        ("model.safetensors", b"\xff" * 64),
    ],
)
def test_malformed_files_with_the_right_checksum(folder, name, content):
    replace_file(folder, name, content)
    assert_refused(folder)


def test_a_vocabulary_without_its_columns(folder):
    path = folder / "vocabulary.parquet"
    pq.write_table(pa.table({"word": ODD_WORDS}), path)
    replace_file(folder, path.name, path.read_bytes())
    assert_refused(folder, "the model cannot be read")


flips = st.lists(st.tuples(st.floats(0, 0.999999), st.integers(1, 255)), min_size=1, max_size=4)


def flip(content: bytes, places: list[tuple[float, int]]) -> bytes:
    changed = bytearray(content)
    for where, mask in places:
        changed[int(where * len(changed))] ^= mask
    return bytes(changed)


@pytest.mark.slow
@given(st.sampled_from(CHECKED), flips)
@settings(deadline=None, max_examples=80)
def test_any_changed_bytes_are_found(saved, name, places):
    original = (saved / name).read_bytes()
    changed = flip(original, places)
    (saved / name).write_bytes(changed)
    try:
        if changed != original:
            with pytest.raises(ArtifactError, match="has changed since it was saved"):
                load_artifact(saved)
    finally:
        (saved / name).write_bytes(original)


@pytest.mark.slow
@given(flips)
@settings(deadline=None, max_examples=150)
def test_a_manifest_with_changed_bytes_is_refused_or_changes_nothing(saved, places):
    path = saved / "manifest.json"
    original = path.read_bytes()
    path.write_bytes(flip(original, places))
    try:
        loaded = load_artifact(saved)
    except ArtifactError:
        pass
    else:
        assert_same(loaded, make_artifact())
    finally:
        path.write_bytes(original)


@pytest.mark.slow
@given(st.sampled_from(CHECKED), flips)
@settings(deadline=None, max_examples=150, derandomize=True)
def test_changed_bytes_with_the_right_checksum_are_refused_or_read(saved, name, places):
    # Such a file is no accident; it may hold other values, but must not break the reader.
    originals = {path: path.read_bytes() for path in (saved / name, saved / "manifest.json")}
    replace_file(saved, name, flip((saved / name).read_bytes(), places))
    try:
        load_artifact(saved)
    except ArtifactError as error:
        assert str(error).startswith(str(saved))  # noqa: PT017 - it need not be raised
    finally:
        for path, content in originals.items():
            path.write_bytes(content)


# ------------------------------------------------------------------------------------------- saving


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_earlier_model_is_replaced(tmp_path):
    save_artifact(make_artifact(0), tmp_path / "model")
    save_artifact(make_artifact(1, tokenizer_asset=None), tmp_path / "model")
    assert_same(load_artifact(tmp_path / "model"), make_artifact(1, tokenizer_asset=None))
    assert names_in(tmp_path) == ["model"]
    assert "tokenizer.json" not in names_in(tmp_path / "model")


def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "model").mkdir()
    save_artifact(make_artifact(), tmp_path / "model")
    load_artifact(tmp_path / "model")


def test_a_link_to_a_model_stays_a_link(folder):
    link = folder.parent / "link"
    link.symlink_to(folder, target_is_directory=True)
    save_artifact(make_artifact(1), link)
    assert link.is_symlink()
    assert_same(load_artifact(folder), make_artifact(1))


@pytest.fixture(params=["tensors", "parquet", "manifest", "rename", "interrupt"])
def failing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[type]:
    """Let saving fail at some point; yield the error that comes of it."""
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fail(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt if request.param == "interrupt" else full

    if request.param in {"tensors", "interrupt"}:
        monkeypatch.setattr("fasttext_app.model.directory.write_tensors", fail)
    elif request.param == "parquet":
        monkeypatch.setattr("pyarrow.parquet.write_table", fail)
    elif request.param == "manifest":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        rename = Path.rename
        monkeypatch.setattr(checksummed_dir, "_exchange", lambda first, second: False)
        monkeypatch.setattr(
            Path,
            "rename",
            lambda self, to: fail() if self.name.endswith(".partial") else rename(self, to),
        )
    yield KeyboardInterrupt if request.param == "interrupt" else ArtifactError
    monkeypatch.undo()


def test_a_failed_save_leaves_the_earlier_model_and_nothing_else(folder, failing):
    with pytest.raises(failing) as caught:
        save_artifact(make_artifact(1), folder)
    if failing is ArtifactError:
        message = f"{folder}: the model could not be saved: No space left on device"
        assert str(caught.value) == message
    assert_same(load_artifact(folder), make_artifact(0))
    assert names_in(folder.parent) == ["model"]


def test_a_failed_first_save_leaves_nothing(tmp_path, failing):
    with pytest.raises(failing):
        save_artifact(make_artifact(), tmp_path / "model")
    assert names_in(tmp_path) == []


def test_what_a_killed_save_left_is_not_read_and_removed_by_the_next(tmp_path):
    save_artifact(make_artifact(), tmp_path / "model")
    (tmp_path / "model").rename(tmp_path / ".model.0a1b.replaced")
    with pytest.raises(ArtifactError, match="model: no such"):
        load_artifact(tmp_path / "model")
    save_artifact(make_artifact(), tmp_path / "model")
    assert names_in(tmp_path) == ["model"]


@pytest.mark.parametrize(
    "refuse", [check_target, lambda path: save_artifact(make_artifact(), path)]
)
class TestPlacesThatAreRefused:
    def test_a_file(self, tmp_path, refuse):
        (tmp_path / "model").write_text("mine", encoding="utf-8")
        with pytest.raises(ArtifactError, match="model: is a file; choose another folder"):
            refuse(tmp_path / "model")
        assert (tmp_path / "model").read_text(encoding="utf-8") == "mine"

    def test_a_folder_with_something_else(self, tmp_path, refuse):
        (tmp_path / "thesis.tex").write_text("mine", encoding="utf-8")
        with pytest.raises(ArtifactError, match="is a folder with other files"):
            refuse(tmp_path)
        assert names_in(tmp_path) == ["thesis.tex"]

    def test_a_link_to_itself(self, tmp_path, refuse):
        (tmp_path / "model").symlink_to("model")
        with pytest.raises(ArtifactError, match="model: is a link that leads to itself; choose"):
            refuse(tmp_path / "model")

    def test_a_place_below_a_file(self, tmp_path, refuse):
        (tmp_path / "file").write_text("", encoding="utf-8")
        with pytest.raises(ArtifactError, match="file is not a writable folder"):
            refuse(tmp_path / "file" / "model")

    def test_a_parent_that_cannot_be_written_to(self, tmp_path, refuse, monkeypatch):
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
        with pytest.raises(ArtifactError, match="is not a writable folder"):
            refuse(tmp_path / "a" / "model")
        assert names_in(tmp_path) == []


def test_a_good_place_is_only_looked_at(tmp_path):
    (tmp_path / "empty").mkdir()
    for place in ("model", "new/model", "empty"):
        check_target(tmp_path / place)
    assert names_in(tmp_path) == ["empty"]


def test_check_target_takes_the_place_of_an_earlier_model(folder):
    check_target(folder)
    assert_same(load_artifact(folder), make_artifact())
