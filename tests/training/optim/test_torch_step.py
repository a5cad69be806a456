"""The reference step: its ``torch.optim`` objects have the settings, and cover every parameter."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch.nn import functional

from fasttext_app.config.schema import OptimizerConfig
from fasttext_app.core.device import torch_threads
from fasttext_app.model.classifier import FastTextClassifier
from fasttext_app.training.batch import Batch
from fasttext_app.training.losses import build_loss
from fasttext_app.training.optim.rowwise_adagrad import RowwiseAdagrad
from fasttext_app.training.optim.rules import torch_optimizers
from fasttext_app.training.optim.torch_step import TorchStep
from tests.helpers import make_config

COMBINATIONS = [
    ("sgd", True),
    ("sgd", False),
    ("adagrad", True),
    ("adagrad", False),
    ("sparse_adam", True),
]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    # torch warns once if nobody says whether sparse gradients are to be checked.
    with torch_threads(1), torch.sparse.check_sparse_tensor_invariants(enable=False):
        yield


def make_model(*, sparse: bool) -> FastTextClassifier:
    generator = torch.Generator().manual_seed(0)
    model = FastTextClassifier(6, 3, 4, sparse=sparse, generator=generator)
    torch.nn.init.uniform_(model.linear.weight, -1, 1, generator=generator)
    return model


def train_steps(model: FastTextClassifier, config: OptimizerConfig, steps: int) -> None:
    optimizers = torch_optimizers(model, config)
    rng = np.random.default_rng(1)
    for _ in range(steps):
        indices = torch.from_numpy(rng.integers(0, 6, size=12))  # rows repeat
        labels = torch.from_numpy(rng.integers(0, 3, size=4))
        logits = model(indices, torch.tensor([0, 5, 5, 9, 12]))
        functional.cross_entropy(logits, labels).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()


@pytest.mark.parametrize(("name", "sparse"), COMBINATIONS)
def test_every_parameter_is_updated_by_one_optimizer(name, sparse):
    model = make_model(sparse=sparse)
    optimizers = torch_optimizers(model, OptimizerConfig(name=name, lr=0.1, eps=1e-8))
    updated = [
        parameter
        for optimizer in optimizers
        for group in optimizer.param_groups
        for parameter in group["params"]
    ]
    assert sorted(map(id, updated)) == sorted(map(id, model.parameters()))

    before = {key: value.clone() for key, value in model.state_dict().items()}
    train_steps(model, OptimizerConfig(name=name, lr=0.1, eps=1e-8), steps=1)
    for key, value in model.state_dict().items():
        assert not torch.equal(value, before[key]), key


@pytest.mark.parametrize("name", ["sgd", "adagrad"])
def test_sparse_and_dense_gradients_lead_to_the_same_weights(name):
    sparse, dense = make_model(sparse=True), make_model(sparse=False)
    for model in (sparse, dense):
        train_steps(model, OptimizerConfig(name=name, lr=0.3, eps=1e-8), steps=10)
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
    sgd = OptimizerConfig(name="sgd", lr=0.5, eps=1e-8, momentum=0.25, weight_decay=0.125)
    group = torch_optimizers(model, sgd)[0].param_groups[0]
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.5, 0.25, 0.125)
    adagrad = OptimizerConfig(name="adagrad", lr=0.5, weight_decay=0.125, eps=1e-3)
    group = torch_optimizers(model, adagrad)[0].param_groups[0]
    assert (group["lr"], group["weight_decay"], group["eps"]) == (0.5, 0.125, 1e-3)


@pytest.mark.parametrize(("name", "sparse"), COMBINATIONS)
def test_the_learning_rate_of_a_step_reaches_every_parameter_group(name, sparse):
    config = make_config(name=name, sparse=sparse, dim=4)
    step = TorchStep(make_model(sparse=sparse), config, build_loss(config, [1, 1, 1]))
    step.optimizers[0].add_param_group({"params": [torch.nn.Parameter(torch.zeros(2))]})
    step.train(Batch(torch.tensor([0, 1]), torch.tensor([0, 2]), torch.tensor([2])), 0.0625)
    groups = [group for optimizer in step.optimizers for group in optimizer.param_groups]
    assert {group["lr"] for group in groups} == {0.0625}


@pytest.mark.parametrize("sparse", [True, False])
def test_rowwise_adagrad_on_a_worked_example(sparse):
    table = torch.nn.Parameter(torch.zeros(3, 2))
    optimizer = RowwiseAdagrad([table], lr=1.0)
    dense = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]])
    table.grad = dense.to_sparse(1) if sparse else dense
    optimizer.step()
    root = (25 / 2) ** 0.5  # of the mean square
    expected = [[0, 0], [-3 / root, -4 / root], [0, 0]]
    torch.testing.assert_close(table.detach(), torch.tensor(expected))
