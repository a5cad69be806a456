"""The search space: its table, and the values that are chosen from it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttext_app.config.auto import DataSize, fill_auto
from fasttext_app.config.loading import load_config_file, resolve
from fasttext_app.config.resources import config_names
from fasttext_app.config.schema import Config
from fasttext_app.errors import ConfigError
from fasttext_app.tuning.space import (
    Choice,
    Dimension,
    Range,
    SearchSpace,
    default_space,
    flat_settings,
    nested_settings,
)
from tests.helpers import ROOT

BAG = [
    {"model.mode": "mean", "text.term_weighting": "none"},
    {"model.mode": "sum", "text.term_weighting": "tfidf"},
]
NGRAMS = {"text.word_ngrams": [2, 3]}


def chosen(space: SearchSpace, values: dict[str, Any], base: Config | None = None) -> Any:
    """Choose these values; a dimension that is not named keeps the base's."""
    return space.choose(base or Config(), lambda d: (values[d.name],) if d.name in values else ())


def test_a_range_has_the_type_of_its_setting():
    space = SearchSpace.parse(
        {
            "optimizer.lr": {"low": 1, "high": 2, "log": True},
            "trainer.epochs": {"low": 1, "high": 9, "step": 2},
        }
    )
    lr, epochs = (dimension.domain for dimension in space.dimensions)
    assert lr == Range(1.0, 2.0, log=True)
    assert isinstance(lr.low, float)
    assert epochs == Range(1, 9, step=2)
    assert isinstance(epochs.low, int)


def test_a_list_is_a_choice_of_values_or_of_groups_of_settings():
    space = SearchSpace.parse({"model.dim": [10, 25], "bag": BAG})
    assert space.dimensions[0].domain == Choice((10, 25))
    assert space.dimensions[1].settings == ("model.mode", "text.term_weighting")
    assert space.settings == ("model.dim", "model.mode", "text.term_weighting")
    assert chosen(space, {"model.dim": 25, "bag": BAG[1]}) == {"model.dim": 25, **BAG[1]}


def test_a_conditional_dimension_is_chosen_only_if_its_condition_holds():
    space = SearchSpace.parse(
        {
            "text.word_ngrams": [1, 2, 3],
            "text.min_ngram_count": {"low": 1, "high": 5, "when": NGRAMS},
        }
    )
    values = {"text.word_ngrams": 1, "text.min_ngram_count": 4}
    assert chosen(space, values) == {"text.word_ngrams": 1}
    assert chosen(space, values | {"text.word_ngrams": 2}) == values | {"text.word_ngrams": 2}


def test_a_condition_may_name_a_setting_of_the_base():
    when = {"optimizer.name": "sgd"}
    space = SearchSpace.parse({"lr": {"setting": "optimizer.lr", "choices": [9.0], "when": when}})
    sgd = resolve({"optimizer": {"name": "sgd"}})
    assert chosen(space, {"lr": 9.0}) == {}
    assert chosen(space, {"lr": 9.0}, sgd) == {"optimizer.lr": 9.0}


def test_a_setting_may_have_a_range_for_each_condition():
    table = {
        "optimizer.name": ["adagrad", "sgd"],
        "a": {
            "setting": "optimizer.lr",
            "low": 0.1,
            "high": 1,
            "when": {"optimizer.name": "adagrad"},
        },
        "s": {"setting": "optimizer.lr", "low": 1, "high": 50, "when": {"optimizer.name": "sgd"}},
    }
    space = SearchSpace.parse(table)
    values = {"optimizer.name": "sgd", "a": 0.5, "s": 20.0}
    assert chosen(space, values) == {"optimizer.name": "sgd", "optimizer.lr": 20.0}
    assert space.settings == ("optimizer.name", "optimizer.lr")


def test_the_value_of_a_dimension_in_some_settings():
    space = SearchSpace.parse(
        {"model.dim": {"low": 8, "high": 64, "step": 8}, "bag": BAG, "optimizer.lr": [0.1, 0.2]}
    )
    dim, bag, lr = space.dimensions
    settings = flat_settings(
        resolve(
            {
                "model": {"dim": 16, "mode": "sum"},
                "text": {"term_weighting": "none"},
                "optimizer": {"lr": 0.1},
            }
        )
    )
    assert dim.value_in(settings) == (16,)
    assert dim.value_in(settings | {"model.dim": 10}) == ()
    assert dim.value_in(settings | {"model.dim": 128}) == ()
    assert bag.value_in(settings) == ()  # a sum without weights is neither
    assert bag.value_in(settings | BAG[1]) == (BAG[1],)
    assert lr.value_in(settings) == (0.1,)


def test_lists_are_values_too():
    space = SearchSpace.parse({"optimizer.betas": [[0.9, 0.99], [0.9, 0.999]]})
    assert space.dimensions[0].value_in(flat_settings(Config())) == ([0.9, 0.999],)
    settings = chosen(space, {"optimizer.betas": [0.9, 0.99]})
    adam = resolve({"optimizer": {"name": "sparse_adam"}}, nested_settings(settings))
    assert adam.optimizer.betas == (0.9, 0.99)


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({}, "the search space is empty"),
        ({"trainer.epoch": [1]}, "trainer.epoch: no such setting; did you mean 'trainer.epochs'?"),
        ({"lr": {"low": 0.1, "high": 1}}, "lr: no such section; did you mean 'optimizer.lr'?"),
        ({"modle.dim": [1]}, "modle: no such section; did you mean 'model'?"),
        ({"model": [1, 2]}, "model: is a section of settings, not a value"),
        ({"bag": [{"model.mod": "sum"}]}, "model.mod: no such setting; did you mean 'model.mode'"),
        ({"bag": [{"model.mode": "som"}]}, "model.mode: must be 'mean', 'sum' or 'max'"),
        ({"model.dim": [0]}, "model.dim: must be greater than or equal to 1"),
        ({"model.dim": [2.5]}, "model.dim: must be a valid integer"),
        ({"model.dim": 10}, "model.dim: must be a list of values, or a table with low and high"),
        ({"model.dim": {"low": 10}}, "model.dim: must be a list of values, or have numbers as"),
        ({"model.dim": {"low": True, "high": 2}}, "model.dim: must be a list of values, or have"),
        ({"model.dim": {"low": 1.5, "high": 2}}, "model.dim: must be a valid integer"),
        ({"model.dim": {"low": 9, "high": 2}}, "model.dim: low = 9 is larger than high = 2"),
        ({"model.dim": {"low": 1, "hihg": 2}}, "unknown key 'hihg'; did you mean 'high'?"),
        ({"model.dim": {"low": 1, "high": 2, "x": 3}}, "unknown key 'x'; the keys are choices,"),
        ({"model.dim": {"choices": [1], "low": 2}}, "low cannot be combined with choices"),
        ({"model.dim": {"choices": []}}, "model.dim: choices must be a list of values"),
        ({"model.dim": {"low": 1, "high": 4, "log": 1}}, "model.dim: log must be true or false"),
        ({"model.dim": {"low": 1, "high": 4, "step": 2}}, "steps of 2 from low = 1 do not reach"),
        ({"model.dim": {"low": 1, "high": 4, "step": 0.5}}, "model.dim: step must be a number"),
        ({"model.dim": {"low": 1, "high": 4, "step": 1, "log": True}}, "in a range without log"),
        (
            {"optimizer.warmup": {"low": 0, "high": 0.5, "log": True}},
            "a range with log must begin above 0",
        ),
        ({"optimizer.lr": {"low": -1, "high": 1}}, "optimizer.lr: must be greater than 0"),
        ({"data.validation": [0.1, 0.2]}, "data.validation: cannot be searched, because"),
        ({"trainer.seed": [0, 1]}, "trainer.seed: cannot be searched"),
        ({"trainer.monitor": ["loss"]}, "trainer.monitor: cannot be searched"),
        (
            {"model.dim": {"low": 1, "high": 2, "when": NGRAMS}, "text.word_ngrams": [1, 2]},
            "its 'when' names text.word_ngrams, which is chosen later; put model.dim after it",
        ),
        ({"model.dim": {"low": 1, "high": 2, "when": {"a": [1]}}}, "a: no such section"),
        (
            {"model.dim": {"low": 1, "high": 2, "when": {"text.word_ngrams": "2"}}},
            "text.word_ngrams: must be a valid integer",
        ),
    ],
)  # fmt: skip
def test_an_impossible_search_space_is_refused(table, problem):
    with pytest.raises(ConfigError) as caught:
        SearchSpace.parse(table)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_condition_may_name_a_setting_that_cannot_be_searched():
    when = {"data.validation": [0.1]}
    space = SearchSpace.parse({"model.dim": {"low": 1, "high": 2, "when": when}})
    assert space.dimensions[0].when == {"data.validation": (0.1,)}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("[space]\n'model.dim' = [10]\n[other]\n", "unknown entry 'other'; a search space is"),
        ("", "there is no table [space]; a search space is one table, [space]"),
        ("space = 3", "there is no table [space]"),
        ("[space", "not a TOML file"),
        ("[space]\n'model.dmi' = [1]", "model.dmi: no such setting; did you mean 'model.dim'?"),
        (None, "no such file"),
    ],
)
def test_the_error_names_a_file_that_cannot_be_read(tmp_path, content, problem):
    path = tmp_path / "space.toml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        SearchSpace.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert problem in str(caught.value)


def test_a_file_reads_as_its_table_does(tmp_path):
    path = tmp_path / "space.toml"
    path.write_text(
        '[space]\n"model.dim" = [10, 25]\n'
        '"optimizer.lr" = {low = 0.01, high = 1.0, log = true}\n'
        'bag = [{"model.mode" = "mean"}, {"model.mode" = "sum"}]\n'
    )
    table = {
        "model.dim": [10, 25],
        "optimizer.lr": {"low": 0.01, "high": 1.0, "log": True},
        "bag": [{"model.mode": "mean"}, {"model.mode": "sum"}],
    }
    assert SearchSpace.load(path) == SearchSpace.parse(table)


# --- the default space


BASES = [{}, *(load_config_file(name) for name in config_names())]
BASES += [
    {"text": {"prune": False}, "model": {"mode": "max", "sparse": False}},
    {"text": {"minn": 2, "maxn": 4}, "optimizer": {"name": "rowwise_adagrad", "lr": 5.0}},
    {"model": {"dim": 300, "pretrained": "vectors.vec"}},
]


def filled(config: Config) -> Config:
    """Fill in the automatic settings, as they would be for a thousand rows."""
    return fill_auto(config, DataSize((500, 500), 1000, 40_000, 100))


def picked(dimension: Dimension, share: float) -> Sequence[Any]:
    of = dimension.domain
    if isinstance(of, Choice):
        return (of.values[int(share * len(of.values))],)
    value = of.low + share * (of.high - of.low)
    return (int(value) if isinstance(of.low, int) else value,)


@pytest.mark.slow
@given(base=st.sampled_from(BASES), small=st.booleans(), data=st.data())
def test_every_choice_of_the_default_space_is_a_valid_configuration(base, small, data):
    config = resolve(base)
    space = default_space(filled(config), small=small)
    shares = st.floats(0, 1, exclude_max=True)
    settings = space.choose(config, lambda dimension: picked(dimension, data.draw(shares)))
    changed = flat_settings(resolve(config.model_dump(), nested_settings(settings)))
    assert {name: changed[name] for name in settings} == settings


def test_the_default_space_depends_on_the_base():
    assert {"text.minn", "text.char_share"} <= set(default_space(filled(Config())).settings)
    assert "text.bucket" not in default_space(filled(Config())).settings
    assert "text.bucket" in default_space(filled(Config()), small=True).settings
    assert (
        "model.dim" not in default_space(filled(resolve({"model": {"pretrained": "x"}}))).settings
    )
    assert "model.loss" in default_space(filled(Config())).settings
    for metric in ("loss", "precision@recall:0.9"):
        by_probabilities = resolve({"trainer": {"monitor": metric}})
        assert "model.loss" not in default_space(filled(by_probabilities)).settings
    several = resolve({"data": {"label_separator": "|"}, "model": {"loss": "ova"}})
    assert "model.loss" not in default_space(filled(several)).settings
    (rate,) = (d for d in default_space(filled(Config())).dimensions if d.name == "optimizer.lr")
    sgd = resolve({"optimizer": {"name": "sgd"}})
    (rate_of_sgd,) = (d for d in default_space(filled(sgd)).dimensions if d.name == "optimizer.lr")
    assert isinstance(rate.domain, Range)
    assert isinstance(rate_of_sgd.domain, Range)
    assert rate_of_sgd.domain.high > rate.domain.high


@pytest.mark.parametrize("name", ["ag_news", "ag_news_sgd", "ag_news_sparse_adam", "sample"])
def test_the_shipped_configs_lie_in_their_default_space(name):
    config = filled(resolve(load_config_file(name)))
    settings = flat_settings(config)
    outside = [
        dimension.name
        for dimension in default_space(config).dimensions
        if dimension.applies(settings) and not dimension.value_in(settings)
    ]
    assert outside == []


def test_the_space_of_the_documentation_can_be_read(tmp_path):
    page = ROOT / "docs" / "tuning.md"
    (example,) = re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "space.toml").write_text(example, encoding="utf-8")
    space = SearchSpace.load(tmp_path / "space.toml")
    assert {"optimizer.lr", "text.maxn", "optimizer.name"} <= set(space.settings)
