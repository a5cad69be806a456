"""Read settings from TOML, ``--set`` and keywords, merge and validate them, and write them as TOML.

>>> config = resolve({"trainer": {"epochs": 3}}, parse_assignments(["optimizer.lr=0.1"]))
>>> config.trainer.epochs, config.optimizer.lr
(3, 0.1)
>>> resolve({"trainer": {"epoch": 3}})
Traceback (most recent call last):
    ...
fasttext_app.errors.ConfigError: trainer.epoch: no such setting; did you mean 'trainer.epochs'?
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from fasttext_app.config.auto import dependent_defaults
from fasttext_app.config.resources import config_names, config_path
from fasttext_app.config.rules import check_combinations
from fasttext_app.config.schema import Config
from fasttext_app.core.arguments import shown_value
from fasttext_app.errors import ConfigError, did_you_mean

MAX_DOTS = 100  # of a key; settings have one

Layer = Mapping[str, Mapping[str, Any]]
"""Settings as ``{section: {key: value}}``."""


def resolve(*layers: Layer) -> Config:
    """Merge layers of settings and validate the result; a later layer overrides an earlier one.

    Raises:
        ConfigError: an unknown section or key (with the closest known one), an invalid value, or
            an impossible combination.
    """
    merged: dict[str, dict[str, Any]] = {}
    for layer in layers:
        for section, values in layer.items():
            if not isinstance(values, Mapping):
                raise ConfigError(_not_a_section(section))
            merged.setdefault(section, {}).update(values)
    for section, values in dependent_defaults(merged).items():
        given = merged.setdefault(section, {})
        merged[section] = given | {k: v for k, v in values.items() if given.get(k) is None}
    try:
        config = Config.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(_first_problem(error)) from None
    check_combinations(config)
    return config


def load_config_file(name_or_path: str | Path) -> Layer:
    """Read a TOML file, or a shipped config by its name (``sample``, ``ag_news``, ...).

    Raises:
        ConfigError: there is no such file or name, or the file is not a valid config.
    """
    path = Path(name_or_path)
    if not path.is_file():
        shipped = config_path(str(name_or_path))
        if shipped is None:
            names = config_names()
            hint = did_you_mean(str(name_or_path), names) or f"; shipped: {', '.join(names)}"
            raise ConfigError(f"{name_or_path}: no such config file{hint}")
        path = shipped
    try:
        layer = parse_toml(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path}: not a TOML file: {error}") from None
    try:
        resolve(layer)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return layer


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        ValueError: it is malformed or too deeply nested, or a key has too many dots, which the
            parser takes quadratic time for.
    """
    for number, line in enumerate(text.splitlines(), start=1):
        if line.partition("=")[0].count(".") > MAX_DOTS and not line.lstrip().startswith("#"):
            raise ValueError(f"a key has more than {MAX_DOTS} dots (at line {number})")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is too deeply nested") from None


def parse_assignments(assignments: Iterable[str]) -> Layer:
    """Parse ``section.key=value`` strings; a value that is not TOML is a string, exactly as it is.

    >>> parse_assignments(["text.tokenizer=whitespace", "model.sparse=false"])
    {'text': {'tokenizer': 'whitespace'}, 'model': {'sparse': False}}
    >>> parse_assignments(["data.label_separator= "])
    {'data': {'label_separator': ' '}}
    """
    layer: dict[str, dict[str, Any]] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        section, dot, key = name.strip().partition(".")
        if not (equals and dot and section and key):
            owner = _sections_by_key().get(section)
            hint = f"; did you mean {owner}.{name.strip()}?" if owner and equals else ""
            raise ConfigError(f"--set {assignment}: expected section.key=value{hint}")
        try:
            parsed = parse_toml(f"value = {value}")["value"]
        except ValueError:
            parsed = value.strip() if name.endswith(" ") else value  # "a.b = c" is TOML style
        layer.setdefault(section, {})[key] = parsed
    return layer


def flat_layer(settings: Mapping[str, Any]) -> Layer:
    """Sort keyword settings into sections; a section can also be given as a dict.

    >>> flat_layer({"epochs": 3, "text": {"word_ngrams": 2}})
    {'trainer': {'epochs': 3}, 'text': {'word_ngrams': 2}}
    """
    sections = _sections_by_key()
    layer: dict[str, dict[str, Any]] = {}
    for key, value in settings.items():
        if getattr(value, "ndim", None) == 0:
            value = value.item()  # a scalar of NumPy, from a grid of values
        if key in Config.model_fields and isinstance(value, Mapping):
            layer.setdefault(key, {}).update(value)
        elif key in sections:
            layer.setdefault(sections[key], {})[key] = value
        elif key in Config.model_fields:
            raise ConfigError(f"{key}: is a section of settings; pass a dict, or its keys")
        else:
            raise ConfigError(f"{key}: no such setting{did_you_mean(key, sections)}")
    return layer


def validate_setting(name: str, value: Any) -> Any:
    """Return the validated value of one setting.

    >>> validate_setting("trainer.epochs", -1)
    Traceback (most recent call last):
        ...
    fasttext_app.errors.ConfigError: trainer.epochs: must be greater than or equal to 0 (got -1)

    Raises:
        ConfigError: there is no such setting, or the value is invalid.
    """
    section, _, key = name.partition(".")
    if section not in Config.model_fields or not key:
        raise ConfigError(_not_a_section(section))
    try:
        return getattr(_section_type(section).model_validate({key: value}), key)
    except ValidationError as error:
        raise ConfigError(_first_problem(error, section)) from None


def dump_config(config: Config) -> str:
    """Return a configuration as TOML with every setting, except those that are not set (None)."""
    import tomli_w

    return tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))


def _sections_by_key() -> dict[str, str]:
    """Return {key: section}; no two sections share a key."""
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


def _not_a_section(name: str) -> str:
    """Return the message for a name that stands where a section is expected."""
    if name in Config.model_fields:
        return f"{name}: is a section of settings, not a value"
    if section := _sections_by_key().get(name):
        return f"{name}: no such section; did you mean '{section}.{name}'?"
    return f"{name}: no such section{did_you_mean(name, Config.model_fields)}"


def _first_problem(error: ValidationError, section: str | None = None) -> str:
    """Return the first problem of a validation as one line that begins with the setting.

    Args:
        error: the failed validation of all settings, or of one section.
        section: the section, if it is one.
    """
    problems, depth = error.errors(include_url=False), 1 if section else 2
    same = [problem for problem in problems if problem["loc"][:depth] == problems[0]["loc"][:depth]]
    # A setting of type str | float has a problem for each type; a wrong value says more than a
    # wrong type.
    # "auto" is always another choice, so its own problem says nothing.
    options = [problem for problem in same if problem["type"] != "literal_error"] or same
    values = [problem for problem in options if not problem["type"].endswith("_type")]
    first = (values or options)[0]
    location = [str(part) for part in first["loc"] if not str(part).startswith("function-")]
    location = [*([section] if section else []), *location]
    if first["type"] == "extra_forbidden":
        return _unknown(*location[:2])
    key, reason = ".".join(location[:2]), plain_words(first["type"], first["msg"])
    return f"{key}: {reason} (got {shown_value(first['input'])})" if key else reason


def _unknown(section: str, key: str | None = None) -> str:
    if key is None:
        return _not_a_section(section)
    hint = did_you_mean(key, _section_type(section).model_fields)
    return f"{section}.{key}: no such setting" + hint.replace("'", f"'{section}.", 1)


def plain_words(kind: str, message: str) -> str:
    """Reword a message of pydantic.

    >>> plain_words("greater_than", "Input should be greater than 0")
    'must be greater than 0'
    """
    if kind == "missing":
        return "has too few values"
    message = message.removeprefix("Value error, ").replace(" after validation", "")
    return re.sub(r"^\w+ should ", "must ", message)
