"""The data and files that settings name, and how a machine knows again what it has read.

A model or a checkpoint can come from a stranger, and its settings name data, paths and packages.
Nothing of that is read unless the reader agrees or the machine knows it: a run records a *stamp* of
the files of each SPEC, made of their names, sizes and times of change, which a stranger does not
know. A published model shows its stamps; a copy of one names the same unchanged files again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from glob import iglob
from itertools import islice
from pathlib import Path
from typing import Any

from fasttext_app.config.loading import Layer
from fasttext_app.config.schema import Config

HARMLESS = ("sample", "-")
"""The sample in this package, and standard input."""
SPLIT_PATTERN = "{split}"
MAX_FILES = 100_000
"""A SPEC with more files has no stamp."""

Setting = tuple[str, str]
"""A section and a key."""


def stamp(spec: str) -> str | None:
    """Return the stamp of the local files of a SPEC, none of which is opened; None without any."""
    files = sorted(path for path in islice(_files(spec), MAX_FILES) if path.is_file())
    if not files or len(files) == MAX_FILES:
        return None
    facts = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(json.dumps([spec, facts]).encode("utf-8", "replace")).hexdigest()


def _files(spec: str) -> Iterable[Path]:
    if spec.startswith(("//", "\\\\")):  # on another machine
        return ()
    if spec == "ag_news":
        from fasttext_app.data.ag_news import find_folder

        spec = str(find_folder() or "")
    path = Path(spec)
    if spec and path.is_dir():
        from fasttext_app.data.files import folder_files  # starts Arrow's threads

        return folder_files(path) or path.rglob("*")
    if spec and path.exists():
        return (path,)
    return map(Path, iglob(spec.replace(SPLIT_PATTERN, "*"), recursive=True))  # noqa: PTH207


def named(config: Config) -> dict[Setting, list[str]]:
    """Return what the settings of a run name outside of it, by the setting."""
    data, model, tokenizer = config.data, config.model, config.text.tokenizer
    validation = data.validation
    is_file = isinstance(validation, str) and ("/" in validation or Path(validation).exists())
    names = {
        ("data", "source"): list(data.specs),
        ("data", "validation"): [str(validation)] if is_file else [],
        ("model", "pretrained"): [model.pretrained.removeprefix("model2vec:")]
        if model.pretrained
        else [],
        ("model", "start_from"): [model.start_from] if model.start_from else [],
        ("text", "tokenizer"): [],
    }
    if tokenizer.startswith("hf:"):
        names["text", "tokenizer"] = [tokenizer.removeprefix("hf:")]
    elif config.text.runs_package:
        names["text", "tokenizer"] = [tokenizer]
    return names


def stamps(config: Config, *, from_source: bool) -> dict[str, str]:
    """Return the stamps of the files that a run reads, by their SPEC.

    Args:
        config: its settings.
        from_source: whether its rows are those of ``data.source``.
    """
    specs = [
        spec
        for setting, specs in named(config).items()
        for spec in specs
        if from_source or setting != ("data", "source")
    ]
    return {spec: value for spec in specs if (value := stamp(spec)) is not None}


def unknown(specs: Collection[str], recorded: Any) -> list[str]:
    """Return the SPECs of which the machine does not know that it has read them.

    Args:
        specs: the SPECs.
        recorded: the stamps of an earlier run, as a file has them.
    """
    known = recorded if isinstance(recorded, Mapping) else {}
    return [
        spec
        for spec in specs
        if spec not in HARMLESS and (spec not in known or known[spec] != stamp(spec))
    ]


def unknown_settings(
    config: Config, agreed: Collection[Setting], recorded: Any
) -> dict[Setting, list[str]]:
    """Return what a run would read only because a model or a checkpoint names it, by setting.

    Args:
        config: the settings of the run.
        agreed: the settings that its user made.
        recorded: the stamps of the model or the checkpoint.
    """
    names = {
        setting: unknown(specs, recorded)
        for setting, specs in named(config).items()
        if setting not in agreed
    }
    return {setting: specs for setting, specs in names.items() if specs}


def settings_in(*layers: Layer) -> set[Setting]:
    """Return the settings that are made in layers."""
    return {(section, key) for layer in layers for section, keys in layer.items() for key in keys}
