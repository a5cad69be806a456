"""Losses against the formulas, optimizers against each other, schedules at their corners."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from fasttext_app.config.loading import flat_layer, resolve
from fasttext_app.config.schema import OptimizerConfig
from fasttext_app.core.device import torch_threads
from fasttext_app.model.classifier import FastTextClassifier
from fasttext_app.training.batch import Batch
from fasttext_app.training.losses import (
    LOSSES,
    build_loss,
    losses_of_texts,
    one_vs_all,
    with_bag_dropout,
)
from fasttext_app.training.optim.rules import torch_optimizers
from fasttext_app.training.optim.schedules import SCHEDULES, lr_factor
from fasttext_app.training.optim.torch_step import TorchStep

logit_rows = st.lists(
    st.lists(st.floats(-20, 20, width=32), min_size=3, max_size=3), min_size=1, max_size=5
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    # torch warns once if nobody says whether sparse gradients are to be checked.
    with torch_threads(1), torch.sparse.check_sparse_tensor_invariants(enable=False):
        yield


@given(logit_rows, st.data())
@settings(deadline=None, max_examples=50)
def test_softmax_is_the_mean_of_minus_log_probability(rows, data):
    size = len(rows)
    labels = data.draw(st.lists(st.integers(0, 2), min_size=size, max_size=size))
    by_hand = [
        math.log(math.fsum(math.exp(x) for x in row)) - row[label]
        for row, label in zip(rows, labels, strict=True)
    ]
    loss = LOSSES["softmax"](torch.tensor(rows), torch.tensor(labels))
    assert loss.item() == pytest.approx(math.fsum(by_hand) / size, rel=1e-4, abs=1e-4)


@given(logit_rows, st.data())
@settings(deadline=None, max_examples=50)
def test_ova_is_the_sum_of_yes_or_no_losses(rows, data):
    size = len(rows)
    labels = data.draw(st.lists(st.integers(0, 2), min_size=size, max_size=size))
    by_hand = [
        math.fsum(math.log1p(math.exp(-x if c == label else x)) for c, x in enumerate(row))
        for row, label in zip(rows, labels, strict=True)
    ]
    loss = one_vs_all(torch.tensor(rows), torch.tensor(labels))
    assert loss.item() == pytest.approx(math.fsum(by_hand) / size, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("name", list(LOSSES))
def test_a_loss_is_smaller_for_the_right_class(name):
    logits = torch.tensor([[4.0, 0.0, 0.0]])
    right, wrong = (LOSSES[name](logits, torch.tensor([c])).item() for c in (0, 1))
    assert right < wrong


@pytest.mark.parametrize("name", list(LOSSES))
def test_a_loss_does_not_overflow_on_large_logits(name):
    logits = torch.tensor([[1e4, -1e4]])
    assert math.isfinite(LOSSES[name](logits, torch.tensor([1])).item())


@given(logit_rows, st.floats(0, 0.9), st.data())
@settings(deadline=None, max_examples=50)
def test_label_smoothing_is_torch_s_own_and_for_ova_the_same_targets(rows, smoothing, data):
    size, logits = len(rows), torch.tensor(rows)
    labels = torch.tensor(data.draw(st.lists(st.integers(0, 2), min_size=size, max_size=size)))
    softmax = losses_of_texts("softmax", logits, labels, smoothing)
    expected = functional.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
    torch.testing.assert_close(softmax, expected)
    for row, label, loss in zip(
        rows, labels.tolist(), losses_of_texts("ova", logits, labels, smoothing), strict=True
    ):
        by_hand = 0.0
        for number, x in enumerate(row):
            yes = smoothing / 3 + (1 - smoothing) * (number == label)
            by_hand += yes * math.log1p(math.exp(-x)) + (1 - yes) * math.log1p(math.exp(x))
        assert loss.item() == pytest.approx(by_hand, rel=1e-4, abs=1e-4)


@given(logit_rows, st.sampled_from([0.5, 1.0, 2.0, 5.0]), st.data())
@settings(deadline=None, max_examples=50)
def test_the_focal_loss_is_that_of_its_paper(rows, gamma, data):
    size, logits = len(rows), torch.tensor(rows)
    labels = data.draw(st.lists(st.integers(0, 2), min_size=size, max_size=size))
    softmax, ova = (
        losses_of_texts(name, logits, torch.tensor(labels), gamma=gamma)
        for name in ("softmax", "ova")
    )
    for number, (row, label) in enumerate(zip(rows, labels, strict=True)):
        total = math.fsum(map(math.exp, row))
        right = math.exp(row[label]) / total
        wrong = math.fsum(math.exp(x) for c, x in enumerate(row) if c != label) / total
        by_hand = wrong**gamma * -math.log(right)
        assert softmax[number].item() == pytest.approx(by_hand, rel=1e-3, abs=1e-4)
        by_hand = 0.0
        for c, x in enumerate(row):
            p = 1 / (1 + math.exp(-x if c == label else x))
            by_hand += (1 - p) ** gamma * -math.log(p)
        assert ova[number].item() == pytest.approx(by_hand, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("gamma", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("name", list(LOSSES))
def test_the_focal_loss_has_a_gradient_however_sure_the_model_is(name, gamma):
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4], [200.0, 0.0], [0.0, 0.0]], requires_grad=True)
    losses_of_texts(name, logits, torch.tensor([0, 0, 0, 0]), gamma=gamma).sum().backward()
    assert logits.grad.isfinite().all()
    assert logits.grad[3].abs().sum() > 0


def test_bag_dropout_sets_numbers_to_0_and_scales_up_the_others():
    seen = []

    def loss(linear, bags, labels, weights=None):
        seen.append(bags)
        return bags.sum()

    draws = torch.Generator().manual_seed(0)
    dropped = with_bag_dropout(loss, 0.25, draws)
    bags = torch.ones(100, 50, requires_grad=True)
    dropped(torch.nn.Linear(50, 2), bags, torch.zeros(100, dtype=torch.long)).backward()
    assert sorted(set(seen[0].flatten().tolist())) == pytest.approx([0, 4 / 3])
    assert float((seen[0] == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
    assert torch.equal(bags.grad, seen[0].detach())  # the gradient goes where the numbers went
    dropped(torch.nn.Linear(50, 2), bags, torch.zeros(100, dtype=torch.long))
    assert not torch.equal(seen[0], seen[1])


def make_model(*, sparse: bool) -> FastTextClassifier:
    generator = torch.Generator().manual_seed(0)
    model = FastTextClassifier(6, 3, 4, sparse=sparse, generator=generator)
    torch.nn.init.uniform_(model.linear.weight, -1, 1, generator=generator)
    return model


def train_steps(model: FastTextClassifier, config: OptimizerConfig, steps: int) -> None:
    optimizers = torch_optimizers(model, config)
    generator = np.random.default_rng(1)
    for _ in range(steps):
        indices = torch.from_numpy(generator.integers(0, 6, size=12))  # rows repeat
        labels = torch.from_numpy(generator.integers(0, 3, size=4))
        logits = model(indices, torch.tensor([0, 5, 5, 9, 12]))
        functional.cross_entropy(logits, labels).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()


COMBINATIONS = [
    ("sgd", True),
    ("sgd", False),
    ("adagrad", True),
    ("adagrad", False),
    ("sparse_adam", True),
]


@pytest.mark.parametrize(("name", "sparse"), COMBINATIONS)
def test_every_parameter_is_stepped_by_one_optimizer(name, sparse):
    model = make_model(sparse=sparse)
    optimizers = torch_optimizers(model, OptimizerConfig(name=name))
    stepped = [
        parameter
        for optimizer in optimizers
        for group in optimizer.param_groups
        for parameter in group["params"]
    ]
    assert sorted(map(id, stepped)) == sorted(map(id, model.parameters()))

    before = {key: value.clone() for key, value in model.state_dict().items()}
    train_steps(model, OptimizerConfig(name=name), steps=1)
    for key, value in model.state_dict().items():
        assert not torch.equal(value, before[key]), key


@pytest.mark.parametrize("name", ["sgd", "adagrad"])
def test_sparse_and_dense_steps_lead_to_the_same_weights(name):
    sparse, dense = make_model(sparse=True), make_model(sparse=False)
    for model in (sparse, dense):
        train_steps(model, OptimizerConfig(name=name, lr=0.3), steps=10)
    for key, value in sparse.state_dict().items():
        torch.testing.assert_close(value, dense.state_dict()[key], rtol=1e-4, atol=1e-5)


def test_sparse_adam_is_paired_with_adam_on_the_linear_layer():
    model = make_model(sparse=True)
    config = OptimizerConfig(name="sparse_adam", lr=0.25, betas=(0.5, 0.75), eps=1e-4)
    table, linear = torch_optimizers(model, config)
    assert isinstance(table, torch.optim.SparseAdam)
    assert isinstance(linear, torch.optim.Adam)
    assert [id(p) for p in table.param_groups[0]["params"]] == [id(model.embedding.weight)]
    for optimizer in (table, linear):
        group = optimizer.param_groups[0]
        assert (group["lr"], group["betas"], group["eps"]) == (0.25, (0.5, 0.75), 1e-4)


def test_the_other_settings_reach_their_optimizer():
    model = make_model(sparse=False)
    sgd = OptimizerConfig(name="sgd", lr=0.5, momentum=0.25, weight_decay=0.125)
    group = torch_optimizers(model, sgd)[0].param_groups[0]
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.5, 0.25, 0.125)
    adagrad = OptimizerConfig(name="adagrad", lr=0.5, weight_decay=0.125, eps=1e-3)
    group = torch_optimizers(model, adagrad)[0].param_groups[0]
    assert (group["lr"], group["weight_decay"], group["eps"]) == (0.5, 0.125, 1e-3)


@pytest.mark.parametrize(("name", "sparse"), COMBINATIONS)
def test_the_learning_rate_of_a_step_reaches_every_parameter_group(name, sparse):
    config = resolve(flat_layer({"name": name, "sparse": sparse, "dim": 4}))
    step = TorchStep(make_model(sparse=sparse), config, build_loss(config, [1, 1, 1]))
    step.optimizers[0].add_param_group({"params": [torch.nn.Parameter(torch.zeros(2))]})
    step.train(Batch(torch.tensor([0, 1]), torch.tensor([0, 2]), torch.tensor([2])), 0.0625)
    groups = [group for optimizer in step.optimizers for group in optimizer.param_groups]
    assert {group["lr"] for group in groups} == {0.0625}


def rates(schedule: str, steps: int, warmup: float = 0.0) -> list[float]:
    return [lr_factor(schedule, step, steps, warmup) for step in range(steps + 1)]


def test_linear_goes_down_to_zero():
    assert rates("linear", 4) == [1.0, 0.75, 0.5, 0.25, 0.0]


def test_constant_stays():
    assert rates("constant", 4) == [1.0] * 5


def test_cosine_goes_down_to_zero_by_half_a_cosine():
    expected = [1.0, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0.0]
    assert rates("cosine", 4) == pytest.approx(expected)


def test_warm_up_rises_in_a_line_and_then_the_schedule_begins():
    assert rates("linear", 8, warmup=0.5) == [0.25, 0.5, 0.75, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0]


def test_one_step_alone_has_the_full_rate():
    assert [lr_factor(name, 0, 1) for name in SCHEDULES] == [1.0] * 3


@given(st.sampled_from(sorted(SCHEDULES)), st.integers(1, 200), st.floats(0, 0.99), st.data())
@settings(deadline=None, max_examples=100)
def test_every_factor_that_a_step_uses_is_above_zero_and_at_most_one(schedule, steps, warmup, data):
    step = data.draw(st.integers(0, steps - 1))
    assert 0 < lr_factor(schedule, step, steps, warmup) <= 1
