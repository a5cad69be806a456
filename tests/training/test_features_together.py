"""Features that meet: each by itself is tested elsewhere."""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow as pa
import pytest

import fasttext_app as ft
from fasttext_app.errors import CheckpointError, ConfigError
from fasttext_app.pipeline import retrain
from fasttext_app.training.checkpoints import find_checkpoint
from tests.helpers import read_json, run_cli

WORDS = {"sport": ["goal", "match", "team"], "money": ["bank", "shares", "profit"]}


def rows_of(number=60, seed=0):
    """Texts of two topics, some of both."""
    draws = np.random.default_rng(seed)
    texts, labels = [], []
    for row in range(number):
        label = "sport" if row % 3 else "money"
        other = "money" if row % 3 else "sport"
        words = [*draws.choice(WORDS[label], 4), *draws.choice(WORDS[other], 1), f"w{row % 7}"]
        texts.append(" ".join(words))
        labels.append(label if row % 11 else other)  # some are wrong, so that no model is sure
    return texts, labels


def trained(texts, labels, **values):
    values = {"dim": 4, "epochs": 5, "lr": 0.5, "validation": 0.2, "batch_size": 8} | values
    return ft.train(texts, labels, **values)


def table_of(texts, labels, weights=None):
    columns = {"text": pa.array(texts), "label": pa.array(labels)}
    if weights is not None:
        columns["weight"] = pa.array(weights, pa.float32())
    return pa.table(columns).to_batches()


@pytest.fixture
def unfinished(tmp_path):
    """A folder with the checkpoints of a run that was broken off."""

    def stop(event):
        if type(event).__name__ == "EpochEnd":
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        trained(*rows_of(), checkpoints=tmp_path / "run", checkpoint_every="2", callback=stop)
    return tmp_path / "run"


@pytest.mark.slow
def test_no_model_is_saved_over_the_checkpoints_of_a_run_that_did_not_end(unfinished, tmp_path):
    before = find_checkpoint(unfinished).path
    model = trained(*rows_of())
    with pytest.raises(CheckpointError, match="the checkpoints of an unfinished run"):
        model.save(unfinished)
    model.save(tmp_path / "model")
    for command in (["quantize"], ["calibrate", "--data", "sample"]):
        arguments = [command[0], str(tmp_path / "model"), "--output", str(unfinished), *command[1:]]
        done = run_cli(*arguments, code=1)
        assert "the checkpoints of an unfinished run" in done.stderr
    assert find_checkpoint(unfinished).path == before


@pytest.mark.slow
def test_what_an_adaptive_softmax_cannot_have_is_refused():
    texts, labels = rows_of()
    with pytest.raises(ConfigError, match="a temperature cannot be folded"):
        trained(texts, labels, loss="adaptive", dim=16, calibrate=True)
    model = trained(texts, labels, loss="adaptive", dim=16)
    with pytest.raises(ConfigError, match="no linear layer to fold a temperature into"):
        model.calibrate(texts, labels)
    many = [f"word{n} goal" for n in range(600)]
    model = trained(many, [str(n % 300) for n in range(600)], loss="adaptive", dim=16, epochs=1)
    with pytest.raises(ConfigError, match="has no linear layer to encode"):
        model.quantize(product=True, qout=True)


def test_an_adaptive_softmax_is_retrained():
    texts, labels = rows_of()
    model = trained(texts, labels, loss="adaptive", dim=16)
    again = retrain(model.artifact, table_of(texts, labels), {"trainer": {"epochs": 2}})
    assert again.tensors.keys() == model.artifact.tensors.keys()
    assert (again.tensors["head.weight"] != model.artifact.tensors["head.weight"]).any()


@pytest.mark.slow
@pytest.mark.parametrize("heavy", ["class", "row"])
def test_retraining_weighs_what_training_weighs(heavy):
    texts, labels = rows_of()
    model = trained(texts, labels)
    settings = {"trainer": {"epochs": 3}}
    plain = retrain(model.artifact, table_of(texts, labels), settings)
    if heavy == "class":
        settings = {"trainer": {"epochs": 3, "class_weights": {"money": 50.0}}}
        weighed = retrain(model.artifact, table_of(texts, labels), settings)
    else:
        weights = [50.0 if label == "money" else 1.0 for label in labels]
        weighed = retrain(model.artifact, table_of(texts, labels, weights), settings)
    bias = [artifact.tensors["bias"] for artifact in (plain, weighed)]
    money = model.labels.index("money")
    assert bias[1][money] - bias[1][1 - money] > bias[0][money] - bias[0][1 - money] + 0.1


def test_retraining_drops_what_was_fitted_to_the_old_probabilities():
    texts, labels = rows_of(200)
    model = trained(texts, labels, calibrate=True)
    assert model.artifact.calibration
    again = retrain(model.artifact, table_of(texts, labels), {"trainer": {"epochs": 1}})
    assert again.calibration == {}
    assert again.config.trainer.calibrate
    assert again.config.trainer.epochs == 1


@pytest.mark.slow
def test_labels_with_shares_are_calibrated_by_the_likeliest():
    texts, labels = rows_of(200)
    soft = [f"{label}=0.8|{'money' if label == 'sport' else 'sport'}=0.2" for label in labels]
    settings = {"soft_labels": True, "label_separator": "|"}
    for loss in ("softmax", "ova"):
        model = trained(texts, soft, loss=loss, **settings)
        by_shares = model.calibrate(texts, soft, thresholds="f1").artifact.calibration
        by_label = model.calibrate(texts, labels, thresholds="f1").artifact.calibration
        assert by_shares == by_label
        assert by_shares["thresholds"]["without_positives"] == []
        in_training = trained(texts, soft, loss=loss, calibrate=True, **settings)
        assert in_training.artifact.calibration["temperature"]["rows"] == 40


def test_data_with_shares_scores_a_model_without(tmp_path):
    texts, labels = rows_of()
    trained(texts, labels).save(tmp_path / "model")
    soft = [f"{label}=0.9|other=0.1" for label in labels]
    lines = "".join(f"{text},{cell}\n" for text, cell in zip(texts, soft, strict=True))
    (tmp_path / "soft.csv").write_text("text,label\n" + lines)
    arguments = ["evaluate", str(tmp_path / "model"), "--data", str(tmp_path / "soft.csv")]
    sets = ["--set", "data.label_separator=|", "--set", "data.soft_labels=true", "--json"]
    assert read_json(run_cli(*arguments, *sets))["accuracy"] > 0.8


def test_a_column_of_weights_is_not_handed_on(tmp_path):
    texts, labels = rows_of()
    lines = "".join(f"{text},{label},1\n" for text, label in zip(texts, labels, strict=True))
    (tmp_path / "rows.csv").write_text("text,label,votes\n" + lines)
    ft.train(tmp_path / "rows.csv", dim=4, epochs=1, weight_column="votes").save(tmp_path / "old")
    model = ft.train(texts, labels, start_from=tmp_path / "old", epochs=1)
    assert model.config.data.weight_column is None


@pytest.mark.slow
def test_a_search_around_a_model_to_begin_with_and_with_checkpoints(tmp_path):
    pytest.importorskip("optuna")
    texts, labels = rows_of()
    trained(texts, labels, word_ngrams=2, bucket=100).save(tmp_path / "old")
    result = ft.tune(texts, labels, trials=3, start_from=tmp_path / "old", checkpoint_every="5",
                     calibrate=True, epochs=2)  # fmt: skip
    assert {trial.state for trial in result.trials} <= {"finished", "pruned"}
    assert result.config.trainer.calibrate
    with pytest.raises(ConfigError, match="trials = 0: must be a whole number of at least 1"):
        ft.tune(texts, labels, trials=0)


def test_the_same_file_by_another_name_is_what_it_was_trained_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texts, labels = rows_of()
    lines = "".join(f"{text},{label}\n" for text, label in zip(texts, labels, strict=True))
    (tmp_path / "rows.csv").write_text("text,label\n" + lines)
    model = ft.train("rows.csv", dim=4, epochs=1)
    for name in ("./rows.csv", str(tmp_path / "rows.csv")):
        with pytest.raises(ft.FastTextAppError, match="was trained on these rows"):
            model.calibrate(name)
    shutil.copy("rows.csv", "others.csv")
    model.calibrate("others.csv")


@pytest.mark.slow
def test_a_fasttext_file_is_explained_calibrated_and_cut(tmp_path):
    fasttext = pytest.importorskip("fasttext")
    texts, labels = rows_of(200)
    lines = [f"__label__{label} {text}\n" for text, label in zip(texts, labels, strict=True)]
    (tmp_path / "rows.txt").write_text("".join(lines))
    made = fasttext.train_supervised(str(tmp_path / "rows.txt"), dim=4, verbose=0, thread=1)
    file, rows = str(tmp_path / "made.bin"), str(tmp_path / "rows.txt")
    made.save_model(file)
    for arguments in (
        ["explain", file, "a goal"],
        ["calibrate", file, "--data", rows, "--output", str(tmp_path / "calibrated")],
        ["threshold", file, "--input", rows, "--label", "sport", "--keep", "10%"],
    ):
        run_cli(*arguments)
    done = run_cli("train", "--from", file, "--data", rows, code=1)
    assert "is a file; import it first (fasttext-app import" in done.stderr
