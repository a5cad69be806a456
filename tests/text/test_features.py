"""``text_features`` names what the encoder puts into a bag, in the same order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttext_app.text.encoder import TextEncoder
from fasttext_app.text.features import CHAR_NGRAM, WORD, WORD_NGRAM, text_features
from fasttext_app.text.tokenizers import load_tokenizer
from fasttext_app.text.tokens import Tokens
from fasttext_app.text.vocabulary import Vocabulary

WORDS_SEEN = ["to", "be", "é", "😀", "</s>", "not"]
TEXTS = st.lists(st.sampled_from([*WORDS_SEEN, "new", "ß"]), max_size=7).map(" ".join)


def encoder_of(tokenizer="whitespace", **options):
    vocabulary = Vocabulary.build([Tokens.from_lists([WORDS_SEEN])])
    return TextEncoder(load_tokenizer(tokenizer), vocabulary, **options)


@pytest.mark.slow
@given(
    TEXTS,
    st.integers(1, 4),
    st.sampled_from([(0, 0), (1, 2), (2, 4)]),
    st.sampled_from([1, 50, 2_000_000]),
    st.booleans(),
    st.sampled_from(["whitespace", "fasttext"]),
)
@settings(deadline=None)
def test_the_features_with_a_row_are_the_bag(text, longest, lengths, bucket, pruned, tokenizer):
    minn, maxn = lengths
    encoder = encoder_of(tokenizer, word_ngrams=longest, minn=minn, maxn=maxn, bucket=bucket)
    if pruned:
        encoder = encoder.pruned(np.arange(0, bucket, 2, dtype=np.int32)[:100])
    tokens = encoder.tokenizer.split([text])[0]
    features = text_features(tokens, encoder)
    rows = [feature.row for feature in features if feature.row is not None]
    assert rows == encoder.encode([text]).to_lists()[0]
    for feature in features:
        inside = tokens[feature.start : feature.end]
        if feature.kind == CHAR_NGRAM:
            assert len(inside) == 1
            assert feature.name in f"<{inside[0]}>"
        else:
            assert feature.name == " ".join(inside)
            assert (len(inside) > 1) == (feature.kind == WORD_NGRAM)


def test_a_worked_example():
    encoder = encoder_of(word_ngrams=2, minn=3, maxn=3, bucket=1)
    found = text_features(["to", "see"], encoder)
    assert [(f.name, f.kind, f.start, f.end, f.row is None) for f in found] == [
        ("to", WORD, 0, 1, False),
        ("<to", CHAR_NGRAM, 0, 1, False),
        ("to>", CHAR_NGRAM, 0, 1, False),
        ("see", WORD, 1, 2, True),
        ("<se", CHAR_NGRAM, 1, 2, False),
        ("see", CHAR_NGRAM, 1, 2, False),
        ("ee>", CHAR_NGRAM, 1, 2, False),
        ("to see", WORD_NGRAM, 0, 2, False),
    ]


@pytest.mark.parametrize("kept", [[], [7]])
def test_an_ngram_in_a_pruned_bucket_has_no_row(kept):
    encoder = encoder_of(word_ngrams=2, bucket=1_000_000).pruned(np.array(kept, np.int32))
    assert text_features(["to", "be"], encoder)[-1].row is None
