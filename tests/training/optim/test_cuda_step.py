"""The fused step of the GPU against that of the CPU and ``torch.optim``.

Where there is no GPU, Triton's interpreter runs the kernels on the CPU. It must be chosen before
the first import of Triton; pytest imports all test files before it runs any test.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttext_app.config.schema import Config
from fasttext_app.core.ragged import Ragged
from fasttext_app.data.labels import Labels
from fasttext_app.model.classifier import FastTextClassifier
from fasttext_app.training.batch import Batch, Grouping
from fasttext_app.training.dataset import EncodedDataset
from fasttext_app.training.loader import epoch
from fasttext_app.training.losses import build_loss
from fasttext_app.training.optim.cuda_batches import cut_on_cuda, sort_ids
from fasttext_app.training.optim.cuda_step import CudaStep
from fasttext_app.training.optim.fused import FusedStep
from fasttext_app.training.trainer import Trainer
from tests import helpers
from tests.helpers import SCRIPTS

ON_GPU = torch.cuda.is_available()
DEVICE = "cuda" if ON_GPU else "cpu"
INTERPRETED = {} if ON_GPU else {"TRITON_INTERPRET": "1"}
with pytest.MonkeyPatch.context() as patch:
    for variable, setting in INTERPRETED.items():
        patch.setenv(variable, setting)
    # The interpreter of 3.6 does not run with today's NumPy.
    pytest.importorskip("triton", minversion=None if ON_GPU else "3.7")
    import fasttext_app.training.optim.triton_kernels  # noqa: F401

ROWS, CLASSES = 12, 3
COUNTS = [5, 9, 7, 3, 8, 2, 6, 1, 4, *range(20, 10, -1)]
BAGS = st.lists(st.lists(st.integers(0, ROWS - 1), max_size=4), min_size=1, max_size=6)
RATES = {"sgd": 0.5, "adagrad": 0.1, "rowwise_adagrad": 0.1, "sparse_adam": 0.01}
KINDS: list[dict[str, Any]] = [
    {"mode": "mean"},
    {"mode": "sum", "padding_idx": 3, "loss": "ova"},
    {"mode": "sum", "term_weighting": "tfidf"},
    {"mode": "mean", "padding_idx": 3, "include_last_offset": False},
    {"mode": "mean", "max_norm": 0.05},
    {"mode": "mean", "label_smoothing": 0.3},
    {"mode": "sum", "label_smoothing": 0.2, "loss": "ova"},
    {"mode": "max", "sparse": False, "padding_idx": 3},
]
RULES = [("sgd", KINDS[0]), ("rowwise_adagrad", KINDS[2]), ("sparse_adam", KINDS[3])]
CASES = [("adagrad", kind) for kind in KINDS] + RULES
MIXED = [[1, 3, 1], [], [3, 5, 1, 0], [2, 2], [11]]
"""Two batches: ids that repeat in a bag and in its batch, padding, an empty bag, the first row."""


pytestmark = pytest.mark.slow  # the interpreter takes about a second for a batch


@pytest.fixture(autouse=True, scope="module")
def interpreted():
    with pytest.MonkeyPatch.context() as patch:  # Triton loads parts of itself at the first launch
        for variable, setting in INTERPRETED.items():
            patch.setenv(variable, setting)
        if INTERPRETED:
            patch.setattr("triton.runtime.interpreter._patch_builtin", patch_builtin)
        yield


BUILTINS: dict[Any, list[str]] = {}


def patch_builtin(package, builder, scope):
    """Do what the interpreter does, which looks for the names again at each call of a function."""
    from triton.runtime.interpreter import _patch_attr, inspect, tl

    if package not in BUILTINS:
        members = inspect.getmembers(package, tl.core.is_builtin)
        BUILTINS[package] = [name for name, _ in members]
    for name in BUILTINS[package]:
        if tl.core.is_builtin(member := getattr(package, name)):
            _patch_attr(package, name, member, builder, scope)


def make_config(**values: Any) -> Config:
    defaults = {"dim": 5, "epochs": 1, "batch_size": 3, "device": "cpu", "schedule": "constant"}
    return helpers.make_config(**(defaults | values))


def make_data(bags: list[list[int]], config: Config, classes: int, device: str) -> EncodedDataset:
    weighted = config.text.term_weighting == "tfidf"
    return EncodedDataset(
        Ragged.from_lists(bags, np.int32),
        np.arange(len(bags), dtype=np.int64) % classes,
        np.linspace(1, 2, ROWS, dtype=np.float32) if weighted else None,
        device=device,
        include_last_offset=config.model.include_last_offset,
    )


def make_model(config: Config, classes: int) -> FastTextClassifier:
    generator = torch.Generator().manual_seed(3)
    model = FastTextClassifier.from_config(config.model, ROWS, classes, generator)
    for name, values in model.linear.named_parameters():
        if name.endswith("weight"):
            torch.nn.init.normal_(values, generator=generator)  # so that rows learn at once
    return model


def make_step(model: FastTextClassifier, config: Config) -> CudaStep:
    return CudaStep(model, config, build_loss(config, COUNTS[: model.linear.out_features]))


def train_here(model: FastTextClassifier, data: EncodedDataset, config: Config) -> list[float]:
    """Train as the trainer would; return the losses, each the mean of a batch."""
    step = make_step(model, config)
    order = torch.Generator().manual_seed(config.trainer.seed)
    losses = []
    for _ in range(config.trainer.epochs):
        texts = torch.randperm(len(data), generator=order)
        for batch in cut_on_cuda(data, texts, config.trainer.batch_size, step.grouping):
            loss = step.train(batch, config.optimizer.lr)
            losses.append(float(loss))
    return losses


def check(bags: list[list[int]], classes: int = CLASSES, **values: Any) -> None:
    if values["name"] != "sgd":
        # With a small one, a gradient that is zero but for rounding makes a full step.
        values.setdefault("eps", 1e-3)
    config = make_config(**values)
    model, reference = make_model(config, classes), make_model(config, classes)
    losses = train_here(model.to(DEVICE), make_data(bags, config, classes, DEVICE), config)
    names = tuple(map(str, range(classes)))
    labels = Labels(names, tuple(COUNTS[:classes]))
    trained = Trainer(reference, config, labels=labels).fit(make_data(bags, config, classes, "cpu"))
    for key, value in reference.state_dict().items():
        torch.testing.assert_close(model.state_dict()[key].cpu(), value, rtol=2e-4, atol=2e-5)
    steps = len(losses) // config.trainer.epochs
    size, last = config.trainer.batch_size, len(bags) - (steps - 1) * config.trainer.batch_size
    found = np.average(losses[-steps:], weights=[size] * (steps - 1) + [last])
    assert found == pytest.approx(trained.history[-1].train_loss, rel=1e-4)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_it_equals_the_fused_step_of_the_cpu(kind):
    check(MIXED, name="adagrad", lr=0.1, implementation="fused", **kind)


@given(case=st.sampled_from(CASES), bags=BAGS)
@settings(deadline=None, max_examples=5)
def test_it_equals_the_fused_step_of_the_cpu_for_any_bags(case, bags):
    name, kind = case
    check(bags, name=name, lr=RATES[name], implementation="fused", **kind)


@pytest.mark.parametrize(("name", "kind"), [("adagrad", {"mode": "sum"}), *RULES], ids=str)
def test_it_equals_torch_optim(name, kind):
    check(MIXED, name=name, lr=RATES[name], implementation="torch", **kind)


@pytest.mark.parametrize(
    ("bags", "classes", "values"),
    [
        ([[7] * 90 + [1], [2] * 70 + [7] * 5], 3, {"dim": 5}),  # more than a program takes at once
        ([[1, 2], [1]], 1, {"dim": 1}),
        ([[1, 2], [1], [3, 3]], 17, {"dim": 16}),
        ([[1, 2], [1], [3, 3]], 2, {"dim": 33, "loss": "ova"}),
        ([[1, 2, 1]], 2, {"dim": 1100}),  # a program takes one row at a time
        ([[4, 1], [5, 4, 4]], 3, {"mode": "max", "sparse": False, "dim": 70}),
        ([[], [], [], []], 3, {}),
        ([[1, 2], [1], [2, 3]], 3, {"eps": 1e-8}),
        ([[n % 5] * (n % 7 == 0) for n in range(70)], 3, {"batch_size": 70, "dim": 2}),
    ],
)
def test_sizes_at_the_edges(bags, classes, values):
    check(bags, classes, name="adagrad", implementation="fused", **values)


@pytest.mark.parametrize("name", RATES)
def test_the_tails_of_an_adaptive_softmax_are_stepped_where_the_batch_has_them(name):
    bags = [[1, 1], [3], [0, 5], [5], [2, 0], [7], [], [1]]
    layer = {"loss": "adaptive", "dim": 8, "cutoffs": (3, 5), "div_value": 2.0}
    epochs = 2 if name == "sparse_adam" else 1  # it counts the steps of each tail
    check(bags, 8, name=name, lr=RATES[name], implementation="torch", epochs=epochs, **layer)


def test_a_large_linear_layer_is_left_to_torch(monkeypatch):
    config = make_config(dim=40)
    assert CudaStep(make_model(config, 256), config, build_loss(config, [1] * 256)).in_one_pass
    assert not CudaStep(make_model(config, 257), config, build_loss(config, [1] * 257)).in_one_pass
    monkeypatch.setattr("fasttext_app.training.optim.cuda_step.LARGEST_LAYER", 0)
    check([[1, 2], [], [1, 1, 3]], name="adagrad", implementation="fused")


def test_frozen_rows_stay():
    config = make_config(name="sgd", lr=0.5)
    model = make_model(config, CLASSES)
    model.set_rows(np.array([2, 4]), np.ones((2, 5), np.float32), freeze=True)
    before = model.embedding.weight.detach().clone()
    bags = [[2, 3], [4, 5], [2, 4, 6]]
    train_here(model.to(DEVICE), make_data(bags, config, CLASSES, DEVICE), config)
    moved = (model.embedding.weight.detach().cpu() != before).any(dim=1)
    assert moved.nonzero().flatten().tolist() == [3, 5, 6]


@pytest.mark.parametrize("kind", KINDS[:4], ids=str)  # the others are cut as these are
@given(
    bags=st.lists(st.lists(st.integers(0, ROWS - 1), max_size=6), min_size=1, max_size=10),
    size=st.integers(1, 5),
)
@settings(deadline=None, max_examples=10)
def test_an_epoch_cut_at_once_is_that_of_gather(kind, bags, size):
    config = make_config(**kind)
    data = make_data(bags, config, CLASSES, DEVICE)
    one, other = (torch.Generator().manual_seed(1) for _ in range(2))
    padding = -1 if config.model.padding_idx is None else config.model.padding_idx
    mean = config.model.mode == "mean"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "fasttext_app.training.optim.cuda_batches.CUT_IDS", 10
        )  # so that there are many pieces
        texts = torch.randperm(len(data), generator=one)
        cut = list(cut_on_cuda(data, texts, size, Grouping(ROWS, mean, padding)))
    gathered = list(epoch(data, size, other))
    assert len(cut) == len(gathered)
    for batch, expected in zip(cut, gathered, strict=True):
        for name in ("indices", "offsets", "labels", "per_sample_weights"):
            found, wanted = getattr(batch, name), getattr(expected, name)
            assert (found is None) == (wanted is None)
            if wanted is not None:
                assert found.dtype == wanted.dtype
                assert torch.equal(found, wanted)
        grouped, alone = batch.sorted_ids, sort_ids(expected, mean, padding)
        assert torch.equal(grouped.rows, alone.rows)
        assert torch.equal(grouped.bags, alone.bags)
        assert (grouped.id_weights is None) == (alone.id_weights is None)
        assert grouped.id_weights is None or torch.equal(grouped.id_weights, alone.id_weights)


def test_a_batch_that_comes_unsorted_is_sorted_by_the_step():
    config = make_config(name="adagrad", mode="mean", padding_idx=3)
    bags = [[1, 3, 1], [], [3, 5, 1]]
    data, rows = make_data(bags, config, CLASSES, DEVICE), []
    sorted_batch = next(cut_on_cuda(data, torch.tensor([2, 0, 1]), 3, Grouping(ROWS, True, 3)))
    plain = Batch(sorted_batch.indices, sorted_batch.offsets, sorted_batch.labels)
    for batch in (sorted_batch, plain):
        model = make_model(config, CLASSES).to(DEVICE)
        make_step(model, config).train(batch, 0.1)
        rows.append(model.embedding.weight.detach())
    assert torch.equal(*rows)


def test_the_kernel_of_the_unweighted_loss_is_not_used_for_a_weighted_batch(monkeypatch):
    config, used = make_config(), []
    step = make_step(make_model(config, CLASSES).to(DEVICE), config)
    data, loss = make_data([[1, 2], [3]], config, CLASSES, DEVICE), torch.zeros(())
    monkeypatch.setattr(step, "_train_in_one_pass", lambda *_: used.append("kernel") or loss)
    monkeypatch.setattr(FusedStep, "_train", lambda *_: used.append("autograd") or loss)
    batch = data.gather(torch.arange(2, device=DEVICE))
    step.train(batch, 0.1)
    step.train(replace(batch, weights=torch.ones(2, device=DEVICE)), 0.1)
    assert used == ["kernel", "autograd"]


def test_it_is_bit_identical_on_every_run():
    texts = 2000 if ON_GPU else 3  # the interpreter has but one order
    config = make_config(name="adagrad", batch_size=texts)
    bags = np.random.default_rng(0).integers(0, ROWS, (texts, 5)).tolist()
    models = [make_model(config, CLASSES).to(DEVICE) for _ in range(2)]
    for model in models:
        train_here(model, make_data(bags, config, CLASSES, DEVICE), config)
    assert torch.equal(*(model.embedding.weight for model in models))


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from fasttext_app.training.optim import triton_kernels as cuda_kernels

INTEGERS = {"rows", "bags", "winners", "ids_of", "offsets"}
NUMBERS = dict.fromkeys(("lr", "eps", "new1", "new2", "smoothing"), "fp32")
NUMBERS |= dict.fromkeys(("ids", "ends", "padding", "count"), "i32") | {"labels": "*i64"}
sizes = {"dim": 3, "classes": 3, "block": 4, "class_block": 4, "chunk": 4}
for name, given in CASES:
    kernel = getattr(cuda_kernels, name)
    fixed = {key: value for key, value in (sizes | given).items() if key in kernel.arg_names}
    types = {
        key: "constexpr" if key in fixed
        else NUMBERS.get(key, "*i32" if key in INTEGERS else "*fp32")
        for key in kernel.arg_names
    }
    source = ASTSource(fn=kernel, signature=types, constexprs=fixed)
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 1})
    assert made.asm["cubin"]
"""


def test_every_kernel_compiles_for_a_gpu(tmp_path):
    """The interpreter takes what the compiler does not; compiling needs no GPU."""
    state: dict[str, None] = {"first": None, "second": None}
    cases = [("step_rows", {"rule": rule}) for rule in range(1, 4)]
    cases += [
        ("step_rows", {"rule": 0, "id_weights": None, "winners": None, "trained": None, **state}),
        ("find_winners", {}),
        ("bag_gradients", {"mean": False, "softmax": False}),
        ("bag_gradients", {"mean": True, "softmax": True, "per_id": None}),
        ("step_linear", {"rule": 1}),
    ]
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    subprocess.run(
        [sys.executable, "-c", COMPILE.replace("CASES", repr(cases))],
        env=environment | {"TRITON_CACHE_DIR": str(tmp_path)},
        check=True,
    )


on_gpu = pytest.mark.skipif(not ON_GPU, reason="needs CUDA")


@on_gpu
@pytest.mark.parametrize(("name", "kind"), CASES, ids=str)
def test_the_trainer_on_the_gpu_equals_that_on_the_cpu(name, kind):
    rng = np.random.default_rng(0)
    bags = [rng.integers(0, ROWS, rng.integers(0, 40)).tolist() for _ in range(500)]
    values = {"name": name, "lr": RATES[name] / 5, "implementation": "fused", **kind}
    values |= {"batch_size": 64, "epochs": 3} | ({} if name == "sgd" else {"eps": 1e-3})
    config = make_config(**values)
    found = []
    for device in ("cpu", "cuda"):
        model = make_model(config, CLASSES).to(device)
        trainer = Trainer(model, config)
        assert isinstance(trainer._step, CudaStep) == (device == "cuda")
        outcome = trainer.fit(make_data(bags, config, CLASSES, device))
        weights = {key: value.cpu() for key, value in model.state_dict().items()}
        found.append((weights, outcome.history[-1].train_loss))
    (expected, loss), (weights, loss_found) = found
    for key, value in expected.items():
        torch.testing.assert_close(weights[key], value, rtol=2e-3, atol=2e-4)
    assert loss_found == pytest.approx(loss, rel=1e-3)


@on_gpu
def test_rows_beyond_32_bit_addresses_are_stepped():
    dim, rows = 16, 2**27 + 8
    if torch.cuda.mem_get_info()[0] < 1.2 * rows * dim * 4:
        pytest.skip("needs 11 GB of GPU memory")
    config = make_config(name="sgd", dim=dim, mode="sum")
    with torch.device("cuda"):
        model = FastTextClassifier(rows, 2, dim, mode="sum")
    torch.nn.init.ones_(model.linear.weight[:1])
    far = rows - 1
    batch = Batch(
        torch.tensor([far, 0], dtype=torch.int32, device="cuda"),
        torch.tensor([0, 2], dtype=torch.int32, device="cuda"),
        torch.tensor([0], device="cuda"),
    )
    before = model.embedding.weight.detach()[[0, far, 1]].clone()
    make_step(model, config).train(batch, 0.5)
    moved = (model.embedding.weight.detach()[[0, far, 1]] != before).all(dim=1)
    assert moved.tolist() == [True, True, False]


# The benchmark.


SCRIPT = SCRIPTS / "bench_cuda.py"
spec = importlib.util.spec_from_file_location("bench_cuda", SCRIPT)
bench = importlib.util.module_from_spec(spec)
sys.modules["bench_cuda"] = bench  # its dataclasses look themselves up
spec.loader.exec_module(bench)


def test_the_benchmark_counts_the_work_of_an_epoch():
    config = make_config(name="adagrad", batch_size=2, mode="mean")
    data = make_data([[1, 1, 2], [1], [1, 5]], config, CLASSES, "cpu")
    work = bench.work_of(data, config, ROWS, CLASSES)
    assert (work.texts, work.ids, work.steps) == (3, 6, 2)
    first = torch.randperm(3, generator=torch.Generator().manual_seed(0)).tolist()[:2]
    rows = [{1, 2}, {1}, {1, 5}]
    rest = ({0, 1, 2} - set(first)).pop()
    assert work.rows == len(rows[first[0]] | rows[first[1]]) + len(rows[rest])


def test_the_benchmark_counts_bytes():
    work = bench.Work(
        texts=10, ids=100, steps=2, rows=50, dim=8, classes=3,
        optimizer="rowwise_adagrad", weighted=True, mean=False,
    )  # fmt: skip
    assert bench.bytes_by_part(work) == {
        "ids": 100 * (4 + 4 + 4 + 4 + 4),  # ids, weights; rows, texts, weights
        "offsets, labels": 12 * 4 + 10 * 8,
        "rows, forward": 50 * 32,
        "rows and state, step": 50 * 2 * (32 + 4),
        "gradient of bags": 10 * 2 * 32,
        "linear layer": 2 * 27 * 4 * (1 + 2 + 2),
    }
    plain = bench.bytes_by_part(replace(work, optimizer="sgd", weighted=False))
    assert plain["rows and state, step"] == 50 * 2 * 32
    assert plain["ids"] == 100 * 12
    moments = bench.bytes_by_part(replace(work, optimizer="sparse_adam"))
    assert moments["rows and state, step"] == 50 * 2 * 32 * 3


def test_the_benchmark_reports_rates():
    work = bench.Work(10, 100, 2, 50, 8, 3, "sgd", False, False)
    moved = sum(bench.bytes_by_part(work).values())
    found = bench.summed_up("fused", [0.5, 0.1, 0.2], 0.25, work, peak=moved * 20)
    assert found.texts_per_second == 50
    assert found.bytes_per_second == moved * 5
    assert found.share_of_peak == 0.25
    page = bench.report(work, [found], moved * 20)
    assert "| fused | 200.0 ms | 100.0 ms | 50 |" in page
    assert "| 25.0 % | 0.2500 |" in page


@pytest.mark.skipif(ON_GPU, reason="there is a GPU")
def test_the_benchmark_needs_a_gpu(capsys):
    assert bench.main([]) == 1
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert "no CUDA" in said.err
