"""``Vocabulary`` and ``Labels`` count and order like a ``Counter``."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttext_app.data.labels import Labels
from fasttext_app.text.hashing import reference_fnv1a
from fasttext_app.text.tokenizers import load_tokenizer
from fasttext_app.text.tokens import Tokens
from fasttext_app.text.vocabulary import SCANS, Vocabulary

laws = settings(deadline=None, max_examples=80)
WORDS = st.one_of(
    st.sampled_from(["a", "b", "é", "\uffff", "𐀀", "ab", "A", ""]), st.text(max_size=3)
)
TEXTS = st.lists(st.lists(WORDS, max_size=6), max_size=6)


def build(*parts, **limits):
    return Vocabulary.build([Tokens.from_lists(part) for part in parts], **limits)


def in_order(texts, min_count=1, max_size=0):
    """(word, count) by descending count, then by UTF-8 bytes."""
    counted = Counter(word for text in texts for word in text)
    kept = [(word, count) for word, count in counted.items() if count >= min_count]
    kept.sort(key=lambda entry: (-entry[1], entry[0].encode()))
    return kept[: max_size or None]


def entries(vocabulary):
    return list(zip(vocabulary.words.to_pylist(), vocabulary.counts.tolist(), strict=True))


def look_up(vocabulary, asked):
    """Look words up in compiled code, and check that one by one gives the same, first and later."""
    tokens = Tokens.from_lists([asked])
    found = vocabulary.rows(tokens.words)[tokens.codes]
    for _ in range(2):
        assert found.tolist() == [vocabulary.row(word) for word in asked]
        assert found.tolist() == vocabulary.rows_of(asked)
        assert [vocabulary.row("\ud800") for _ in range(SCANS)] == [-1] * SCANS
    return found


def label_set(labels, order=None):
    return Labels.build([pa.array(labels, pa.string())], order)


# --- Vocabulary --------------------------------------------------------------------------------


@pytest.mark.slow
@given(TEXTS, st.integers(1, 4), st.integers(0, 5))
@laws
def test_words_are_counted_ordered_and_cut_as_documented(texts, min_count, max_size):
    found = build(texts, min_count=min_count, max_size=max_size)
    assert entries(found) == in_order(texts, min_count, max_size)


@pytest.mark.slow
@given(TEXTS, st.lists(st.integers(0, 6), max_size=4), st.integers(1, 3))
@laws
def test_the_vocabulary_does_not_depend_on_the_parts_of_the_data(texts, cuts, min_count):
    bounds = [0, *sorted(cuts), len(texts)]
    pieces = [texts[start:end] for start, end in pairwise(bounds)]
    assert entries(build(*pieces, min_count=min_count)) == in_order(texts, min_count)


def test_words_of_equal_count_are_ordered_by_utf_8_bytes():
    words = ["𐀀", "\uffff", "é", "z", "a", "Z"]
    assert build([words]).words.to_pylist() == ["Z", "a", "z", "é", "\uffff", "𐀀"]


def test_min_count_keeps_a_word_with_exactly_that_count():
    assert entries(build([["a", "a", "b"], ["b", "c"]], min_count=2)) == [("a", 2), ("b", 2)]


def test_max_size_applies_after_min_count():
    texts = [["a", "a", "a", "b", "b", "c"]]
    assert entries(build(texts, min_count=2, max_size=5)) == [("a", 3), ("b", 2)]
    assert entries(build(texts, min_count=2, max_size=1)) == [("a", 3)]


@pytest.mark.parametrize("parts", [[], [[]], [[[]]], [[["a"]]]])
def test_a_vocabulary_may_be_empty(parts):
    empty = build(*parts, min_count=2)
    assert (len(empty), entries(empty)) == (0, [])
    assert empty.words.type == pa.string()
    assert look_up(empty, ["a"]).tolist() == [-1]


def test_counts_are_64_bit():
    assert build([["a"]]).counts.dtype == np.int64


@pytest.mark.slow
@given(TEXTS, st.lists(WORDS, max_size=10))
@laws
def test_the_row_of_an_unknown_word_is_minus_1(texts, asked):
    rows = {word: row for row, (word, _) in enumerate(in_order(texts))}
    found = look_up(build(texts), asked)
    assert found.tolist() == [rows.get(word, -1) for word in asked]


def test_words_of_a_large_vocabulary_are_found():
    vocabulary = build([[f"w{number}" for number in range(20_000)]])
    asked = [f"w{number}" for number in range(0, 40_000, 3)]
    assert look_up(vocabulary, asked).tolist() == [vocabulary.row(word) for word in asked]
    assert set(look_up(vocabulary, asked[6667:])) == {-1}


def test_words_with_the_same_hash_are_distinguished():
    words = ["costarring", "liquid", "declinate", "macallums"]  # two pairs that FNV-1a confuses
    assert len({reference_fnv1a(word.encode()) for word in words}) == 2
    vocabulary = build([words, words[::2]])
    assert sorted(look_up(vocabulary, words)) == [0, 1, 2, 3]
    tokens = load_tokenizer("whitespace")(pa.array([" ".join(words)]))
    assert tokens.to_lists() == [words]


# --- Labels ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["b", "a", "b"], ("a", "b")),
        (["10", "9", "-1", "0"], ("-1", "0", "9", "10")),
        (["b", "10", "a", "9"], ("9", "10", "a", "b")),  # numbers before names
        (["é", "z", "Z"], ("Z", "z", "é")),
        (["1.5", "1.10", "01", "1"], ("01", "1", "1.10", "1.5")),
        (["²", "٣", "-", "--1", "2"], ("2", "-", "--1", "²", "٣")),  # digits, but not ASCII ones
    ],
)
def test_labels_without_an_order_are_sorted_by_value_and_then_by_text(labels, names):
    assert label_set(labels).names == names


def test_long_numbers_are_sorted_by_value():
    ids = ["9" * 18, "1" + "0" * 18, "9" * 19, "1" + "0" * 40]
    assert label_set(ids[::-1]).names == tuple(ids)


def test_a_number_too_long_for_int_is_sorted_as_text():
    assert label_set(["9" * 5000, "10"]).names == ("10", "9" * 5000)


def test_ordered_names_come_first_even_without_rows():
    found = label_set(["z", "b", "z"], order=["c", "b"])
    assert (found.names, found.counts) == (("c", "b", "z"), (0, 1, 2))


def test_labels_outside_the_order_come_after_it():
    assert label_set(["10", "9", "x", "b"], order=["b"]).names == ("b", "9", "10", "x")


@pytest.mark.slow
@given(st.lists(st.sampled_from(["a", "b", "10", "9", "é", ""]), max_size=20))
@laws
def test_labels_are_counted_and_get_their_class_ids(labels):
    found = label_set(labels)
    assert dict(zip(found.names, found.counts, strict=True)) == Counter(labels)
    classes = found.class_ids(pa.array(labels, pa.string()))
    assert [found.names[number] for number in classes] == labels


def test_class_ids_do_not_depend_on_the_order_of_rows():
    labels = ["b", "10", "a", "9", "10"]
    assert label_set(labels) == label_set(labels[::-1])


@pytest.mark.parametrize(
    "wrap", [pa.array, lambda labels: pa.chunked_array([labels[:1], labels[1:]])]
)
def test_the_class_id_of_an_unknown_label_is_minus_1(wrap):
    classes = label_set(["a", "b"]).class_ids(wrap(["b", "c", "a"]))
    assert classes.tolist() == [1, -1, 0]
    assert classes.dtype == np.int64


def test_no_rows_give_no_labels():
    empty = label_set([])
    assert (len(empty), empty.names, empty.counts) == (0, (), ())
    assert empty.class_ids(pa.array(["a"])).tolist() == [-1]


# --- the compiled look-up


def looked_up(known, wanted, hash_of):
    """Look words up in a table of known ones, with made-up hashes."""
    from fasttext_app.core.arrow import string_array, string_buffers
    from fasttext_app.text.kernels import find_words, index_words

    tables = []
    for words in (known, wanted):
        hashes = np.array([hash_of(word) for word in words], np.uint32)
        tables.append((*string_buffers(string_array(words)), hashes))
    (data, bounds, hashes), others = tables
    return find_words(index_words(data, bounds, hashes), data, bounds, *others).tolist()


LOOK_ALIKE = [
    *("a", "ab", "abcdefg", "abcdefg\x07", "abcdefgh", "abcdefgh\x00", "abcdefghi", "abcdefghj"),
    *("abcdefghij", "abcdefghik", "\x07", "abcdef", "abcdef\x06", "é", "éé", "éééé", "ééééé"),
]


@pytest.mark.parametrize("hash_of", [lambda word: 0, lambda word: 2**32 - 1, len])
@pytest.mark.parametrize("left_out", [0, 1, 2, 3])
def test_similar_long_words_with_the_same_hash_are_distinguished(hash_of, left_out):
    known = LOOK_ALIKE[left_out::2] if left_out else LOOK_ALIKE
    expected = [known.index(word) if word in known else -1 for word in LOOK_ALIKE]
    assert looked_up(known, LOOK_ALIKE, hash_of) == expected


@pytest.mark.slow
@given(st.lists(st.text(max_size=12), max_size=30), st.lists(st.text(max_size=12), max_size=30))
@settings(deadline=None, max_examples=60)
def test_the_compiled_look_up_finds_what_a_dict_finds(known, wanted):
    known = list(dict.fromkeys(filter(None, known)))
    wanted = list(filter(None, wanted)) + known
    expected = [known.index(word) if word in known else -1 for word in wanted]
    assert looked_up(known, wanted, lambda word: len(word) % 3) == expected
