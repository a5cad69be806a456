"""Tables of model2vec as starting vectors: each word gets what model2vec gives the word alone."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import fasttext_app as ft
from fasttext_app.core.arrow import python_strings, string_array
from fasttext_app.data.model2vec import read_vectors, read_words, table_digest
from fasttext_app.errors import ConfigError, DataError, MissingDependencyError
from fasttext_app.text.vocabulary import Vocabulary
from tests.conftest import TINY_EXAMPLES
from tests.helpers import run_cli

model2vec = pytest.importorskip("model2vec")
tokenizers = pytest.importorskip("tokenizers")

PIECES = ["[PAD]", "[UNK]", "team", "goal", "##keeper", "bank", "##s", "match", "the", "é", "cup"]
WORDS = ["team", "goalkeeper", "banks", "the", "zebra", "keeper", "cup"]
TEXTS, LABELS = map(list, zip(*TINY_EXAMPLES, strict=True))
QUICK = {"epochs": 3, "lr": 0.5, "validation": 0.0, "word_ngrams": 1, "maxn": 0, "threads": 1}


def word_pieces():
    """Return a tokenizer as BERT has."""
    ids = {piece: index for index, piece in enumerate(PIECES)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(strip_accents=False)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = tokenizers.decoders.WordPiece()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]"])
    return tokenizer


def byte_pairs():
    """Return a tokenizer as GPT-2 has: a space is part of the word after it."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def unigrams():
    """Return a tokenizer as SentencePiece has."""
    pieces = [("<unk>", 0.0), ("▁team", -1.0), ("▁goal", -1.0), ("keeper", -1.0), ("▁the", -1.0)]
    letters = [(letter, -9.0) for letter in "▁abcdefghijklmnoprstuvz"]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.Unigram(pieces + letters, unk_id=0))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    tokenizer.decoder = tokenizers.decoders.Metaspace()
    return tokenizer


def table(tokenizer, dim=8, dtype=np.float32, **options):
    numbers = np.random.default_rng(0).normal(size=(tokenizer.get_vocab_size(), dim))
    return model2vec.StaticModel((numbers * 4).astype(dtype), tokenizer, **options)


def quantized_table():
    """Return a table in which tokens share rows and have weights."""
    chance = np.random.default_rng(1)
    return model2vec.StaticModel(
        chance.normal(size=(4, 8)).astype(np.float32),
        word_pieces(),
        token_mapping=chance.integers(0, 4, len(PIECES)),
        weights=chance.random(len(PIECES)).astype(np.float32),
    )


TABLES = {
    "word pieces": lambda: table(word_pieces()),
    "normalized": lambda: table(word_pieces(), normalize=True),
    "half precision": lambda: table(word_pieces(), dtype=np.float16),
    "integers": lambda: table(word_pieces(), dtype=np.int8),
    "shared rows": quantized_table,
    "byte pairs": lambda: table(byte_pairs()),
    "unigrams": lambda: table(unigrams()),
}


@pytest.fixture
def save(tmp_path):
    def save(model):
        model.save_pretrained(tmp_path / "table")
        return f"model2vec:{tmp_path / 'table'}"

    return save


def vocabulary(words):
    return Vocabulary(string_array(words), np.ones(len(words), np.int64))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("make", TABLES.values(), ids=TABLES)
def test_a_word_has_the_vector_that_model2vec_gives_it(save, make):
    model = make()
    found = read_vectors(save(model), vocabulary(WORDS), 8)
    expected = [(row, model.encode([word])[0]) for row, word in enumerate(WORDS)]
    expected = [(row, vector) for row, vector in expected if model.tokenize([WORDS[row]])[0]]
    assert found.rows.tolist() == [row for row, _ in expected]
    assert found.vectors.dtype == np.float32
    assert np.array_equal(found.vectors, np.float32([vector for _, vector in expected]))


@pytest.mark.parametrize("make", TABLES.values(), ids=TABLES)
def test_the_words_of_a_table_are_one_token_alone(save, make):
    model = make()
    words = python_strings(read_words(save(model), 8))
    assert "team" in words
    assert "keeper" not in words or len(model.tokenize(["keeper"])[0]) == 1
    assert not set(words) & {"", "[PAD]", "[UNK]", "##s", "▁team"}
    assert all(len(ids) == 1 for ids in model.tokenize(words))


def test_training_starts_from_the_vectors_of_its_own_and_of_other_words(save):
    model = table(word_pieces())
    name = save(model)
    trained = ft.train(TEXTS, LABELS, **QUICK | {"epochs": 0}, dim=8, pretrained=name)
    words = python_strings(trained.encoder.vocabulary.words)
    assert "é" in words  # which no training text has
    assert trained.encoder.vocabulary.counts[words.index("é")] == 0
    rows = trained.artifact.table[[words.index(word) for word in ("team", "goalkeeper", "é")]]
    assert np.array_equal(rows, model.encode(["team", "goalkeeper", "é"]))
    few = ft.train(TEXTS, LABELS, **QUICK, dim=8, pretrained=name, pretrained_words="training")
    assert "é" not in python_strings(few.encoder.vocabulary.words)
    frozen = ft.train(TEXTS, LABELS, **QUICK, dim=8, pretrained=name, freeze_pretrained=True)
    assert np.array_equal(frozen.artifact.table[words.index("team")], model.encode(["team"])[0])
    assert "pretrained vectors cover" in " ".join(map(str, frozen.training_warnings))
    assert frozen.artifact.data["pretrained"] == f"{name} (sha256 {table_digest(name)})"


def test_tokens_of_the_same_tokenizer_have_their_own_rows(save, tmp_path):
    model = table(word_pieces())
    trained = ft.train(
        *(TEXTS, LABELS),
        **QUICK | {"epochs": 0},
        dim=8,
        pretrained=save(model),
        tokenizer=f"hf:{tmp_path / 'table' / 'tokenizer.json'}",
    )
    words = python_strings(trained.encoder.vocabulary.words)
    rows = trained.artifact.table[[words.index(piece) for piece in PIECES]]
    assert np.array_equal(rows, model.embedding)


def test_the_command_line_takes_a_table(save, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("text,label\n" + "".join(f"{t},{c}\n" for t, c in TINY_EXAMPLES))
    arguments = ["--data", path, "--dim", "8", "--epochs", "1", "--output", tmp_path / "model"]
    run_cli(
        "train", *map(str, arguments), "--set", f"model.pretrained={save(table(word_pieces()))}"
    )
    assert ft.load(tmp_path / "model").predict(TEXTS[0]).labels


def test_another_dimension_is_refused(save):
    name = save(table(word_pieces()))
    with pytest.raises(DataError, match=r"the vectors have 8 numbers; set model\.dim = 8"):
        ft.train(TEXTS, LABELS, **QUICK, dim=16, pretrained=name)


def test_a_table_that_cannot_be_read_is_one_error(save, tmp_path):
    name = save(table(word_pieces()))
    (tmp_path / "table" / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match="is not a complete table of model2vec"):
        read_words(name, 8)
    (tmp_path / "table" / "tokenizer.json").unlink()
    with pytest.raises(DataError, match="is not a complete table of model2vec"):
        read_words(name, 8)
    with pytest.raises(DataError, match="there is no such folder; name a folder, or OWNER/NAME"):
        read_words("model2vec:no/such/folder", 8)
    with pytest.raises(DataError, match="there is no such folder, and the hub gave no table"):
        read_words("model2vec:nobody/nothing", 8)
    with pytest.raises((DataError, ConfigError), match="model2vec:"):
        ft.train(TEXTS, LABELS, **QUICK, dim=8, pretrained="model2vec:")


def test_numbers_that_are_not_finite_and_unknown_words_are_refused(save):
    model = table(word_pieces())
    model.embedding[PIECES.index("team")] = np.nan
    name = save(model)
    with pytest.raises(DataError, match="'team': holds a number that is not finite"):
        read_vectors(name, vocabulary(WORDS), 8)
    with pytest.raises(DataError, match="has a vector for none of the 1 words"):
        read_vectors(name, vocabulary(["zebra"]), 8)


def test_without_model2vec_it_is_asked_for(save, monkeypatch):
    name = save(table(word_pieces()))
    monkeypatch.setitem(sys.modules, "model2vec", None)
    with pytest.raises(MissingDependencyError, match="needs the package model2vec"):
        read_words(name, 8)
