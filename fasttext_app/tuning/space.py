"""The search space of ``tune``: settings with the values that they may take.

A ``[space]`` table has an entry for each dimension:

    "optimizer.lr" = {low = 0.01, high = 1.0, log = true}    a range; of integers for an integer
    "model.dim" = [10, 25, 50]                               a choice
    "text.min_ngram_count" = {low = 1, high = 5, when = {"text.word_ngrams" = [2, 3]}}
    bag = [{"model.mode" = "mean"}, {"model.mode" = "sum", "text.term_weighting" = "tfidf"}]
    lr_of_sgd = {setting = "optimizer.lr", low = 1, high = 50, when = {"optimizer.name" = "sgd"}}

An entry whose name has no dot chooses several settings together, or is another range of a setting.
``when`` names values of other settings, from the base configuration or from entries above; if they
do not hold, the setting keeps the base's value.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fasttext_app.config.auto import known
from fasttext_app.config.loading import parse_toml, validate_setting
from fasttext_app.config.metric_name import Metric
from fasttext_app.config.schema import Config
from fasttext_app.errors import ConfigError, did_you_mean

Settings = Mapping[str, Any]
"""Values by ``section.key``."""

RANGE_KEYS = ("low", "high", "log", "step")
KEYS = ("choices", "setting", "when", *RANGE_KEYS)
SEARCHABLE_IN_TRAINER = (
    *("epochs", "batch_size", "patience", "clip_grad_norm"),
    *("class_weights", "label_smoothing", "focal_gamma", "token_dropout", "bag_dropout"),
)

LR_RANGES = {
    "adagrad": (0.05, 1.0),
    "rowwise_adagrad": (0.05, 1.0),
    "sparse_adam": (0.001, 0.05),
    "sgd": (0.2, 20.0),
}
LOSSES = ["softmax", "ova"]
CHAR_NGRAMS = [(3, 5), (2, 4)]
EPS_FACTOR = 30  # around the base's; the larger eps is, the shorter are a row's first steps
LABEL_SMOOTHING = [0.0, 0.05, 0.1, 0.2]
MAX_EPOCHS, MAX_DIM = 5, 32  # or twice the base's, if that is more
WITH_WORD_NGRAMS = {"text.word_ngrams": [2, 3]}


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def contains(self, value: Any) -> bool:
        """Return whether a value is in the range, and on one of its steps."""
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not self.low <= value <= self.high:
            return False
        return not self.step or math.isclose((value - self.low) % self.step, 0, abs_tol=1e-9)


@dataclass(frozen=True)
class Choice:
    """One of several values, or of several groups of settings."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Dimension:
    """One entry of a search space.

    Args:
        name: the name of the entry, by default that of the setting.
        setting: the setting that it searches; "" if its choices are groups of settings.
        domain: the values.
        when: the values of other settings under which it is searched.
    """

    name: str
    setting: str
    domain: Range | Choice
    when: Mapping[str, tuple[Any, ...]]

    def applies(self, settings: Settings) -> bool:
        """Return whether the dimension is searched under these settings."""
        return all(settings[name] in values for name, values in self.when.items())

    def settings_for(self, value: Any) -> Settings:
        """Return the settings that a value stands for."""
        return {self.setting: value} if self.setting else value

    @property
    def settings(self) -> tuple[str, ...]:
        """The names of the settings that it searches."""
        if self.setting:
            return (self.setting,)
        assert isinstance(self.domain, Choice)
        return tuple(dict.fromkeys(name for group in self.domain.values for name in group))

    def value_in(self, settings: Settings) -> tuple[Any, ...]:
        """Return the value that these settings have, in a tuple of one; () if it is outside."""
        if isinstance(self.domain, Range):
            value = settings[self.setting]
            return (value,) if self.domain.contains(value) else ()
        for value in self.domain.values:
            if all(settings[name] == wanted for name, wanted in self.settings_for(value).items()):
                return (value,)
        return ()

    def as_dict(self) -> dict[str, Any]:
        """Return the definition of the dimension as plain values."""
        if isinstance(self.domain, Choice):
            domain: dict[str, Any] = {"choices": list(self.domain.values)}
        else:
            domain = vars(self.domain)
        when = {name: list(values) for name, values in self.when.items()}
        return {**domain, "setting": self.setting, "when": when}


@dataclass(frozen=True)
class SearchSpace:
    """Dimensions, in the order in which their values are chosen."""

    dimensions: tuple[Dimension, ...]

    @classmethod
    def load(cls, path: str | Path) -> SearchSpace:
        """Read the ``[space]`` table of a TOML file.

        Raises:
            ConfigError: there is no such file or table, or an entry cannot be searched.
        """
        try:
            document = parse_toml(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ConfigError(f"{path}: not a TOML file: {error}") from None
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such file") from None
        other = next((name for name in document if name != "space"), None)
        if other is not None or not isinstance(document.get("space"), dict):
            problem = f"unknown entry {other!r}" if other else "there is no table [space]"
            raise ConfigError(f"{path}: {problem}; a search space is one table, [space]")
        try:
            return cls.parse(document["space"])
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None

    @classmethod
    def parse(cls, table: Mapping[str, Any]) -> SearchSpace:
        """Read a search space from plain values.

        >>> space = SearchSpace.parse({"trainer.epoch": [1, 2]})
        Traceback (most recent call last):
            ...
        fasttext_app.errors.ConfigError: trainer.epoch: no such setting; did you mean ...?

        Raises:
            ConfigError: an entry cannot be searched.
        """
        if not table:
            raise ConfigError("the search space is empty; name a setting and its values")
        dimensions = tuple(_dimension(name, entry) for name, entry in table.items())
        for index, dimension in enumerate(dimensions):
            not_yet_chosen = {name for other in dimensions[index:] for name in other.settings}
            for name in dimension.when:
                if name in not_yet_chosen:
                    raise ConfigError(
                        f"{dimension.name}: its 'when' names {name}, which is chosen later; "
                        f"put {dimension.name} after it"
                    )
        return cls(dimensions)

    @property
    def settings(self) -> tuple[str, ...]:
        """The names of all searched settings."""
        return tuple(dict.fromkeys(name for each in self.dimensions for name in each.settings))

    def choose(self, base: Config, value_of: Callable[[Dimension], Sequence[Any]]) -> Settings:
        """Choose a value of each dimension that applies; return the settings that are set.

        Args:
            base: the values of all other settings.
            value_of: returns the value of a dimension in a sequence of one; an empty sequence
                leaves the base's value.
        """
        settings, searched = flat_settings(base), dict[str, Any]()
        for dimension in self.dimensions:
            if dimension.applies(settings):
                for value in value_of(dimension):
                    searched.update(dimension.settings_for(value))
                    settings.update(dimension.settings_for(value))
        return searched

    def as_dict(self) -> dict[str, Any]:
        """Return the definition of the space as plain values."""
        return {dimension.name: dimension.as_dict() for dimension in self.dimensions}


def flat_settings(config: Config) -> dict[str, Any]:
    """Return the settings by ``section.key``, as plain values."""
    sections = config.model_dump(mode="json")
    return {f"{s}.{key}": value for s, values in sections.items() for key, value in values.items()}


def nested_settings(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return the settings as a layer for ``config.loading.resolve``.

    >>> nested_settings({"optimizer.lr": 0.1})
    {'optimizer': {'lr': 0.1}}
    """
    layer: dict[str, dict[str, Any]] = {}
    for name, value in settings.items():
        section, _, key = name.partition(".")
        layer.setdefault(section, {})[key] = value
    return layer


def _dimension(name: str, entry: Any) -> Dimension:
    if isinstance(entry, list):
        entry = {"choices": entry}
    if not isinstance(entry, dict):
        raise ConfigError(f"{name}: must be a list of values, or a table with low and high")
    unknown = next((key for key in entry if key not in KEYS), None)
    if unknown is not None:
        hint = did_you_mean(unknown, KEYS) or f"; the keys are {', '.join(KEYS)}"
        raise ConfigError(f"{name}: unknown key {unknown!r}{hint}")
    setting = entry.get("setting", name)
    all_groups = all(isinstance(value, dict) for value in entry.get("choices", [0]))
    if all_groups and "." not in name and "setting" not in entry:
        setting = ""
    parse_domain = _choice if "choices" in entry else _range
    domain = parse_domain(name, setting, entry)
    when = {
        other: tuple(_checked(other, value, searched=False) for value in _as_list(values))
        for other, values in entry.get("when", {}).items()
    }
    return Dimension(name, setting, domain, when)


def _as_list(values: Any) -> list[Any]:
    return values if isinstance(values, list) else [values]


def _choice(name: str, setting: str, entry: Mapping[str, Any]) -> Choice:
    values = entry["choices"]
    range_key = next((key for key in RANGE_KEYS if key in entry), None)
    if range_key:
        raise ConfigError(f"{name}: {range_key} cannot be combined with choices")
    if not isinstance(values, list) or not values:
        raise ConfigError(f"{name}: choices must be a list of values")
    if setting:
        return Choice(tuple(_checked(setting, value) for value in values))
    return Choice(
        tuple({key: _checked(key, value) for key, value in group.items()} for group in values)
    )


def _range(name: str, setting: str, entry: Mapping[str, Any]) -> Range:
    low, high = entry.get("low"), entry.get("high")
    for bound in (low, high):
        if not isinstance(bound, int | float) or isinstance(bound, bool):
            raise ConfigError(f"{name}: must be a list of values, or have numbers as low and high")
    assert low is not None
    assert high is not None
    low, high = _checked(setting, low), _checked(setting, high)
    log, step = entry.get("log", False), entry.get("step")
    if not low <= high:
        raise ConfigError(f"{name}: low = {low} is larger than high = {high}")
    if not isinstance(log, bool):
        raise ConfigError(f"{name}: log must be true or false")
    if step is not None and (log or type(step) not in (int, type(low)) or step <= 0):
        raise ConfigError(f"{name}: step must be a number above 0, in a range without log")
    if log and low <= 0:
        raise ConfigError(f"{name}: a range with log must begin above 0")
    domain = Range(low, high, log, step)
    if not domain.contains(high):
        raise ConfigError(f"{name}: steps of {step} from low = {low} do not reach high = {high}")
    return domain


def _checked(name: str, value: Any, *, searched: bool = True) -> Any:
    """Return a value in the form that a configuration gives it."""
    value = validate_setting(name, value)
    section, _, key = name.partition(".")
    if searched and (
        section == "data" or (section == "trainer" and key not in SEARCHABLE_IN_TRAINER)
    ):
        raise ConfigError(
            f"{name}: cannot be searched, because all trials are scored on the same rows by the "
            "same metric; set it for all of them with --set"
        )
    return json.loads(json.dumps(value))  # tuples become lists, as in flat_settings


def default_space(base: Config, *, small: bool = False) -> SearchSpace:
    """Return the default search space: the settings that matter most, around a base.

    Settings that the base rules out are left out. The base may lie outside the space.

    Args:
        base: the settings to start from.
        small: search smaller tables too, because the size of the model is limited.
    """
    table = {**_text_table(base, small), **_model_table(base, small)}
    if base.model.start_from is not None:  # that model settles how texts are encoded
        table = {"text.min_count": table["text.min_count"]}
    return SearchSpace.parse({**table, **_run_table(base)})


def _text_table(base: Config, small: bool) -> dict[str, Any]:
    text = base.text
    table: dict[str, Any] = {
        "text.word_ngrams": [1, 2, 3],
        "text.min_count": {"low": 1, "high": 10 if small else 5, "log": True},
    }
    if text.prune:
        counts = {"low": 1, "high": 20 if small else 5, "log": True}
        table["text.min_ngram_count"] = {**counts, "when": WITH_WORD_NGRAMS}
    if small:
        buckets = [100_000, 500_000, 2_000_000]
        table["text.bucket"] = {"choices": buckets, "when": WITH_WORD_NGRAMS}
    lengths = dict.fromkeys([(0, 0), *CHAR_NGRAMS, (text.minn, text.maxn)])
    table["character n-grams"] = [{"text.minn": low, "text.maxn": high} for low, high in lengths]
    table["text.char_share"] = {
        **{"low": min(0.25, text.char_share), "high": max(4.0, text.char_share), "log": True},
        "when": {"text.maxn": sorted({high for _, high in lengths if high})},
    }
    return table


def _model_table(base: Config, small: bool) -> dict[str, Any]:
    model = base.model
    table: dict[str, Any] = {}
    if model.pretrained is None:  # pretrained vectors fix the dimension
        high = max(MAX_DIM, 2 * model.dim)
        table["model.dim"] = {"low": 4 if small else 8, "high": high, "log": True}
    if model.mode != "max":
        table["weighting"] = [
            {"model.mode": "mean", "text.term_weighting": "none"},
            {"model.mode": "sum", "text.term_weighting": "tfidf"},
        ]
    metric = Metric.parse(base.trainer.monitor)
    comparable = metric.name != "loss" and not metric.needs_probabilities
    if model.loss in LOSSES and comparable and base.data.label_separator is None:
        table["model.loss"] = LOSSES
    return table


def _run_table(base: Config) -> dict[str, Any]:
    optimizer, batch_size = base.optimizer.name, known(base.trainer.batch_size)
    max_epochs = max(MAX_EPOCHS, 2 * known(base.trainer.epochs))
    low, high = LR_RANGES[optimizer]
    table: dict[str, Any] = {
        "optimizer.lr": {"low": low, "high": high, "log": True},
        "optimizer.schedule": ["linear", "cosine", "constant"],
        "optimizer.warmup": [0.0, 0.1, 0.2],
        "trainer.epochs": {"low": 1, "high": max_epochs, "log": True},
        "trainer.batch_size": sorted(
            {max(batch_size // 2, 1), batch_size, 2 * batch_size, 4 * batch_size}
        ),
    }
    if optimizer != "sgd":
        eps = known(base.optimizer.eps)
        table["optimizer.eps"] = {"low": eps / EPS_FACTOR, "high": eps * EPS_FACTOR, "log": True}
    if base.model.loss in LOSSES and not base.trainer.focal_gamma:
        table["trainer.label_smoothing"] = LABEL_SMOOTHING
    return table
