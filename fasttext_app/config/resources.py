"""Files that ship with the program: configs and the embedded sample.

They are at the top of the source tree (``configs/``, ``data/sample/``), and inside the package in
an installed wheel.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def _locate(*parts: str) -> Path:
    installed = _PACKAGE.joinpath(*parts)
    return installed if installed.exists() else _PACKAGE.parent.joinpath(*parts)


def config_names() -> list[str]:
    """Return the names of the shipped configs, sorted."""
    return sorted(path.stem for path in _locate("configs").glob("*.toml"))


def config_path(name: str) -> Path | None:
    """Return the path of a shipped config, or None if there is none of that name."""
    return _locate("configs", f"{name}.toml") if name in config_names() else None


def sample_dir() -> Path:
    """Return the folder of the embedded sample (``train.csv`` and ``test.csv``)."""
    return _locate("data", "sample")
