"""Settings: invalid values and combinations, the precedence of layers, and TOML."""

from __future__ import annotations

import itertools
import math
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn, optim

import fasttext_app
from fasttext_app.config.loading import (
    dump_config,
    flat_layer,
    load_config_file,
    parse_assignments,
    resolve,
)
from fasttext_app.config.resources import config_names
from fasttext_app.config.schema import Config
from fasttext_app.core.device import torch_threads
from fasttext_app.core.ragged import Ragged
from fasttext_app.errors import ConfigError
from fasttext_app.model.classifier import FastTextClassifier
from fasttext_app.training.dataset import EncodedDataset
from fasttext_app.training.trainer import Trainer
from tests.helpers import make_config

SECTIONS = {name: info.annotation.model_fields for name, info in Config.model_fields.items()}


# --- impossible combinations -------------------------------------------------------------------

REFUSED = [
    ({"minn": 3, "maxn": 2}, "text.minn = 3 is larger than text.maxn = 2"),
    ({"minn": 0, "maxn": 2}, "character n-grams need text.minn >= 1"),
    (
        {"name": "sparse_adam", "sparse": False},
        '"sparse_adam" takes only sparse gradients; set model.sparse = true',
    ),
    ({"mode": "max"}, 'model.mode = "max" has no sparse gradient; set model.sparse = false'),
    ({"scale_grad_by_freq": True}, "model.scale_grad_by_freq has no sparse gradient"),
    (
        {"scale_grad_by_freq": True, "mode": "max", "sparse": False},
        'model.scale_grad_by_freq is not supported with model.mode = "max"',
    ),
    ({"term_weighting": "tfidf"}, 'text.term_weighting needs model.mode = "sum"'),
    (
        {"term_weighting": "tfidf", "mode": "max", "sparse": False},
        'text.term_weighting needs model.mode = "sum"',
    ),
    ({"name": "sgd", "momentum": 0.9}, "needs a buffer that grows at every step"),
    ({"weight_decay": 0.1}, "optimizer.weight_decay is not defined for sparse gradients"),
    (
        {"name": "sgd", "weight_decay": 0.1},
        "optimizer.weight_decay is not defined for sparse gradients",
    ),
    ({"clip_grad_norm": 1.0}, "trainer.clip_grad_norm is not supported for sparse gradients"),
    ({"momentum": 0.5, "sparse": False}, 'momentum is used only with optimizer.name = "sgd"'),
    ({"betas": (0.5, 0.5)}, 'betas is used only with optimizer.name = "sparse_adam"'),
    ({"norm_type": 1.0}, "model.norm_type is used only with model.max_norm"),
    ({"freeze_pretrained": True}, "needs vectors to freeze; set model.pretrained"),
    (
        {"freeze_pretrained": True, "pretrained": "x.vec", "max_norm": 1.0},
        "model.freeze_pretrained cannot be combined with model.max_norm",
    ),
    (
        {
            "freeze_pretrained": True,
            "pretrained": "x.vec",
            "sparse": False,
            "weight_decay": 0.1,
        },
        "model.freeze_pretrained cannot be combined with optimizer.weight_decay",
    ),
    ({"cutoffs": (2,)}, 'model.cutoffs is used only with model.loss = "adaptive"'),
    ({"div_value": 2.0}, 'model.div_value is used only with model.loss = "adaptive"'),
    (
        {"loss": "adaptive", "cutoffs": (5, 5)},
        "model.cutoffs = [5, 5]: must be strictly increasing",
    ),
    (
        {"loss": "adaptive", "dim": 15, "cutoffs": (2, 5)},
        "model.dim = 15 is too small for cluster 2 of the adaptive softmax, which has dim / 4^2",
    ),
    ({"loss": "adaptive", "dim": 3}, "model.dim = 3 is too small for cluster 1"),
    (
        {"loss": "adaptive", "probabilities": "fasttext"},
        "which fastText does not have",
    ),
    (
        {"loss": "ns", "label_smoothing": 0.1},
        'trainer.label_smoothing is not supported with model.loss = "ns", '
        "which does not compute the score of every label",
    ),
    ({"loss": "hs", "focal_gamma": 2.0}, "trainer.focal_gamma is not supported with"),
    (
        {"loss": "hs", "soft_labels": True, "label_separator": "|"},
        "data.soft_labels is not supported with",
    ),
    ({"soft_labels": True}, "data.soft_labels needs data.label_separator"),
    (
        {"soft_labels": True, "label_separator": "="},
        'data.label_separator cannot contain "="',
    ),
    (
        {"focal_gamma": 1.0, "label_smoothing": 0.1},
        "hard targets and cannot be combined with trainer.label_smoothing",
    ),
    (
        {"focal_gamma": 1.0, "soft_labels": True, "label_separator": "|"},
        "hard targets and cannot be combined with data.soft_labels",
    ),
]


@pytest.mark.parametrize(("settings", "reason"), REFUSED)
def test_an_impossible_combination_is_refused_with_a_reason(settings, reason):
    with pytest.raises(ConfigError, match=re.escape(reason)):
        make_config(**settings)


def train_steps(
    make: Callable[..., optim.Optimizer], *, weights: bool = False, **options: Any
) -> Iterator[tuple[nn.EmbeddingBag, optim.Optimizer]]:
    """Take three steps with a plain EmbeddingBag; yield it and its optimizer after each."""
    torch.manual_seed(0)
    bag = nn.EmbeddingBag(200, 2, include_last_offset=True, **options)
    optimizer = make(list(bag.parameters()))
    for _ in range(3):
        optimizer.zero_grad()
        indices = torch.randint(0, 200, (20,))
        per_sample_weights = torch.ones(20) if weights else None
        bag(indices, torch.tensor([0, 10, 20]), per_sample_weights).sum().backward()
        optimizer.step()
        yield bag, optimizer


def sgd(parameters: list[nn.Parameter], **options: Any) -> optim.SGD:
    return optim.SGD(parameters, 0.1, **options)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "options"),
    [
        pytest.param(optim.SparseAdam, {"sparse": False}, id="SparseAdam on dense gradients"),
        pytest.param(
            lambda p: sgd(p, weight_decay=0.1), {"sparse": True}, id="SGD decay on sparse"
        ),
        pytest.param(
            lambda p: optim.Adagrad(p, weight_decay=0.1),
            {"sparse": True},
            id="Adagrad decay on sparse",
        ),
        pytest.param(sgd, {"mode": "max", "sparse": True}, id="max on sparse"),
        pytest.param(sgd, {"scale_grad_by_freq": True, "sparse": True}, id="freq on sparse"),
        pytest.param(sgd, {"scale_grad_by_freq": True, "mode": "max"}, id="freq on max"),
        pytest.param(sgd, {"weights": True, "mode": "mean"}, id="weights on mean"),
        pytest.param(sgd, {"weights": True, "mode": "max"}, id="weights on max"),
    ],
)
def test_torch_cannot_run_the_combinations_that_are_refused(make, options):
    with torch_threads(1), pytest.raises((RuntimeError, ValueError, NotImplementedError)):
        list(train_steps(make, **options))


def test_torch_cannot_clip_sparse_gradients():
    with torch_threads(1):
        bag, _ = next(train_steps(sgd, sparse=True))
        with pytest.raises(NotImplementedError):
            nn.utils.clip_grad_norm_(bag.parameters(), 1.0)


def test_the_momentum_buffer_of_sparse_gradients_grows():
    with torch_threads(1):
        steps = train_steps(lambda p: sgd(p, momentum=0.9), sparse=True)
        sizes = [o.state[bag.weight]["momentum_buffer"]._nnz() for bag, o in steps]
    assert sizes[0] < sizes[1] < sizes[2]


OPTIONS: dict[str, list[Any]] = {
    "name": ["sgd", "adagrad", "sparse_adam"],
    "sparse": [True, False],
    "mode": ["mean", "sum", "max"],
    "max_norm": [None, 0.5],
    "scale_grad_by_freq": [False, True],
    "include_last_offset": [True, False],
    "padding_idx": [None, 1],
    "term_weighting": ["none", "tfidf"],
    "weight_decay": [0.0, 0.1],
    "momentum": [0.0, 0.9],
    "clip_grad_norm": [None, 1.0],
    "loss": ["softmax", "ova"],
    "focal_gamma": [0.0, 2.0],
}


def accepted_configs() -> Iterator[Config]:
    """Yield the accepted ones of all combinations, in a random order."""
    combinations = list(itertools.product(*OPTIONS.values()))
    for index in np.random.default_rng(0).permutation(len(combinations)):
        values = combinations[index]
        try:
            yield make_config(
                **dict(zip(OPTIONS, values, strict=True)), dim=3, batch_size=2, epochs=1
            )
        except ConfigError:
            continue


@pytest.mark.slow
def test_every_accepted_combination_trains():
    configs = list(itertools.islice(accepted_configs(), 120))
    assert len(configs) == 120
    bags = Ragged.from_lists([[0, 1, 1, 2], [], [1], [3, 0, 3]], np.int32)
    weights = np.linspace(0.1, 0.9, 8, dtype=np.float32)
    with torch_threads(1):
        for config in configs:
            model = FastTextClassifier.from_config(
                config.model, 4, 2, torch.Generator().manual_seed(0)
            )
            before = {key: value.clone() for key, value in model.state_dict().items()}
            data = EncodedDataset(
                bags,
                np.array([0, 1, 1, 0]),
                weights if config.text.term_weighting == "tfidf" else None,
                include_last_offset=config.model.include_last_offset,
            )
            Trainer(model, config).fit(data, data)
            moved = {key: not torch.equal(v, before[key]) for key, v in model.state_dict().items()}
            assert all(moved.values()), config


# --- layers and errors -------------------------------------------------------------------------


def test_a_later_layer_overrides_single_settings():
    config = resolve(
        {"trainer": {"epochs": 1, "batch_size": 8}, "model": {"dim": 3}},
        {"trainer": {"epochs": 2}},
        {"optimizer": {"lr": 0.5}},
    )
    assert (config.trainer.epochs, config.trainer.batch_size) == (2, 8)
    assert (config.model.dim, config.optimizer.lr) == (3, 0.5)


def test_resolving_does_not_change_the_layers():
    layer = {"trainer": {"epochs": 1}}
    resolve(layer, {"trainer": {"epochs": 2}})
    assert layer == {"trainer": {"epochs": 1}}


def test_combinations_are_checked_after_merging_all_layers():
    assert resolve({"model": {"mode": "max"}}, {"model": {"sparse": False}}).model.mode == "max"


def test_a_config_is_immutable():
    with pytest.raises(ValueError, match="frozen"):
        Config().trainer.epochs = 3


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"trainr": {}}, "trainr: no such section; did you mean 'trainer'?"),
        ({"zzz": {}}, "zzz: no such section"),
        ({"epochs": 3}, "epochs: no such section; did you mean 'trainer.epochs'?"),
        ({"trainer": 3}, "trainer: is a section of settings, not a value"),
        ({"trainer": {"epoch": 3}}, "trainer.epoch: no such setting; did you mean"),
        ({"optimizer": {"learning_rate": 3}}, "optimizer.learning_rate: no such setting"),
        ({"trainer": {"epochs": "3"}}, "trainer.epochs: must be a valid integer (got '3')"),
        ({"trainer": {"epochs": 3.0}}, "trainer.epochs: must be a valid integer (got 3.0)"),
        ({"trainer": {"epochs": True}}, "trainer.epochs: must be a valid integer"),
        ({"trainer": {"epochs": -1}}, "trainer.epochs: must be greater than or equal to 0"),
        ({"trainer": {"seed": -1}}, "trainer.seed: must be greater than or equal to 0"),
        ({"trainer": {"seed": 2**63}}, "trainer.seed: must be less than"),
        (
            {"trainer": {"device": "gpu"}},
            "trainer.device: must be auto, cpu, cuda or cuda:0",
        ),
        (
            {"trainer": {"device": "cuda:0\n"}},
            "trainer.device: must be auto, cpu, cuda or cuda:0",
        ),
        ({"model": {"sparse": 1}}, "model.sparse: must be a valid boolean (got 1)"),
        ({"model": {"mode": "avg"}}, "model.mode: must be 'mean', 'sum' or 'max'"),
        ({"model": {"dim": 10**6}}, "model.dim: must be less than or equal to 65536"),
        ({"optimizer": {"lr": 0}}, "optimizer.lr: must be greater than 0"),
        ({"optimizer": {"lr": math.nan}}, "optimizer.lr: must be"),
        ({"optimizer": {"lr": math.inf}}, "optimizer.lr: must be"),
        ({"optimizer": {"lr": 1e39}}, "optimizer.lr: must be less than or equal to"),
        ({"optimizer": {"eps": 1e-60}}, "optimizer.eps: must be greater than or equal to"),
        ({"optimizer": {"warmup": 1.0}}, "optimizer.warmup: must be less than 1"),
        ({"optimizer": {"betas": [0.9]}}, "optimizer.betas: has too few values"),
        ({"optimizer": {"betas": [0.9, 1.0]}}, "optimizer.betas: must be less than 1"),
        ({"model": {"max_norm": math.nan}}, "model.max_norm: must be a finite number"),
        ({"data": {"validation": 1.5}}, "data.validation: must be less than 1 (got 1.5)"),
        ({"data": {"validation": -0.5}}, "data.validation: must be greater than or equal"),
        ({"data": {"text_columns": []}}, "data.text_columns: must have at least 1 item"),
        ({"data": {"label_prefix": ""}}, "data.label_prefix: must have at least 1"),
        ({"data": {"source": "\udcff.csv"}}, "data.source: is not valid UTF-8"),
        ({"text": {"tokenizer": "hf:\udcff"}}, "text.tokenizer: is not valid UTF-8"),
        ({"model": {"pretrained": "\udcff"}}, "model.pretrained: is not valid UTF-8"),
    ],
)
def test_an_invalid_setting_is_named_in_one_line(layer, message):
    with pytest.raises(ConfigError) as caught:
        resolve(layer)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_the_closest_setting_is_suggested_with_its_section():
    with pytest.raises(ConfigError, match=r"did you mean 'trainer\.epochs'\?"):
        resolve({"trainer": {"epoch": 3}})


# --- assignments and keywords ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("a.b=3", 3),
        ("a.b=-0.5", -0.5),
        ("a.b=1e-3", 1e-3),
        ("a.b = 1_000", 1000),
        ("a.b=true", True),
        ("a.b=True", "True"),
        ("a.b=text", "text"),
        ("a.b = two words ", "two words"),
        ("a.b='3'", "3"),
        ('a.b="x = y"', "x = y"),
        ("a.b=x=y", "x=y"),
        ("a.b=path/to the/file.csv", "path/to the/file.csv"),
        ('a.b=["x", "y"]', ["x", "y"]),
        ("a.b=[0.5, 0.9]", [0.5, 0.9]),
        ("a.b=[x]", "[x]"),
        ("a.b=", ""),
        ("a.b==3", "=3"),
    ],
)
def test_the_value_of_an_assignment_is_toml_or_else_a_string(assignment, value):
    parsed = parse_assignments([assignment])
    assert parsed == {"a": {"b": value}}
    assert type(parsed["a"]["b"]) is type(value)


@pytest.mark.parametrize("assignment", ["", "a", "a.b", "a=3", ".b=3", "a.=3", "=3", "a b"])
def test_a_malformed_assignment_is_refused(assignment):
    with pytest.raises(ConfigError, match=r"expected section\.key=value"):
        parse_assignments([assignment])


def test_the_last_assignment_to_a_setting_wins():
    layer = parse_assignments(["trainer.epochs=1", "model.dim=3", "trainer.epochs=2"])
    assert layer == {"trainer": {"epochs": 2}, "model": {"dim": 3}}


def test_keyword_settings_are_sorted_into_sections():
    layer = flat_layer({"epochs": 3, "lr": 0.5, "text": {"minn": 2}, "maxn": 4})
    assert layer == {
        "trainer": {"epochs": 3},
        "optimizer": {"lr": 0.5},
        "text": {"minn": 2, "maxn": 4},
    }


def test_the_closest_keyword_setting_is_suggested():
    with pytest.raises(ConfigError, match="epoch: no such setting; did you mean 'epochs'"):
        flat_layer({"epoch": 3})


def test_setting_names_are_unique_across_sections():
    names = [name for fields in SECTIONS.values() for name in fields]
    assert len(names) == len(set(names))
    assert not set(names) & set(SECTIONS)


def test_every_setting_is_read_somewhere():
    package = Path(fasttext_app.__file__).parent
    files = [path for path in package.rglob("*.py") if path.parent.name != "config"]
    attributes = {
        attribute
        for path in files
        for attribute in re.findall(r"(?<=\.)[a-z_]+\b", path.read_text(encoding="utf-8"))
    }
    encoder = (package / "text" / "encoder.py").read_text(encoding="utf-8")
    in_encoder = set(re.findall(r"(?<=\bconfig\.)[a-z_]+\b", encoder))
    for name in [name for section in SECTIONS.values() for name in section]:
        if name in {"minn", "maxn", "word_ngrams", "bucket"}:  # the encoder has these attributes
            assert ("bucket_count" if name == "bucket" else name) in in_encoder
        else:
            assert name in attributes, name


# --- TOML --------------------------------------------------------------------------------------

words = st.text(max_size=12)
fractions = st.floats(0, 0.999, allow_nan=False)
any_config = st.fixed_dictionaries(
    {},
    optional={
        "source": words,
        "text_columns": st.lists(words, min_size=1, max_size=3),
        "label_column": words,
        "header": st.booleans(),
        "label_prefix": st.text(min_size=1, max_size=5),
        "validation": st.one_of(words, fractions),
        "tokenizer": words,
        "word_ngrams": st.integers(1, 10),
        "bucket": st.integers(1, 2**31 - 1),
        "dim": st.integers(1, 65_536),
        "padding_idx": st.one_of(st.none(), st.integers(0, 2**63 - 1)),
        "max_norm": st.one_of(st.none(), st.floats(1e-300, 1e300)),
        "pretrained": st.one_of(st.none(), words),
        "lr": st.floats(1e-300, 1e30),
        "warmup": fractions,
        "schedule": st.sampled_from(["linear", "constant", "cosine"]),
        "seed": st.integers(0, 2**63 - 1),
        "device": st.sampled_from(["auto", "cpu", "cuda:12"]),
    },
)


@pytest.mark.slow
@given(any_config)
@settings(deadline=None, max_examples=60)
def test_a_config_survives_the_way_to_toml_and_back(values):
    config = make_config(**values)
    assert resolve(tomllib.loads(dump_config(config))) == config


def test_the_written_config_has_every_setting_except_unset_ones():
    written = tomllib.loads(dump_config(Config()))
    unset = {"source", "label_separator", "max_norm", "padding_idx", "pretrained"}
    unset |= {"clip_grad_norm", "checkpoint_every", "cutoffs", "weight_column", "start_from"}
    unset |= {"delimiter"}
    assert {name for section in written.values() for name in section} == {
        name for fields in SECTIONS.values() for name in fields
    } - unset


# --- config files ------------------------------------------------------------------------------


def test_a_config_file_is_a_layer(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[trainer]\nepochs = 7\n", encoding="utf-8")
    assert load_config_file(path) == {"trainer": {"epochs": 7}}


@pytest.mark.parametrize("name", config_names())
def test_a_shipped_config_loads_by_its_name(name):
    assert isinstance(resolve(load_config_file(name)), Config)


def test_the_closest_shipped_config_is_suggested(tmp_path):
    with pytest.raises(ConfigError, match="smaple: no such config file; did you mean 'sample'"):
        load_config_file("smaple")
    with pytest.raises(ConfigError, match=r"no such config file; shipped: .*sample"):
        load_config_file(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"epochs = ", "not a TOML file"),
        (b"\xff\xfe", "not a TOML file"),
        (b"epochs = 3", "epochs: no such section; did you mean 'trainer.epochs'"),
        (b"[trainer]\nepochs = -1", "trainer.epochs: must be greater"),
    ],
)
def test_an_invalid_config_file_is_named(tmp_path, content, message):
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config_file(path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_a_folder_is_not_a_config_file(tmp_path):
    with pytest.raises(ConfigError, match="no such config file"):
        load_config_file(tmp_path)


def test_a_column_can_be_given_as_a_number():
    layer = parse_assignments(["data.label_column=1", "data.text_columns=[2, 3]"])
    data = resolve(layer).data
    assert (data.label_column, data.text_columns) == ("1", ("2", "3"))


def test_a_value_for_a_section_is_not_an_unknown_setting():
    with pytest.raises(ConfigError, match="text: is a section of settings"):
        flat_layer({"text": "x"})


def test_an_assignment_without_a_section_suggests_it():
    with pytest.raises(ConfigError, match=r"--set epochs=3: .* did you mean trainer\.epochs\?"):
        parse_assignments(["epochs=3"])
