"""Pretrained vectors: every file format, and the errors for files that cannot be read."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttext_app.core.arrow import string_array
from fasttext_app.data.pretrained_vectors import PretrainedVectors, read_vectors, read_words
from fasttext_app.errors import DataError
from fasttext_app.text.tokens import Tokens
from fasttext_app.text.vocabulary import Vocabulary

# Rows: the 0 (seen 3 times), cat 1 (seen 2 times), "new york" 2, z 3.
TOKENS = [Tokens.from_lists([["the", "the", "the", "cat", "cat", "new york", "z"]])]
VOCABULARY = Vocabulary.build(TOKENS)


@pytest.fixture
def write(tmp_path):
    def write(content, name="words.vec"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def write_npy(write, tmp_path):
    def write_npy(matrix, words):
        write(words, "words.txt")
        np.save(tmp_path / "words.npy", matrix)
        return tmp_path / "words.npy"

    return write_npy


def read(path, dim=3):
    found = read_vectors(path, VOCABULARY, dim)
    assert (found.rows.dtype, found.vectors.dtype) == (np.int64, np.float32)
    return dict(zip(found.rows.tolist(), found.vectors.tolist(), strict=True))


# --- text --------------------------------------------------------------------------------------


def test_a_vec_file_has_a_header_and_a_space_at_the_end_of_lines(write):
    path = write("3 3\nthe 1 2 3 \nother 0 0 0 \ncat -4.5 5e-1 6 \n")
    assert read(path) == {0: [1, 2, 3], 1: [-4.5, 0.5, 6]}


def test_glove_text_has_no_header(write):
    assert read(write("cat 4 5 6\nthe 1 2 3\n", "glove.txt")) == {1: [4, 5, 6], 0: [1, 2, 3]}


@pytest.mark.parametrize(
    "before", ["", "1 3\n", "x 0 0 0\n", "2 3\nx 0 0 0\n", "x 0 0 0\ny 0 0 0\n"]
)
def test_a_word_can_contain_a_space(write, before):
    assert read(write(before + "new york 7 8 9\n")) == {2: [7, 8, 9]}


@pytest.mark.parametrize("header", ["", "1 3\n"])
def test_a_gz_file_is_unpacked(write, header):
    assert read(write(gzip.compress(f"{header}the 1 2 3\n".encode()), "w.vec.gz")) == {0: [1, 2, 3]}


def test_lines_can_end_with_crlf_and_the_last_one_without(write):
    assert read(write("2 3\r\nthe 1 2 3\r\ncat 4 5 6")) == {0: [1, 2, 3], 1: [4, 5, 6]}


def test_empty_lines_are_skipped(write):
    assert read(write("the 1 2 3\n\ncat 4 5 6\n\n")) == {0: [1, 2, 3], 1: [4, 5, 6]}


def test_the_first_vector_of_a_duplicate_word_counts(write):
    assert read(write("the 1 2 3\ncat 4 5 6\nthe 7 8 9\n")) == {0: [1, 2, 3], 1: [4, 5, 6]}


def test_bytes_that_are_not_utf_8_do_not_stop_reading(write):
    assert read(write(b"caf\xe9 1 1 1\nthe 1 2 3\n")) == {0: [1, 2, 3]}


def test_a_number_as_a_word_is_not_a_header(write):
    assert read(write("7 1 2 3\nthe 1 2 3\n")) == {0: [1, 2, 3]}


@pytest.mark.parametrize(
    "content",
    ["1 5\nthe 1 2 3 4 5\n", "the 1 2 3 4 5\n", "new york 1 2 3 4 5\n"],
    ids=["header", "word", "word with a space"],
)
def test_a_wrong_dimension_is_refused_with_the_right_setting(write, content):
    with pytest.raises(
        DataError, match=r"words\.vec:1: the vectors have 5 .*; set model\.dim = 5$"
    ):
        read(write(content))


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("the one two three\n", 1),
        ("the\n", 1),
        ("2 3\nthe 1 x 3\n", 2),
        ("x 0 0 0\ny 0 0 0\ncat 1 2\n", 3),  # truncated
        ("x 0 0 0\n\nthe 1 2 \n", 3),
        ("x\t0\t0\t0\n", 1),
        ("x 0 0 0\nthe\t1\t2\t3\n", 2),
    ],
)
def test_a_malformed_line_is_named_with_its_number(write, content, line):
    with pytest.raises(DataError, match=rf"words\.vec:{line}: expected a word and 3 numbers"):
        read(write(content))


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e39", "1e400"])
def test_a_number_that_is_not_finite_is_refused_with_its_line(write, number):
    with pytest.raises(DataError, match=r"words\.vec:2: holds a number that is not finite"):
        read(write(f"x 0 0 0\nthe 1 {number} 3\n"))


@pytest.mark.parametrize("content", ["", "other 1 2 3\n", "0 3\n"])
def test_a_file_without_any_of_the_words_is_refused(write, content):
    with pytest.raises(DataError, match=r"words\.vec: has a vector for none of the 4 words"):
        read(write(content))


@pytest.mark.parametrize("content", ["3 3\nthe 1 2 3\ncat 4 5 6\n", "9 3\nthe 1 2 3", "1 3\n"])
def test_a_file_with_fewer_words_than_its_header_promises_is_refused(write, content):
    lines = content.count("\n", 0, -1)
    message = rf"words\.vec: its header promises {content[0]} words, but it has {lines}; "
    with pytest.raises(DataError, match=message):
        read_words(write(content), 3)
    with pytest.raises(DataError, match=message):
        read(write(content))


def test_all_words_of_a_file_are_read_in_its_order(write, write_npy):
    path = write("5 3\nz 1 2 3\n\nnew york 4 5 6\nz 0 0 0\nCat 0 0 0\n 7 8 9\n")
    assert read_words(path, 3).to_pylist() == ["z", "new york", "z", "Cat", ""]
    assert read_words(write_npy(np.eye(3), "b\na\nb\n"), 3).to_pylist() == ["b", "a", "b"]


def test_numbers_that_only_python_reads_are_read(write):
    assert read(write("the 1_0 2 3\ncat 4 5 6\n")) == {0: [10, 2, 3], 1: [4, 5, 6]}


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.vec: no such file"):
        read(tmp_path / "none.vec")


@pytest.mark.slow
@given(
    st.dictionaries(
        st.sampled_from(["the", "cat", "new york", "z", "other", "é"]),
        st.lists(
            st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=2, max_size=2
        ),
        min_size=1,
    ),
    st.booleans(),
)
@settings(deadline=None, max_examples=50)
def test_written_vectors_are_read_back(tmp_path_factory, vectors, header):
    lines = [f"{len(vectors)} 2"] if header else []
    lines += [f"{word} {numbers[0]!r} {numbers[1]!r}" for word, numbers in vectors.items()]
    path = tmp_path_factory.mktemp("vectors") / "words.vec"
    path.write_text("\n".join(lines), encoding="utf-8")
    rows = {word: row for row, word in enumerate(VOCABULARY.words.to_pylist())}
    expected = {rows[word]: numbers for word, numbers in vectors.items() if word in rows}
    if expected:
        assert read(path, 2) == expected
    else:
        with pytest.raises(DataError, match="none of the 4 words"):
            read(path, 2)


# --- .npy --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["f2", "f4", "f8", ">f4", "i8", "u1"])
def test_the_words_of_an_npy_file_are_in_a_txt_file_beside_it(write_npy, kind):
    matrix = np.array([[1, 2, 3], [0, 0, 0], [4, 5, 6]], dtype=kind)
    assert read(write_npy(matrix, "the\nother\nnew york\n")) == {0: [1, 2, 3], 2: [4, 5, 6]}


def test_the_first_row_of_a_duplicate_word_counts(write_npy):
    assert read(write_npy(np.eye(3), "z\nz\nother\n")) == {3: [1, 0, 0]}


def test_an_npy_file_without_its_words_is_refused(write_npy, tmp_path):
    path = write_npy(np.eye(3), "")
    (tmp_path / "words.txt").unlink()
    with pytest.raises(DataError, match=r"words\.txt: no such file"):
        read(path)


def test_there_must_be_as_many_words_as_rows(write_npy):
    with pytest.raises(DataError, match=r"words\.txt: has 2 words for the 3 rows of .*words\.npy"):
        read(write_npy(np.eye(3), "the\ncat\n"))


def test_an_npy_file_of_a_wrong_dimension_is_refused_with_the_right_setting(write_npy):
    with pytest.raises(DataError, match=r"words\.npy: the vectors have 4 .*; set model\.dim = 4$"):
        read(write_npy(np.eye(4), "the\ncat\na\nb\n"))


def test_an_array_that_is_not_a_matrix_is_refused(write_npy):
    with pytest.raises(DataError, match=r"words\.npy: has shape \(3,\); expected \[words, 3\]"):
        read(write_npy(np.ones(3), "the\n"))


@pytest.mark.parametrize("kind", ["U3", "c8", "?"])
def test_an_array_of_anything_but_real_numbers_is_refused(write_npy, kind):
    with pytest.raises(DataError, match=r"words\.npy: is not a NumPy array of numbers"):
        read(write_npy(np.ones((1, 3), dtype=kind), "the\n"))


def test_an_array_of_python_objects_is_refused_without_loading_it(write_npy):
    with pytest.raises(DataError, match=r"words\.npy: is not a complete NumPy array of numbers"):
        read(write_npy(np.ones((1, 3), dtype=object), "the\n"))


def test_an_npz_archive_named_npy_is_refused(write, tmp_path):
    np.savez(tmp_path / "words.npz", matrix=np.eye(3))
    (tmp_path / "words.npz").rename(tmp_path / "words.npy")
    with pytest.raises(DataError, match=r"words\.npy: is not a NumPy array of numbers"):
        read(tmp_path / "words.npy")


@pytest.mark.parametrize("kept", [0, 20, 100, -10])
def test_a_truncated_npy_file_is_refused(write_npy, kept):
    path = write_npy(np.eye(3), "the\ncat\nz\n")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"words\.npy: is not a complete NumPy array of numbers"):
        read(path)


def test_a_missing_npy_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.npy: no such file"):
        read(tmp_path / "none.npy")


def test_a_row_that_is_not_finite_is_refused_only_if_its_word_is_in_the_vocabulary(write_npy):
    matrix = np.array([[1, 2, 3], [np.nan, 0, 0]])
    assert read(write_npy(matrix, "the\nother\n")) == {0: [1, 2, 3]}
    with pytest.raises(DataError, match=r"words\.npy: row 1: holds a number that is not finite"):
        read(write_npy(matrix, "the\ncat\n"))


# --- coverage ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "words", "occurrences", "added"),
    [
        ([0], 1 / 4, 3 / 7, 0),
        ([1, 3], 2 / 4, 3 / 7, 0),
        ([0, 1, 2, 3], 1.0, 1.0, 0),
        ([0, 4, 5], 1 / 4, 3 / 7, 2),
    ],
)
def test_coverage_counts_words_and_their_occurrences(rows, words, occurrences, added):
    vocabulary = Vocabulary.build(TOKENS, also=string_array(["other", "more"]))
    vectors = PretrainedVectors(np.array(rows), np.zeros((len(rows), 3), np.float32))
    assert vectors.coverage(vocabulary) == pytest.approx(
        {"words": words, "occurrences": occurrences, "added": added}
    )


def test_coverage_of_an_empty_vocabulary_is_zero():
    nothing = PretrainedVectors(np.empty(0, np.int64), np.empty((0, 3), np.float32))
    assert nothing.coverage(Vocabulary.build([])) == {"words": 0, "occurrences": 0, "added": 0}
