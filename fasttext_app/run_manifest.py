"""What a run is of: its settings, data, versions and seed; saved with the model as ``run.json``.

The same settings on the same data with the same versions give the same weights, to the last bit on
the CPU; so this is what it takes to train a model again, or to go on with a run.
"""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from fasttext_app._version import __version__
from fasttext_app.config import Config, resolve
from fasttext_app.errors import CheckpointError, ConfigError

__all__ = ["check_same_run", "config_of_run", "differences", "run_manifest"]

PACKAGES = ("torch", "numpy", "pyarrow", "numba")
FREE = {("trainer", "threads"), ("trainer", "checkpoint_every"), ("trainer", "keep_checkpoints")}
"""Settings that change nothing of the result."""


def run_manifest(config: Config, statistics: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a run.

    Args:
        config: its settings.
        statistics: what its data came to; see ``preparation.Prepared``.
    """
    loaded = {name: sys.modules[name].__version__ for name in PACKAGES if name in sys.modules}
    data = ("source", "train_rows", "validation_rows", "fingerprint")
    return {
        "versions": {"fasttext_app": __version__, "python": platform.python_version(), **loaded},
        "platform": f"{sys.platform} {platform.machine()}",
        "seed": config.trainer.seed,
        "git": _git_revision(),
        "data": {name: statistics[name] for name in data},
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
    versions: dict[str, str] = now["versions"]
    return [
        f"{name} {old}, now {versions.get(name, 'none')}"
        for name, old in run["versions"].items()
        if versions.get(name) != old
    ]
