"""The Python API: what ``train`` takes and refuses, and that ``load`` gives the same model back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import fasttext_app as ft
from fasttext_app.errors import ArtifactError, ConfigError, DataError, DeviceError, TrainingError
from fasttext_app.model.train_warnings import UnknownValidationLabels
from fasttext_app.training.events import EpochEnd, TrainBegin, TrainEnd

TEXTS = ["great fun", "dull and slow", "a joy to watch", "a waste of time"] * 6
LABELS = ["good", "bad"] * 12
QUICK = {"dim": 4, "epochs": 2, "batch_size": 4, "lr": 0.5}


def quick(data: Any = TEXTS, labels: Any = LABELS, **values: Any) -> ft.TextClassifier:
    return ft.train(data, labels, **(QUICK | values))


def same_weights(one: ft.TextClassifier, other: ft.TextClassifier) -> bool:
    tensors = other.artifact.tensors
    return all(np.array_equal(v, tensors[k]) for k, v in one.artifact.tensors.items())


@pytest.fixture(scope="module")
def model() -> ft.TextClassifier:
    return quick()


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.csv"
    rows = [f"{text},{label}\n" for text, label in zip(TEXTS, LABELS, strict=True)]
    path.write_text("text,label\n" + "".join(rows), encoding="utf-8")
    return path


# ----------------------------------------------------------------------------------- what it takes


def test_texts_and_labels(model):
    assert model.labels == ("bad", "good")
    assert model.predict("great joy").labels == ("good",)
    assert model.artifact.data["source"] == "texts given in Python"
    assert model.artifact.data["validation_rows"] == 2  # a tenth


@pytest.mark.parametrize("kind", [tuple, np.array, pa.array, lambda v: np.array(v, object)])
def test_any_column_of_strings(model, kind):
    assert same_weights(quick(kind(TEXTS), kind(LABELS)), model)


def test_a_pandas_column_with_any_index(model):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": TEXTS, "label": LABELS}, index=range(100, 124))
    assert same_weights(quick(frame["text"], frame["label"]), model)
    frame.loc[105, "text"] = None
    with pytest.raises(DataError, match="train, row 6: column 'text' has no value"):
        quick(frame["text"], frame["label"])


@pytest.mark.parametrize("wrap", [str, Path])
def test_a_file(csv, model, wrap):
    from_file = quick(wrap(csv), None)
    assert same_weights(from_file, model)
    assert from_file.artifact.data["source"] == str(csv)
    assert from_file.config.data.source == str(csv)


def test_a_source_that_a_setting_names(csv, model):
    assert same_weights(quick(None, None, source=str(csv)), model)


@pytest.mark.slow
def test_a_shipped_config_with_settings_over_it():
    seen = []
    trained = ft.train(config="sample", epochs=1, dim=3, bucket=1000, callback=seen.append)
    assert trained.config.data.source == "sample"
    assert trained.config.text.word_ngrams == 2  # of the config
    assert (trained.config.trainer.epochs, trained.config.model.dim) == (1, 3)  # over it
    assert isinstance(seen[0], TrainBegin)
    assert sum(isinstance(event, EpochEnd) for event in seen) == 2  # a refit follows
    assert isinstance(seen[-1], TrainEnd)


def test_a_config_file_and_data_over_its_source(csv, tmp_path, model):
    path = tmp_path / "mine.toml"
    path.write_text(
        '[data]\nsource = "none.csv"\n[model]\ndim = 4\n[optimizer]\nlr = 0.5\n'
        "[trainer]\nepochs = 2\nbatch_size = 4\n",
        encoding="utf-8",
    )
    assert same_weights(ft.train(csv, config=path), model)
    assert same_weights(ft.train(TEXTS, LABELS, config=str(path)), model)


def test_whole_sections(model):
    by_section = ft.train(
        TEXTS,
        LABELS,
        model={"dim": 4},
        optimizer={"lr": 0.5},
        trainer={"epochs": 2, "batch_size": 4},
    )
    assert same_weights(by_section, model)


def test_the_seed_decides_every_bit(model):
    assert same_weights(quick(), model)
    assert not same_weights(quick(seed=1), model)


def test_the_threads_change_nothing(model):
    assert same_weights(quick(threads=1), model)
    assert same_weights(quick(threads=2), model)


@pytest.mark.slow
def test_one_vs_all(tmp_path):
    trained = quick(["red", "green", "blue"] * 8, ["r", "g", "b"] * 8, loss="ova", epochs=20)
    trained.save(tmp_path / "model")
    loaded = ft.load(tmp_path / "model")
    answer = loaded.predict("red green blue", top_k=3)
    assert sum(answer.probabilities) != pytest.approx(1, abs=1e-3)  # each is asked by itself
    assert loaded.predict("green", top_k=3, threshold=0.5).labels == ("g",)


@pytest.mark.slow
def test_odd_labels_and_texts():
    texts = ["日本 語", "naïve \0 text", "🙂", "line\nbreak"] * 6
    labels = ["größe", 'a label, with "signs"\n'] * 12
    trained = quick(texts, labels, epochs=15)
    assert set(trained.labels) == set(labels)
    assert trained.predict("日本").labels == ("größe",)


def test_a_model_carries_the_warnings_of_its_training_until_it_is_saved(tmp_path):
    (tmp_path / "train.csv").write_text("text,label\n" + "great fun,good\ndull,bad\n" * 6)
    (tmp_path / "validation.csv").write_text("text,label\ngreat,good\nodd,so-so\nodder,so-so\n")
    trained = quick(tmp_path, None)
    assert trained.training_warnings[-1] == UnknownValidationLabels(rows=2)
    assert str(trained.training_warnings[-1]).startswith("2 validation rows have labels that")
    trained.save(tmp_path / "model")
    assert ft.load(tmp_path / "model").training_warnings == ()


# --------------------------------------------------------------------------------- what it refuses


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        (["a", "b"], ["x"], "train: got 1 labels for 2 texts; pass one label for each text"),
        (["a", "b"], None, "train: the texts have no labels; pass one label for each text"),
        ([], [], "train: there are no texts"),
        (["a", None], ["x", "y"], "train, row 2: column 'text' has no value"),
        (["a", "b"], ["x", None], "train, row 2: column 'label' has no label"),
        (["a", "b"], [0, "y"], "train, labels, row 2: got a str where other rows have an int"),
        ([1, 2], ["x", "y"], "train, row 1: got an int where a text is expected"),
        (["a", b"\xff"], ["x", "y"], "train, row 2: is not valid Unicode"),
        (["a", "\ud800"], ["x", "y"], "train, row 2: is not valid Unicode"),
        (None, None, "no data: pass --data SPEC"),
        (
            None,
            ["x"],
            "train: labels can only be passed with texts; the config's source has its own",
        ),
        ("sample", ["x"], "train: labels can only be passed with texts; sample has its own"),
        ("smaple", None, "smaple: no such file, folder or dataset; did you mean 'sample'"),
        (Path("none.csv"), None, r"none\.csv: no such file"),
    ],
)
def test_data_that_cannot_be_used(texts, labels, message):
    with pytest.raises(DataError, match=message):
        quick(texts, labels)


def test_texts_have_no_split_to_validate_on():
    with pytest.raises(DataError, match="texts given in Python has no splits; name a file"):
        quick(validation="x")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epoch": 3}, "epoch: no such setting; did you mean 'epochs'"),
        ({"epochs": -1}, "trainer.epochs: must be greater than or equal to 0"),
        ({"lr": "high"}, "optimizer.lr: must be a valid number"),
        ({"mode": "max"}, "has no sparse gradient; set model.sparse = false"),
        ({"text": {"word_ngram": 2}}, r"text\.word_ngram: no such setting"),
        ({"config": "none"}, "none: no such config file"),
        ({"tokenizer": "basic"}, r"text\.tokenizer: 'basic' is not a tokenizer"),
    ],
)
def test_settings_that_cannot_be_used(values, message):
    with pytest.raises(ConfigError, match=message):
        quick(**values)


def test_settings_are_judged_before_data_is_read():
    with pytest.raises(ConfigError, match="no such setting"):
        ft.train("no/such/file.csv", epoch=3)


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        (["a", "b"], ["x", "x"], "every training row has the label 'x'"),
        (["", " "], ["x", "y"], "none of the 2 training texts has a word"),
    ],
)
def test_data_that_leaves_nothing_to_learn(texts, labels, message):
    with pytest.raises(TrainingError, match=message):
        quick(texts, labels)


# -------------------------------------------------------------------------------- load and the rest


def test_a_saved_model_loads_to_the_same_answers(model, tmp_path):
    model.save(tmp_path / "model")
    loaded = ft.load(tmp_path / "model")
    assert np.array_equal(loaded.predict_proba(TEXTS), model.predict_proba(TEXTS))
    assert ft.load(str(tmp_path / "model"), threads=1).predict("fun") == model.predict("fun")


def test_loading_what_is_not_there(tmp_path, tiny_model_dir):
    with pytest.raises(ArtifactError, match="no such model directory"):
        ft.load(tmp_path / "none")
    with pytest.raises(DeviceError, match="device gpu: expected auto, cpu, cuda"):
        ft.load(tiny_model_dir, device="gpu")


def test_every_public_name_is_there():
    assert sorted(dir(ft)) == sorted(ft.__all__)
    assert all(getattr(ft, name) is not None for name in ft.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ft.nothing


# ---------------------------------------------------------------------------------------- progress


def test_verbose_writes_a_line_for_each_epoch(capsys):
    quick(epochs=2, validation=0.5, refit=True, verbose=True)
    shown = capsys.readouterr().err
    lines = [line.rpartition("\r")[2].rstrip() for line in shown.split("\n")]
    assert lines[0] == "training on 12 texts, 12 held out for validation, device cpu"
    assert lines[1].startswith("epoch 1/2  loss ")
    assert "accuracy" in lines[1]
    assert lines[2].startswith("epoch 2/2  loss ")
    assert lines[3].startswith("training the final model on all 24 texts, epochs ")
    assert lines[4:] == [""]
    assert "100%" in shown


def test_progress_is_shown_in_an_interactive_session_only(capsys, monkeypatch):
    quick(epochs=1)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.ps1", ">>> ", raising=False)
    quick(epochs=1)
    assert "epoch 1/1" in capsys.readouterr().err
    seen: list[object] = []
    quick(epochs=1, callback=seen.append)
    quick(epochs=1, verbose=False)
    assert capsys.readouterr().err == ""
    quick(epochs=1, callback=seen.append, verbose=True)
    assert "epoch 1/1" in capsys.readouterr().err
    assert len(seen) == 2 * len(seen[: len(seen) // 2])
