"""``Ragged`` against plain Python lists."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttext_app.core.arrays import GOLDEN, mix_bits
from fasttext_app.core.ragged import Ragged, concat_ranges, offsets_from_lengths

BAGS = st.lists(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=6), max_size=8)
few_examples = settings(deadline=None, max_examples=30)


@pytest.mark.slow
@given(BAGS)
@few_examples
def test_lists_survive_the_way_to_ragged_and_back(bags):
    assert Ragged.from_lists(bags).to_lists() == bags


@pytest.mark.slow
@given(BAGS)
@few_examples
def test_offsets_split_the_indices_into_bags(bags):
    ragged = Ragged.from_lists(bags)
    bounds = zip(ragged.offsets[:-1], ragged.offsets[1:], strict=True)
    assert [ragged.indices[start:end].tolist() for start, end in bounds] == bags


@pytest.mark.slow
@given(BAGS)
@few_examples
def test_offsets_start_at_zero_and_end_at_the_number_of_ids(bags):
    ragged = Ragged.from_lists(bags)
    assert ragged.offsets.dtype == np.int64
    assert len(ragged.offsets) == len(bags) + 1
    assert ragged.offsets[0] == 0
    assert ragged.offsets[-1] == len(ragged.indices)
    assert (len(ragged), ragged.lengths.tolist()) == (len(bags), [len(bag) for bag in bags])


@pytest.mark.slow
@given(st.lists(BAGS, max_size=4))
@few_examples
def test_concat_keeps_the_order_of_the_bags(parts):
    whole = Ragged.concat([Ragged.from_lists(part) for part in parts])
    assert whole.to_lists() == [bag for part in parts for bag in part]
    assert whole.indices.dtype == np.int64


@pytest.mark.slow
@given(BAGS.filter(bool), st.data())
@few_examples
def test_take_returns_bags_in_any_order_with_repeats(bags, data):
    indices = data.draw(st.lists(st.integers(0, len(bags) - 1), max_size=10))
    taken = Ragged.from_lists(bags).take(np.array(indices, dtype=np.int64))
    assert taken.to_lists() == [bags[index] for index in indices]


def test_bags_have_equal_hashes_if_they_have_the_same_ids_in_any_order():
    bags = [[5, 9, 5], [9, 5], [5, 5, 9], [], [9, 9, 5], [], [0], [0, 0], [5, 9, 5, 0]]
    ids = Ragged.from_lists(bags, np.int32)
    hashes = ids.hashes()
    for first, first_hash in zip(bags, hashes, strict=True):
        for second, second_hash in zip(bags, hashes, strict=True):
            assert (first_hash == second_hash) == (sorted(first) == sorted(second))
        assert (first_hash == 0) == (first == [])
    assert len(set(Ragged.one_each(np.arange(100_000)).hashes().tolist())) == 100_000


@pytest.mark.slow
@given(BAGS, st.sampled_from([np.int32, np.int64]))
@few_examples
def test_a_hash_is_the_sum_of_the_numbers_of_the_ids(bags, dtype):
    expected = [
        int(mix_bits((np.array(bag, np.int64).astype(np.uint64) + np.uint64(1)) * GOLDEN).sum())
        for bag in bags
    ]
    assert Ragged.from_lists(bags, dtype).hashes().tolist() == expected


@pytest.mark.slow
@given(BAGS, st.data())
@few_examples
def test_filter_ids_drops_ids_and_keeps_every_bag(bags, data):
    masks = [[data.draw(st.booleans()) for _ in bag] for bag in bags]
    flat = np.array([flag for mask in masks for flag in mask], dtype=bool)
    expected = [
        [item for item, flag in zip(bag, mask, strict=True) if flag]
        for bag, mask in zip(bags, masks, strict=True)
    ]
    filtered = Ragged.from_lists(bags).filter_ids(flat)
    assert filtered.to_lists() == expected
    assert filtered.offsets.dtype == np.int64


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 6)), max_size=8))
@few_examples
def test_concat_ranges_concatenates_python_ranges(pairs):
    starts, lengths = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    expected = [item for start, length in pairs for item in range(start, start + length)]
    assert concat_ranges(starts, lengths).tolist() == expected


@pytest.mark.parametrize("bags", [[], [[]], [[], [], []]])
def test_every_operation_accepts_bags_without_ids(bags):
    ragged = Ragged.from_lists(bags)
    assert ragged.to_lists() == bags
    assert Ragged.concat([ragged, ragged]).to_lists() == bags + bags
    assert ragged.take(np.arange(len(bags))).to_lists() == bags
    assert ragged.filter_ids(np.empty(0, dtype=bool)).to_lists() == bags


def test_concat_of_no_parts_has_no_bags():
    nothing = Ragged.concat([])
    assert (len(nothing), nothing.to_lists()) == (0, [])


def test_every_operation_keeps_the_dtype_of_ids():
    small = Ragged.from_lists([[1, 2], [3]], np.int32)
    results = [
        Ragged.concat([small, small]),
        small.take(np.array([1])),
        small.filter_ids(np.array([True, False, True])),
    ]
    assert [result.indices.dtype for result in results] == [np.int32] * 3


def test_no_lengths_give_a_single_offset():
    assert offsets_from_lengths([]).tolist() == [0]


def test_taking_a_missing_bag_is_an_index_error():
    with pytest.raises(IndexError):
        Ragged.from_lists([[1]]).take(np.array([1]))
