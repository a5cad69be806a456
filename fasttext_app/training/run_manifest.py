"""The manifest of a run: settings, data, versions and seed; saved with the model as ``run.json``.

The same settings, data and versions give bit-identical weights on the CPU. So the manifest says
what it takes to train the model again, and what must be unchanged to resume its run.
"""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from fasttext_app._version import __version__
from fasttext_app.config.loading import Layer, flat_layer, load_config_file, parse_toml, resolve
from fasttext_app.config.schema import FILE_SETTINGS, Config, ModelConfig
from fasttext_app.core import arguments
from fasttext_app.core.checksummed_dir import MANIFEST, UNREADABLE, read_json
from fasttext_app.data.named_files import settings_in, stamp, unknown_settings
from fasttext_app.errors import ArtifactError, CheckpointError, ConfigError
from fasttext_app.training.data_statistics import DataStatistics

PACKAGES = ("torch", "numpy", "pyarrow", "numba")
WITHOUT_EFFECT = {
    ("trainer", "threads"),
    ("trainer", "checkpoint_every"),
    ("trainer", "keep_checkpoints"),
    ("trainer", "shard_timeout"),
}
"""Settings that do not change the result."""
ORIGINS = "started_from", "pretrained"
"""What a run may start from: the statistics name its path and digest."""
NOT_INHERITED = (
    *("checkpoint_every", "keep_checkpoints", "device", "threads", "shard", "shard_timeout"),
    *("refit", "calibrate"),  # they depend on the validation rows of the run
)
"""Trainer settings that a run does not take from the model that it starts from."""

WITHOUT_PRETRAINED = {
    name: ModelConfig.model_fields[name].default
    for name in ("pretrained", "pretrained_words", "freeze_pretrained")
}
"""Model settings that a run does not take from that model, whose table has the vectors."""


def run_manifest(
    config: Config, statistics: DataStatistics, revision: str | None = None
) -> dict[str, Any]:
    """Describe a run, as ``run.json`` holds it.

    Args:
        config: the run's settings.
        statistics: the counts of its rows.
        revision: the git revision of the working directory; None: ask git, in a subprocess.
    """
    versions = {name: sys.modules[name].__version__ for name in PACKAGES if name in sys.modules}
    data = {
        "source": statistics.source,
        "train_rows": statistics.train_rows,
        "validation_rows": statistics.validation_rows,
        "fingerprint": statistics.fingerprint,
        "files": statistics.files,
    }
    for origin in ORIGINS:
        value = getattr(statistics, origin)
        if value is not None:
            data[origin] = value
    return {
        "versions": {"fasttext_app": __version__, "python": platform.python_version(), **versions},
        "platform": f"{sys.platform} {platform.machine()}",
        "seed": config.trainer.seed,
        "git": revision or _git_revision(),
        "data": data,
        "config": config.model_dump(mode="json"),
    }


def _git_revision() -> str | None:
    """Return the revision of the working directory; None outside a repository or without git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return process.stdout.strip() or None


def config_of_run(run: Mapping[str, Any]) -> Config:
    """Return the settings of a run from its manifest.

    Raises:
        CheckpointError: this version cannot read them.
    """
    try:
        return resolve(run["config"])
    except (ConfigError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"the run's settings cannot be read: {error}") from None


def settings_of_model(path: str | Path) -> Layer:
    """Return the settings that a run takes from the model that it starts from.

    Raises:
        ArtifactError: there is no model, or its settings cannot be read.
    """
    from fasttext_app.hub import local_model  # these import NumPy
    from fasttext_app.model.directory import stored_dim

    path = local_model(path)
    try:
        text = (Path(path) / "config.toml").read_text(encoding="utf-8")
        config = resolve(parse_toml(text))
    except NotADirectoryError:
        raise ArtifactError(
            f"{path} is a file; import it first (fasttext-app import {path} --output DIR) and "
            "train from the imported model"
        ) from None
    except OSError:
        problem = f"it has no {MANIFEST}" if Path(path).is_dir() else "there is no such folder"
        raise ArtifactError(f"{path}: not a model directory: {problem}") from None
    except (ValueError, ConfigError) as error:
        raise ArtifactError(f"{path}/config.toml: cannot be read: {error}") from None
    settings = config.model_dump()
    for key in NOT_INHERITED:
        del settings["trainer"][key]
    # The new rows are in other files, and need not have weights.
    settings["data"] |= {**FILE_SETTINGS, "weight_column": None}
    settings["model"] |= {
        "start_from": str(path),
        "dim": max(config.model.dim, stored_dim(path, config)),  # an ensemble can have more
        **WITHOUT_PRETRAINED,
    }
    return settings


def setting_layers(
    config: str | Path | None, settings: Mapping[str, Any], run_settings: Layer | None = None
) -> list[Layer]:
    """Return the settings of a resumed run, a model, a config and a call, in this order.

    Args:
        config: a TOML file, or the name of a shipped config.
        settings: settings by their keys; ``start_from`` names the model.
        run_settings: the settings of a run that is resumed.

    Raises:
        ArtifactError: the settings of the model cannot be read.
        ConfigError: there is no such config or setting.
    """
    layers = [run_settings or {}]
    if settings.get("start_from") is not None:
        layers.append(settings_of_model(arguments.path("start_from", settings["start_from"])))
    if config is not None:
        layers.append(load_config_file(arguments.path("config", config)))
    return [*layers, flat_layer(settings)]


def unknown_names(
    config: Config,
    start_from: str | Path | None,
    run: Mapping[str, Any] | None,
    layers: Iterable[Layer],
    *,
    has_rows: bool = False,
) -> list[tuple[str, str]]:
    """Return what a run would read only because the model or run that it starts from names it.

    A resumed run may read local files: it goes on only if their content is what it was.

    Args:
        config: the settings of the run.
        start_from: the model; None: none.
        run: the manifest of the run that is resumed; None: none.
        layers: the settings that the user made.
        has_rows: whether the user passes the rows.

    Returns:
        The setting and what it names, for each.
    """
    agreed = settings_in(*layers)
    recorded: Any = {} if run is None else run.get("data", {}).get("files")
    if has_rows:
        agreed.add(("data", "source"))
    if start_from is not None:
        agreed.add(("model", "start_from"))
        if not config.text.runs_package:  # the model has the file of an hf: tokenizer
            agreed.add(("text", "tokenizer"))
        with suppress(*UNREADABLE):  # loading the model will say so
            recorded = read_json(Path(str(config.model.start_from)) / "data.json").get("files")
    return [
        (f"{section}.{key}", spec)
        for (section, key), specs in unknown_settings(config, agreed, recorded).items()
        for spec in specs
        if run is None or stamp(spec) is None
    ]


def differences(config: Config, other: Config) -> dict[str, tuple[Any, Any]]:
    """Return the settings that differ and change the result, as ``{name: (value, other)}``."""
    settings, others = config.model_dump(mode="json"), other.model_dump(mode="json")
    return {
        f"{section}.{key}": (value, others[section][key])
        for section, values in settings.items()
        for key, value in values.items()
        if value != others[section][key] and (section, key) not in WITHOUT_EFFECT
    }


def check_same_run(
    checkpoint: object, run: Mapping[str, Any], now: Mapping[str, Any]
) -> dict[str, tuple[str, str]]:
    """Check that a run can be resumed with these settings and this data.

    Args:
        checkpoint: its path, for messages.
        run: the manifest of the run at its start.
        now: the manifest of the run that is to resume it.

    Returns:
        The packages whose version changed, as ``{name: (version then, version now)}``.

    Raises:
        CheckpointError: the settings or the data differ; the message says in what.
    """
    differing = differences(config_of_run(run), config_of_run(now))
    if differing:
        changes = "; ".join(
            f"{name} is {new!r} and was {old!r}" for name, (old, new) in differing.items()
        )
        raise CheckpointError(
            f"{checkpoint}: the run has other settings: {changes}; leave them as they were"
        )
    before, after = run["data"], now["data"]
    if before["fingerprint"] != after["fingerprint"]:
        raise CheckpointError(
            f"{checkpoint}: {after['source']} has changed since the run started "
            f"({before['train_rows']:,} training rows then, {after['train_rows']:,} now); "
            "restore the data, or start a new run"
        )
    for origin in ORIGINS:
        if before.get(origin) != after.get(origin):
            raise CheckpointError(
                f"{checkpoint}: the run started from {before.get(origin)}, which is now "
                f"{after.get(origin)}; restore it, or start a new run"
            )
    versions: dict[str, str] = now["versions"]
    return {
        name: (old, versions.get(name, "none"))
        for name, old in run["versions"].items()
        if versions.get(name) != old
    }
