"""A model is replaced when its files are, and a broken one is not served."""

from __future__ import annotations

import shutil
import weakref

import pytest

import fasttext_app as ft
from fasttext_app.errors import ArtifactError, ConfigError
from fasttext_app.serve.models import Models
from tests.helpers import WORDS_ONLY

TEXT = "the striker scored"


@pytest.fixture(scope="module")
def other_model(tmp_path_factory):
    """A model that answers otherwise."""
    model = ft.train(["a goal", "a bank"] * 10, ["x", "y"] * 10, **WORDS_ONLY, validation=0.0)
    folder = tmp_path_factory.mktemp("other") / "model"
    model.save(folder)
    return folder


def served(folder, log):
    return Models([f"m={folder}"], log.append, log.append)


def look_twice(models):
    for _ in range(2):
        models.refresh()


def save_over(new, folder):
    ft.load(new).save(folder)


def rename_over(new, folder):
    copy = folder.parent / "new"
    shutil.copytree(new, copy)
    folder.rename(folder.parent / "old")
    copy.rename(folder)


def write_in_place(new, folder):
    for file in new.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())


def remove_and_copy(new, folder):
    shutil.rmtree(folder)
    shutil.copytree(new, folder)


@pytest.mark.parametrize("replace", [save_over, rename_over, write_in_place, remove_and_copy])
def test_a_replaced_model_is_served_once_its_files_are_settled(model_copy, other_model, replace):
    log = []
    models = served(model_copy, log)
    before = models.get(None)
    expected = before.classifier.predict(TEXT)
    replace(other_model, model_copy)
    assert before.classifier.predict(TEXT) == expected  # its memory is its own
    models.refresh()
    assert models.get(None) is before
    is_kept = weakref.ref(before.classifier)
    del before
    models.refresh()
    assert is_kept() is None
    now = models.get(None)
    assert now.classifier.labels == ("x", "y")
    assert log == [f"m: now serving version {now.version}"]
    look_twice(models)
    assert models.get(None) is now
    assert len(log) == 1


def damage(folder):
    (folder / "labels.json").write_text("[]")


def half_copied(folder):
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize("break_it", [damage, half_copied, shutil.rmtree])
def test_a_broken_replacement_keeps_the_earlier_model_and_says_so_once(
    model_copy, other_model, break_it
):
    log = []
    models = served(model_copy, log)
    before = models.get(None)
    break_it(model_copy)
    for _ in range(3):
        look_twice(models)
    assert models.get(None) is before
    assert models.watched["m"].error
    assert len(log) == 1
    assert log[0].endswith(f"still serving version {before.version}")
    save = rename_over if model_copy.exists() else shutil.copytree
    save(other_model, model_copy)
    look_twice(models)
    assert models.watched["m"].error is None
    assert models.get(None).classifier.labels == ("x", "y")


def test_a_file_that_is_restored_is_healthy_again(model_copy):
    models = served(model_copy, [])
    before = (model_copy / "labels.json").read_bytes()
    damage(model_copy)
    look_twice(models)
    assert models.watched["m"].error
    (model_copy / "labels.json").write_bytes(before)
    look_twice(models)
    assert models.watched["m"].error is None


def test_a_fasttext_file_is_served_and_replaced(train_original, tmp_path):
    path = tmp_path / "lid.bin"
    shutil.copy(train_original(), path)
    models = Models([str(path)], [].append, [].append)
    first = models.get("lid")
    expected = ft.load(path).predict("ab cd", 3)
    assert first.classifier.predict("ab cd", 3) == expected
    path.write_bytes(train_original(dim=5).read_bytes())
    assert first.classifier.predict("ab cd", 3) == expected
    look_twice(models)
    assert models.get("lid").version != first.version


def test_models_have_names_of_their_own(tiny_model_dir, tmp_path):
    with pytest.raises(ConfigError, match=r"another model is named model too; name one with NAME="):
        Models([str(tiny_model_dir), str(tiny_model_dir)], [].append, [].append)
    with pytest.raises(ArtifactError, match="no such model directory"):
        Models([str(tmp_path / "nothing")], [].append, [].append)
    odd = shutil.copytree(tiny_model_dir, tmp_path / "a=b")
    assert list(Models([str(odd)], [].append, [].append).watched) == ["a=b"]
