"""The whole configuration: read from TOML and ``--set``, merged, validated, and written to TOML.

A configuration is five sections in the order in which data flows: ``data``, ``text``, ``model``,
``optimizer``, ``trainer`` (`config/schema.py`). The resolved one travels with every saved model.

>>> config = resolve({"trainer": {"epochs": 3}}, parse_assignments(["optimizer.lr=0.1"]))
>>> config.trainer.epochs, config.optimizer.lr
(3, 0.1)
>>> resolve({"trainer": {"epoch": 3}})
Traceback (most recent call last):
    ...
fasttext_app.errors.ConfigError: trainer.epoch: no such setting; did you mean 'trainer.epochs'?
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, ValidationError

from fasttext_app.config.resources import config_names, config_path
from fasttext_app.config.rules import check
from fasttext_app.config.schema import (
    Config,
)
from fasttext_app.errors import ConfigError, did_you_mean

Layer = Mapping[str, Mapping[str, Any]]
"""One layer of settings, ``{section: {key: value}}``; later layers win over earlier ones."""


def resolve(*layers: Layer) -> Config:
    """Merge layers of settings, later ones winning, and validate the result.

    Raises:
        ConfigError: an unknown section or key (with the nearest right name), a value of the wrong
            type or out of range, or a combination that cannot run.
    """
    merged: dict[str, dict[str, Any]] = {}
    for layer in layers:
        for section, values in layer.items():
            if not isinstance(values, Mapping):
                raise ConfigError(_unknown_top_level(section))
            merged.setdefault(section, {}).update(values)
    try:
        config = Config.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(_explain(error)) from None
    check(config)
    return config


def load_config_file(name_or_path: str | Path) -> Layer:
    """Read a TOML file, or a shipped config by its bare name (``sample``, ``ag_news``, ...).

    Raises:
        ConfigError: there is no such file or name, or the file is not TOML.
    """
    path = Path(name_or_path)
    if not path.is_file():
        shipped = config_path(str(name_or_path))
        if shipped is None:
            names = config_names()
            hint = did_you_mean(str(name_or_path), names)
            raise ConfigError(
                f"{name_or_path}: no such config file{hint or '; shipped: ' + ', '.join(names)}"
            )
        path = shipped
    try:
        layer = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a TOML file: {error}") from None
    try:
        resolve(layer)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return layer


def parse_assignments(assignments: Iterable[str]) -> Layer:
    """Turn ``section.key=value`` strings into a layer; a value is TOML, or else a plain string.

    >>> parse_assignments(["text.tokenizer=whitespace", "model.sparse=false"])
    {'text': {'tokenizer': 'whitespace'}, 'model': {'sparse': False}}
    """
    layer: dict[str, dict[str, Any]] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        section, dot, key = name.strip().partition(".")
        if not (equals and dot and section and key):
            owner = _owners().get(section)
            hint = f"; did you mean {owner}.{name.strip()}?" if owner and equals else ""
            raise ConfigError(f"--set {assignment}: expected section.key=value{hint}")
        try:
            parsed = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            parsed = value.strip()
        layer.setdefault(section, {})[key] = parsed
    return layer


def flat_layer(settings: Mapping[str, Any]) -> Layer:
    """Turn keyword settings into a layer: ``epochs=3`` finds its section, ``text={...}`` is one.

    >>> flat_layer({"epochs": 3, "text": {"word_ngrams": 2}})
    {'trainer': {'epochs': 3}, 'text': {'word_ngrams': 2}}
    """
    owners = _owners()
    layer: dict[str, dict[str, Any]] = {}
    for key, value in settings.items():
        if key in Config.model_fields and isinstance(value, Mapping):
            layer.setdefault(key, {}).update(value)
        elif key in owners:
            layer.setdefault(owners[key], {})[key] = value
        elif key in Config.model_fields:
            raise ConfigError(f"{key}: is a section of settings; give it a dict, or the keys in it")
        else:
            raise ConfigError(f"{key}: no such setting{did_you_mean(key, owners)}")
    return layer


def validate_setting(name: str, value: Any) -> Any:
    """Return the value of one setting, validated by itself.

    >>> validate_setting("trainer.epochs", 0)
    Traceback (most recent call last):
        ...
    fasttext_app.errors.ConfigError: trainer.epochs: Input should be greater than or equal to 1 ...

    Raises:
        ConfigError: there is no such setting, or it cannot have this value.
    """
    section, _, key = name.partition(".")
    if section not in Config.model_fields or not key:
        raise ConfigError(_unknown_top_level(section))
    try:
        return getattr(_section_type(section).model_validate({key: value}), key)
    except ValidationError as error:
        raise ConfigError(_explain(error, section)) from None


def dump_config(config: Config) -> str:
    """Write a configuration as TOML, every setting spelled out; unset ones (None) are left out."""
    return tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))


def _owners() -> dict[str, str]:
    """Return the section of every setting; the keys are unique over all sections."""
    return {
        key: section
        for section in Config.model_fields
        for key in _section_type(section).model_fields
    }


def _section_type(section: str) -> type[BaseModel]:
    annotation = Config.model_fields[section].annotation
    assert isinstance(annotation, type)
    assert issubclass(annotation, BaseModel)
    return annotation


def _unknown_top_level(section: str) -> str:
    if section in Config.model_fields:
        return f"{section}: is a section of settings, not a value"
    for name in Config.model_fields:
        if section in _section_type(name).model_fields:
            return f"{section}: no such section; did you mean '{name}.{section}'?"
    return f"{section}: no such section{did_you_mean(section, Config.model_fields)}"


def _explain(error: ValidationError, section: str | None = None) -> str:
    """Say the first problem of a validation in one line that begins with the setting's key.

    Args:
        error: of all settings, or of one section.
        section: which one.
    """
    problems, depth = error.errors(include_url=False), 1 if section else 2
    same = [problem for problem in problems if problem["loc"][:depth] == problems[0]["loc"][:depth]]
    # Where a setting takes a string or a number, what is wrong with the right type tells more.
    first = next((problem for problem in same if not problem["type"].endswith("_type")), same[0])
    location = [str(part) for part in first["loc"] if not str(part).startswith("function-")]
    location = [*([section] if section else []), *location]
    if first["type"] != "extra_forbidden":
        key = ".".join(location[:2])
        reason = first["msg"].removeprefix("Value error, ")
        return f"{key}: {reason} (got {first['input']!r})" if key else reason
    if len(location) == 1:
        return _unknown_top_level(location[0])
    section, key = location[0], location[1]
    hint = did_you_mean(key, _section_type(section).model_fields)
    return f"{section}.{key}: no such setting{hint.replace(chr(39), chr(39) + section + '.', 1)}"
