"""What a run is of: its settings, data, versions and seed; saved with the model as ``run.json``.

The same settings on the same data with the same versions give the same weights, to the last bit on
the CPU; so this is what it takes to train a model again, or to go on with a run.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fasttext_app._version import __version__
from fasttext_app.config.loading import Layer, resolve
from fasttext_app.config.schema import Config
from fasttext_app.core.checksummed_dir import MANIFEST
from fasttext_app.errors import ArtifactError, CheckpointError, ConfigError

PACKAGES = ("torch", "numpy", "pyarrow", "numba")
FREE = {("trainer", "threads"), ("trainer", "checkpoint_every"), ("trainer", "keep_checkpoints")}
"""Settings that change nothing of the result."""
OF_A_RUN = ("checkpoint_every", "keep_checkpoints", "device", "threads")
"""Settings that a model does not hand on to a run that begins with it."""


def run_manifest(
    config: Config, statistics: Mapping[str, Any], revision: str | None = None
) -> dict[str, Any]:
    """Describe a run.

    Args:
        config: its settings.
        statistics: what its data came to; see ``preparation.Prepared``.
        revision: that of the working directory; None: git is asked, in a process of its own.
    """
    loaded = {name: sys.modules[name].__version__ for name in PACKAGES if name in sys.modules}
    data = ("source", "train_rows", "validation_rows", "fingerprint", "started_from")
    return {
        "versions": {"fasttext_app": __version__, "python": platform.python_version(), **loaded},
        "platform": f"{sys.platform} {platform.machine()}",
        "seed": config.trainer.seed,
        "git": revision or _git_revision(),
        "data": {name: statistics[name] for name in data if name in statistics},
        "config": config.model_dump(mode="json"),
    }


def _git_revision() -> str | None:
    """Return the revision of the working directory, where git has one."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def config_of_run(run: Mapping[str, Any]) -> Config:
    """Return the settings of a run.

    Raises:
        CheckpointError: they are not settings of this version.
    """
    try:
        return resolve(run["config"])
    except (ConfigError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"the run's settings cannot be read: {error}") from None


def settings_of_model(path: str | Path) -> Layer:
    """Return the settings that a run takes over from the model that it begins with.

    Raises:
        ArtifactError: there is no model, or its settings cannot be read.
    """
    try:
        text = (Path(path) / "config.toml").read_text(encoding="utf-8")
        config = resolve(tomllib.loads(text)).model_dump()
    except NotADirectoryError:
        raise ArtifactError(
            f"{path}: is a file; import it (fasttext-app import {path} --output DIR), and train on "
            "from that"
        ) from None
    except OSError:
        what = f"there is no {MANIFEST} in it" if Path(path).is_dir() else "there is no such folder"
        raise ArtifactError(f"{path}: is no model directory: {what}") from None
    except (ValueError, ConfigError) as error:
        raise ArtifactError(f"{path}/config.toml: cannot be read: {error}") from None
    for key in OF_A_RUN:
        del config["trainer"][key]
    config["data"]["weight_column"] = None  # of other rows
    begins = {"start_from": str(path), "pretrained": None, "freeze_pretrained": False}
    return config | {"model": config["model"] | begins}


def differences(config: Config, other: Config) -> dict[str, tuple[Any, Any]]:
    """Return the settings, by name, that differ and that change the result."""
    one, two = config.model_dump(mode="json"), other.model_dump(mode="json")
    return {
        f"{section}.{key}": (value, two[section][key])
        for section, values in one.items()
        for key, value in values.items()
        if value != two[section][key] and (section, key) not in FREE
    }


def check_same_run(where: object, run: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Refuse to go on with a run with other settings or data; return versions that differ.

    Args:
        where: the run's checkpoint.
        run: the manifest of the run.
        now: the manifest of what is to go on.

    Raises:
        CheckpointError: names what differs.
    """
    differing = differences(config_of_run(run), config_of_run(now))
    if differing:
        told = "; ".join(
            f"{name} is {new!r} and was {old!r}" for name, (old, new) in differing.items()
        )
        raise CheckpointError(
            f"{where}: the run has other settings: {told}; leave them as they are"
        )
    before, after = run["data"], now["data"]
    if before["fingerprint"] != after["fingerprint"]:
        rows = f"{before['train_rows']:,} training rows then, {after['train_rows']:,} now"
        raise CheckpointError(
            f"{where}: the run began with other data than {after['source']} has now ({rows}); "
            "train anew, or bring the data back"
        )
    if before.get("started_from") != after.get("started_from"):
        raise CheckpointError(
            f"{where}: the run began with {before.get('started_from')}, which is now "
            f"{after.get('started_from')}"
        )
    versions: dict[str, str] = now["versions"]
    return [
        f"{name} {old}, now {versions.get(name, 'none')}"
        for name, old in run["versions"].items()
        if versions.get(name) != old
    ]
