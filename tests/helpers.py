"""What several test modules need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fasttext_app.config.loading import flat_layer, resolve
from fasttext_app.config.schema import Config
from fasttext_app.core import jit

ROOT = Path(__file__).resolve().parents[1]
"""The repository."""
SCRIPTS = ROOT / "scripts"
DATA = Path(__file__).parent / "data"
"""Files that tests read."""


def make_config(**settings: Any) -> Config:
    """Return a configuration from keyword settings, as ``ft.train`` takes them."""
    return resolve(flat_layer(settings))


@contextmanager
def code_path(*, compiled: bool) -> Iterator[None]:
    """Run compiled code in this block, or plain Python for any amount of text."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jit, "_enabled", compiled)
        patch.setattr(jit, "PLAIN_BYTES", float("inf"))
        yield
