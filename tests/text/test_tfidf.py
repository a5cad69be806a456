"""tf-idf weights equal the formulas, computed id by id."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttext_app.core.ragged import Ragged
from fasttext_app.text.tfidf import OccurrenceCounter, inverse_document_frequency, tfidf_weights

ROWS = 7
BAGS = st.lists(st.lists(st.integers(0, ROWS - 1), max_size=6), max_size=8)
laws = settings(deadline=None, max_examples=80)


def idf_of(bags, rows, pieces=1):
    size = -(-len(bags) // pieces) or 1
    numbers = range(0, len(bags), size)
    parts = [bags.take(np.arange(len(bags))[start : start + size]) for start in numbers]
    return inverse_document_frequency(count(parts, rows))


def count(parts, rows, threads=1):
    counter = OccurrenceCounter(rows)
    firsts = np.cumsum([0, *map(len, parts)]).tolist()

    def add(part, first):
        counter.add(Ragged(part.indices.astype(np.int32), part.offsets), first)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(add, parts, firsts[:-1]))
    return counter.total(firsts[-1])


def plain_idf(bags):
    found = [sum(row in bag for bag in bags) for row in range(ROWS)]
    return [math.log((1 + len(bags)) / (1 + texts)) + 1 for texts in found]


def test_the_idf_of_a_worked_example():
    # Three texts; row 0 is in all of them, row 1 in two (twice in one of them), row 2 in none.
    bags = Ragged.from_lists([[0, 1, 1], [0], [0, 1]])
    expected = [math.log(4 / 4) + 1, math.log(4 / 3) + 1, math.log(4 / 1) + 1]
    assert idf_of(bags, 3).tolist() == pytest.approx(expected)


def test_the_weights_of_a_worked_example():
    idf = np.array([1, 3], dtype=np.float32)
    bags = Ragged.from_lists([[0, 1], [], [0, 1, 1, 0], [1]])
    weights = tfidf_weights(bags, idf)
    assert weights.tolist() == pytest.approx([1 / 4, 3 / 4, 1 / 8, 3 / 8, 3 / 8, 1 / 8, 1])


@pytest.mark.slow
@given(BAGS)
@laws
def test_idf_counts_each_text_once_for_each_id(bags):
    found = idf_of(Ragged.from_lists(bags, np.int32), ROWS)
    assert found.dtype == np.float32
    assert found.tolist() == pytest.approx(plain_idf(bags))


@pytest.mark.slow
@given(BAGS)
@laws
def test_weights_follow_the_formula_id_by_id(bags):
    idf = plain_idf(bags)
    expected = [idf[row] / sum(idf[other] for other in bag) for bag in bags for row in bag]
    found = tfidf_weights(Ragged.from_lists(bags), np.array(idf, dtype=np.float32))
    assert found.dtype == np.float32
    assert found.tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
@given(BAGS)
@laws
def test_the_weights_of_a_text_sum_to_1(bags):
    ragged = Ragged.from_lists(bags)
    weights = tfidf_weights(ragged, idf_of(ragged, ROWS))
    sums = [part.sum() for part in np.split(weights, ragged.offsets[1:-1]) if len(part)]
    assert sums == pytest.approx([1.0] * len(sums), rel=1e-5)


@pytest.mark.slow
@given(BAGS)
@laws
def test_the_order_of_texts_does_not_change_the_idf(bags):
    there, back = (idf_of(Ragged.from_lists(texts), ROWS) for texts in (bags, bags[::-1]))
    assert there.tolist() == back.tolist()


@pytest.mark.parametrize("bags", [[], [[]], [[], []]])
def test_texts_without_ids_have_no_weights(bags):
    ragged = Ragged.from_lists(bags)
    idf = idf_of(ragged, 2)
    assert idf.tolist() == pytest.approx([math.log(1 + len(bags)) + 1] * 2)
    assert tfidf_weights(ragged, idf).tolist() == []


@pytest.mark.parametrize("pieces", [1, 2, 3, 6])
def test_the_idf_does_not_depend_on_the_parts_of_the_data(pieces):
    bags = [[0, 1, 1], [], [5, 0], [2], [2, 2, 6], [0]]
    assert idf_of(Ragged.from_lists(bags), ROWS, pieces).tolist() == pytest.approx(plain_idf(bags))


def test_every_occurrence_of_an_id_is_counted():
    bags = Ragged.from_lists([[0, 1, 1], [0], []], np.int32)
    found = count([bags, bags], 3)
    assert (found.texts, found.counts.tolist()) == (6, [4, 4, 0])
    assert found.text_counts.tolist() == [4, 2, 0]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_counts_do_not_depend_on_the_number_of_threads(threads):
    draws = np.random.default_rng(0)
    bags = [[draws.integers(0, 50, 9).tolist() for _ in range(40)] for _ in range(30)]
    found = count([Ragged.from_lists(part) for part in bags], 50, threads)
    texts = [text for part in bags for text in part]
    assert found.texts == len(texts)
    assert found.counts.tolist() == [sum(t.count(row) for t in texts) for row in range(50)]
    assert found.text_counts.tolist() == [sum(row in t for t in texts) for row in range(50)]


def test_a_single_thread_allocates_one_table():
    counter = OccurrenceCounter(5)
    for first in range(9):
        counter.add(Ragged.from_lists([[first % 5]], np.int32), first)
    tables = [table for table in counter._free.queue if table is not None]
    assert len(tables) == 1
    assert counter.total(9).counts.tolist() == [2, 2, 2, 2, 1]
