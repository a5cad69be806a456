"""Runs that start from a trained model: what is kept, what is added and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fasttext_app as ft
from fasttext_app.errors import ArtifactError, ConfigError
from fasttext_app.text.tokens import Tokens
from fasttext_app.text.vocabulary import Vocabulary
from tests.helpers import WORDS_ONLY, run_cli

OLD = ["the team won the cup", "a late goal won the match", "shares fell", "the bank cut rates"] * 4
OLD_LABELS = ["sport", "sport", "money", "money"] * 4
NEW = ["rain and wind in the north", "sun in the south", "the team in the rain"] * 4
NEW_LABELS = ["weather", "weather", "sport"] * 4
KINDS = [
    {},
    {"word_ngrams": 2, "bucket": 1000},
    {"word_ngrams": 2, "minn": 2, "maxn": 3, "bucket": 500, "prune": False},
    {"word_ngrams": 2, "bucket": 1000, "term_weighting": "tfidf", "mode": "sum"},
    {"tokenizer": "fasttext", "bias": False, "loss": "ova"},
]


def trained(texts=OLD, labels=OLD_LABELS, **values):
    values = {"dim": 4, "epochs": 10, "lr": 0.5, "validation": 0.0, "batch_size": 4} | values
    values = {**WORDS_ONLY, "fold": False, **values}
    return ft.train(texts, labels, **values)


def row_vectors(model):
    """Return the vector of each word, and of each hash bucket that has a row."""
    words = model.artifact.vocabulary.words.to_pylist()
    table, kept = model.artifact.tensors["table"], model.artifact.tensors.get("buckets")
    buckets = range(len(table) - len(words)) if kept is None else kept.tolist()
    names = [*words, *buckets]
    return dict(zip(names, table, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_without_learning_the_predictions_of_the_model_are_unchanged(tmp_path, kind):
    old = trained(**kind)
    old.save(tmp_path / "old")
    settings = {"epochs": 1, "lr": 1e-30, "name": "sgd", "validation": 0.0, "fold": False}
    new = ft.train(NEW, NEW_LABELS, start_from=tmp_path / "old", **settings)
    assert new.labels == ("money", "sport", "weather")
    vectors, before = row_vectors(new), row_vectors(old)
    for name, vector in before.items():
        np.testing.assert_array_equal(vectors[name], vector, err_msg=str(name))
    assert "rain" in vectors
    assert "rain" not in before
    words = old.artifact.vocabulary.words.to_pylist()
    assert new.artifact.vocabulary.words.to_pylist()[: len(words)] == words
    np.testing.assert_allclose(new.logits(OLD)[:, :2], old.logits(OLD), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(new.logits(OLD)[:, 2], 0, atol=1e-20)


@pytest.mark.slow
def test_new_labels_are_learnt_and_the_old_ones_kept(tmp_path):
    trained(word_ngrams=2, bucket=1000).save(tmp_path / "old")
    new = ft.train(NEW, NEW_LABELS, start_from=tmp_path / "old", epochs=10, lr=0.1, validation=0.0)
    assert new.config.text.word_ngrams == 2
    assert new.config.model.dim == 4
    assert new.predict("sun and wind").labels == ("weather",)
    assert new.predict("the bank cut rates").labels == ("money",)
    assert new.artifact.labels.counts == (8, 12, 8)
    counts = dict(zip(new.artifact.vocabulary.words.to_pylist(),
                      new.artifact.vocabulary.counts.tolist(), strict=True))  # fmt: skip
    assert (counts["team"], counts["cup"], counts["rain"]) == (8, 4, 8)
    assert new.artifact.data["started_from"].startswith(f"{tmp_path / 'old'} (sha256 ")
    new.save(tmp_path / "new")
    again = ft.train(OLD, OLD_LABELS, start_from=tmp_path / "new", epochs=1, validation=0.0)
    assert again.labels == new.labels


def test_more_of_one_label_is_enough_data(tmp_path):
    trained().save(tmp_path / "old")
    new = ft.train(["more cup", "goal goal"], ["sport"] * 2, start_from=tmp_path / "old",
                   validation=0.0)  # fmt: skip
    assert new.labels == ("money", "sport")


@pytest.mark.slow
def test_the_command_takes_over_the_settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained(word_ngrams=2, bucket=1000).save("old")
    rows = "".join(f"{text},{label}\n" for text, label in zip(NEW, NEW_LABELS, strict=True))
    (tmp_path / "new.csv").write_text("text,label\n" + rows)
    arguments = ["train", "--from", "old", "--data", "new.csv", "--output", "new"]
    run_cli(*arguments)
    model = ft.load("new")
    assert (model.config.text.word_ngrams, model.config.model.start_from) == (2, "old")
    assert model.labels == ("money", "sport", "weather")
    done = run_cli("train", "--from", "nowhere", "--data", "new.csv", code=None)
    assert (done.exit_code, done.stderr) == (
        1,
        "error: nowhere: not a model directory: there is no such folder\n",
    )


@pytest.mark.slow
def test_a_start_that_does_not_match_the_run_is_refused(tmp_path):
    model = trained(word_ngrams=2, bucket=1000)
    model.save(tmp_path / "old")
    old = tmp_path / "old"
    for setting, value in {"word_ngrams": 3, "dim": 5, "mode": "sum", "loss": "ova"}.items():
        with pytest.raises(ConfigError, match=rf"\.{setting} is .*leave it as the model has it"):
            ft.train(NEW, NEW_LABELS, start_from=old, **{setting: value})
    model.quantize().save(tmp_path / "small")
    with pytest.raises(ConfigError, match="is quantized and cannot be trained further"):
        ft.train(NEW, NEW_LABELS, start_from=tmp_path / "small")
    for loss in ("hs", "adaptive"):
        trained(loss=loss).save(tmp_path / loss)
        with pytest.raises(ConfigError, match=rf'model\.loss = "{loss}" orders its outputs by'):
            ft.train(NEW, NEW_LABELS, start_from=tmp_path / loss)
    with pytest.raises(ArtifactError, match="not a model directory"):
        ft.train(NEW, NEW_LABELS, start_from=tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="both initialize the table"):
        ft.train(NEW, NEW_LABELS, start_from=old, pretrained="x.vec")


@pytest.mark.slow
def test_a_refit_and_a_temperature_are_for_the_new_rows_to_allow(tmp_path):
    first = trained(OLD * 4, OLD_LABELS * 4, validation=0.5, refit=True, calibrate=True)
    first.save(tmp_path / "old")
    settings_ = {"start_from": tmp_path / "old", "epochs": 1}
    for rows in (2, 8):
        model = ft.train(NEW[:rows], NEW_LABELS[:rows], **settings_, validation=0.0)
        assert not model.config.trainer.refit
        assert not model.config.trainer.calibrate
    assert ft.train(NEW[:3], NEW_LABELS[:3], **settings_).labels


def test_an_imported_model_is_trained_further(tmp_path):
    fasttext = pytest.importorskip("fasttext")
    lines = [f"__label__{label} {text}\n" for text, label in zip(OLD, OLD_LABELS, strict=True)]
    (tmp_path / "train.txt").write_text("".join(lines))
    made = fasttext.train_supervised(
        str(tmp_path / "train.txt"), wordNgrams=2, bucket=100, dim=4, minn=2, maxn=3, verbose=0,
        minCount=1, thread=1,
    )  # fmt: skip
    made.save_model(str(tmp_path / "made.bin"))
    arguments = ["import", str(tmp_path / "made.bin"), "--output", str(tmp_path / "old")]
    run_cli(*arguments)
    new = ft.train(NEW, NEW_LABELS, start_from=tmp_path / "old", epochs=1, lr=1e-30, validation=0.0,
                   name="sgd")  # fmt: skip
    for text in OLD:
        labels, values = made.predict(text, k=2)
        found = dict(zip(new.labels, new.logits([text])[0].tolist(), strict=True))
        named = [label.removeprefix("__label__") for label in labels]
        difference = found[named[0]] - found[named[1]]
        assert difference == pytest.approx(np.log(values[0] / values[1]), abs=1e-3)


WORDS = st.lists(st.sampled_from("abcdefgh"), max_size=30)


@pytest.mark.slow
@given(old=WORDS, new=WORDS, min_count=st.integers(1, 3), max_size=st.integers(0, 6))
@settings(deadline=None, max_examples=40)
def test_a_grown_vocabulary_is_the_old_one_then_the_new_words(old, new, min_count, max_size):
    one, other = (Vocabulary.build([Tokens.from_lists([words])]) for words in (old, new))
    grown = one.extended(other, min_count, max_size)
    names = grown.words.to_pylist()
    assert names[: len(one)] == one.words.to_pylist()
    assert len(set(names)) == len(names)
    for name, count in zip(names, grown.counts.tolist(), strict=True):
        assert count == old.count(name) + new.count(name)
    expected = sorted(
        (word for word in set(new) - set(old) if new.count(word) >= min_count),
        key=lambda word: (-new.count(word), word),
    )
    if max_size:
        expected = expected[: max(max_size - len(one), 0)]
    assert names[len(one) :] == expected
