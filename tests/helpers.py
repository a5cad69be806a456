"""What several test modules need."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

from fasttext_app.cli.program import make_app
from fasttext_app.config.loading import flat_layer, resolve
from fasttext_app.config.schema import Config
from fasttext_app.core import jit

ROOT = Path(__file__).resolve().parents[1]
"""The repository."""
SCRIPTS = ROOT / "scripts"
NODE = shutil.which("node")
"""Node, if it is installed."""
NODE_MODULES = Path(os.environ.get("FASTTEXT_APP_NODE_MODULES", "node_modules")).absolute()
"""The folder of npm packages, named by ``$FASTTEXT_APP_NODE_MODULES``."""
DATA = Path(__file__).parent / "data"
"""Files that tests read."""

QUICK = ("--epochs", "3", "--dim", "4", "--device", "cpu", "--threads", "1")
"""Options of a training run that takes no time."""
HEADER = "text,label\n"
GOOD_ROWS = "the team won,sport\nthe bank fell,money\n" * 5


WORDS_ONLY: dict[str, Any] = {
    "word_ngrams": 1,
    "minn": 0,
    "maxn": 0,
    "term_weighting": "none",
    "mode": "mean",
    "dim": 10,
    "name": "adagrad",
    "lr": 0.1,
    "eps": 1e-8,
    "epochs": 5,
    "batch_size": 64,
    "refit": False,
    "calibrate": False,
}
"""Keyword settings of a plain model, small and quick: the mean of word vectors."""


def make_config(**settings: Any) -> Config:
    """Return a configuration from keyword settings, as ``ft.train`` takes them."""
    return resolve(flat_layer(WORDS_ONLY), flat_layer(settings))


@contextmanager
def code_path(*, compiled: bool) -> Iterator[None]:
    """Run compiled code in this block, or plain Python for any amount of text."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jit, "_enabled", compiled)
        patch.setattr(jit, "PLAIN_BYTES", float("inf"))
        yield


@cache
def _command() -> Any:
    return get_command(make_app())  # takes 0.1 s


def run_cli(*arguments: object, code: int | None = 0, stdin: str | bytes | None = None) -> Result:
    """Run ``fasttext-app`` in this process; its exit code must be ``code``, if there is one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("typer.testing._get_command", lambda app: _command())
        result = CliRunner().invoke(make_app(), list(map(str, arguments)), input=stdin)
    if code is not None:
        assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
    return result


def read_json(result: Result) -> dict[str, Any]:
    """Read the standard output of a command, which must be one JSON object on one line."""
    assert result.stdout.count("\n") == 1
    document = json.loads(result.stdout)
    assert isinstance(document, dict)
    return document


def contents(folder: Path) -> dict[str, bytes | None]:
    """Return the bytes of every file below a folder by its path; None for a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@contextmanager
def installs_undone() -> Iterator[None]:
    """Undo ``compat.install()`` at the end of the block: later tests compare with the original."""

    def take_modules() -> dict[str, ModuleType]:
        names = [name for name in sys.modules if name.partition(".")[0] == "fasttext"]
        return {name: sys.modules.pop(name) for name in names}

    finders, modules = [*sys.meta_path], take_modules()
    try:
        yield
    finally:
        take_modules()
        sys.modules.update(modules)
        sys.meta_path[:] = finders
