"""The adaptive softmax: torch's to float rounding, in training, prediction, files and commands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import fasttext_app as ft
from fasttext_app.config.schema import Config
from fasttext_app.core.device import torch_threads
from fasttext_app.core.ragged import Ragged
from fasttext_app.data.labels import Labels
from fasttext_app.errors import ArtifactError, ConfigError, TrainingError
from fasttext_app.fasttext.convert import to_fasttext
from fasttext_app.inference.classifier import TextClassifier
from fasttext_app.inference.forward import torch_forward
from fasttext_app.model.adaptive_softmax import (
    FRACTIONS,
    choose_cutoffs,
    frequency_rank,
    log_probabilities,
    tensor_shapes,
)
from fasttext_app.model.classifier import AdaptiveSoftmax, FastTextClassifier
from fasttext_app.model.directory import load_artifact, save_artifact
from fasttext_app.model.heads import build_head
from fasttext_app.training.dataset import EncodedDataset
from fasttext_app.training.losses import build_loss
from fasttext_app.training.trainer import Trainer
from tests import helpers
from tests.helpers import run_cli

ROWS, CLASSES, CUTOFFS = 20, 9, (2, 5)
COUNTS = [1, 8, 3, 0, 9, 2, 7, 1, 4]
LABELS = Labels(tuple("abcdefghi"), tuple(COUNTS))
RATES = {"sgd": 0.5, "adagrad": 0.1, "rowwise_adagrad": 0.1, "sparse_adam": 0.01}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with torch_threads(1):
        yield


counts_lists = st.lists(st.integers(0, 50), min_size=2, max_size=40).filter(any)


@st.composite
def layers(draw: st.DrawFn) -> AdaptiveSoftmax:
    """Draw a layer whose tensors are all random."""
    classes = draw(st.integers(2, 30))
    most = min(classes - 1, 3)
    cutoffs = draw(st.lists(st.integers(1, classes - 1), min_size=1, max_size=most, unique=True))
    div_value = draw(st.sampled_from([1.5, 2.0, 4.0]))
    dim = draw(st.integers(int(np.ceil(div_value ** len(cutoffs))), 70))
    layer = AdaptiveSoftmax(dim, classes, sorted(cutoffs), div_value)
    randomise(layer, draw(st.integers(0, 99)))
    return layer


def randomise(layer: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for values in layer.parameters():
        nn.init.normal_(values, generator=generator)


def tensors_of(layer: nn.Module) -> dict[str, np.ndarray]:
    return {name: values.numpy() for name, values in layer.state_dict().items()}


def make_config(**values: Any) -> Config:
    defaults = {"loss": "adaptive", "dim": 8, "div_value": 2.0, "cutoffs": CUTOFFS, "epochs": 4}
    defaults |= {"batch_size": 3, "device": "cpu", "schedule": "constant"}
    return helpers.make_config(**defaults | values)


def make_model(config: Config, seed: int = 3) -> FastTextClassifier:
    generator = torch.Generator().manual_seed(seed)
    return FastTextClassifier.from_config(config.model, ROWS, CLASSES, generator)


# ------------------------------------------------------------------------------------ the formulas


@pytest.mark.slow
@given(layers(), st.integers(0, 5))
@settings(deadline=None, max_examples=40)
def test_log_probabilities_equal_those_of_torch(layer, rows):
    vectors = torch.randn(rows, layer.in_features, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = nn.AdaptiveLogSoftmaxWithLoss.log_prob(layer, vectors).numpy()
    found = log_probabilities(vectors.numpy(), tensors_of(layer))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(np.exp(found.astype(float)).sum(axis=1), 1, rtol=1e-4)


@pytest.mark.slow
@given(layers())
@settings(deadline=None, max_examples=40)
def test_shapes_are_those_of_torch(layer):
    expected = {name: values.shape for name, values in tensors_of(layer).items()}
    cutoffs = layer.cutoffs[:-1]
    assert tensor_shapes(layer.in_features, layer.n_classes, cutoffs, layer.div_value) == expected


@pytest.mark.slow
@given(counts_lists)
@settings(deadline=None, max_examples=40)
def test_places_go_by_count_and_then_by_class(counts):
    places = frequency_rank(counts).tolist()
    by_place = sorted(range(len(counts)), key=places.__getitem__)
    assert by_place == sorted(range(len(counts)), key=lambda c: (-counts[c], c))


@pytest.mark.slow
@given(counts_lists, st.integers(4, 300), st.sampled_from([1.5, 2.0, 4.0]))
@settings(deadline=None, max_examples=40)
def test_chosen_cutoffs_leave_their_shares_before_them(counts, dim, div_value):
    cutoffs = choose_cutoffs(counts, dim, div_value)
    AdaptiveSoftmax(dim, len(counts), cutoffs, div_value)  # torch takes them
    ordered, total = sorted(counts, reverse=True), sum(counts)
    least = {
        next(place for place in range(1, len(counts) + 1) if sum(ordered[:place]) >= share * total)
        for share in FRACTIONS[: 1 if div_value**2 > dim else 2]
    }
    assert cutoffs == tuple(sorted({min(place, len(counts) - 1) for place in least}))


@pytest.mark.slow
@given(layers(), st.data())
@settings(deadline=None, max_examples=30)
def test_the_loss_is_minus_the_log_probability_of_the_right_class(layer, data):
    classes = layer.n_classes
    counts = data.draw(st.lists(st.integers(0, 9), min_size=classes, max_size=classes))
    right = data.draw(st.lists(st.integers(0, classes - 1), min_size=1, max_size=6))
    bags = torch.randn(len(right), layer.in_features, generator=torch.Generator().manual_seed(2))
    loss = build_loss(make_config(), counts)(layer, bags, torch.tensor(right))
    logits = build_head(make_config().model, counts).logits(layer(bags).detach().numpy())
    expected = -logits[np.arange(len(right)), right].mean()
    assert loss.item() == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_classes_keep_their_numbers_whatever_their_counts():
    """The same rows with other numbers for the classes: the same probabilities, renumbered."""
    layer = AdaptiveSoftmax(8, CLASSES, CUTOFFS, 2.0)
    randomise(layer, 0)
    outputs = layer(torch.ones(1, 8)).detach().numpy()
    counts, renumbered = (
        np.array([9, 8, 7, 6, 5, 4, 3, 2, 1]),
        np.array([4, 2, 0, 8, 1, 3, 7, 5, 6]),
    )
    before, after = (
        build_head(make_config().model, numbers.tolist()).logits(outputs)
        for numbers in (counts, counts[renumbered])
    )
    assert after[0].tolist() == before[0, renumbered].tolist()


# ---------------------------------------------------------------------------------------- training


@pytest.mark.slow
def test_it_starts_where_no_class_is_preferred_in_its_cluster_and_can_learn():
    softmax, adaptive = (make_model(make_config(**kind)) for kind in (LINEAR, {}))
    assert torch.equal(softmax.embedding.weight, adaptive.embedding.weight)
    again = make_model(make_config())
    for name, values in adaptive.linear.named_parameters():
        assert torch.equal(values, dict(again.linear.named_parameters())[name])
        assert bool(values.any()) is name.endswith(".0.weight")
    outputs = adaptive(torch.tensor([3, 4]), torch.tensor([0, 2]))[0].exp()
    head, first, second = 1 / 4, 1 / 4 / 3, 1 / 4 / 4  # two classes and two clusters in the head
    expected = [head] * 2 + [first] * 3 + [second] * 4
    torch.testing.assert_close(outputs, torch.tensor(expected))


LINEAR = {"loss": "softmax", "cutoffs": None, "div_value": 4.0}


def test_making_it_leaves_the_generator_of_torch_alone():
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    make_model(make_config())
    assert torch.equal(torch.random.get_rng_state(), before)


def trained(rows: list[tuple[list[int], int]], **values: Any) -> FastTextClassifier:
    config = make_config(**values)
    model = make_model(config)
    randomise(model.linear, 5)  # so that all of it learns at once
    bags, labels = [bag for bag, _ in rows], np.array([label for _, label in rows])
    data = EncodedDataset(Ragged.from_lists(bags, np.int32), labels)
    Trainer(model, config, labels=LABELS).fit(data)
    return model


labeled_bags = st.lists(
    st.tuples(st.lists(st.integers(0, ROWS - 1), max_size=5), st.integers(0, CLASSES - 1)),
    min_size=1,
    max_size=12,
)


@pytest.mark.slow
@pytest.mark.parametrize("name", RATES)
@given(rows=labeled_bags)
@settings(deadline=None, max_examples=6)
def test_the_fused_step_equals_torch_optim(name, rows):
    """Most batches leave a cluster out, whose tail must then stay, with its optimizer's state."""
    values = {"name": name, "lr": RATES[name]}
    if name == "sparse_adam":
        values["eps"] = 1e-3  # with a small one, Adam makes a step of what is rounding alone
    fused, plain = (trained(rows, implementation=kind, **values) for kind in ("fused", "torch"))
    for key, value in plain.state_dict().items():
        torch.testing.assert_close(fused.state_dict()[key], value, rtol=3e-4, atol=3e-5)


def test_a_tail_without_a_text_stays():
    rare = [label for label in range(CLASSES) if frequency_rank(COUNTS)[label] >= CUTOFFS[1]]
    rows = [([label], label) for label in range(CLASSES) if label not in rare]
    model, before = trained(rows), make_model(make_config())
    randomise(before.linear, 5)
    moved = {
        name
        for name, values in model.linear.named_parameters()
        if not torch.equal(values, dict(before.linear.named_parameters())[name])
    }
    assert moved == {"head.weight", "head.bias", "tail.0.0.weight", "tail.0.1.weight"}


@pytest.mark.parametrize("implementation", ["fused", "torch"])
def test_without_a_bias_the_head_has_none(implementation):
    rows = [([label], label) for label in range(CLASSES)]
    config = make_config(bias=False, implementation=implementation)
    model = make_model(config)
    labels = np.array([label for _, label in rows])
    data = EncodedDataset(Ragged.from_lists([bag for bag, _ in rows], np.int32), labels)
    Trainer(model, config, labels=LABELS).fit(data)
    assert not model.linear.bias.any()
    assert model.linear.head.weight.any()


# ----------------------------------------------------------------------------- the model that comes


def zipf_rows(rows: int, seed: int) -> tuple[list[str], list[str]]:
    """Make texts of two words each, one of which tells the label; the label numbers are mixed."""
    rng = np.random.default_rng(seed)
    labels = np.minimum(rng.zipf(1.5, rows), 12) * 7 % 13
    return [f"w{label} noise{rng.integers(5)}" for label in labels], [f"l{n}" for n in labels]


@pytest.fixture(scope="module")
def model() -> TextClassifier:
    texts, labels = zipf_rows(1500, 0)
    settings = {"loss": "adaptive", "dim": 16, "epochs": 12, "lr": 0.5, "device": "cpu"}
    return ft.train(texts, labels, **{**helpers.WORDS_ONLY, **settings})


@pytest.mark.slow
def test_it_learns_frequent_and_rare_labels(model):
    scores = model.evaluate(*zipf_rows(400, 1))
    assert scores["accuracy"] > 0.97
    assert scores["macro_f1"] > 0.8


def test_the_chosen_cutoffs_are_in_the_settings_of_the_model(model):
    counts = model.artifact.labels.counts
    assert model.config.model.cutoffs == choose_cutoffs(counts, 16, 4.0)
    shapes = tensor_shapes(16, len(counts), model.config.model.cutoffs, 4.0)
    tensors = model.artifact.tensors
    assert {name: tensors[name].shape for name in shapes} == shapes
    assert tensors.keys() - shapes.keys() == {"table"}


def test_torch_gives_the_same_logits(model):
    bags = model.encoder.encode(zipf_rows(50, 2)[0])
    expected = torch_forward(model.artifact, "cpu")(bags)
    np.testing.assert_allclose(model._forward(bags), expected, rtol=1e-4, atol=1e-5)


def test_probabilities_are_those_of_the_loaded_model_and_add_up_to_one(model, tmp_path):
    texts = zipf_rows(50, 3)[0]
    proba = model.predict_proba(texts)
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-5)
    model.save(tmp_path / "model")
    again = ft.load(tmp_path / "model")
    assert again.config == model.config
    assert again.predict_proba(texts).tolist() == proba.tolist()


@pytest.mark.parametrize("cutoff", [0, 9])
def test_a_quantized_model_answers_nearly_the_same(model, cutoff):
    small = model.quantize(cutoff)
    texts, labels = zipf_rows(200, 4)
    if not cutoff:
        np.testing.assert_allclose(
            small.predict_proba(texts), model.predict_proba(texts), atol=0.05
        )
    assert small.evaluate(texts, labels)["accuracy"] > 0.6


def test_a_model_whose_cutoffs_do_not_fit_its_tensors_is_refused(model, tmp_path):
    cutoffs = (1, *model.config.model.cutoffs[1:])
    settings = model.config.model.model_copy(update={"cutoffs": cutoffs})
    config = model.config.model_copy(update={"model": settings})
    save_artifact(replace(model.artifact, config=config), tmp_path / "model")
    with pytest.raises(ArtifactError, match=r"the tensors .* do not fit the configuration"):
        load_artifact(tmp_path / "model")


@pytest.mark.slow
def test_validation_scores_classes_by_their_own_numbers():
    texts, labels = zipf_rows(1500, 0)
    model = ft.train(
        texts, labels, loss="adaptive", dim=16, epochs=3, lr=0.5, device="cpu", validation=0.3
    )
    assert model.artifact.metrics["validation_accuracy"] > 0.8
    assert model.artifact.metrics["validation_loss"] < 1


@pytest.mark.slow
def test_of_several_labels_it_learns_one_at_a_time():
    texts = ["red apple", "green pear", "red pear", "green apple"] * 30
    labels = ["red|apple", "green|pear", "red|pear", "green|apple"] * 30
    model = ft.train(
        *(texts, labels),
        **{"loss": "adaptive", "dim": 8, "epochs": 20, "lr": 0.5, "label_separator": "|"},
        **{"cutoffs": [2], "device": "cpu"},
    )
    for text in texts[:4]:
        assert set(model.predict(text, top_k=2).labels) == set(text.split())


def test_cutoffs_beyond_the_labels_are_refused():
    with pytest.raises(TrainingError, match=r"cutoffs ends with 13, and there are 12 labels"):
        ft.train(*zipf_rows(1500, 0), loss="adaptive", cutoffs=[2, 13], dim=16, device="cpu")


def test_it_is_not_written_as_a_fasttext_file(model):
    with pytest.raises(ConfigError, match=r'"adaptive" has more than one output matrix'):
        to_fasttext(model.artifact)


@pytest.mark.slow
def test_the_commands_train_evaluate_inspect_quantize_and_refuse_to_export(tmp_path):
    texts, labels = zipf_rows(900, 0)
    data, trained, small = tmp_path / "rows.csv", str(tmp_path / "model"), str(tmp_path / "small")
    rows = [f"{text},{label}\n" for text, label in zip(texts, labels, strict=True)]
    data.write_text("text,label\n" + "".join(rows))

    def run(*arguments: str, code: int = 0) -> str:
        return run_cli(*arguments, code=code).output

    train = ["train", "--data", str(data), "--output", trained, "--epochs", "15", "--dim", "16"]
    run(*train, "--lr", "0.5", "--set", "model.loss=adaptive", "--set", "model.cutoffs=[3, 8]")
    scores = json.loads(run("evaluate", trained, "--data", str(data), "--split", "train", "--json"))
    assert scores["accuracy"] > 0.9
    shown = json.loads(run("inspect", trained, texts[0], "--json"))
    assert shown["labels"][int(np.argmax(shown["probabilities"][0]))] == labels[0]
    np.testing.assert_allclose(np.exp(shown["logits"]), shown["probabilities"], rtol=1e-5)
    assert json.loads(run("info", trained, "--json"))["config"]["model"]["cutoffs"] == [3, 8]
    run("quantize", trained, "--output", small, "--data", str(data), "--split", "train")
    assert labels[0] in run("predict", small, texts[0])
    refused = run("export", trained, str(tmp_path / "model.bin"), code=1)
    assert 'model.loss = "adaptive"' in " ".join(refused.split())
    assert not (tmp_path / "model.bin").exists()
