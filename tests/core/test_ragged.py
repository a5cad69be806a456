"""``Ragged`` against plain Python lists."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttext_app.core.ragged import Ragged, concat_ranges, offsets_from_lengths

BAGS = st.lists(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=6), max_size=8)
laws = settings(deadline=None, max_examples=80)


@given(BAGS)
@laws
def test_lists_come_back(bags):
    assert Ragged.from_lists(bags).to_lists() == bags


@given(BAGS)
@laws
def test_splitting_indices_by_offsets_gives_the_bags_back(bags):
    ragged = Ragged.from_lists(bags)
    bounds = zip(ragged.offsets[:-1], ragged.offsets[1:], strict=True)
    assert [ragged.indices[start:end].tolist() for start, end in bounds] == bags


@given(BAGS)
@laws
def test_offsets_are_in_the_arrow_form(bags):
    ragged = Ragged.from_lists(bags)
    assert ragged.offsets.dtype == np.int64
    assert len(ragged.offsets) == len(bags) + 1
    assert ragged.offsets[0] == 0
    assert ragged.offsets[-1] == len(ragged.indices)
    assert (len(ragged), ragged.lengths.tolist()) == (len(bags), [len(bag) for bag in bags])


@given(st.lists(BAGS, max_size=4))
@laws
def test_concat_puts_the_bags_one_after_another(parts):
    whole = Ragged.concat([Ragged.from_lists(part) for part in parts])
    assert whole.to_lists() == [bag for part in parts for bag in part]
    assert whole.indices.dtype == np.int64


@given(BAGS.filter(bool), st.data())
@laws
def test_take_gathers_bags_in_any_order_and_more_than_once(bags, data):
    numbers = data.draw(st.lists(st.integers(0, len(bags) - 1), max_size=10))
    taken = Ragged.from_lists(bags).take(np.array(numbers, dtype=np.int64))
    assert taken.to_lists() == [bags[number] for number in numbers]


@given(BAGS, st.data())
@laws
def test_where_drops_ids_and_keeps_every_bag(bags, data):
    keep = [[data.draw(st.booleans()) for _ in bag] for bag in bags]
    flat = np.array([flag for flags in keep for flag in flags], dtype=bool)
    expected = [
        [item for item, kept in zip(bag, flags, strict=True) if kept]
        for bag, flags in zip(bags, keep, strict=True)
    ]
    kept = Ragged.from_lists(bags).filter_ids(flat)
    assert kept.to_lists() == expected
    assert kept.offsets.dtype == np.int64


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 6)), max_size=8))
@laws
def test_bounded_ranges_are_pythons_ranges_end_to_end(pairs):
    starts, lengths = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    expected = [item for start, length in pairs for item in range(start, start + length)]
    assert concat_ranges(starts, lengths).tolist() == expected


@pytest.mark.parametrize("bags", [[], [[]], [[], [], []]])
def test_every_operation_takes_bags_without_ids(bags):
    ragged = Ragged.from_lists(bags)
    everything = np.arange(len(bags))
    assert ragged.to_lists() == bags
    assert Ragged.concat([ragged, ragged]).to_lists() == bags + bags
    assert ragged.take(everything).to_lists() == bags
    assert ragged.filter_ids(np.empty(0, dtype=bool)).to_lists() == bags


def test_concat_of_nothing_is_no_bags():
    nothing = Ragged.concat([])
    assert (len(nothing), nothing.to_lists()) == (0, [])


def test_the_id_type_survives_every_operation():
    small = Ragged.from_lists([[1, 2], [3]], np.int32)
    results = [
        Ragged.concat([small, small]),
        small.take(np.array([1])),
        small.filter_ids(np.array([True, False, True])),
    ]
    assert [result.indices.dtype for result in results] == [np.int32] * 3


def test_offsets_of_no_lengths_is_a_single_zero():
    assert offsets_from_lengths([]).tolist() == [0]


def test_taking_a_bag_that_is_not_there_is_an_index_error():
    with pytest.raises(IndexError):
        Ragged.from_lists([[1]]).take(np.array([1]))
