"""The buckets in use and the idf of each row, against a plain pass over all ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fasttext_app as ft
from fasttext_app.core.group import Group
from fasttext_app.data.split import Examples
from fasttext_app.text import tfidf
from fasttext_app.text.encoder import TextEncoder
from fasttext_app.text.tfidf import char_ngram_counts
from fasttext_app.text.tokenizers import load_tokenizer
from fasttext_app.text.tokens import Tokens
from fasttext_app.text.vocabulary import Vocabulary, count_words
from fasttext_app.training.prepare import Prepared, prepare
from tests.helpers import WORDS_ONLY, make_config

WORDS = ["to", "be", "or", "not", "that", "is", "the", "question", "é", "日本", "x" * 70, "</s>"]
TFIDF = {"term_weighting": "tfidf", "mode": "sum", "char_share": 0.7}
BOTH = {"word_ngrams": 2, "minn": 2, "maxn": 4, "bucket": 90}
CASES: dict[str, dict[str, Any]] = {
    "words": {},
    "character n-grams": {"minn": 2, "maxn": 5, "bucket": 5000},
    "both in few buckets": {**BOTH, "word_ngrams": 3, "bucket": 7},
    "both, rare ones dropped": {**BOTH, "bucket": 5000, "min_ngram_count": 4, "min_count": 3},
    "all buckets": {**BOTH, "prune": False},
    "few of many buckets": {**BOTH, "bucket": 2**28},
    "word n-grams": {"word_ngrams": 2, "bucket": 300},
    "ends of lines": {**BOTH, "tokenizer": "fasttext", "max_size": 5},
    "held out": {**BOTH, "validation": 0.3, "threads": 2},
    "unlabeled rows": {**BOTH, "loss": "ova", "label_separator": "|"},
    "pretrained words": {**BOTH, "dim": 2, "pretrained": "words.vec"},
    "a model": {**BOTH, "dim": 4, "start_from": "model"},
}


def examples(config: Any) -> Examples:
    """Return rows, of which some have no label."""
    generator = np.random.default_rng(1)
    texts = [
        " ".join(generator.choice(WORDS, generator.integers(0, 9)).tolist()) for _ in range(120)
    ]
    labels = ["ab"[row % 2] for row in range(120)]
    if config.data.label_separator is not None:
        labels = ["" if row % 5 == 0 else label for row, label in enumerate(labels)]
    batches = pa.table({"text": texts, "label": labels}).to_batches(max_chunksize=25)
    fraction = config.data.validation if config.data.validation != "auto" else 0.0
    return Examples(
        pa.Table.from_batches(batches), validation_fraction=fraction, skip_unlabeled=True
    )


def plain_pass(prepared: Prepared, rows: Examples) -> tuple[list[int], np.ndarray]:
    """Return the buckets in use and the idf of each row, from every id of every training text."""
    config, words = prepared.config.text, len(prepared.encoder.vocabulary)
    every = TextEncoder.from_config(config, prepared.encoder.tokenizer, prepared.encoder.vocabulary)
    assert isinstance(rows.train, pa.Table)
    texts = rows.train.filter(pa.array(prepared.train_mask))["text"].to_pylist()
    bags = [every.encode_plain([text]).indices for text in texts]
    counts = np.bincount(np.concatenate(bags), minlength=every.rows)
    buckets = np.arange(every.bucket)
    if config.prune:
        buckets = np.flatnonzero(counts[words:] >= config.min_ngram_count)
    start = prepared.config.model.start_from
    if start is not None:
        buckets = np.union1d(buckets, ft.load(start).artifact.tensors["buckets"])

    used = np.concatenate((np.arange(words), words + buckets)).astype(np.int64)
    counts = counts[used]
    texts_with = np.bincount(np.concatenate([np.unique(bag) for bag in bags]), None, every.rows)
    idf = (np.log((1 + len(texts)) / (1 + texts_with[used])) + 1).astype(np.float32)
    without = every.without_char_ngrams()
    others = np.concatenate([without.encode_plain([text]).indices for text in texts])
    is_char = counts > 2 * np.bincount(others, minlength=every.rows)[used]
    weights = counts * idf.astype(np.float64)
    char_weight, other_weight = weights[is_char].sum(), weights[~is_char].sum()
    if char_weight and other_weight:
        scale = np.where(is_char, config.char_share * other_weight / char_weight, 1.0)
        idf = (idf * scale).astype(np.float32)
    return buckets.tolist(), idf


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the model and the vectors that some cases start from; texts come in parts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tfidf, "WORDS", 5)
    (tmp_path / "words.vec").write_text("2 2\nquestion 1 2\nunseen 3 4\n")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("divided", [False, True])
@pytest.mark.parametrize("weighting", [{}, TFIDF], ids=["plain", "tfidf"])
@pytest.mark.parametrize("name", CASES)
def test_buckets_and_idf_are_those_of_a_plain_pass(
    name: str, weighting: dict[str, Any], divided: bool, folder: Path
) -> None:
    config = make_config(**{**CASES[name], **weighting})
    if config.model.start_from:
        old = {**WORDS_ONLY, **BOTH, **weighting, "dim": 4, "epochs": 1, "fold": False}
        texts = ["to be", "unknown words"] * 4
        ft.train(texts, ["a", "b"] * 4, validation=0.0, **old).save(folder / "model")
    rows = examples(config)
    prepared = prepare(config, rows, group=Group() if divided else None)
    buckets, idf = plain_pass(prepared, rows)
    encoder = prepared.encoder
    if config.text.prune and encoder.bucket:
        assert encoder.buckets.ids is not None
        assert encoder.buckets.ids.tolist() == buckets
    else:
        assert encoder.buckets.ids is None
    if not weighting:
        assert prepared.idf is None
        return
    assert prepared.idf is not None
    is_new = np.ones(encoder.rows, bool)
    if prepared.row_map is not None:  # rows of the model keep its weights
        is_new[prepared.row_map] = False
        assert not is_new.all()
    assert is_new.sum() > 10
    assert prepared.idf[is_new].tolist() == idf[is_new].tolist()


@pytest.mark.slow
@given(
    st.lists(st.lists(st.sampled_from(WORDS[:-1]), max_size=6), min_size=1, max_size=9),
    st.sampled_from(["whitespace", "fasttext"]),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 30),
    st.integers(1, 3),
    st.booleans(),
)
@settings(deadline=None, max_examples=50)
def test_words_tell_the_counts_of_character_ngrams(
    texts: list[list[str]],
    tokenizer_name: str,
    word_ngrams: int,
    minn: int,
    bucket: int,
    min_count: int,
    is_pruned: bool,
) -> None:
    tokenizer = load_tokenizer(tokenizer_name)
    tokens = Tokens.from_lists(tokenizer.split([" ".join(text) for text in texts]))
    encoder = TextEncoder(
        tokenizer,
        Vocabulary.build([tokens], min_count),
        word_ngrams=word_ngrams,
        minn=minn,
        maxn=minn + 2,
        bucket=bucket,
        bucket_ids=np.arange(0, bucket, 2, dtype=np.int32) if is_pruned else None,
    )

    def counts(encoder: TextEncoder) -> np.ndarray:
        return np.bincount(encoder.encode_tokens(tokens).indices, minlength=encoder.rows)

    expected = counts(encoder) - counts(encoder.without_char_ngrams())
    assert char_ngram_counts(encoder, count_words([tokens])).tolist() == expected.tolist()
