"""What ``tune`` searches: settings with the values that they may take, from a ``[space]`` table.

    "optimizer.lr" = {low = 0.01, high = 1.0, log = true}    a range; whole numbers for an integer
    "model.dim" = [10, 25, 50]                               a choice
    "text.min_ngram_count" = {low = 1, high = 5, when = {"text.word_ngrams" = [2, 3]}}
    bag = [{"model.mode" = "mean"}, {"model.mode" = "sum", "text.term_weighting" = "tfidf"}]
    lr_of_sgd = {setting = "optimizer.lr", low = 1, high = 50, when = {"optimizer.name" = "sgd"}}

A name without a dot chooses several settings at once, or is a second range of a setting. ``when``
has values of other settings, those of the base configuration or of dimensions further up; where
they are not so, the setting stays as the base configuration has it.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fasttext_app.config.loading import validate_setting
from fasttext_app.config.schema import Config
from fasttext_app.errors import ConfigError, did_you_mean

Settings = Mapping[str, Any]
"""Values by ``section.key``."""

RANGE_KEYS = ("low", "high", "log", "step")
KEYS = ("choices", "setting", "when", *RANGE_KEYS)
SEARCHED_OF_TRAINER = (
    *("epochs", "batch_size", "patience", "clip_grad_norm"),
    *("class_weights", "label_smoothing", "focal_gamma", "token_dropout", "bag_dropout"),
)


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def holds(self, value: Any) -> bool:
        """Say whether a value is one of them."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not self.low <= value <= self.high:
            return False
        return not self.step or math.isclose((value - self.low) % self.step, 0, abs_tol=1e-9)


@dataclass(frozen=True)
class Choice:
    """One of some values, or of some groups of settings."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Dimension:
    """One thing that is searched.

    Args:
        name: of the dimension; the setting's, unless the table says another.
        setting: what it sets; "" where its choices are groups of settings.
        of: the values.
        when: the values of other settings for which it is searched.
    """

    name: str
    setting: str
    of: Range | Choice
    when: Mapping[str, tuple[Any, ...]]

    def applies(self, settings: Settings) -> bool:
        """Say whether it is searched, given the settings so far."""
        return all(settings[name] in values for name, values in self.when.items())

    def sets(self, value: Any) -> Settings:
        """Return the settings that a value of it comes to."""
        return {self.setting: value} if self.setting else value

    @property
    def settings(self) -> tuple[str, ...]:
        """The settings that it may set."""
        if self.setting:
            return (self.setting,)
        assert isinstance(self.of, Choice)
        return tuple(dict.fromkeys(name for group in self.of.values for name in group))

    def value_of(self, settings: Settings) -> tuple[Any, ...]:
        """Return its value, alone in a tuple, in some settings; none where they are outside."""
        if isinstance(self.of, Range):
            value = settings[self.setting]
            return (value,) if self.of.holds(value) else ()
        for value in self.of.values:
            if all(settings[name] == found for name, found in self.sets(value).items()):
                return (value,)
        return ()

    def as_dict(self) -> dict[str, Any]:
        """Return what defines it, as plain values."""
        of = {"choices": list(self.of.values)} if isinstance(self.of, Choice) else vars(self.of)
        return {**of, "setting": self.setting, "when": {k: list(v) for k, v in self.when.items()}}


@dataclass(frozen=True)
class SearchSpace:
    """Dimensions, in the order in which they are chosen."""

    dimensions: tuple[Dimension, ...]

    @classmethod
    def load(cls, path: str | Path) -> SearchSpace:
        """Read the ``[space]`` table of a TOML file.

        Raises:
            ConfigError: there is no such file or table, or something in it cannot be searched.
        """
        try:
            document = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not a TOML file: {error}") from None
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such file") from None
        other = next((name for name in document if name != "space"), None)
        if other is not None or not isinstance(document.get("space"), dict):
            problem = f"{other!r} is not read here" if other else "there is no table [space]"
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
            ConfigError: something in it cannot be searched.
        """
        if not table:
            raise ConfigError("the search space is empty")
        dimensions = tuple(_dimension(name, entry) for name, entry in table.items())
        for number, dimension in enumerate(dimensions):
            later = {name for other in dimensions[number:] for name in other.settings}
            for name in dimension.when:
                if name in later:
                    raise ConfigError(
                        f"{dimension.name}: its 'when' asks for {name}, which is chosen later; "
                        f"put {dimension.name} after it"
                    )
        return cls(dimensions)

    @property
    def settings(self) -> tuple[str, ...]:
        """All settings that are searched."""
        return tuple(dict.fromkeys(name for each in self.dimensions for name in each.settings))

    def choose(self, base: Config, value_of: Callable[[Dimension], Sequence[Any]]) -> Settings:
        """Go through the dimensions; return what they set.

        Args:
            base: the other settings.
            value_of: gives the value of a dimension, alone in a sequence; an empty one: the base's.
        """
        settings, chosen = flat_settings(base), dict[str, Any]()
        for dimension in self.dimensions:
            if dimension.applies(settings):
                for value in value_of(dimension):
                    chosen.update(dimension.sets(value))
                    settings.update(dimension.sets(value))
        return chosen

    def as_dict(self) -> dict[str, Any]:
        """Return what defines it, as plain values."""
        return {dimension.name: dimension.as_dict() for dimension in self.dimensions}


def flat_settings(config: Config) -> dict[str, Any]:
    """Return the settings by ``section.key``, as plain values."""
    sections = config.model_dump(mode="json")
    return {f"{s}.{key}": value for s, values in sections.items() for key, value in values.items()}


def nested_settings(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return a layer for ``config.resolve``.

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
        hint = did_you_mean(unknown, KEYS) or f"; there are {', '.join(KEYS)}"
        raise ConfigError(f"{name}: {unknown} is not a key of it{hint}")
    setting = entry.get("setting", name)
    grouped = all(isinstance(value, dict) for value in entry.get("choices", [0]))
    if grouped and "." not in name and "setting" not in entry:
        setting = ""
    of = _choice(name, setting, entry) if "choices" in entry else _range(name, setting, entry)
    when = {
        other: tuple(_checked(other, value, searched=False) for value in _listed(values))
        for other, values in entry.get("when", {}).items()
    }
    return Dimension(name, setting, of, when)


def _listed(values: Any) -> list[Any]:
    return values if isinstance(values, list) else [values]


def _choice(name: str, setting: str, entry: Mapping[str, Any]) -> Choice:
    values = entry["choices"]
    wrong = next((key for key in RANGE_KEYS if key in entry), None)
    if not isinstance(values, list) or not values or wrong:
        problem = f"{wrong} goes with a range" if wrong else "choices must be a list of values"
        raise ConfigError(f"{name}: {problem}")
    if setting:
        return Choice(tuple(_checked(setting, value) for value in values))
    return Choice(
        tuple({key: _checked(key, value) for key, value in group.items()} for group in values)
    )


def _range(name: str, setting: str, entry: Mapping[str, Any]) -> Range:
    low, high = entry.get("low"), entry.get("high")
    for end in (low, high):
        if not isinstance(end, int | float) or isinstance(end, bool):
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
        raise ConfigError(f"{name}: step must be a number above 0, of a range without log")
    if log and low <= 0:
        raise ConfigError(f"{name}: a range with log must begin above 0")
    found = Range(low, high, log, step)
    if not found.holds(high):
        raise ConfigError(f"{name}: from low = {low}, no steps of {step} lead to high = {high}")
    return found


def _checked(name: str, value: Any, *, searched: bool = True) -> Any:
    """Return a value of a setting as it is in a configuration."""
    value = validate_setting(name, value)
    section, _, key = name.partition(".")
    if searched and (
        section == "data" or (section == "trainer" and key not in SEARCHED_OF_TRAINER)
    ):
        raise ConfigError(
            f"{name}: cannot be searched, because all trials are scored on the same rows by the "
            "same figure; set it for all of them with --set"
        )
    return json.loads(json.dumps(value))  # tuples as lists, as flat_settings has them
