"""Batches: however they are cut, they hold the ids, weights and classes of their texts."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from fasttext_app.core.group import Group
from fasttext_app.core.ragged import Ragged
from fasttext_app.training.batch import Batch, Grouping, collate
from fasttext_app.training.dataset import DividedDataset, EncodedDataset, ShardedDataset
from fasttext_app.training.divided import DividedSplit
from fasttext_app.training.loader import epoch
from fasttext_app.training.token_dropout import TokenDropout

Bags = list[list[int]]

bag_lists = st.lists(st.lists(st.integers(0, 30), max_size=5), min_size=1, max_size=8)
dtypes = st.sampled_from([np.int32, np.int64])


def make_dataset(
    bags: Bags, *, weighted: bool = False, dtype: type = np.int64, last: bool = True
) -> EncodedDataset:
    ragged = Ragged.from_lists(bags, dtype)
    idf = np.arange(31, dtype=np.float32) + 0.5 if weighted else None
    labels = np.arange(len(bags), dtype=np.int64) * 10
    return EncodedDataset(ragged, labels, idf, include_last_offset=last)


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


@pytest.mark.slow
@given(bag_lists, st.booleans(), st.booleans(), dtypes, st.data())
@settings(deadline=None, max_examples=25)
def test_gather_equals_collate(bags, weighted, last, dtype, data):
    dataset = make_dataset(bags, weighted=weighted, dtype=dtype, last=last)
    rows = data.draw(st.lists(st.integers(0, len(bags) - 1), min_size=1, max_size=10))

    gathered = dataset.gather(torch.tensor(rows))

    collated = collate([dataset[row] for row in rows], include_last_offset=last)
    assert_same(gathered, collated)
    assert bags_of(gathered) == [bags[row] for row in rows]
    assert gathered.labels.tolist() == [row * 10 for row in rows]


@pytest.mark.slow
@given(bag_lists, dtypes)
@settings(deadline=None, max_examples=30)
def test_weights_stay_with_their_ids(bags, dtype):
    dataset = make_dataset(bags, weighted=True, dtype=dtype)
    backwards = torch.arange(len(bags)).flip(0)
    batch = dataset.gather(backwards)
    sums = [sum(row + 0.5 for row in bag) for bag in bags]
    expected = [
        (row + 0.5) / total
        for bag, total in zip(bags[::-1], sums[::-1], strict=True)
        for row in bag
    ]
    assert batch.per_sample_weights is not None
    assert batch.per_sample_weights.tolist() == pytest.approx(expected)


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


@pytest.mark.slow
@given(st.integers(1, 60), st.integers(1, 70), st.integers(0, 2**31))
@settings(deadline=None, max_examples=50)
def test_an_epoch_covers_all_texts_once(texts, batch_size, seed):
    generator = torch.Generator().manual_seed(seed)
    batches = labels_of_an_epoch(texts, batch_size, generator)
    assert sorted(row for batch in batches for row in batch) == list(range(texts))
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert len(batches[-1]) == (texts % batch_size or min(texts, batch_size))


def labels_of_an_epoch(texts: int, batch_size: int, generator: torch.Generator) -> list[list[int]]:
    bags = Ragged.from_lists([[1]] * texts)
    data = EncodedDataset(bags, np.arange(texts))
    return [batch.labels.tolist() for batch in epoch(data, batch_size, generator)]


def order_of(seed: int) -> list[list[int]]:
    return labels_of_an_epoch(100, 7, torch.Generator().manual_seed(seed))


def test_the_order_depends_on_the_seed_alone():
    assert order_of(1) == order_of(1)
    assert order_of(1) != order_of(2)
    assert [label for batch in order_of(1) for label in batch] != list(range(100))


def test_every_epoch_has_another_order():
    generator = torch.Generator().manual_seed(0)
    first, second = (labels_of_an_epoch(100, 7, generator) for _ in range(2))
    assert first != second


@pytest.mark.parametrize("text", [-1, 2])
def test_a_text_that_is_not_there_is_an_index_error(text):
    dataset = EncodedDataset(Ragged.from_lists([[1], [2]]), np.array([0, 1]))
    with pytest.raises(IndexError, match="of 2"):
        dataset[text]


# --- batches that the compiled code cuts -------------------------------------------------------


@pytest.mark.slow
@given(
    bag_lists,
    st.integers(1, 5),
    st.sampled_from(["plain", "weighted", "mean"]),
    st.sampled_from([-1, 0, 7]),
    st.booleans(),
    st.sampled_from([1, 2, 8]),
    st.sampled_from([None, TokenDropout(0.5, 3), TokenDropout(0.01, 2**64 - 1)]),
)
@settings(deadline=None, max_examples=30)
def test_cut_batches_are_the_gathered_ones_with_their_ids_grouped(
    bags, batch_size, kind, padding, last, threads, dropout
):
    dataset = make_dataset(bags, weighted=kind == "weighted", dtype=np.int32, last=last)
    grouping = Grouping(rows=31, mean=kind == "mean", padding=padding, threads=threads)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "fasttext_app.training.loader.CUT_IDS", 4
        )  # several pieces, for several threads
        order = torch.Generator().manual_seed(5)
        cut = list(epoch(dataset, batch_size, order, grouping, dropout=dropout))
    order = torch.Generator().manual_seed(5)
    plain = list(epoch(dataset, batch_size, order, dropout=dropout))
    assert len(cut) == len(plain) == dataset.steps(batch_size)
    for batch, expected in zip(cut, plain, strict=True):
        for name in ("indices", "offsets", "labels"):
            assert getattr(batch, name).tolist() == getattr(expected, name).tolist()
        if kind == "weighted":
            weights = expected.per_sample_weights.tolist()
            assert batch.per_sample_weights.tolist() == pytest.approx(weights)
        assert grouped(batch) == pytest.approx(groups_of(batch, kind, padding))


WORDS = [[0, 8, 9], [1], [2, 9], [3, 10, 8, 10]]
"""Rows 0 to 3 are words, and these are their ids, with those of their character n-grams."""


@pytest.mark.slow
@given(
    st.lists(st.lists(st.sampled_from([*WORDS, [20], [30]]), max_size=5), min_size=1, max_size=8),
    st.integers(1, 5),
    st.sampled_from(["plain", "weighted", "mean"]),
    st.sampled_from([1, 2]),
)
@example(texts=[[], [[1]]], batch_size=1, kind="weighted", threads=1)
@settings(deadline=None, max_examples=30)
def test_batches_of_words_are_the_gathered_ones(texts, batch_size, kind, threads):
    bags = [[row for word in text for row in word] for text in texts]
    dataset = make_dataset(bags, weighted=kind == "weighted", dtype=np.int32)
    dataset.word_lengths = np.array([len(ids) for ids in WORDS], np.int32)
    grouping = Grouping(rows=31, mean=kind == "mean", by_word=True, threads=threads)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fasttext_app.training.loader.CUT_IDS", 4)
        cut = list(epoch(dataset, batch_size, torch.Generator().manual_seed(5), grouping))
    plain = list(epoch(dataset, batch_size, torch.Generator().manual_seed(5)))
    assert len(cut) == len(plain)
    for batch, expected in zip(cut, plain, strict=True):
        assert batch.labels.tolist() == expected.labels.tolist()
        words = batch.words
        ids = cut_at(batch.indices, batch.offsets)
        assert len({word[0] for word in ids}) == len(ids)
        of_texts = cut_at(words.words, words.bag_offsets)
        rows = [[row for word in text for row in ids[word]] for text in of_texts]
        assert rows == bags_of(expected)

        # The texts of each word, and the words of each row, are the same pairs the other way round.
        of_words = cut_at(words.bags, words.starts)
        pairs = Counter((w, bag) for bag, text in enumerate(of_texts) for w in text)
        assert Counter((w, bag) for w, group in enumerate(of_words) for bag in group) == pairs
        weight_of = dataset.idf if kind == "weighted" else np.ones(31, np.float32)
        by_row = Counter(
            (row, word, float(weight_of[row])) for word, rows in enumerate(ids) for row in rows
        )
        weights = np.broadcast_to(batch.plan.id_weights, len(batch.indices))
        groups = np.repeat(batch.plan.rows, np.diff(batch.plan.starts))
        triples = zip(groups.tolist(), batch.plan.bags.tolist(), weights.tolist(), strict=True)
        assert Counter(triples) == by_row

        totals = [sum(weight_of[row] for row in bag) for bag in bags_of(expected)]
        scales = [1 / total if total else 0 for total in totals]
        if kind != "plain":
            assert words.scales[np.array(totals) > 0].tolist() == pytest.approx(
                [scale for scale in scales if scale]
            )


def cut_at(values, offsets) -> Bags:
    return [values[start:end].tolist() for start, end in pairwise(offsets.tolist())]


def grouped(batch: Batch) -> dict[tuple[int, int, int], float]:
    """{(row, place in its group, bag): share}."""
    plan = batch.plan
    assert len(set(plan.rows.tolist())) == len(plan.rows)
    return {
        (row, at - start, plan.bags[at]): float(
            plan.id_weights[at if len(plan.id_weights) > 1 else 0]
        )
        for row, start, end in zip(
            plan.rows.tolist(), plan.starts[:-1], plan.starts[1:], strict=True
        )
        for at in range(start, end)
    }


def groups_of(batch: Batch, kind: str, padding: int) -> dict[tuple[int, int, int], float]:
    found, places, at = {}, Counter(), 0
    for number, bag in enumerate(bags_of(batch)):
        real = sum(row != padding for row in bag)
        for row in bag:
            share = {"plain": 1.0, "mean": 1 / max(real, 1)}.get(kind)
            if share is None:
                share = float(batch.per_sample_weights[at])
            at += 1
            if row != padding:
                found[row, places[row], number] = share
                places[row] += 1
    return found


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("padding", "by_word"), [(-1, False), (8, False), (5, False), (-1, True)])
def test_batches_of_a_group_are_cut_without_room_for_the_whole_table(weighted, padding, by_word):
    """Their ids are numbered and back again: the same batches, with rows far beyond the table."""
    bags = [[*WORDS[0], 20], [], [*WORDS[3], *WORDS[0]], [20, 30], WORDS[1], WORDS[2]]
    alone = make_dataset(bags, weighted=weighted, dtype=np.int32)
    alone.word_lengths = np.array([len(ids) for ids in WORDS], np.int32) if by_word else None
    split = DividedSplit(
        shards=(lambda: alone.bags,),
        classes=(alone.labels.numpy(),),
        group=Group(),
        owners=np.zeros(len(bags), np.int32),
        places=np.arange(len(bags)),
        lengths=alone.bags.lengths,
    )
    divided = DividedDataset(split, alone.idf, alone.word_lengths, include_last_offset=True)
    grouping = Grouping(rows=31, mean=True, padding=padding, by_word=by_word, threads=1)

    def batches(data, rows):
        generator = torch.Generator().manual_seed(5)
        return list(epoch(data, 4, generator, replace(grouping, rows=rows)))

    for batch, expected in zip(batches(divided, 1), batches(alone, 31), strict=True):
        assert_same(batch, expected)
        for plan in ("plan", "words"):
            if getattr(expected, plan) is not None:
                for name, values in vars(getattr(expected, plan)).items():
                    np.testing.assert_array_equal(vars(getattr(batch, plan))[name], values)


def test_shards_cover_every_text_once_and_are_shuffled():
    wholes = [make_dataset([[n], [n, n]], dtype=np.int32) for n in range(4)]
    sharded = ShardedDataset([lambda whole=whole: whole for whole in wholes], [2] * 4)
    orders = []
    generator = torch.Generator().manual_seed(1)
    for _ in range(4):
        batches = list(epoch(sharded, 2, generator, Grouping(rows=31, threads=1)))
        assert len(batches) == sharded.steps(2) == 4
        texts = [bag for batch in batches for bag in bags_of(batch)]
        assert sorted(texts) == sorted([[n] * k for n in range(4) for k in (1, 2)])
        orders.append(texts)
    assert len(sharded) == 8
    assert any(order != orders[0] for order in orders)
