"""Hierarchical softmax and negative sampling, against sums in plain Python."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttext_app.core.device import torch_threads
from fasttext_app.model.huffman import HuffmanTree
from fasttext_app.training.losses import Loss, hierarchical_softmax, negative_sampling


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with torch_threads(1):
        yield


def log_sigmoid(x):
    return -math.log1p(math.exp(-x)) if x > 0 else x - math.log1p(math.exp(x))


# --- hierarchical softmax


@pytest.mark.slow
@given(st.lists(st.integers(1, 50), min_size=2, max_size=12), st.data())
@settings(deadline=None, max_examples=20)
def test_the_loss_of_the_tree_is_minus_the_log_probability_of_the_right_class(counts, data):
    classes, rows = len(counts), data.draw(st.integers(1, 5))
    right = data.draw(st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows))
    linear, bags = random_layer(classes, rows, data.draw(st.integers(0, 99)))
    losses = hierarchical_softmax(counts)(linear, bags, torch.tensor(right))
    logs = HuffmanTree.build(counts).log_probabilities(linear(bags).detach().numpy())
    expected = -logs[np.arange(rows), right]
    assert losses.tolist() == pytest.approx(expected.tolist(), rel=1e-4, abs=1e-5)


def random_layer(classes, rows, seed):
    generator = torch.Generator().manual_seed(seed)
    linear = torch.nn.Linear(3, classes)
    with torch.no_grad():
        linear.weight.uniform_(-2, 2, generator=generator)
        linear.bias.uniform_(-2, 2, generator=generator)
    return linear, torch.rand(rows, 3, generator=generator)


def test_the_loss_of_the_tree_of_no_rows_is_zero():
    linear, _ = random_layer(3, 1, 0)
    loss = Loss(hierarchical_softmax([3, 2, 1]))
    assert loss(linear, torch.zeros(0, 3), torch.zeros(0, dtype=int)).item() == 0


# --- negative sampling


def draws(counts, right, rows, negatives, seed=0):
    """Return how often each class was drawn beside the right one, read off a gradient.

    Where every logit is 0, an output that is drawn adds 1/2 to the gradient of its bias, and the
    right one takes 1/2 off.
    """
    linear = torch.nn.Linear(2, len(counts))
    torch.nn.init.zeros_(linear.weight)
    torch.nn.init.zeros_(linear.bias)
    labels = torch.full((rows,), right)
    losses = negative_sampling(counts, negatives, torch.Generator().manual_seed(seed))
    loss = losses(linear, torch.zeros(rows, 2), labels).mean()
    assert loss.item() == pytest.approx((1 + negatives) * math.log(2), rel=1e-5)
    loss.backward()
    found = np.rint(linear.bias.grad.double().numpy() * 2 * rows).astype(int)
    found[right] += rows
    return found


@pytest.mark.slow
@given(
    st.lists(st.integers(1, 10_000), min_size=2, max_size=8),
    st.data(),
    st.integers(1, 7),
    st.integers(0, 2**31),
)
@settings(deadline=None, max_examples=25)
def test_the_right_class_is_never_drawn_beside_itself(counts, data, negatives, seed):
    right = data.draw(st.integers(0, len(counts) - 1))
    found = draws(counts, right, 200, negatives, seed)
    assert found[right] == 0
    assert (found >= 0).all()
    assert found.sum() == 200 * negatives


@pytest.mark.parametrize("counts", [[1, 4, 9, 16, 100], [10_000, 1, 1], [5, 5, 5, 5], [3, 0, 7]])
def test_the_others_are_drawn_by_the_square_root_of_their_counts(counts):
    for right in np.flatnonzero(counts).tolist():
        found = draws(counts, right, 4000, 5)
        odds = np.sqrt(counts) * (np.arange(len(counts)) != right)
        expected = 20_000 * odds / odds.sum()
        assert not found[expected == 0].any()
        sure = expected > 0
        chi_square = ((found - expected)[sure] ** 2 / expected[sure]).sum()
        assert chi_square < 4 * len(counts) + 10


def test_draws_go_on_from_step_to_step_and_equal_seeds_draw_alike():
    linear, bags = random_layer(9, 4, 0)
    labels = torch.zeros(4, dtype=torch.int64)

    def losses(seed):
        loss = negative_sampling([1] * 9, 3, torch.Generator().manual_seed(seed))
        return [loss(linear, bags, labels).sum().item() for _ in range(3)]

    assert losses(1) == losses(1) != losses(2)
    assert all(a != b for a, b in itertools.pairwise(losses(1)))


def test_the_loss_of_draws_is_the_sum_of_yes_or_no_losses():
    """With two classes there is nothing to choose: every draw is the other one."""
    linear, bags = random_layer(2, 5, 3)
    labels = torch.tensor([0, 1, 1, 0, 1])
    losses = negative_sampling([2, 5], 3, torch.Generator())(linear, bags, labels)
    logits = linear(bags).detach().numpy()
    by_hand = [
        -log_sigmoid(row[right]) - 3 * log_sigmoid(-row[1 - right])
        for row, right in zip(logits, labels.tolist(), strict=True)
    ]
    assert losses.tolist() == pytest.approx(by_hand, rel=1e-5)
