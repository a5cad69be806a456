"""Tokenized rows: their tokens, and the counts of their ids."""

import numpy as np
import pyarrow as pa
import pytest

from fasttext_app.config.loading import resolve
from fasttext_app.core.spill import SpillBuffer
from fasttext_app.data.split import Examples
from fasttext_app.text import tfidf as weighting
from fasttext_app.text.encoder import TextEncoder
from fasttext_app.text.tokenizers import load_tokenizer
from fasttext_app.text.vocabulary import Vocabulary
from fasttext_app.training.tokenized import SHORT_CODES, RowSubset, tokenize


@pytest.mark.parametrize("words", [10, SHORT_CODES, SHORT_CODES + 1])
def test_a_part_returns_its_tokens_for_any_number_of_words(words: int) -> None:
    numbers = [*range(words), 0, words - 1]
    lines = [" ".join(f"w{number}" for number in numbers[start::7]) for start in range(7)]
    table = pa.table({"text": lines, "label": ["a"] * 7})
    part, *others = tokenize(resolve(), Examples(table), SpillBuffer(2**40)).parts
    assert not others
    tokens = part.tokens(np.ones(7, bool))
    assert tokens.codes.dtype == np.int32
    assert tokens.to_lists() == [line.split() for line in lines]
    some = part.tokens(np.arange(7) % 2 == 0)
    assert some.to_lists() == [line.split() for line in lines[::2]]
    assert (part.codes().indices.itemsize == 2) == (words <= SHORT_CODES)


@pytest.mark.parametrize("threads", [1, 2, 9])
@pytest.mark.parametrize("table_bytes", [1, 1 << 28])
def test_ids_are_counted_across_parts_and_threads(
    monkeypatch: pytest.MonkeyPatch, threads: int, table_bytes: int
) -> None:
    monkeypatch.setattr(weighting, "TABLE_BYTES", table_bytes)  # with 1, they share one table
    draws = np.random.default_rng(1)
    texts = [" ".join(f"w{n}" for n in draws.integers(0, 40, draws.integers(9))) for _ in range(90)]
    batches = [
        pa.record_batch({"text": texts[at : at + 9], "label": ["a"] * 9}) for at in range(0, 90, 9)
    ]
    parts = tokenize(resolve(), Examples(iter(batches)), SpillBuffer(2**40)).parts
    assert len(parts) == 10
    chosen = draws.random(90) < 0.7
    side = RowSubset(parts, np.zeros(90, np.int64), chosen, threads)
    tokenizer, vocabulary = load_tokenizer("basic_english"), Vocabulary.build(side.tokens())
    encoder = TextEncoder(tokenizer, vocabulary, word_ngrams=2, bucket=50)
    found = side.occurrences(encoder)
    bags = [
        encoder.encode_plain([text]).indices
        for text, here in zip(texts, chosen, strict=True)
        if here
    ]
    assert found.texts == len(bags)
    rows = np.concatenate(bags)
    assert found.counts.tolist() == np.bincount(rows, minlength=encoder.rows).tolist()
    rows = np.concatenate([np.unique(bag) for bag in bags])
    assert found.text_counts.tolist() == np.bincount(rows, minlength=encoder.rows).tolist()
