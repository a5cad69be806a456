"""The hashes of columns equal the reference, and the reference gives known answers.

The known answers are published FNV-1a test vectors (Fowler, Noll and Vo) and sums done by hand.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fasttext_app.core.arrow import string_buffers
from fasttext_app.core.ragged import Ragged, offsets_from_lengths
from fasttext_app.text import hashing
from fasttext_app.text.hashing import reference_char_ngrams, reference_fnv1a, reference_word_ngrams
from fasttext_app.text.kernels import char_ngram_hashes, emit_rows, hash_words

laws = settings(deadline=None, max_examples=80)
WORDS = st.text(st.sampled_from("ab<>é漢😀\u0301 ") | st.characters(codec="utf-8"), max_size=12)
BUCKETS = 2**31 - 1
EMOJI_WITH_JOINER = "👩\u200d🚀"


def strings(words):
    return pa.array(words, pa.string())


def fnv1a(words):
    return hash_words(*string_buffers(words))


def hash_column(words):
    return fnv1a(strings(words)).tolist()


def char_ngrams_of_column(words, minn, maxn):
    return char_ngram_bags(strings(words), minn, maxn).to_lists()


def char_ngram_bags(words, minn, maxn):
    return Ragged(*char_ngram_hashes(*string_buffers(words), minn, maxn))


def word_ngrams_of_texts(texts, longest):
    """Return the compiled n-grams of texts, as buckets of a large hash space."""
    words = [word for text in texts for word in text]
    empty = np.empty(0, np.uint64), np.empty(0, np.int32)
    rows, offsets = emit_rows(
        np.arange(len(words), dtype=np.int32),
        offsets_from_lengths([len(text) for text in texts]),
        np.full(len(words), -1, np.int32),
        fnv1a(strings(words)),
        np.empty(0, np.uint32),
        np.zeros(1, np.int64),
        longest,
        BUCKETS,
        0,
        *empty,
    )
    return Ragged(rows, offsets).to_lists()


def reference_chars(words, minn, maxn):
    return [[value for _, value in reference_char_ngrams(w, minn, maxn)] for w in words]


# --- known answers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0x811C9DC5),
        (b"a", 0xE40C292C),
        (b"b", 0xE70C2DE5),
        (b"fo", 0x6222E842),
        (b"foo", 0xA9F37ED7),
        (b"foobar", 0xBF9CF968),
        (b"chongo was here!\n", 0xD49930D5),
    ],
)
def test_ascii_strings_hash_to_the_published_fnv_1a_vectors(data, expected):
    assert reference_fnv1a(data) == expected


def test_bytes_of_128_and_above_are_sign_extended_before_the_xor():
    # By hand: 0xE9 as int8, widened to 32 bits, is 0xFFFFFFE9;
    # 0x811C9DC5 ^ 0xFFFFFFE9 = 0x7EE3622C; times 0x01000193 mod 2^32 = 0xEBF38B44.
    # Plain FNV-1a gives 0x6C0B6C44.
    assert reference_fnv1a(b"\xe9") == 0xEBF38B44


def test_a_two_byte_character_is_hashed_byte_by_byte():
    first = ((0x811C9DC5 ^ 0xFFFFFFC3) * 0x01000193) % 2**32
    second = ((first ^ 0xFFFFFFA9) * 0x01000193) % 2**32
    assert "é".encode() == b"\xc3\xa9"
    assert hash_column(["é"]) == [second]


def test_a_bigram_chains_the_sign_extended_hashes_of_its_words():
    first = 0xE40C292C - 2**32  # "a", as int32 a negative number
    second = 0xE70C2DE5 - 2**32  # "b"
    assert reference_word_ngrams(["a", "b"], 2) == [("a b", (first * 116049371 + second) % 2**64)]


def test_a_trigram_continues_the_hash_of_its_bigram():
    (bigram,) = reference_word_ngrams(["a", "b"], 2)
    trigram = reference_word_ngrams(["a", "b", "foobar"], 3)[1]
    assert trigram == ("a b foobar", (bigram[1] * 116049371 + 0xBF9CF968 - 2**32) % 2**64)


def test_a_hash_can_continue_from_a_state():
    assert reference_fnv1a(b"bar", reference_fnv1a(b"foo")) == reference_fnv1a(b"foobar")


# --- words -------------------------------------------------------------------------------------


@pytest.mark.slow
@given(st.lists(st.text(max_size=40)))
@example([""])
@example([])
@example(["ü" * 200, "", "a", "漢" * 100])
@laws
def test_fnv1a_of_a_column_equals_the_reference(words):
    assert hash_column(words) == [reference_fnv1a(word.encode()) for word in words]


@pytest.mark.slow
@given(st.lists(st.text(max_size=8), max_size=12), st.integers(0, 12), st.integers(0, 12))
@laws
def test_a_slice_of_a_column_hashes_only_its_own_words(words, start, length):
    sliced = strings(words).slice(min(start, len(words)), length)
    expected = [reference_fnv1a(word.encode()) for word in sliced.to_pylist()]
    assert fnv1a(sliced).tolist() == expected


def test_hashes_are_32_bit():
    assert fnv1a(strings(["a"])).dtype == np.uint32


# --- word n-grams ------------------------------------------------------------------------------


@pytest.mark.slow
@given(st.lists(st.lists(WORDS, max_size=7), max_size=6), st.integers(1, 5))
@laws
def test_word_ngrams_of_all_texts_equal_the_reference(texts, longest):
    expected = [
        [value % BUCKETS for _, value in reference_word_ngrams(text, longest)] for text in texts
    ]
    assert word_ngrams_of_texts(texts, longest) == expected


def test_no_word_ngram_crosses_into_the_next_text():
    bigram = reference_word_ngrams(["b", "c"], 2)[0][1] % BUCKETS
    assert word_ngrams_of_texts([["a"], [], ["b", "c"]], 2) == [[], [], [bigram]]


def test_texts_have_no_word_ngrams_longer_than_themselves():
    assert word_ngrams_of_texts([["a"]], 4) == [[]]


def test_word_ngrams_depend_on_the_order_of_words():
    (one,), (other,) = reference_word_ngrams(["a", "b"], 2), reference_word_ngrams(["b", "a"], 2)
    assert one[1] != other[1]


@pytest.mark.slow
@given(st.lists(st.sampled_from(["to", "be", "or", "é"]), max_size=8), st.integers(1, 5))
@laws
def test_the_word_ngrams_equal_those_of_torchtext(tokens, longest):
    from torchtext.data.utils import ngrams_iterator

    ours = Counter(ngram for ngram, _ in reference_word_ngrams(tokens, longest))
    assert ours + Counter(tokens) == Counter(ngrams_iterator(tokens, longest))


# --- character n-grams -------------------------------------------------------------------------


@pytest.mark.slow
@given(st.lists(WORDS, max_size=8), st.integers(1, 5), st.integers(0, 4))
@example(["", "a", "é", "漢字", "😀", EMOJI_WITH_JOINER, "e\u0301", "<>", ">"], 1, 4)
@laws
def test_character_ngrams_of_a_column_equal_the_reference_in_value_and_order(words, minn, wider):
    maxn = minn + wider
    expected = reference_chars(words, minn, maxn)
    assert char_ngrams_of_column(words, minn, maxn) == expected
    plain = hashing.char_ngram_hashes([word.encode() for word in words], minn, maxn)
    assert Ragged(*plain).to_lists() == expected


@given(st.lists(st.binary(max_size=6), max_size=5), st.integers(0, 3), st.integers(0, 4))
@laws
def test_character_ngrams_of_bytes_that_are_not_utf8_equal_the_reference(words, minn, maxn):
    texts = [word.decode("utf-8", "surrogateescape") for word in words]
    plain = hashing.char_ngram_hashes(words, minn, maxn)
    assert Ragged(*plain).to_lists() == reference_chars(texts, minn, maxn)


def test_character_ngrams_count_characters_not_bytes():
    assert [ngram for ngram, _ in reference_char_ngrams("😀é", 2, 3)] == [
        "<😀",
        "<😀é",
        "😀é",
        "😀é>",
        "é>",
    ]


def test_a_combining_mark_counts_as_a_character():
    assert [ngram for ngram, _ in reference_char_ngrams("e\u0301", 1, 1)] == ["e", "\u0301"]


def test_ngrams_of_length_1_exclude_only_the_boundary_signs():
    assert [ngram for ngram, _ in reference_char_ngrams("<>", 1, 1)] == ["<", ">"]
    assert char_ngrams_of_column(["<>", "a", ""], 1, 1) == reference_chars(["<>", "a", ""], 1, 1)


def test_the_only_ngram_of_the_empty_word_is_both_boundary_signs():
    assert [ngram for ngram, _ in reference_char_ngrams("", 1, 6)] == ["<>"]
    assert char_ngrams_of_column([""], 1, 6) == [[reference_fnv1a(b"<>")]]


def test_a_minn_of_0_means_1():
    # fastText counts lengths from 1 whatever minn is; there is no n-gram of length 0.
    assert reference_char_ngrams("ab", 0, 2) == reference_char_ngrams("ab", 1, 2)
    assert char_ngrams_of_column(["ab"], 0, 2) == reference_chars(["ab"], 0, 2)


def test_a_slice_of_a_column_has_only_the_character_ngrams_of_its_words():
    words = strings(["zero", "öne", "twó", "three"]).slice(1, 2)
    assert char_ngram_bags(words, 2, 4).to_lists() == reference_chars(["öne", "twó"], 2, 4)


def test_no_words_have_no_character_ngrams():
    assert char_ngrams_of_column([], 2, 4) == []


def test_character_ngram_hashes_are_unsigned():
    assert char_ngram_bags(strings(["a"]), 2, 3).indices.dtype == np.uint32
