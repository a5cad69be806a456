"""``inspect_texts``: the stages that it shows are those of the encoder and the model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttext_app.inference.classifier import TextClassifier
from fasttext_app.inference.inspect import inspect_texts, standalone_encoder
from tests.helpers import make_config

TEXTS = st.lists(
    st.lists(st.sampled_from(["to", "be", "or", "Not", "é", "😀", "."]), max_size=6).map(" ".join),
    max_size=5,
)


def encoder_of(texts, **text):
    return standalone_encoder(make_config(**text), texts)


@pytest.mark.slow
@given(
    TEXTS,
    TEXTS,
    st.integers(1, 4),
    st.sampled_from([(0, 0), (1, 2), (2, 4)]),
    st.sampled_from([1, 50, 2_000_000]),
)
@settings(deadline=None, max_examples=80)
def test_word_rows_and_ngram_rows_are_the_bag(seen, texts, word_ngrams, lengths, bucket):
    minn, maxn = lengths
    encoder = encoder_of(seen, word_ngrams=word_ngrams, minn=minn, maxn=maxn, bucket=bucket)
    shown = inspect_texts(texts, encoder)
    bags = [
        [row for row in stage.word_rows if row is not None] + [row for _, row in stage.ngrams]
        for stage in shown.texts
    ]
    assert shown.bags.to_lists() == encoder.encode(texts).to_lists()
    assert [sorted(bag) for bag in bags] == [sorted(bag) for bag in shown.bags.to_lists()]
    if not maxn:  # else the character n-grams of a word come right after it
        assert bags == shown.bags.to_lists()
    assert [stage.text for stage in shown.texts] == texts


def test_the_stages_of_a_worked_example():
    shown = inspect_texts(["Be be, not"], encoder_of(["be be ."], word_ngrams=2, bucket=1))
    (stage,) = shown.texts
    assert stage.tokens == ["be", "be", ",", "not"]
    assert stage.word_rows == [0, 0, None, None]
    assert stage.ngrams == [("be be", 2), ("be ,", 2), (", not", 2)]
    assert (shown.vocabulary_size, shown.bucket) == (2, 1)


def test_character_ngrams_come_before_word_ngrams():
    shown = inspect_texts(["to be"], encoder_of([], word_ngrams=2, minn=4, maxn=4, bucket=10))
    assert [ngram for ngram, _ in shown.texts[0].ngrams] == ["<to>", "<be>", "to be"]


def test_without_ngrams_there_is_no_bucket_to_show():
    shown = inspect_texts(["to be"], encoder_of(["to"]))
    assert (shown.texts[0].ngrams, shown.bucket) == ([], 0)


@pytest.mark.parametrize("texts", [[], [""]])
def test_texts_without_words_have_no_rows(texts):
    shown = inspect_texts(texts, encoder_of(["to be"], word_ngrams=2))
    assert [(stage.tokens, stage.word_rows, stage.ngrams) for stage in shown.texts] == [
        ([], [], []) for _ in texts
    ]
    assert shown.bags.to_lists() == [[] for _ in texts]


def test_a_standalone_encoder_takes_its_words_from_the_texts_and_its_rules_from_the_config():
    encoder = encoder_of(["b b c a a b"], min_count=2, max_size=1, tokenizer="whitespace")
    assert encoder.vocabulary.words.to_pylist() == ["b"]
    assert encoder.tokenizer.name == "whitespace"


def test_without_a_model_there_is_nothing_to_say_about_labels():
    shown = inspect_texts(["to be"], encoder_of(["to"]))
    assert (shown.logits, shown.probabilities, list(shown.labels)) == (None, None, [])


def test_with_a_model_its_logits_and_probabilities_are_shown(tiny_model_dir):
    model = TextClassifier.load(tiny_model_dir)
    texts = ["the team scored", "", "bank profit"]
    shown = inspect_texts(texts, model.encoder, model)
    assert np.array_equal(shown.logits, model.logits(texts))
    assert np.array_equal(shown.probabilities, model.predict_proba(texts))
    assert shown.labels == model.labels == ("money", "sport")
    assert shown.bags.to_lists() == model.encoder.encode(texts).to_lists()
