"""Folding: one table of logits in place of table and linear layer, for one model or several."""

from dataclasses import replace

import numpy as np
import pytest

import fasttext_app as ft
from fasttext_app.errors import ConfigError
from fasttext_app.model.fold import average, fold
from fasttext_app.model.quantize import quantize
from tests.conftest import TINY_EXAMPLES

TEXTS, LABELS = zip(*TINY_EXAMPLES, strict=True)
QUESTIONS = [*TEXTS, "", "unknown zzz", "the the bank"]


def train(**settings):
    settings = {"validation": 0.0, "epochs": 3, "dim": 8, "threads": 1, "fold": False, **settings}
    return ft.train(TEXTS, LABELS, **settings)


def logits(artifact):
    return ft.TextClassifier(artifact, threads=1).logits(QUESTIONS)


@pytest.mark.parametrize("loss", ["softmax", "ova", "ns", "hs"])
@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_a_folded_model_gives_the_same_logits(loss, mode):
    artifact = train(loss=loss, mode=mode).artifact
    folded = fold(artifact)
    assert folded.table.shape == (len(artifact.table), len(artifact.tensors["weight"]))
    np.testing.assert_allclose(logits(folded), logits(artifact), atol=1e-5)


def test_a_folded_model_is_saved_loaded_explained_and_quantized(tmp_path):
    model = train()
    folded = ft.TextClassifier(fold(model.artifact))
    folded.save(tmp_path / "folded")
    loaded = ft.load(tmp_path / "folded")
    np.testing.assert_array_equal(loaded.logits(QUESTIONS), folded.logits(QUESTIONS))
    small = ft.TextClassifier(quantize(loaded.artifact))
    np.testing.assert_allclose(small.logits(QUESTIONS), folded.logits(QUESTIONS), atol=0.1)
    assert loaded.explain(TEXTS[0]).label == model.explain(TEXTS[0]).label


@pytest.mark.parametrize("loss", ["softmax", "ova", "ns", "hs"])
def test_training_folds_where_the_labels_are_at_most_as_many_as_dimensions(loss):
    folded = train(loss=loss, fold=True).artifact
    assert folded.config.model.dim == 8  # the setting that trains the same model again
    assert folded.dim == folded.table.shape[1] == len(folded.labels)
    np.testing.assert_allclose(logits(folded), logits(train(loss=loss).artifact), atol=1e-5)


@pytest.mark.parametrize(
    "settings", [{"dim": 1}, {"mode": "max", "sparse": False}, {"loss": "adaptive"}]
)
def test_training_does_not_fold_other_models(settings):
    artifact = train(fold=True, **settings).artifact
    assert artifact.dim == artifact.config.model.dim == artifact.table.shape[1]


def test_training_continues_from_a_folded_model_with_a_new_label(tmp_path):
    folded = train(fold=True, loss="softmax")
    folded.save(tmp_path / "folded")
    settings = {"validation": 0.0, "epochs": 5, "lr": 0.5, "start_from": str(tmp_path / "folded")}
    longer = ft.train([*TEXTS, "goal goal"] * 2, [*LABELS, "sports"] * 2, **settings)
    assert longer.artifact.config.model.dim == 8  # room for more labels than columns
    assert longer.artifact.dim == 3
    assert longer.predict("goal goal").labels[0] == "sports"
    longer.save(tmp_path / "longer")
    np.testing.assert_array_equal(
        ft.load(tmp_path / "longer").logits(QUESTIONS), longer.logits(QUESTIONS)
    )
    with pytest.raises(ConfigError, match=r"model\.dim is 4, but the model .* has 8"):
        ft.train(TEXTS, LABELS, dim=4, **settings)


@pytest.mark.parametrize("dim", [1, 8])  # side by side, and one column for each class
def test_an_average_gives_the_mean_of_the_logits(dim):
    artifacts = [train(seed=seed, dim=dim).artifact for seed in ((0,) if dim == 1 else (0, 1, 2))]
    if dim == 1:  # one column in all, and two classes
        assert average(artifacts).table.shape[1] == 1
    mean = np.mean([logits(artifact) for artifact in artifacts], axis=0)
    np.testing.assert_allclose(logits(average(artifacts)), mean, atol=1e-5)


def test_models_that_are_not_linear_in_their_rows_are_refused():
    with pytest.raises(ConfigError, match="max"):
        fold(train(mode="max", sparse=False).artifact)
    with pytest.raises(ConfigError, match="adaptive"):
        average([train(loss="adaptive", dim=8).artifact])
    with pytest.raises(ConfigError, match="quantized"):
        fold(quantize(train().artifact))


def test_a_table_that_would_grow_is_refused():
    with pytest.raises(ConfigError, match="from 1 columns to 2"):
        fold(train(dim=1).artifact)


def test_an_ensemble_is_the_average_of_its_seeds():
    members = [train(seed=seed).artifact for seed in (4, 5)]
    ensemble = train(seed=4, ensemble=2).artifact
    np.testing.assert_array_equal(logits(ensemble), logits(average(members)))
    again = train(seed=4, ensemble=2).artifact
    assert all((again.tensors[name] == value).all() for name, value in ensemble.tensors.items())
    assert replace(ensemble, tensors={}).config.trainer.ensemble == 2


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": "adaptive"},
        {"mode": "max", "sparse": False},
    ],
)
def test_settings_that_cannot_make_an_ensemble_are_refused(settings):
    with pytest.raises(ConfigError, match=r"trainer\.ensemble"):
        train(ensemble=2, **settings)
