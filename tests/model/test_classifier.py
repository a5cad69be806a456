"""The classifier equals a plain loop over texts, and its table can be frozen, saved and limited."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from fasttext_app.config.loading import resolve
from fasttext_app.config.schema import OptimizerConfig
from fasttext_app.core.device import torch_threads
from fasttext_app.model.classifier import FastTextClassifier
from fasttext_app.training.optim.rules import torch_optimizers

ROWS, CLASSES, DIM = 6, 3, 4
MODES = ["mean", "sum", "max"]

Bags = list[list[int]]
bag_lists = st.lists(st.lists(st.integers(0, ROWS - 1), max_size=5), min_size=1, max_size=6)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    # torch warns once if nobody says whether sparse gradients are to be checked.
    with torch_threads(1), torch.sparse.check_sparse_tensor_invariants(enable=False):
        yield


def make_model(seed: int = 0, **options) -> FastTextClassifier:
    """A model whose linear layer is not zero, so that every part of it shows in the logits."""
    options.setdefault("sparse", options.get("mode") != "max")
    generator = torch.Generator().manual_seed(seed)
    model = FastTextClassifier(ROWS, CLASSES, DIM, generator=generator, **options)
    with torch.no_grad():
        model.linear.weight.uniform_(-1, 1, generator=generator)
        model.linear.bias.uniform_(-1, 1, generator=generator)
    return model


def flat(bags: Bags, dtype: torch.dtype = torch.int64) -> tuple[Tensor, Tensor]:
    indices = torch.tensor([i for bag in bags for i in bag], dtype=dtype)
    ends = torch.tensor([len(bag) for bag in bags]).cumsum(0)
    return indices, torch.cat([torch.tensor([0]), ends]).to(dtype)


def loop_logits(
    model: FastTextClassifier,
    bags: Bags,
    weights: list[list[float]] | None = None,
    padding_idx: int | None = None,
) -> Tensor:
    """What the model means, one text and one id at a time."""
    table, mode = model.embedding.weight.detach(), model.embedding.mode
    vectors = []
    for number, bag in enumerate(bags):
        rows = [
            table[i] * (1.0 if weights is None else weights[number][position])
            for position, i in enumerate(bag)
            if i != padding_idx
        ]
        if not rows:
            vectors.append(torch.zeros(DIM))
        elif mode == "max":
            vectors.append(torch.stack(rows).max(dim=0).values)
        else:
            vectors.append(sum(rows) / (len(rows) if mode == "mean" else 1))
    return torch.stack([model.linear(vector) for vector in vectors]).detach()


def assert_close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@given(
    bag_lists,
    st.sampled_from(MODES),
    st.sampled_from([None, 0, 3]),
    st.booleans(),
    st.sampled_from([torch.int32, torch.int64]),
)
@settings(deadline=None, max_examples=80)
def test_forward_equals_a_loop_over_texts(bags, mode, padding_idx, last, dtype):
    model = make_model(mode=mode, padding_idx=padding_idx, include_last_offset=last)
    indices, offsets = flat(bags, dtype)
    logits = model(indices, offsets if last else offsets[:-1])
    assert_close(logits.detach(), loop_logits(model, bags, padding_idx=padding_idx))


@pytest.mark.slow
@given(bag_lists, st.sampled_from([None, 2]), st.data())
@settings(deadline=None, max_examples=40)
def test_weighted_forward_equals_a_loop_over_texts(bags, padding_idx, data):
    number = st.floats(-2, 2, width=32)
    weights = [data.draw(st.lists(number, min_size=len(b), max_size=len(b))) for b in bags]
    model = make_model(mode="sum", padding_idx=padding_idx)
    flat_weights = torch.tensor([w for bag in weights for w in bag], dtype=torch.float32)
    logits = model(*flat(bags), flat_weights)
    assert_close(logits.detach(), loop_logits(model, bags, weights, padding_idx))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("padding_idx", [None, 1])
def test_an_empty_text_has_the_bias_as_its_logits(mode, padding_idx):
    model = make_model(mode=mode, padding_idx=padding_idx)
    only_padding = [] if padding_idx is None else [padding_idx, padding_idx]
    logits = model(*flat([[], [2, 3], only_padding, []]))
    for text in (0, 2, 3):
        assert logits[text].tolist() == model.linear.bias.tolist()
    assert logits[1].tolist() != model.linear.bias.tolist()


@pytest.mark.parametrize("mode", MODES)
def test_texts_of_equal_length_can_be_a_matrix(mode):
    model = make_model(mode=mode)
    matrix = torch.tensor([[0, 1, 1], [5, 4, 0]])
    assert_close(model(matrix), model(*flat(matrix.tolist())))


def test_a_weighted_matrix_of_texts():
    model = make_model(mode="sum")
    matrix, weights = torch.tensor([[0, 1], [5, 4]]), torch.tensor([[0.5, 2.0], [1.0, -1.0]])
    flat_logits = model(*flat(matrix.tolist()), weights.flatten())
    assert_close(model(matrix, None, weights), flat_logits)


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.5])
def test_max_norm_limits_the_rows_that_are_looked_up(norm_type):
    model = make_model(max_norm=0.2, norm_type=norm_type)
    before = model.embedding.weight.detach().clone()
    model(*flat([[0, 1], [1]]))
    after = model.embedding.weight.detach()
    norms = after.norm(norm_type, dim=1)
    assert (norms[:2] <= 0.2 + 1e-5).all()
    assert torch.equal(after[2:], before[2:])
    assert_close(functional.normalize(after), functional.normalize(before))


def test_the_table_starts_within_one_over_dim_and_the_linear_layer_at_zero():
    model = FastTextClassifier(5000, 3, 8, generator=torch.Generator().manual_seed(0))
    table = model.embedding.weight.detach()
    assert table.abs().max() <= 1 / 8
    assert table.max() > 0.99 / 8
    assert table.min() < -0.99 / 8
    assert abs(float(table.mean())) < 0.002
    assert not model.linear.weight.any()
    assert not model.linear.bias.any()


def test_the_generator_decides_the_table():
    same, again, other = (make_model(seed).embedding.weight for seed in (1, 1, 2))
    assert torch.equal(same, again)
    assert not torch.equal(same, other)


def test_the_padding_row_starts_at_zero_and_gets_no_gradient():
    model = make_model(padding_idx=2, sparse=False)
    model(*flat([[2, 1], [2]])).sum().backward()
    gradient = model.embedding.weight.grad
    assert not model.embedding.weight[2].any()
    assert not gradient[2].any()
    assert gradient[1].any()


def test_a_table_without_rows_has_one():
    model = FastTextClassifier(0, 2, 3)
    assert model.embedding.weight.shape == (1, 3)
    assert model(torch.tensor([], dtype=torch.int64), torch.tensor([0, 0])).tolist() == [[0, 0]]


def test_from_config_passes_every_option_on():
    options = {
        "dim": 7,
        "mode": "sum",
        "sparse": False,
        "max_norm": 0.5,
        "norm_type": 3.0,
        "scale_grad_by_freq": True,
        "include_last_offset": False,
        "padding_idx": 4,
    }
    model = FastTextClassifier.from_config(resolve({"model": options}).model, 9, 2)
    assert model.embedding.weight.shape == (9, 7)
    assert model.scale_grad_by_freq
    for name in options.keys() - {"dim", "scale_grad_by_freq"}:
        assert getattr(model.embedding, name) == options[name], name
    assert model.linear.weight.shape == (2, 7)


@pytest.mark.parametrize("mode", ["mean", "sum"])
@pytest.mark.parametrize("padding_idx", [None, 1])
def test_the_sparse_gradient_equals_the_dense_one(mode, padding_idx):
    gradients = []
    for sparse in (True, False):
        model = make_model(mode=mode, sparse=sparse, padding_idx=padding_idx)
        logits = model(*flat([[0, 1, 1, 5], [], [1], [3, 0, 3]]))
        functional.cross_entropy(logits, torch.tensor([0, 1, 2, 0])).backward()
        gradients.append(model.embedding.weight.grad)
    sparse_one, dense_one = gradients
    assert sparse_one.is_sparse
    assert not dense_one.is_sparse
    assert_close(sparse_one.to_dense(), dense_one)


@pytest.mark.parametrize("mode", ["mean", "sum"])
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_scale_grad_by_freq_divides_by_the_occurrences_in_the_batch(mode, dtype):
    # torch's own, up to 2.13, divides row 2 by the count of row 1 here (pytorch issue 190063)
    plain, scaled = (
        make_model(mode=mode, sparse=False, scale_grad_by_freq=scale) for scale in (False, True)
    )
    batches = [
        ([[0, 1, 1], [], [1, 2]], [1, 3, 1, 1, 1, 1]),
        ([[5, 5], [1, 2]], [1, 1, 1, 1, 1, 2]),  # the counts of the batch before must not stay
    ]
    for bags, occurrences in batches:
        for model in (plain, scaled):
            model.zero_grad()
            model(*flat(bags, dtype)).sum().backward()
        expected = plain.embedding.weight.grad / torch.tensor(occurrences)[:, None]
        assert_close(scaled.embedding.weight.grad, expected)


@pytest.mark.parametrize(
    ("name", "sparse", "momentum"),
    [
        ("sgd", True, 0.0),
        ("adagrad", True, 0.0),
        ("sparse_adam", True, 0.0),
        ("sgd", False, 0.0),
        ("sgd", False, 0.9),
        ("adagrad", False, 0.0),
    ],
)
def test_frozen_rows_keep_every_bit(name, sparse, momentum):
    model = make_model(sparse=sparse)
    vectors = np.arange(2 * DIM, dtype=np.float32).reshape(2, DIM) / 10
    model.set_rows(np.array([1, 4]), vectors, freeze=True)
    before = model.embedding.weight.detach().clone()
    optimizers = torch_optimizers(
        model, OptimizerConfig(name=name, lr=0.5, eps=1e-8, momentum=momentum)
    )
    for _ in range(5):
        functional.cross_entropy(model(*flat([[0, 1, 4], [4, 2]])), torch.tensor([0, 2])).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    after = model.embedding.weight.detach()
    assert torch.equal(after[[1, 4]], torch.from_numpy(vectors))
    assert not torch.equal(after[0], before[0])
    assert not torch.equal(after[2], before[2])
    assert torch.equal(after[[3, 5]], before[[3, 5]])


def test_rows_that_are_set_and_not_frozen_are_trained():
    model = make_model()
    vectors = np.ones((1, DIM), dtype=np.float32)
    model.set_rows(np.array([1]), vectors, freeze=False)
    assert model.embedding.weight[1].tolist() == [1.0] * DIM
    model(*flat([[1]]))[0, 0].backward()
    torch_optimizers(model, OptimizerConfig(name="sgd", lr=0.1, eps=1e-8))[0].step()
    assert model.embedding.weight[1].tolist() != [1.0] * DIM


def test_freezing_adds_nothing_to_the_saved_state():
    model = make_model()
    names = set(model.state_dict())
    model.set_rows(np.array([1]), np.ones((1, DIM), dtype=np.float32), freeze=True)
    assert set(model.state_dict()) == names


def test_export_and_load_are_the_identity():
    one, other = make_model(1, padding_idx=2), make_model(2, padding_idx=2)
    tensors = one.export_tensors()
    assert {name: value.shape for name, value in tensors.items()} == {
        "table": (ROWS, DIM),
        "weight": (CLASSES, DIM),
        "bias": (CLASSES,),
    }
    other.load_tensors(tensors)
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
    assert all(np.array_equal(value, tensors[k]) for k, value in other.export_tensors().items())


@pytest.mark.parametrize("norm_type", [1.0, 2.0])
@pytest.mark.parametrize("max_norm", [0.05, 0.3])
def test_with_max_norm_the_export_is_what_a_look_up_of_every_row_leaves(max_norm, norm_type):
    model = make_model(max_norm=max_norm, norm_type=norm_type)
    bags = [[0, 1], [2, 3, 4, 5]]
    exported = {name: value.copy() for name, value in model.export_tensors().items()}
    logits = model(*flat(bags)).detach()  # this rescales the model's own rows
    table = model.embedding.weight.detach().numpy()
    np.testing.assert_allclose(exported["table"], table, rtol=1e-6, atol=1e-7)

    plain = make_model(seed=9)
    plain.load_tensors(exported)
    assert_close(plain(*flat(bags)).detach(), logits)


def test_building_a_model_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    FastTextClassifier(rows=5, classes=2, generator=torch.Generator().manual_seed(1))
    assert torch.equal(torch.get_rng_state(), before)
