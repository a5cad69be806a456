"""Words that only the pretrained vectors have: they get a row, whatever else a run does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import fasttext_app as ft
from fasttext_app import compat
from fasttext_app.errors import CheckpointError
from fasttext_app.fasttext.file_format import read_file
from fasttext_app.inference.classifier import TextClassifier
from fasttext_app.model.quantize import quantize
from fasttext_app.training.events import EpochEnd
from tests.helpers import WORDS_ONLY, run_cli

TEXTS, LABELS = ["red", "one"] * 30, ["colour", "number"] * 30
UNSEEN = {"scarlet ruby": "colour", "nine seven": "number", "crimson": "colour", "two": "number"}
COLOURS, NUMBERS = ["red", "crimson", "scarlet", "ruby"], ["one", "two", "nine", "seven"]


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """Synonyms are near each other; nothing else tells the unseen ones."""
    generator = np.random.default_rng(0)
    lines = ["8 8"]
    for center, words in zip(np.eye(8)[[0, 1]], [COLOURS, NUMBERS], strict=True):
        for word in words:
            numbers = center + generator.normal(0, 0.02, 8)
            lines.append(f"{word} {' '.join(f'{number:.4f}' for number in numbers)}")
    path = tmp_path / "words.vec"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def as_npy(vectors: Path) -> Path:
    lines = [line.split() for line in vectors.read_text(encoding="utf-8").splitlines()[1:]]
    np.save(vectors.with_suffix(".npy"), np.array([line[1:] for line in lines], np.float32))
    words = "".join(f"{line[0]}\n" for line in lines)
    vectors.with_suffix(".txt").write_text(words, encoding="utf-8")
    return vectors.with_suffix(".npy")


def as_bin(vectors: Path) -> Path:
    """Train a classifier from the vectors, at a rate that leaves them as they are."""
    write_labeled(vectors.with_name("tiny.txt"))
    options = {"dim": 8, "lr": 1e-9, "epoch": 1, "thread": 1, "pretrainedVectors": str(vectors)}
    model = compat.train_supervised(vectors.with_name("tiny.txt"), **options)
    model.save_model(vectors.with_suffix(".bin"))
    return vectors.with_suffix(".bin")


def write_labeled(path: Path) -> None:
    rows = zip(TEXTS, LABELS, strict=True)
    path.write_text("".join(f"__label__{label} {text}\n" for text, label in rows), encoding="utf-8")


def train(**values):
    settings = {"dim": 8, "lr": 0.5, "epochs": 10, "validation": 0.0, "threads": 1}
    return ft.train(TEXTS, LABELS, **{**WORDS_ONLY, **settings, **values})


def words_of(model):
    return model.artifact.vocabulary.words.to_pylist()


def assert_knows_the_unseen(model):
    assert {text: model.predict(text).labels[0] for text in UNSEEN} == UNSEEN


@pytest.mark.parametrize("form", [str, as_npy, as_bin])
@pytest.mark.parametrize(
    "values",
    [
        {},
        {"freeze_pretrained": True},
        {"word_ngrams": 2, "minn": 3, "maxn": 5, "mode": "sum", "term_weighting": "tfidf"},
        {"validation": 0.1, "refit": True, "calibrate": True, "ensemble": 2},
    ],
    ids=str,
)
def test_words_that_no_training_text_has_are_known(vectors, form, values):
    model = train(pretrained=form(vectors), **values)
    assert_knows_the_unseen(model)
    # Those of the training texts come first, then the others in the order of the file.
    words = [word for word in words_of(model) if word != "</s>"]
    assert words == ["one", "red", *COLOURS[1:], *NUMBERS[1:]]
    counts = model.artifact.vocabulary.counts.tolist()
    assert counts[:2] == [30, 30]
    assert not any(counts[2:])


def test_default_settings_know_them_too(vectors):
    assert_knows_the_unseen(ft.train(TEXTS, LABELS, pretrained=vectors, dim=8, threads=1))


def test_the_words_can_be_limited_to_those_of_the_training_texts(vectors):
    model = train(pretrained=vectors, pretrained_words="training")
    assert words_of(model) == ["one", "red"]


def test_the_limit_of_the_vocabulary_is_for_words_of_vectors_too(vectors):
    assert words_of(train(pretrained=vectors, max_size=4)) == ["one", "red", "crimson", "scarlet"]


def test_a_rare_word_keeps_its_row_and_its_count_if_it_has_a_vector(vectors):
    texts, labels = [*TEXTS, "two rare"], [*LABELS, "number"]
    settings = {**WORDS_ONLY, "dim": 8, "validation": 0.0, "threads": 1, "min_count": 2}
    model = ft.train(texts, labels, pretrained=vectors, **settings)
    counts = model.artifact.vocabulary.counts.tolist()
    assert dict(zip(words_of(model), counts, strict=True))["two"] == 1
    assert "rare" not in words_of(model)


def test_words_that_the_tokenizer_never_yields_get_no_row(vectors):
    text = "9 8\n" + "".join(f"{w} {'0 ' * 8}\n" for w in ["Red", "new york", "__label__x"])
    text += "\n".join(vectors.read_text(encoding="utf-8").splitlines()[1:7])
    vectors.write_text(text, encoding="utf-8")
    assert not {"Red", "new york"} & set(words_of(train(pretrained=vectors)))
    assert "Red" in words_of(train(pretrained=vectors, tokenizer="fasttext"))
    assert "__label__x" not in words_of(train(pretrained=vectors, tokenizer="fasttext"))


@pytest.mark.slow
def test_a_model_that_starts_from_such_a_model_keeps_them(vectors, tmp_path):
    train(pretrained=vectors).save(tmp_path / "old")
    settings = {"start_from": tmp_path / "old", "epochs": 1, "validation": 0.0}
    model = ft.train(["a red one", "two"], ["colour", "number"], **settings)
    assert words_of(model)[:8] == ["one", "red", *COLOURS[1:], *NUMBERS[1:]]
    assert_knows_the_unseen(model)


@pytest.mark.slow
def test_a_search_and_a_quantized_model_know_them(vectors):
    settings = {"dim": 8, "word_ngrams": 1, "maxn": 0, "pretrained": vectors, "threads": 1}
    space = {"optimizer.lr": [0.1, 0.5], "text.min_count": [1, 2]}
    result = ft.tune(TEXTS, LABELS, trials=2, space=space, **settings)
    assert_knows_the_unseen(ft.train(TEXTS, LABELS, **result.settings))
    small = quantize(train(pretrained=vectors).artifact)
    assert_knows_the_unseen(TextClassifier(small))


@pytest.mark.slow
def test_vectors_that_changed_since_the_run_started_are_refused(vectors, tmp_path):
    def press(event):
        if isinstance(event, EpochEnd) and event.record.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(pretrained=vectors, checkpoints=tmp_path / "run", callback=press)
    vectors.write_text(vectors.read_text(encoding="utf-8").replace("ruby", "rose"), "utf-8")
    with pytest.raises(CheckpointError, match=r"started from .*words\.vec \(sha256 .* restore it"):
        ft.train(TEXTS, LABELS, checkpoints=tmp_path / "run", resume=True)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"minCount": 40}, {"minn": 2, "maxn": 3, "bucket": 50}])
def test_the_dictionary_is_that_of_the_original(vectors, original, options):
    path = vectors.with_name("train.txt")
    write_labeled(path)
    with path.open("a", encoding="utf-8") as file:
        file.write("__label__number two rare\n")
    settings = {"dim": 8, "epoch": 10, "lr": 0.5, "bucket": 10, "thread": 1, **options}
    settings["pretrainedVectors"] = str(vectors)
    theirs = original.train_supervised(str(path), verbose=0, **settings)
    ours = compat.train_supervised(path, **settings)
    assert sorted(ours.words) == sorted(theirs.words)
    if "maxn" not in options:  # the rows of character n-grams are random, and decide here
        for text, label in UNSEEN.items():
            assert ours.predict(text)[0] == theirs.predict(text)[0] == (f"__label__{label}",)


def test_the_command_line_of_the_original_knows_them(vectors, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_labeled(Path("train.txt"))
    test = "".join(f"__label__{label} {text}\n" for text, label in UNSEEN.items())
    Path("test.txt").write_text(test, encoding="utf-8")
    flags = ("-dim", "8", "-lr", "0.5", "-epoch", "10", "-bucket", "10", "-thread", "1")
    run_cli("ft", "supervised", "-input", "train.txt", "-output", "m", *flags,
            "-pretrainedVectors", vectors)  # fmt: skip
    assert run_cli("ft", "test", "m.bin", "test.txt").stdout == "N\t4\nP@1\t1\nR@1\t1\n"
    assert len(read_file("m.bin").dictionary.words) == 9  # and </s>
