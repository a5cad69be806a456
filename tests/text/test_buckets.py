"""The row of a bucket: the same in plain Python, by a bitmap and by a look-up in ranges."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttext_app.text import buckets
from fasttext_app.text.buckets import Buckets
from fasttext_app.text.encoder import TextEncoder
from fasttext_app.text.kernels import encode_text
from fasttext_app.text.tokenizers import load_tokenizer
from fasttext_app.text.tokens import Tokens
from fasttext_app.text.vocabulary import Vocabulary

MOST = 2**31 - 1


def encoder(count: int, ids: list[int]) -> TextEncoder:
    vocabulary = Vocabulary.build([Tokens.from_lists([["to", "be"]])])
    return TextEncoder(
        load_tokenizer("whitespace"),
        vocabulary,
        word_ngrams=2,
        minn=2,
        maxn=3,
        bucket=count,
        bucket_ids=np.array(sorted(ids), np.int32),
    )


def buckets_of(texts: list[str], count: int) -> list[int]:
    """The buckets of all n-grams, from an encoder in which every bucket has a row."""
    every = TextEncoder(
        load_tokenizer("whitespace"),
        Vocabulary.build([]),
        word_ngrams=2,
        minn=2,
        maxn=3,
        bucket=count - 1 if count == MOST else count,
    )
    return sorted({row for bag in every.encode_plain(texts).to_lists() for row in bag})


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.text("abé ", max_size=12), min_size=1, max_size=6),
    count=st.sampled_from([1, 63, 64, 65, 1000, 10**6, MOST - 1]),
    limit=st.sampled_from([0, 1 << 22]),
    every_other=st.booleans(),
    others=st.sets(st.integers(0, MOST - 1), max_size=20),
)
def test_compiled_and_plain_code_find_the_same_rows(texts, count, limit, every_other, others):
    ids = {value % count for value in others} | set(buckets_of(texts, count)[every_other::2])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(buckets, "MAX_BITMAP_BYTES", limit)
        model = encoder(count, list(ids))
        column = pa.array(texts, pa.string())
        compiled = model.encode_tokens(model.tokenizer(column)).to_lists()
        one_by_one = [
            encode_text(model.tokenizer.text_buffers(text)[0], *model.kernel_arguments())[
                0
            ].tolist()
            for text in texts
        ]
    assert compiled == one_by_one == model.encode_plain(texts).to_lists()


@pytest.mark.parametrize("ids", [[], [5], [0, 1, MOST - 1], [*range(1000)]])
def test_a_large_space_with_few_rows_takes_little_memory(ids):
    tracemalloc.start()
    try:
        space = Buckets(MOST, 0, np.array(ids, np.int32))
        assert space.ranges is not None
        assert not len(space.bitmap[0])
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


def test_the_default_space_stays_in_a_bitmap():
    """It is faster there; the other look-up is for spaces of more than 20 million buckets."""
    space = Buckets(2_000_000, 0, np.array([3, 70], np.int32))
    assert space.ranges is None
    bits, ranks = space.bitmap
    assert len(bits) == len(ranks) == 31_250
    assert bits[:2].tolist() == [8, 64]
    assert ranks[:3].tolist() == [0, 1, 2]
