"""The fused step against ``torch.optim``: the same weights after many steps, whatever the bags."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fasttext_app.config.schema import Config, OptimizerConfig
from fasttext_app.core.device import torch_threads
from fasttext_app.core.ragged import Ragged
from fasttext_app.errors import ConfigError
from fasttext_app.model.classifier import FastTextClassifier
from fasttext_app.training.dataset import EncodedDataset
from fasttext_app.training.losses import build_loss
from fasttext_app.training.optim.cpu_columns import load_kernels
from fasttext_app.training.optim.cpu_kernels import layer_gradients, train_batches
from fasttext_app.training.optim.cpu_step import CpuStep
from fasttext_app.training.optim.rules import OPTIMIZERS
from fasttext_app.training.optim.step import Step
from fasttext_app.training.optim.torch_step import TorchStep
from fasttext_app.training.trainer import Trainer
from tests import helpers

ROWS, CLASSES = 12, 3
BAGS = st.lists(st.lists(st.integers(0, ROWS - 1), max_size=6), min_size=1, max_size=7)
MIXED = [[1, 3, 1], [], [3, 5, 1, 0], [2, 2], [11], [3]]
WORDS = [[0, 6, 7], [1], [2, 6], [3, 8, 6, 8], [4, 9]]
"""Rows 0 to 4 are words, and these are their ids, with those of their character n-grams."""
WORD_LENGTHS = np.array([len(ids) for ids in WORDS], np.int32)
TEXTS_OF_WORDS = st.lists(
    st.lists(st.sampled_from([*WORDS, [10], [11]]), max_size=6), min_size=1, max_size=7
)

RATES = {"sgd": 0.5, "adagrad": 0.1, "rowwise_adagrad": 0.1, "sparse_adam": 0.01}
KINDS: list[dict[str, Any]] = [
    {"mode": "mean"},
    {"mode": "sum"},
    {"mode": "sum", "term_weighting": "tfidf"},
    {"mode": "mean", "padding_idx": 3},
    {"mode": "sum", "max_norm": 0.05},
    {"mode": "mean", "include_last_offset": False},
    {"mode": "sum", "loss": "ova", "label_smoothing": 0.1},
    {"mode": "mean", "loss": "ns"},
    {"mode": "max", "sparse": False, "padding_idx": 3},
    {"mode": "mean", "padding_idx": 3, "token_dropout": 0.4},
    {"mode": "sum", "term_weighting": "tfidf", "token_dropout": 0.4, "bag_dropout": 0.3},
]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with torch_threads(1):
        yield


def make_config(**values: Any) -> Config:
    defaults = {"dim": 5, "epochs": 2, "batch_size": 3, "device": "cpu", "schedule": "constant"}
    return helpers.make_config(**(defaults | values))


def trained(
    bags: list[list[int]], word_lengths: np.ndarray | None = None, **values: Any
) -> dict[str, torch.Tensor]:
    config = make_config(**values)
    generator = torch.Generator().manual_seed(3)
    model = FastTextClassifier.from_config(config.model, ROWS, CLASSES, generator)
    torch.nn.init.normal_(model.linear.weight, generator=generator)  # so that rows learn at once
    weighted = config.text.term_weighting == "tfidf"
    data = EncodedDataset(
        Ragged.from_lists(bags, np.int32),
        np.arange(len(bags), dtype=np.int64) % CLASSES,
        np.linspace(1, 2, ROWS, dtype=np.float32) if weighted else None,
        word_lengths=word_lengths,
        include_last_offset=config.model.include_last_offset,
    )
    Trainer(model, config).fit(data)
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("name", OPTIMIZERS)
@given(bags=BAGS)
@example(bags=MIXED)
@settings(deadline=None, max_examples=4)
def test_the_fused_step_equals_torch_optim(name, kind, bags):
    if name == "sparse_adam" and kind["mode"] == "max":
        return  # SparseAdam takes no dense gradient, and max has no other
    values = {"name": name, "lr": RATES[name], **kind}
    values["eps"] = 1e-3  # with a small one, Adam and Adagrad make a step of what is rounding alone
    fused = trained(bags, implementation="fused", **values)
    plain = trained(bags, implementation="torch", **values)
    for key, value in plain.items():
        torch.testing.assert_close(fused[key], value, rtol=2e-4, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=str)
@given(texts=TEXTS_OF_WORDS)
@example(texts=[[WORDS[3], WORDS[0], [10]], [], [WORDS[0], WORDS[3], WORDS[0]], [[11], WORDS[4]]])
@settings(deadline=None, max_examples=8)
def test_a_step_by_words_equals_one_by_ids(kind, texts):
    """Also where the settings rule out steps by words."""
    bags = [[row for word in text for row in word] for text in texts]
    values = {"name": "rowwise_adagrad", "lr": 0.1, "implementation": "fused", **kind}
    by_words = trained(bags, WORD_LENGTHS, **values)
    for key, value in trained(bags, **values).items():
        torch.testing.assert_close(by_words[key], value, rtol=2e-4, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(
    "kind",
    [
        {"mode": "mean"},
        {"mode": "sum", "loss": "ova", "label_smoothing": 0.1},
        {"mode": "sum", "term_weighting": "tfidf"},
        {"mode": "mean", "token_dropout": 0.3},
        {"mode": "mean", "loss": "ns", "bag_dropout": 0.3},
    ],
    ids=str,
)
def test_the_fused_step_is_bit_identical_for_any_number_of_threads(name, kind, monkeypatch):
    """Also with more threads than columns, odd dimensions, empty texts and batches of one text."""
    monkeypatch.setattr("fasttext_app.training.loader.CUT_IDS", 64)
    monkeypatch.setattr("fasttext_app.training.optim.cpu_columns.CHUNK", 48)  # of the squares
    rng = np.random.default_rng(0)
    bags = [rng.integers(0, ROWS, rng.integers(0, 9)).tolist() for _ in range(25)]
    of_words = [[row for word in rng.integers(0, 5, 4) for row in WORDS[word]] for _ in range(25)]
    values = {"epochs": 1, "name": name, "lr": RATES[name], "implementation": "fused", **kind}
    for dim, batch_size in ((5, 6), (16, 1), (37, 6), (64, 8)):
        for rows, word_lengths in ((bags, None), (of_words, WORD_LENGTHS)):
            one, *others = (
                trained(
                    rows, word_lengths, dim=dim, batch_size=batch_size, threads=threads, **values
                )
                for threads in (1, 2, 3, 4, 8)
            )
            for other in others:
                for key, value in one.items():
                    assert torch.equal(value, other[key]), (dim, key)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_batches_one_by_one_train_to_the_bytes_of_many_at_once(name, monkeypatch):
    rng = np.random.default_rng(0)
    bags = [rng.integers(0, ROWS, rng.integers(0, 9)).tolist() for _ in range(25)]
    values = {"name": name, "lr": RATES[name], "dim": 20, "label_smoothing": 0.1, "threads": 3}
    many = trained(bags, **values)
    monkeypatch.setattr(CpuStep, "train_some", Step.train_some)
    for key, value in trained(bags, **values).items():
        assert torch.equal(value, many[key]), key


@pytest.mark.parametrize(("dim", "classes"), [(5, 3), (40, 70)])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("loss", ["softmax", "ova"])
def test_the_gradients_of_the_layer_equal_those_of_autograd(
    loss, smoothing, weighted, dim, classes
):
    generator = torch.Generator().manual_seed(0)
    layer = torch.nn.Linear(dim, classes)
    for values in layer.parameters():
        torch.nn.init.normal_(values, generator=generator)
    bags = torch.randn(9, dim, generator=generator).requires_grad_()
    labels = torch.randint(classes, (9,), generator=generator)
    weights = torch.rand(9, generator=generator) if weighted else None
    config = make_config(loss=loss, label_smoothing=smoothing)
    expected = build_loss(config, [1] * classes)(layer, bags, labels, weights)
    expected.backward()
    found, *gradients = layer_gradients(
        bags.detach().numpy(),
        labels.numpy(),
        np.empty(0, np.float32) if weights is None else weights.numpy(),
        layer.weight.detach().numpy(),
        layer.bias.detach().numpy()[:, None],
        smoothing,
        loss == "softmax",
    )
    assert found == pytest.approx(expected.item(), rel=1e-5)
    for gradient, values in zip(gradients, (bags, *layer.parameters()), strict=True):
        torch.testing.assert_close(torch.from_numpy(gradient).view_as(values), values.grad)


@pytest.mark.parametrize("implementation", ["fused", "torch"])
def test_frozen_rows_stay(implementation):
    config = make_config(implementation=implementation, name="sgd", lr=0.5, dim=16, threads=3)
    model = FastTextClassifier.from_config(config.model, ROWS, CLASSES)
    torch.nn.init.ones_(model.linear.weight)
    model.set_rows(np.array([2, 4]), np.ones((2, 16), np.float32), freeze=True)
    bags = Ragged.from_lists([[2, 3], [4, 5], [2, 4, 6]], np.int32)
    before = model.embedding.weight.detach().clone()
    with torch.no_grad():
        model.linear.weight[1] = -1
    Trainer(model, config).fit(EncodedDataset(bags, np.array([0, 1, 2])))
    moved = (model.embedding.weight.detach() != before).any(dim=1)
    assert moved.nonzero().flatten().tolist() == [3, 5, 6]


@pytest.mark.parametrize(
    "values",
    [
        {"name": "sgd", "momentum": 0.9, "sparse": False},
        {"name": "sgd", "weight_decay": 0.1, "sparse": False},
        {"clip_grad_norm": 1.0, "sparse": False},
        {"scale_grad_by_freq": True, "sparse": False},
        {"sparse": False},
    ],
)
def test_what_the_fused_step_cannot_do_is_refused_or_left_to_torch(values):
    with pytest.raises(ConfigError, match=r'implementation = "fused" does not support \w+\.\w+'):
        make_config(implementation="fused", **values)
    config = make_config(**values)
    model = FastTextClassifier.from_config(config.model, ROWS, CLASSES)
    assert isinstance(Trainer(model, config)._step, TorchStep)


def test_auto_is_fused_where_it_can_be():
    config = make_config()
    model = FastTextClassifier.from_config(config.model, ROWS, CLASSES)
    assert isinstance(Trainer(model, config)._step, CpuStep)


def test_the_code_of_a_step_is_loaded_before_the_first_one():
    for by_word in (False, True):
        load_kernels(by_word=by_word)
    loaded = len(train_batches.signatures)
    for name in OPTIMIZERS:
        trained(MIXED, name=name, lr=0.1)
    assert len(train_batches.signatures) == loaded == 1


def test_every_optimizer_of_the_settings_has_rules():
    assert set(OPTIMIZERS) == set(get_args(OptimizerConfig.model_fields["name"].annotation))
