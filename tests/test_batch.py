"""Batches: however they are cut, they hold the ids, weights and classes of their texts."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from fasttext_app.batch import Batch, EncodedDataset, collate, shuffled_batches
from fasttext_app.text.ragged import Ragged

Bags = list[list[int]]

bag_lists = st.lists(st.lists(st.integers(0, 30), max_size=5), min_size=1, max_size=8)
dtypes = st.sampled_from([np.int32, np.int64])


def make_dataset(
    bags: Bags, *, weighted: bool = False, dtype: type = np.int64, last: bool = True
) -> EncodedDataset:
    ragged = Ragged.from_lists(bags, dtype)
    weights = np.arange(len(ragged.indices), dtype=np.float32) + 0.5 if weighted else None
    labels = np.arange(len(bags), dtype=np.int64) * 10
    return EncodedDataset(ragged, labels, weights, include_last_offset=last)


def assert_same(one: Batch, other: Batch) -> None:
    for name in ("indices", "offsets", "labels", "per_sample_weights"):
        left, right = getattr(one, name), getattr(other, name)
        if left is None:
            assert right is None, name
        else:
            assert left.dtype == right.dtype, name
            assert left.tolist() == right.tolist(), name


def bags_of(batch: Batch) -> Bags:
    offsets = batch.offsets.tolist()
    if len(offsets) == len(batch):
        offsets.append(len(batch.indices))
    ids = batch.indices.tolist()
    return [ids[start:end] for start, end in pairwise(offsets)]


@given(bag_lists, st.booleans(), st.booleans(), dtypes, st.data())
@settings(deadline=None, max_examples=60)
def test_gather_equals_collate(bags, weighted, last, dtype, data):
    dataset = make_dataset(bags, weighted=weighted, dtype=dtype, last=last)
    rows = data.draw(st.lists(st.integers(0, len(bags) - 1), min_size=1, max_size=10))

    gathered = dataset.gather(torch.tensor(rows))

    collated = collate([dataset[row] for row in rows], include_last_offset=last)
    assert_same(gathered, collated)
    assert bags_of(gathered) == [bags[row] for row in rows]
    assert gathered.labels.tolist() == [row * 10 for row in rows]


@given(bag_lists, dtypes)
@settings(deadline=None, max_examples=30)
def test_weights_stay_with_their_ids(bags, dtype):
    dataset = make_dataset(bags, weighted=True, dtype=dtype)
    backwards = torch.arange(len(bags)).flip(0)
    batch = dataset.gather(backwards)
    numbered = Ragged.from_lists(bags)
    positions = Ragged(np.arange(len(numbered.indices)), numbered.offsets).to_lists()
    expected = [position + 0.5 for bag in reversed(positions) for position in bag]
    assert batch.per_sample_weights is not None
    assert batch.per_sample_weights.tolist() == expected


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_ids_and_offsets_have_the_type_of_the_data(dtype):
    batch = make_dataset([[1, 2], [3]], dtype=dtype).gather(torch.tensor([1, 0]))
    wanted = torch.from_numpy(np.empty(0, dtype)).dtype
    assert batch.indices.dtype == wanted
    assert batch.offsets.dtype == wanted
    assert batch.labels.dtype == torch.int64


def test_empty_texts_and_repeats_keep_their_places():
    dataset = make_dataset([[], [7, 8], []])
    batch = dataset.gather(torch.tensor([1, 0, 2, 1]))
    assert batch.indices.tolist() == [7, 8, 7, 8]
    assert batch.offsets.tolist() == [0, 2, 2, 2, 4]
    assert len(batch) == 4


def test_a_batch_of_nothing_but_empty_texts():
    batch = make_dataset([[], []]).gather(torch.tensor([0, 1]))
    assert batch.indices.tolist() == []
    assert batch.offsets.tolist() == [0, 0, 0]


def test_without_the_last_offset_there_is_one_for_each_text():
    batch = make_dataset([[1, 2], [], [3]], last=False).gather(torch.tensor([0, 1, 2]))
    assert batch.offsets.tolist() == [0, 2, 2]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("last", [False, True])
def test_a_stock_data_loader_gives_the_same_batches(weighted, last):
    bags = [[1, 2, 3], [], [4], [5, 5], [6]]
    dataset = make_dataset(bags, weighted=weighted, last=last)
    join = partial(collate, include_last_offset=last)
    loader = DataLoader(dataset, batch_size=2, collate_fn=join)
    gathered = [dataset.gather(rows) for rows in torch.arange(5).split(2)]
    for from_loader, from_gather in zip(loader, gathered, strict=True):
        assert_same(from_loader, from_gather)


def test_a_shuffling_data_loader_covers_every_example():
    bags = [[1, 2, 3], [], [4], [5, 5], [6]]
    generator = torch.Generator().manual_seed(3)
    loader = DataLoader(
        make_dataset(bags), batch_size=2, shuffle=True, generator=generator, collate_fn=collate
    )
    batches = list(loader)
    seen = {
        label: bag
        for batch in batches
        for label, bag in zip(batch.labels.tolist(), bags_of(batch), strict=True)
    }
    assert seen == {10 * row: bag for row, bag in enumerate(bags)}


def test_length_is_the_number_of_texts():
    assert len(make_dataset([[1, 2], [], [3]])) == 3


@given(st.integers(1, 60), st.integers(1, 70), st.integers(0, 2**31))
@settings(deadline=None, max_examples=50)
def test_shuffled_batches_cover_all_texts_once(texts, batch_size, seed):
    generator = torch.Generator().manual_seed(seed)
    batches = [batch.tolist() for batch in shuffled_batches(texts, batch_size, generator)]
    assert sorted(row for batch in batches for row in batch) == list(range(texts))
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert len(batches[-1]) == (texts % batch_size or min(texts, batch_size))


def order_of(seed: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.cat(list(shuffled_batches(100, 7, generator))).tolist()


def test_the_order_depends_on_the_seed_alone():
    assert order_of(1) == order_of(1)
    assert order_of(1) != order_of(2)
    assert order_of(1) != list(range(100))


def test_every_epoch_has_another_order():
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.cat(list(shuffled_batches(100, 7, generator))) for _ in range(2))
    assert first.tolist() != second.tolist()


@pytest.mark.parametrize("text", [-1, 2])
def test_a_text_that_is_not_there_is_an_index_error(text):
    dataset = EncodedDataset(Ragged.from_lists([[1], [2]]), np.array([0, 1]))
    with pytest.raises(IndexError, match="of 2"):
        dataset[text]
