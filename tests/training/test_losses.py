"""Losses that look at every class, against their formulas in plain Python."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from fasttext_app.core.device import torch_threads
from fasttext_app.training.losses import OF_LOGITS, Loss, drop_numbers, one_vs_all, softmax

logit_rows = st.lists(
    st.lists(st.floats(-20, 20, width=32), min_size=3, max_size=3), min_size=1, max_size=5
)
every_loss = pytest.mark.parametrize("loss", OF_LOGITS.values(), ids=OF_LOGITS)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with torch_threads(1):
        yield


def draw_labels(data: st.DataObject, rows: list[list[float]]) -> list[int]:
    return data.draw(st.lists(st.integers(0, 2), min_size=len(rows), max_size=len(rows)))


@pytest.mark.slow
@given(logit_rows, st.data())
@settings(deadline=None, max_examples=20)
def test_softmax_is_minus_the_log_probability_of_the_right_class(rows, data):
    labels = draw_labels(data, rows)
    expected = [
        math.log(math.fsum(math.exp(x) for x in row)) - row[label]
        for row, label in zip(rows, labels, strict=True)
    ]
    losses = softmax(torch.tensor(rows), torch.tensor(labels))
    assert losses.tolist() == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.slow
@given(logit_rows, st.data())
@settings(deadline=None, max_examples=20)
def test_one_vs_all_is_the_sum_of_yes_or_no_losses(rows, data):
    labels = draw_labels(data, rows)
    expected = [
        math.fsum(math.log1p(math.exp(-x if c == label else x)) for c, x in enumerate(row))
        for row, label in zip(rows, labels, strict=True)
    ]
    losses = one_vs_all(torch.tensor(rows), torch.tensor(labels))
    assert losses.tolist() == pytest.approx(expected, rel=1e-4, abs=1e-4)


@given(logit_rows, st.data())
@settings(deadline=None, max_examples=20)
def test_the_loss_of_a_batch_is_the_mean_over_its_texts(rows, data):
    logits, labels = torch.tensor(rows), torch.tensor(draw_labels(data, rows))
    for of_logits in OF_LOGITS.values():
        loss = Loss(lambda layer, bags, targets, f=of_logits: f(bags, targets))
        mean = of_logits(logits, labels).mean()
        torch.testing.assert_close(loss(None, logits, labels), mean)
        torch.testing.assert_close(of_logits(logits, labels, mean=True), mean)


@given(logit_rows, st.data())
@settings(deadline=None, max_examples=20)
def test_the_mean_in_one_operation_has_a_bit_identical_gradient(rows, data):
    labels = torch.tensor(draw_labels(data, rows))
    for of_logits in OF_LOGITS.values():
        one, other = (torch.tensor(rows, requires_grad=True) for _ in range(2))
        of_logits(one, labels, mean=True).backward()
        (of_logits(other, labels).sum() / len(rows)).backward()
        assert torch.equal(one.grad, other.grad)


@every_loss
def test_a_loss_is_smaller_for_the_right_class(loss):
    logits = torch.tensor([[4.0, 0.0, 0.0]])
    right, wrong = (loss(logits, torch.tensor([label])).item() for label in (0, 1))
    assert right < wrong


@every_loss
def test_a_loss_does_not_overflow_on_large_logits(loss):
    logits = torch.tensor([[1e4, -1e4]])
    assert math.isfinite(loss(logits, torch.tensor([1])).item())


@pytest.mark.slow
@given(logit_rows, st.floats(0, 0.9), st.data())
@settings(deadline=None, max_examples=20)
def test_label_smoothing_is_that_of_torch_and_one_vs_all_has_the_same_targets(
    rows, smoothing, data
):
    logits, labels = torch.tensor(rows), torch.tensor(draw_labels(data, rows))
    expected = functional.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
    torch.testing.assert_close(softmax(logits, labels, smoothing), expected)
    losses = one_vs_all(logits, labels, smoothing).tolist()
    for row, label, loss in zip(rows, labels.tolist(), losses, strict=True):
        by_hand = 0.0
        for c, x in enumerate(row):
            yes = smoothing / 3 + (1 - smoothing) * (c == label)
            by_hand += yes * math.log1p(math.exp(-x)) + (1 - yes) * math.log1p(math.exp(x))
        assert loss == pytest.approx(by_hand, rel=1e-4, abs=1e-4)


@pytest.mark.slow
@given(logit_rows, st.sampled_from([0.5, 1.0, 2.0, 5.0]), st.data())
@settings(deadline=None, max_examples=20)
def test_the_focal_loss_is_that_of_its_paper(rows, gamma, data):
    logits, labels = torch.tensor(rows), draw_labels(data, rows)
    of_softmax, of_ova = (
        loss(logits, torch.tensor(labels), gamma=gamma).tolist() for loss in (softmax, one_vs_all)
    )
    for text, (row, label) in enumerate(zip(rows, labels, strict=True)):
        total = math.fsum(map(math.exp, row))
        right = math.exp(row[label]) / total
        wrong = math.fsum(math.exp(x) for c, x in enumerate(row) if c != label) / total
        by_hand = wrong**gamma * -math.log(right)
        assert of_softmax[text] == pytest.approx(by_hand, rel=1e-3, abs=1e-4)
        by_hand = 0.0
        for c, x in enumerate(row):
            p = 1 / (1 + math.exp(-x if c == label else x))
            by_hand += (1 - p) ** gamma * -math.log(p)
        assert of_ova[text] == pytest.approx(by_hand, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("gamma", [0.1, 0.5, 2.0])
@every_loss
def test_the_focal_loss_has_a_gradient_however_sure_the_model_is(loss, gamma):
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4], [200.0, 0.0], [0.0, 0.0]], requires_grad=True)
    loss(logits, torch.tensor([0, 0, 0, 0]), gamma=gamma).sum().backward()
    assert logits.grad.isfinite().all()
    assert logits.grad[3].abs().sum() > 0


def test_bag_dropout_zeroes_numbers_and_scales_up_the_others():
    seen = []

    def of_texts(layer, bags, targets):
        seen.append(bags)
        return bags.sum(1)

    generator = torch.Generator().manual_seed(0)
    loss = Loss(of_texts, bag_dropout=partial(drop_numbers, rate=0.25, generator=generator))
    bags = torch.ones(100, 50, requires_grad=True)
    labels = torch.zeros(100, dtype=torch.long)
    loss(None, bags, labels).backward()
    assert sorted(set(seen[0].flatten().tolist())) == pytest.approx([0, 4 / 3])
    assert float((seen[0] == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
    # The gradient takes the same path as the numbers; the loss is a mean over 100 texts.
    torch.testing.assert_close(bags.grad * 100, seen[0].detach())
    loss(None, bags, labels)
    assert not torch.equal(seen[0], seen[1])
