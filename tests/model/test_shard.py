"""Parts of a table: they cover it once, and sums of rows are exact in any order."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch

from fasttext_app.core.arrays import F32, I64
from fasttext_app.core.group import Group
from fasttext_app.errors import ConfigError, TrainingError
from fasttext_app.model.classifier import FastTextClassifier
from fasttext_app.model.shard import SHARES, Rows, Share, overlap
from fasttext_app.model.shard_autograd import sum_vectors
from fasttext_app.model.shard_kernels import LARGEST, SCALE

ROWS, DIM = 23, 5
GENERATOR = np.random.default_rng(0)
IDS = GENERATOR.integers(0, ROWS, 60).astype(np.int32)
OFFSETS = np.array([0, 0, 7, 8, 40, 60], np.int32)


def shares(kind: str, size: int) -> list[Share]:
    return [SHARES[kind](Group(rank, size), ROWS, DIM) for rank in range(size)]


def part_of(table: F32, share: Share) -> F32:
    rows, columns = share.part
    return np.ascontiguousarray(table[np.ix_(rows, columns)])


@pytest.mark.parametrize("kind", SHARES)
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_parts_cover_the_table_once_and_are_drawn_as_one(
    kind: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fasttext_app.model.shard.BLOCK", 7 * DIM)  # several blocks
    plain = FastTextClassifier(ROWS, 2, DIM, generator=torch.Generator().manual_seed(3))
    whole = np.full((ROWS, DIM), np.nan, np.float32)
    for share in shares(kind, size):
        rows, columns = share.part
        assert np.isnan(whole[np.ix_(rows, columns)]).all()
        whole[np.ix_(rows, columns)] = share.draw(torch.Generator().manual_seed(3)).numpy()
    np.testing.assert_array_equal(whole, plain.embedding.weight.detach().numpy())


@pytest.mark.parametrize("kind", SHARES)
def test_rows_from_elsewhere_go_where_they_belong(kind: str) -> None:
    rows = np.array([22, 0, 7, 4])
    vectors = GENERATOR.normal(size=(4, DIM)).astype(np.float32)
    for share in shares(kind, 3):
        local, own = share.take(rows, vectors)
        expected = np.zeros((ROWS, DIM), np.float32)
        expected[rows] = vectors
        table = np.zeros((len(share.part[0]), len(share.part[1])), np.float32)
        table[local] = own
        np.testing.assert_array_equal(table, part_of(expected, share))


@pytest.mark.parametrize(("kind", "problem"), [("columns", "5 columns"), ("rows", "23 rows")])
def test_more_processes_than_parts_are_refused(kind: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=f"24 processes cannot share the {problem}"):
        shares(kind, 24)


@pytest.mark.parametrize("weighted", [False, True])
def test_sums_of_rows_are_the_same_for_any_number_of_processes(weighted: bool) -> None:
    table = (
        GENERATOR.normal(size=(ROWS, DIM)) * 10.0 ** GENERATOR.integers(-6, 5, (ROWS, 1))
    ).astype(np.float32)
    weights = GENERATOR.random(len(IDS) if weighted else 1, np.float32) * 3 - 1
    expected = reference_sums(table, weights)
    for size in (1, 2, 3, 5):
        total = np.zeros((len(OFFSETS) - 1, DIM + 1), np.int64)
        for share in shares("rows", size):
            assert isinstance(share, Rows)
            total += share.sums(part_of(table, share), IDS, OFFSETS, weights)
        np.testing.assert_array_equal(total[:, :-1], expected)
        if size == 1:
            first = total
        np.testing.assert_array_equal(total, first)  # the sizes too, which decide about errors


@pytest.mark.parametrize("weighted", [False, True])
def test_torch_sums_rows_to_the_bits_of_the_kernel(weighted: bool) -> None:
    exponents = GENERATOR.integers(-12, 8, (ROWS, DIM))
    table = (GENERATOR.normal(size=(ROWS, DIM)) * 10.0**exponents).astype(np.float32)
    table[3, 1:3], table[5, 0], table[7, 4] = (0, -0.0), np.nan, np.inf
    table[9], table[11, 2] = 0.5 / SCALE, -1024.0  # halves of a unit; the limit of fast rounding
    weights = GENERATOR.random(len(IDS) if weighted else 1, np.float32) * 3 - 1
    bags = torch.from_numpy(np.repeat(np.arange(len(OFFSETS) - 1), np.diff(OFFSETS)))
    for share in shares("rows", 3):
        assert isinstance(share, Rows)
        rows, numbers = share.part[0], IDS % 3
        own = numbers == rows.start
        vectors = torch.from_numpy(table[IDS[own]])
        id_weights = torch.from_numpy(np.broadcast_to(weights, len(IDS))[own])
        sums = sum_vectors(vectors, id_weights, bags[own], len(OFFSETS) - 1)
        expected = share.sums(table[rows.start :: rows.step].copy(), IDS, OFFSETS, weights)
        np.testing.assert_array_equal(sums.numpy(), expected)


@pytest.mark.parametrize("kind", SHARES)
@pytest.mark.parametrize(("mode", "weighted"), [("mean", False), ("sum", True)])
@pytest.mark.parametrize("sparse", [False, True])
def test_bags_and_their_gradient_are_those_of_an_embedding_bag(
    kind: str, mode: str, weighted: bool, sparse: bool
) -> None:
    table = GENERATOR.normal(size=(ROWS, DIM)).astype(np.float32)
    ids, offsets, weights = torch.from_numpy(IDS), torch.from_numpy(OFFSETS), None
    if weighted:
        weights = torch.from_numpy(GENERATOR.random(len(IDS), np.float32))
    gradient = torch.from_numpy(GENERATOR.normal(size=(len(OFFSETS) - 1, DIM)).astype(np.float32))
    results = []
    for share in (None, *shares(kind, 1)):
        parameter = torch.nn.Parameter(torch.from_numpy(table.copy()))
        embedding = torch.nn.EmbeddingBag(
            ROWS, DIM, mode=mode, sparse=sparse, include_last_offset=True, _weight=parameter
        )
        if share is None:
            bags = embedding(ids, offsets, weights)
        else:
            bags = share.bags(embedding, ids, offsets, weights)
            with torch.no_grad():  # rows are then summed by the kernel
                assert torch.equal(share.bags(embedding, ids, offsets, weights), bags)
        bags.backward(gradient)
        assert embedding.weight.grad is not None
        results.append((bags.detach(), embedding.weight.grad.to_dense()))
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=1e-5)


def reference_sums(table: F32, weights: F32) -> I64:
    """Sum whole numbers of any size, term by term."""
    unit, sums = Fraction(int(SCALE)), np.zeros((len(OFFSETS) - 1, DIM), np.int64)
    for bag, column in product(range(len(sums)), range(DIM)):
        total = 0
        for place in range(OFFSETS[bag], OFFSETS[bag + 1]):
            weight = weights[place if len(weights) > 1 else 0]
            total += round(
                Fraction(float(weight)) * Fraction(float(table[IDS[place], column])) * unit
            )
        sums[bag, column] = total
    return sums


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -LARGEST * 1.01])
def test_rows_that_cannot_be_summed_are_refused(value: float) -> None:
    table = np.full((ROWS, DIM), 0.5, np.float32)
    table[4, 2] = value
    share = Rows(Group(), ROWS, DIM)
    ids, one = np.array([4, 1], np.int32), np.ones(1, np.float32)
    sums = share.sums(table, ids, np.array([0, 1, 2], np.int32), one)
    assert share.add_up(torch.from_numpy(sums[1:])).tolist() == [[0.5] * DIM]
    with pytest.raises(TrainingError, match=r"not finite, or add up to more .* lower optimizer.lr"):
        share.add_up(torch.from_numpy(sums))


def test_sums_up_to_the_limit_are_exact() -> None:
    share, one = Rows(Group(), 2, 1), np.ones(1, np.float32)
    table = np.array([[LARGEST / 4], [-LARGEST / 4]], np.float32)
    bags = np.array([0, 4, 8, 13], np.int32)
    ids = np.array([0] * 4 + [1] * 4 + [1] * 5, np.int32)
    sums = torch.from_numpy(share.sums(table, ids, bags, one))
    assert share.add_up(sums[:2]).tolist() == [[LARGEST], [-LARGEST]]
    with pytest.raises(TrainingError):
        share.add_up(sums)


def test_overlaps_are_what_two_ranges_have_in_common() -> None:
    ranges = [
        range(start, stop, step) for start in (0, 1, 3) for stop in (4, 13) for step in (1, 2, 3)
    ]
    for one, other in product(ranges, ranges):
        common = sorted(set(one) & set(other))
        slices = overlap(one, other)
        if slices is None:
            assert not common
        else:
            assert [*one[slices[0]]] == [*other[slices[1]]] == common
